"""Latents of a GAN: draws from the prior, and vector arithmetic (Radford et al. 2016, arXiv:1511.06434, §6.3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Distribution, Key, as_batch


def draw_latents(prior: Distribution, key: Key, num: int) -> Array:
    """Return z [num, ...] from the prior."""
    return as_batch(jax.vmap(prior.sample)(jax.random.split(key, num)))


def analogy_of_styles(like: Float[Array, "N W"], without: Float[Array, "M W"], base: Float[Array, "P W"]) -> Float[Array, "W"]:
    """Return mean(like) − mean(without) + mean(base), in the space w of a StyleGAN, whose points have no typical norm."""
    return like.mean(axis=0) - without.mean(axis=0) + base.mean(axis=0)


def analogy(like: Float[Array, "N Z"], without: Float[Array, "M Z"], base: Float[Array, "P Z"]) -> Float[Array, "Z"]:
    """Return mean(like) − mean(without) + mean(base), rescaled to the norm √Z that is typical of z ~ N(0, I).

    Such as "smiling woman" − "neutral woman" + "neutral man"; a mean over several z has a smaller norm than one z.
    """
    z = analogy_of_styles(like, without, base)
    return z * jnp.sqrt(z.size) / jnp.maximum(jnp.linalg.norm(z), 1e-12)
