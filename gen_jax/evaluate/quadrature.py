"""Numerical integration over the plane, on a grid."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax.types import Array


def square_grid(bound: float, num: int) -> tuple[Float[Array, "N 2"], float]:
    """Return the midpoints of num × num cells that cover [−bound, bound]², row by row from the top, and the area of a cell."""
    width = 2 * bound / num
    axis = -bound + width * (jnp.arange(num) + 0.5)
    return jnp.stack(jnp.meshgrid(axis, axis[::-1]), axis=-1).reshape(-1, 2), width**2


@jax.default_matmul_precision("highest")
def log_density_on_grid(
    log_density: Callable[[Float[Array, "2"]], Float[Array, ""]], points: Float[Array, "N 2"]
) -> Float[Array, "N"]:
    """Return the log-density at every point, in chunks, with matrix products in float32 precision."""
    return jax.lax.map(log_density, points, batch_size=10_000)


def kl_on_grid(
    log_q: Float[Array | np.ndarray, "N"], log_p: Float[Array | np.ndarray, "N"], cell: float
) -> tuple[float, float, float]:
    """Return KL(q ‖ p / Z), log Z and the mass ∫ q, for a normalised q and an unnormalised p at points of `square_grid`.

    KL = ∫ q (log q − log p) + log Z with Z = ∫ p, in nats, by the midpoint rule in float64. If the mass is not 1, the grid is too
    small or too coarse.
    """
    log_q, log_p = np.asarray(log_q, np.float64), np.asarray(log_p, np.float64)
    log_z = float(np.log(np.exp(log_p - log_p.max()).sum() * cell) + log_p.max())
    q = np.exp(log_q) * cell
    log_ratio = np.where(q > 0, log_q - log_p, 0)
    return float(np.sum(q * log_ratio) + q.sum() * log_z), log_z, float(q.sum())
