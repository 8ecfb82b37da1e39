"""Transformers of coupling and autoregressive flows: increasing scalar functions τ(x; r) whose parameters r a network returns.

The term is that of Papamakarios et al. (2021, arXiv:1912.02762); it has nothing to do with attention.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, InputError

MAX_LOG_SCALE = 5.0  # an affine layer scales by 0.007 to 148 at most
MIN_BIN, MIN_SLOPE = 1e-3, 1e-3


class Transformer(NamedTuple):
    """An increasing scalar function.

    Attributes:
        num_params: P, the number of raw (unconstrained) parameters; with all of them zero, it is the identity.
        forward: (raw [P], x []) -> (y [], log dy/dx []).
        inverse: (raw [P], y []) -> (x [], log dx/dy []).
    """

    num_params: int
    forward: Callable[..., tuple[Array, Array]]
    inverse: Callable[..., tuple[Array, Array]]


def transform_each(
    direction: Callable[..., tuple[Array, Array]], num_params: int, raw: Float[Array, "_ _"], values: Float[Array, "D"]
) -> tuple[Float[Array, "D"], Float[Array, ""]]:
    """Apply one direction of a transformer to D values, with raw parameters [P, D]; return the results and Σ log slopes.

    Raises:
        InputError: the raw parameters have another shape.
    """
    if raw.shape != (num_params, values.size):
        raise InputError(
            f"net returns shape {raw.shape}, and the transformer takes {num_params} parameters for each of {values.size} "
            f"dimensions: give a net with output shape {(num_params, values.size)}."
        )
    results, log_slopes = jax.vmap(direction, in_axes=(1, 0))(raw, values)
    return results, jnp.sum(log_slopes)


def affine() -> Transformer:
    """Return y = x e^s + t, with s = 5 tanh(r_0 / 5) and t = r_1; log dy/dx = s."""

    def log_scale(raw: Float[Array, "2"]) -> Float[Array, ""]:
        return MAX_LOG_SCALE * jnp.tanh(raw[0] / MAX_LOG_SCALE)

    def forward(raw: Float[Array, "2"], x: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        s = log_scale(raw)
        return x * jnp.exp(s) + raw[1], s

    def inverse(raw: Float[Array, "2"], y: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        s = log_scale(raw)
        return (y - raw[1]) * jnp.exp(-s), -s

    return Transformer(2, forward, inverse)


def rational_quadratic_spline(num_bins: int = 8, bound: float = 4.0) -> Transformer:
    """Return the rational-quadratic spline on [−bound, bound], the identity outside (Durkan et al. 2019, arXiv:1906.04032).

    In bin k, of width w, height h and slope h/w = σ, with slopes δ_0 and δ_1 at its ends and ξ = (x − x_k)/w:

        y = y_k + h (σξ² + δ_0 ξ(1−ξ)) / m,    m = σ + (δ_0 + δ_1 − 2σ) ξ(1−ξ)
        dy/dx = σ² (δ_1 ξ² + 2σ ξ(1−ξ) + δ_0 (1−ξ)²) / m²

    The inverse solves a quadratic, in a form without cancellation: with η = (y − y_k)/h and q = δ_0 (1−η) − δ_1 η,
    ξ = 2ση / (q + 2ση + √(q² + 4σ² η(1−η))).

    The raw parameters are K widths, K heights and K − 1 inner slopes; the slopes at ±bound are 1.

    Raises:
        InputError: fewer than 2 bins or too many for the minimum width, or a bound that is not positive and finite.
    """
    if not 2 <= num_bins < 1 / MIN_BIN:
        raise InputError(f"num_bins is {num_bins}: give 2 or more, below {1 / MIN_BIN:.0f}.")
    if not (math.isfinite(bound) and bound > 0):
        raise InputError(f"bound is {bound}: give a positive number.")
    slope_of_zero = math.log(math.expm1(1 - MIN_SLOPE))

    def bins(raw: Float[Array, "K"]) -> tuple[Float[Array, "K"], Float[Array, "K"]]:
        """Return the left edges and the widths of bins that cover [−bound, bound]."""
        widths = 2 * bound * (MIN_BIN + (1 - MIN_BIN * num_bins) * jax.nn.softmax(raw))
        return jnp.cumsum(widths) - widths - bound, widths

    def bin_of(raw: Float[Array, "P"], value: Array, axis: str) -> tuple[Array, ...]:
        """Return x_k, w, y_k, h, δ_0 and δ_1 of the bin that holds a value on the axis "x" or "y"."""
        lefts, widths = bins(raw[:num_bins])
        bottoms, heights = bins(raw[num_bins : 2 * num_bins])
        inner = MIN_SLOPE + jax.nn.softplus(raw[2 * num_bins :] + slope_of_zero)
        end = jnp.ones(1, raw.dtype)
        slopes = jnp.concatenate([end, inner, end])
        edges = lefts if axis == "x" else bottoms
        # each edge is compared once, so that exactly one bin is chosen even if the compiler rounds an edge in two ways
        chosen = jnp.arange(num_bins) == jnp.sum(value >= edges[1:])
        pick = lambda values: jnp.sum(jnp.where(chosen, values, 0))  # not a gather, which would not vectorise
        return tuple(map(pick, (lefts, widths, bottoms, heights, slopes[:-1], slopes[1:])))

    def forward(raw: Float[Array, "P"], x: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        inside = jnp.abs(x) < bound
        safe = jnp.where(inside, x, 0)
        left, w, bottom, h, d0, d1 = bin_of(raw, safe, "x")
        sigma, xi = h / w, _within_bin((safe - left) / w)
        mixed = xi * (1 - xi)
        y = bottom + h * (sigma * xi**2 + d0 * mixed) / (sigma + (d0 + d1 - 2 * sigma) * mixed)
        return jnp.where(inside, y, x), jnp.where(inside, _log_slope(xi, sigma, d0, d1), 0)

    def inverse(raw: Float[Array, "P"], y: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        inside = jnp.abs(y) < bound
        safe = jnp.where(inside, y, 0)
        left, w, bottom, h, d0, d1 = bin_of(raw, safe, "y")
        sigma, eta = h / w, _within_bin((safe - bottom) / h)
        q, mixed = d0 * (1 - eta) - d1 * eta, 4 * sigma**2 * eta * (1 - eta)
        root = jnp.sqrt(q**2 + mixed)
        # q + root, without cancellation for q < 0
        total = jnp.where(q > 0, q + root, mixed / jnp.where(q > 0, 1, root - q))
        xi = 2 * sigma * eta / (2 * sigma * eta + total)
        return jnp.where(inside, left + w * xi, y), jnp.where(inside, -_log_slope(xi, sigma, d0, d1), 0)

    return Transformer(3 * num_bins - 1, forward, inverse)


def _within_bin(position: Array) -> Array:
    """Clip a relative position in a bin, which rounding may put just outside [0, 1], without changing gradients."""
    return position + jax.lax.stop_gradient(jnp.clip(position, 0, 1) - position)


def _log_slope(xi: Array, sigma: Array, d0: Array, d1: Array) -> Float[Array, ""]:
    mixed = xi * (1 - xi)
    numerator = d1 * xi**2 + 2 * sigma * mixed + d0 * (1 - xi) ** 2
    return 2 * jnp.log(sigma) + jnp.log(numerator) - 2 * jnp.log(sigma + (d0 + d1 - 2 * sigma) * mixed)
