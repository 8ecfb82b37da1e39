"""Latents of a GAN whose prior is N(0, I): draws, and sums with meaning (Radford et al. 2016, §6.3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Distribution, Key


def draw_latents(prior: Distribution, key: Key, num: int) -> Array:
    """Return z [num, ...] of the prior."""
    return jax.vmap(prior.sample)(jax.random.split(key, num))


def analogy(like: Float[Array, "N Z"], without: Float[Array, "M Z"], base: Float[Array, "P Z"]) -> Float[Array, "Z"]:
    """Return n(mean like − mean without + mean base): what sets the first apart from the second, given to the third.

    The means are over latents of examples that share what they are taken for; n scales to the norm √Z of draws of N(0, I), which
    a mean falls short of.
    """
    z = like.mean(axis=0) - without.mean(axis=0) + base.mean(axis=0)
    return z * jnp.sqrt(z.size) / jnp.maximum(jnp.linalg.norm(z), 1e-12)
