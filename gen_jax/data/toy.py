"""Distributions in the plane: samplers, and targets that are given by an energy U, minus an unnormalised log-density.

The four energies are those of Rezende & Mohamed 2015 (arXiv:1505.05770, table 1). Three of them do not grow along z_1,
so that only the soft wall around [−4, 4]² that is added makes e^{−U} integrable.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax.types import Array

TOY_SIZES = (50_000, 5000, 5000)  # points of the train, valid and test splits
BOUND = 4.0  # the paper's figures show [−4, 4]²
WALL_WIDTH = 0.2

Energy = Callable[[Float[Array, "2"]], Float[Array, ""]]


def ring_with_two_bumps(z: Float[Array, "2"]) -> Float[Array, ""]:
    """Return ½ ((‖z‖ − 2) / 0.4)² − log(e^{−½ ((z_1 − 2) / 0.6)²} + e^{−½ ((z_1 + 2) / 0.6)²})."""
    radius = jnp.sqrt(jnp.sum(z**2) + 1e-12)
    bumps = jnp.logaddexp(-0.5 * ((z[0] - 2) / 0.6) ** 2, -0.5 * ((z[0] + 2) / 0.6) ** 2)
    return 0.5 * ((radius - 2) / 0.4) ** 2 - bumps


def sine(z: Float[Array, "2"]) -> Float[Array, ""]:
    """Return ½ ((z_2 − w_1) / 0.4)² with w_1 = sin(2π z_1 / 4)."""
    return 0.5 * ((z[1] - _w1(z)) / 0.4) ** 2


def two_sines(z: Float[Array, "2"]) -> Float[Array, ""]:
    """Return −log(e^{−½ ((z_2 − w_1)/0.35)²} + e^{−½ ((z_2 − w_1 + w_2)/0.35)²}) with w_2 = 3 e^{−½ ((z_1 − 1)/0.6)²}."""
    w2 = 3 * jnp.exp(-0.5 * ((z[0] - 1) / 0.6) ** 2)
    return -jnp.logaddexp(-0.5 * ((z[1] - _w1(z)) / 0.35) ** 2, -0.5 * ((z[1] - _w1(z) + w2) / 0.35) ** 2)


def sine_with_a_step(z: Float[Array, "2"]) -> Float[Array, ""]:
    """Return −log(e^{−½ ((z_2 − w_1)/0.4)²} + e^{−½ ((z_2 − w_1 + w_3)/0.35)²}) with w_3 = 3 sigmoid((z_1 − 1)/0.3)."""
    w3 = 3 * jax.nn.sigmoid((z[0] - 1) / 0.3)
    return -jnp.logaddexp(-0.5 * ((z[1] - _w1(z)) / 0.4) ** 2, -0.5 * ((z[1] - _w1(z) + w3) / 0.35) ** 2)


def _w1(z: Float[Array, "2"]) -> Float[Array, ""]:
    return jnp.sin(2 * jnp.pi * z[0] / 4)


def with_wall(energy: Energy) -> Energy:
    """Return an energy with a soft wall: U(z) + ½ Σ_i (max(|z_i| − 4, 0) / 0.2)²."""
    return lambda z: energy(z) + 0.5 * jnp.sum((jnp.maximum(jnp.abs(z) - BOUND, 0) / WALL_WIDTH) ** 2)


PAPER = {"ring": ring_with_two_bumps, "sine": sine, "two-sines": two_sines, "sine-step": sine_with_a_step}
ENERGIES: dict[str, Energy] = {name: with_wall(energy) for name, energy in PAPER.items()}
"""U(z) of the four energies of Rezende & Mohamed 2015 (table 1), with a wall around the plane, by their names."""


def sample_energy(energy: Energy, num: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw from p(z) ∝ e^{−U(z)}: a cell of a grid, 0.01 wide, by its probability, then a uniform point in the cell."""
    axis = np.arange(-5, 5, 0.01) + 0.005
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):  # the same data whatever the accelerator
        log_density = -np.asarray(jax.jit(jax.vmap(energy))(grid), np.float64)
    cumulative = np.cumsum(np.exp(log_density - log_density.max()))
    cells = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], num))
    return grid[cells] + rng.uniform(-0.005, 0.005, (num, 2)).astype(np.float32)


def two_moons(num: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw from two interlocking half circles of radius 2, with noise of standard deviation 0.15."""
    angle, upper = rng.uniform(0, np.pi, num), rng.integers(0, 2, num) == 1
    side = np.where(upper, 1.0, -1.0)
    points = np.stack([2 * side * np.cos(angle) - side, side * (2 * np.sin(angle) - 0.5)], axis=-1)
    return _noisy(points, 0.15, rng)


def spirals(num: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw from two spirals of one and a half turns around each other, with noise of standard deviation 0.08."""
    angle = 3 * np.pi * np.sqrt(rng.uniform(0, 1, num))
    side = np.where(rng.integers(0, 2, num) == 1, 1.0, -1.0)
    points = (side * angle / 3)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return _noisy(points, 0.08, rng)


def checkerboard(num: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw uniformly from the eight dark squares, of side 2, of a board on [−4, 4]²: the log-density is −log 32."""
    column, row = rng.integers(0, 4, num), rng.integers(0, 2, num)
    corner = np.stack([2 * column, 2 * (2 * row + column % 2)], axis=-1) - 4.0
    return (corner + rng.uniform(0, 2, (num, 2))).astype(np.float32)


def twenty_five_gaussians(num: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw from twenty-five Gaussians of standard deviation 0.15 at {−3, −1.5, 0, 1.5, 3}²."""
    return _noisy(1.5 * (rng.integers(0, 5, (num, 2)) - 2.0), 0.15, rng)


def swiss_roll(num: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw from a spiral, t (cos t, sin t) / 7.5 with t uniform on [3π/2, 9π/2], with noise of standard deviation 1/30."""
    t = 1.5 * np.pi * (1 + 2 * rng.uniform(0, 1, num))
    return _noisy(t[:, None] / 7.5 * np.stack([np.cos(t), np.sin(t)], axis=-1), 1 / 30, rng)


def _noisy(points: np.ndarray, scale: float, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    return (points + scale * rng.normal(size=points.shape)).astype(np.float32)


RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=-1)
GRID = np.stack(np.meshgrid(np.arange(-4, 5, 2), np.arange(-4, 5, 2)), axis=-1).reshape(-1, 2).astype(float)
MIXTURES = {  # centres and standard deviation of Gaussians of equal weights; the last two are PacGAN's (arXiv:1712.04086)
    "eight-gaussians": (3 * RING, 0.2),
    "gaussian-ring": (RING, 0.01),
    "gaussian-grid": (GRID, 0.05),
}


def sample_mixture(name: str, num: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw from one of the mixtures."""
    centres, scale = MIXTURES[name]
    return _noisy(centres[rng.integers(0, len(centres), num)], scale, rng)


SAMPLERS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "two-moons": two_moons,
    "spirals": spirals,
    "checkerboard": checkerboard,
    "twenty-five-gaussians": twenty_five_gaussians,
    "swiss-roll": swiss_roll,
    **{name: functools.partial(sample_mixture, name) for name in MIXTURES},
    **{name: functools.partial(sample_energy, energy) for name, energy in ENERGIES.items()},
}

MODES = {f"toy:{name}": MIXTURES[name] for name in ("gaussian-ring", "gaussian-grid")}
"""The centres and the standard deviation of the modes of a data set, where they are known."""
