"""Generative adversarial networks (Goodfellow et al. 2014, arXiv:1406.2661) as pure functions of a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import GAN, Array, BatchNet, Distribution, Game, InputError, Key, Params, Player


def generative_adversarial_network(generator: BatchNet, discriminator: BatchNet, prior: Distribution, packing: int = 1) -> GAN:
    """Return a GAN: x = G(z), z ~ p(z), and a discriminator D(x) whose logits are of "x is of the data".

    Args:
        generator: (z [B, ...]) -> x [B, *event].
        discriminator: (x [B, *event]) -> logits [B].
        prior: p(z).
        packing: m, examples of a decision (PacGAN, Lin et al. 2018, arXiv:1712.04086): the discriminator sees m of them at once,
            all real or all generated, as one example with m times as many features (channels of an image).

    Raises:
        InputError: `packing` is less than 1; or, at `init`, the generator makes examples of another shape than the data's.
    """
    if packing < 1:
        raise InputError(f"packing is {packing}: give 1 or more.")

    def init(key: Key, x: Array) -> Game:
        generator_key, discriminator_key = jax.random.split(key)
        z = draw_latents(prior, jax.random.key(0), 2)  # of which the shape is used
        game = Game(
            generator.init(generator_key, z), discriminator.init(discriminator_key, pack(jnp.stack([x] * packing), packing))
        )
        made = jax.eval_shape(lambda player: generate(player, z)[0], game.generator).shape[1:]
        if made != x.shape:
            raise InputError(f"The generator makes examples of shape {made}, and the data have {x.shape}: make the two agree.")
        return game

    def generate(player: Player, z: Array, train: bool = False) -> tuple[Array, Params]:
        return generator.apply(player, z, train=train)

    def discriminate(player: Player, x: Array, train: bool = False) -> tuple[Array, Params]:
        return discriminator.apply(player, pack(x, packing), train=train)

    return GAN(init, prior, generate, discriminate, packing)


def draw_latents(prior: Distribution, key: Key, num: int) -> Array:
    """Return z [num, ...] of the prior."""
    return jax.vmap(prior.sample)(jax.random.split(key, num))


def pack(x: Float[Array, "B *event"], packing: int) -> Float[Array, "P ..."]:
    """Return a batch of B / m packs of m examples that follow one another, joined along the last axis.

    Raises:
        InputError: m does not divide the batch.
    """
    if len(x) % packing:
        raise InputError(f"A batch of {len(x)} cannot be cut into packs of {packing}: give a batch size that {packing} divides.")
    packs = x.reshape(len(x) // packing, packing, *x.shape[1:])
    return jnp.moveaxis(packs, 1, -2).reshape(*packs.shape[:1], *x.shape[1:-1], packing * x.shape[-1])
