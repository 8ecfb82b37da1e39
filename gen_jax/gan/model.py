"""Generative adversarial networks (Goodfellow et al. 2014, arXiv:1406.2661) as pure functions of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from gen_jax.gan.latents import draw_latents
from gen_jax.types import GAN, Array, BatchNet, Distribution, Game, InputError, Key, Params, Player, Verdict

Labels = Array | None
"""[B] integers from 0 to C − 1."""


def generative_adversarial_network(
    generator: BatchNet, discriminator: BatchNet, prior: Distribution, packing: int = 1, num_classes: int | None = None
) -> GAN:
    """Return a GAN: x = G(z), z ~ p(z), and a discriminator D(x) whose verdict is on "x is of the data".

    Of a conditional one (`num_classes`), x = G([z, y]) and D(x, y), with labels y ∈ {0 … C − 1} as one-hot vectors.

    Args:
        generator: (z [B, Z]) -> x [B, *event]; of a conditional model, ([z, y] [B, Z + C]) -> x.
        discriminator: (x [B, *event]) -> `Verdict`; of a conditional model, (x, y [B, C]) -> `Verdict`.
        prior: p(z).
        packing: m, examples of a decision (PacGAN, Lin et al. 2018, arXiv:1712.04086): the discriminator sees m of them at once,
            all real or all generated, as one example with m times as many features (channels of an image).
        num_classes: C, or None for a model without labels.

    Raises:
        InputError: `packing` is less than 1, `num_classes` less than 2, or both are given (a pack has many labels); at `init`,
            the generator makes examples of another shape than the data's, or the discriminator names another number of classes;
            where the model is called, labels are missing, are no integers [B] from 0 to C − 1 (whose values are unknown under
            jit: a label of C or more is a vector of zeros there), or are given to a model without labels.
    """
    if packing < 1:
        raise InputError(f"packing is {packing}: give 1 or more.")
    if num_classes is not None and num_classes < 2:
        raise InputError(f"num_classes is {num_classes}: give 2 or more.")
    if num_classes is not None and packing > 1:
        raise InputError(f"packing is {packing}, and the decisions of a conditional model are about one label each: give 1.")

    def init(key: Key, x: Array) -> Game:
        generator_key, discriminator_key = jax.random.split(key)
        z = draw_latents(prior, jax.random.key(0), 2)  # of which the shape is used
        labels = None if num_classes is None else jnp.zeros(2, jnp.int32)
        game = Game(
            generator.init(generator_key, with_labels(z, labels)),
            discriminator.init(discriminator_key, pack(jnp.stack([x] * 2 * packing), packing), *context(labels, 2)),
        )
        made = jax.eval_shape(lambda player: generate(player, z, labels)[0], game.generator).shape[1:]
        if made != x.shape:
            raise InputError(f"The generator makes examples of shape {made}, and the data have {x.shape}: make the two agree.")
        verdict = jax.eval_shape(lambda player: discriminate(player, jnp.stack([x] * 2 * packing), labels)[0], game.discriminator)
        named = num_classes if verdict.classes is None else verdict.classes.shape[-1]
        if named != num_classes:
            raise InputError(f"The discriminator names {named} classes, and num_classes is {num_classes}: make the two agree.")
        return game

    def generate(player: Player, z: Array, labels: Labels = None, train: bool = False) -> tuple[Array, Params]:
        return generator.apply(player, with_labels(z, labels), train=train)

    def discriminate(player: Player, x: Array, labels: Labels = None, train: bool = False) -> tuple[Verdict, Params]:
        return discriminator.apply(player, pack(x, packing), *context(labels, len(x)), train=train)

    def with_labels(z: Array, labels: Labels) -> Array:
        return jnp.concatenate([z, *context(labels, len(z))], axis=-1)

    def context(labels: Labels, num: int) -> tuple[Array, ...]:
        if num_classes is None:
            if labels is not None:
                raise InputError("labels are given, and this model has none: leave them out, or make it with num_classes.")
            return ()
        if labels is None:
            raise InputError(f"labels are missing, and this model is conditional: give [B], from 0 to {num_classes - 1}.")
        if labels.shape != (num,) or labels.dtype.kind not in "iu":
            raise InputError(f"labels are {labels.dtype}{labels.shape}, for {num} examples: give {num} integers.")
        if not isinstance(labels, Tracer):
            values = np.asarray(labels)
            if values.min() < 0 or values.max() >= num_classes:
                raise InputError(f"labels range from {values.min()} to {values.max()}: give 0 to {num_classes - 1}.")
        return (jax.nn.one_hot(labels, num_classes),)

    return GAN(init, prior, generate, discriminate, packing)


def pack(x: Float[Array, "B *event"], packing: int) -> Float[Array, "P ..."]:
    """Return a batch of B / m packs of m examples that follow one another, joined along the last axis.

    Raises:
        InputError: m does not divide the batch.
    """
    if len(x) % packing:
        raise InputError(f"A batch of {len(x)} cannot be cut into packs of {packing}: give a batch size that {packing} divides.")
    packs = x.reshape(len(x) // packing, packing, *x.shape[1:])
    return jnp.moveaxis(packs, 1, -2).reshape(*packs.shape[:1], *x.shape[1:-1], packing * x.shape[-1])
