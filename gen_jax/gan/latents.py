"""Latents of a GAN whose prior is N(0, I): draws, paths between two, and sums with meaning (Radford et al. 2016, §6.3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Distribution, Key


def draw_latents(prior: Distribution, key: Key, num: int) -> Array:
    """Return z [num, ...] of the prior."""
    return jax.vmap(prior.sample)(jax.random.split(key, num))


def interpolate(start: Float[Array, "Z"], end: Float[Array, "Z"], steps: int) -> Float[Array, "S Z"]:
    """Return latents along the great arc, sin((1 − t)θ)/sin θ · start + sin(tθ)/sin θ · end for t from 0 to 1.

    θ is the angle between the two. A straight line would pass nearer to 0 than draws of a prior in many dimensions ever are
    (White 2016, arXiv:1609.04468).
    """
    cosine = jnp.vdot(start, end) / jnp.maximum(jnp.linalg.norm(start) * jnp.linalg.norm(end), 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    t, start, end = jnp.linspace(0.0, 1.0, steps)[:, None], start[None], end[None]
    # where the two point the same way (or opposite ways, where no arc is the shortest) the arc is the line
    degenerate = jnp.sin(angle) < 1e-4
    sine = jnp.where(degenerate, 1.0, jnp.sin(angle))
    on_arc = (jnp.sin((1 - t) * angle) * start + jnp.sin(t * angle) * end) / sine
    return jnp.where(degenerate, (1 - t) * start + t * end, on_arc)


def analogy(like: Float[Array, "N Z"], without: Float[Array, "M Z"], base: Float[Array, "P Z"]) -> Float[Array, "Z"]:
    """Return n(mean like − mean without + mean base): what sets the first apart from the second, given to the third.

    The means are over latents of examples that share what they are taken for; n scales to the norm √Z of draws of N(0, I), which
    a mean falls short of.
    """
    z = like.mean(axis=0) - without.mean(axis=0) + base.mean(axis=0)
    return z * jnp.sqrt(z.size) / jnp.maximum(jnp.linalg.norm(z), 1e-12)
