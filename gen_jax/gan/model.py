"""Generative adversarial networks (Goodfellow et al. 2014, arXiv:1406.2661) as pure functions of a batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from gen_jax.gan.latents import draw_latents
from gen_jax.types import GAN, Adversaries, Array, BatchNet, DiscriminatorOutput, Distribution, InputError, Key, Variables

Labels = Array | None
"""[B] integers from 0 to C − 1."""


def generative_adversarial_network(
    generator: BatchNet, discriminator: BatchNet, prior: Distribution, packing: int = 1, num_classes: int | None = None
) -> GAN:
    """Return a GAN: x = G(z), z ~ p(z), and a discriminator D(x), the logit of the probability that x is real.

    A conditional one (`num_classes`) has x = G([z, y]) and D(x, y), with labels y ∈ {0 … C − 1} as one-hot vectors. (Goodfellow
    et al. 2014, arXiv:1406.2661.)

    Args:
        generator: (z [B, Z]) -> x [B, *event]; in a conditional model, (z and y side by side: B, Z + C) -> x.
        discriminator: (x [B, *event]) -> `DiscriminatorOutput`; in a conditional model, (x, y [B, C]) -> `DiscriminatorOutput`.
        prior: p(z).
        packing: m, the examples in a pack, which are all real or all generated. The discriminator takes a pack as one example
            with m times the features (the channels of an image); PacGAN, Lin et al. 2018, arXiv:1712.04086.
        num_classes: C, or None for a model without labels.

    Raises:
        InputError: `packing` is less than 1, `num_classes` less than 2, or both are given; at `init`, the generator's examples
            have another shape than the data, or the discriminator another number of classes; when the model is called, labels
            are missing, unexpected, or not integers [B] from 0 to C − 1 (under jit, values are not checked, and a label of C or
            more becomes a vector of zeros).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax import distributions, gan, nets
        >>> networks = nets.batch_net(nets.MLPGenerator((8,), (2,))), nets.batch_net(nets.MLPDiscriminator((8,)))
        >>> prior = distributions.Normal(jnp.zeros(3), jnp.ones(3))
        >>> model = gan.generative_adversarial_network(*networks, prior)
        >>> params, state = model.init(jax.random.key(0), jnp.zeros(2))
        >>> x, _ = model.generate(params, state, jax.random.key(1), gan.draw_latents(prior, jax.random.key(2), 5))
        >>> x.shape, model.discriminate(params, state, x)[0].logits.shape
        ((5, 2), (5,))
    """
    if packing < 1:
        raise InputError(f"packing is {packing}: give 1 or more.")
    if num_classes is not None and num_classes < 2:
        raise InputError(f"num_classes is {num_classes}: give 2 or more.")
    if num_classes is not None and packing > 1:
        raise InputError(f"packing is {packing}, and a pack of a conditional model would have many labels: give 1.")

    def init(key: Key, x: Array) -> Variables:
        generator_key, discriminator_key = jax.random.split(key)
        z = draw_latents(prior, jax.random.key(0), 2)  # only its shape matters
        labels = None if num_classes is None else jnp.zeros(2, jnp.int32)
        x_pack = jnp.stack([x] * 2 * packing)
        parts = (
            generator.init(generator_key, with_labels(z, labels)),
            discriminator.init(discriminator_key, pack(x_pack, packing), *context(labels, 2)),
        )
        params, state = (Adversaries(*part) for part in zip(*parts, strict=True))
        shape = jax.eval_shape(lambda p, s: generate(p, s, generator_key, z, labels)[0], params, state).shape[1:]
        if shape != x.shape:
            raise InputError(f"The generator makes examples of shape {shape}, and the data have {x.shape}: make the two agree.")
        output = jax.eval_shape(lambda p, s: discriminate(p, s, x_pack, labels)[0], params, state)
        classes = num_classes if output.classes is None else output.classes.shape[-1]
        if classes != num_classes:
            raise InputError(f"The discriminator has {classes} classes, and num_classes is {num_classes}: make the two agree.")
        return Variables(params, state)

    def generate(
        params: Adversaries, state: Adversaries, key: Key, z: Array, labels: Labels = None, train: bool = False
    ) -> tuple[Array, Adversaries]:
        x, new = generator.apply(params.generator, state.generator, with_labels(z, labels), train=train, key=key)
        return x, state._replace(generator=new)

    def discriminate(
        params: Adversaries, state: Adversaries, x: Array, labels: Labels = None, train: bool = False
    ) -> tuple[DiscriminatorOutput, Adversaries]:
        inputs = (pack(x, packing), *context(labels, len(x)))
        output, new = discriminator.apply(params.discriminator, state.discriminator, *inputs, train=train)
        return output, state._replace(discriminator=new)

    with_labels = lambda z, labels: jnp.concatenate([z, *context(labels, len(z))], axis=-1)
    context = functools.partial(one_hot_labels, num_classes)
    return GAN(init, prior, generate, discriminate, packing, num_classes)


def one_hot_labels(num_classes: int | None, labels: Labels, num: int) -> tuple[Array, ...]:
    """Return the labels of `num` examples as one-hot vectors, or () for a model without classes."""
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


def pack(x: Float[Array, "B *event"], packing: int) -> Float[Array, "P ..."]:
    """Return B / m packs, each of m consecutive examples concatenated along the last axis.

    Raises:
        InputError: m does not divide the batch.
    """
    if len(x) % packing:
        raise InputError(f"A batch of {len(x)} cannot be cut into packs of {packing}: give a batch size that {packing} divides.")
    packs = x.reshape(len(x) // packing, packing, *x.shape[1:])
    return jnp.moveaxis(packs, 1, -2).reshape(*packs.shape[:1], *x.shape[1:-1], packing * x.shape[-1])
