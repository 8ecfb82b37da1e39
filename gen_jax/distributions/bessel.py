"""The logarithm of the modified Bessel function I_ν, and moments of the cosine under a von Mises-Fisher distribution.

Poisson's integral (DLMF 10.32.2) makes I_ν a normaliser: with ν = D/2 − 1,

    I_ν(x) = (x/2)^ν / (√π Γ(ν + ½)) ∫_0^π e^{x cos θ} sin^{2ν} θ dθ = (x/2)^ν / Γ(ν + 1) M(x),

where M(x) = E[e^{x cos θ}], with θ the angle between a uniform point on the sphere S^{D−1} and a fixed axis. I_ν and its
derivatives are means under p(θ) ∝ e^{x cos θ} sin^{2ν} θ. Gauss-Legendre quadrature in a window around the mode of p gives them
without underflow, recurrences or cancellation: in each sum below all terms have the same sign.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Float

from gen_jax.types import Array

NUM_NODES = 40
NUM_WIDTHS = 7.0  # of the window, on each side of the mode


class CosineMoments(NamedTuple):
    """Moments of c = cos θ under p(θ) ∝ e^{x c} sin^{2ν} θ, θ ∈ [0, π], without cancellation."""

    log_mgf: Float[Array, ""]  # log M(x)
    log_mgf_minus_x: Float[Array, ""]  # log M(x) − x
    mean: Float[Array, ""]  # E[c] = I_{ν+1}(x) / I_ν(x)
    one_minus_mean: Float[Array, ""]  # 1 − E[c]
    divergence: Float[Array, ""]  # KL(p ‖ p at x = 0) = x E[c] − log M(x), in nats


def log_bessel_i(order: float | Float[Array, ""], x: Float[Array, ""]) -> Float[Array, ""]:
    """Return log I_ν(x) = ν log(x/2) − log Γ(ν + 1) + log M(x).

    In float32 the error is at most 1e-5 of the largest of these terms, for x from 1e-3 to 1e6 and ν from 0 to 127, where I_ν
    itself leaves the range of float64. It has derivatives of any order in x, none in ν.

    Args:
        order: ν ≥ 0. A Python float gives a more accurate log Γ than an array.
        x: positive.
    """
    log_gamma = _log_gamma(order, 1.0)
    order = jnp.asarray(jax.lax.stop_gradient(order), x.dtype)
    return order * jnp.log(x / 2) - log_gamma + cosine_moments(order, x).log_mgf


def cosine_moments(order: float | Float[Array, ""], x: Float[Array, ""]) -> CosineMoments:
    """Return the moments of cos θ for an order ν ≥ 0 and x ≥ 0, with derivatives in x, none in ν."""
    # log ∫ sin^{2ν} θ dθ = log √π Γ(ν + ½) / Γ(ν + 1), here, where a Python float is not yet traced
    log_uniform = 0.5 * math.log(math.pi) + _log_gamma(order, 0.5) - _log_gamma(order, 1.0)
    order, log_uniform = (jnp.asarray(jax.lax.stop_gradient(a), x.dtype) for a in (order, log_uniform))
    return _cosine_moments(order, log_uniform, x)


@jax.custom_jvp
def _cosine_moments(order: Float[Array, ""], log_uniform: Float[Array, ""], x: Float[Array, ""]) -> CosineMoments:
    nodes, probability, tanh_half, tanh, log_integral = _quadrature(order, x)
    mean = jnp.sum(probability * nodes.cosine * tanh)
    one_minus_mean = jnp.sum(probability * 0.5 * ((1 + tanh) * nodes.versine + (1 - tanh) * (2 - nodes.versine)))
    # near x = 0, log M = −log E[sech(x c)] is small, so it is computed from 1 − sech(x c) = tanh(x c) tanh(x c / 2)
    small = x**2 < 2 * order + 2
    log_mgf_small = -jnp.log1p(-jnp.minimum(jnp.sum(probability * tanh * tanh_half), 0.9))
    log_mgf_large = log_integral - log_uniform
    log_mgf = jnp.where(small, log_mgf_small, log_mgf_large + x)
    log_mgf_minus_x = jnp.where(small, log_mgf_small - x, log_mgf_large)
    divergence = jnp.where(small, x * mean - log_mgf_small, -x * one_minus_mean - log_mgf_large)
    return CosineMoments(log_mgf, log_mgf_minus_x, mean, one_minus_mean, divergence)


@_cosine_moments.defjvp
def _cosine_moments_jvp(primals, tangents):
    order, _, x = primals
    moments, variance, dx = _cosine_moments(*primals), _cosine_variance(order, x), tangents[2]
    slopes = CosineMoments(moments.mean, -moments.one_minus_mean, variance, -variance, x * variance)
    return moments, jax.tree.map(lambda slope: slope * dx, slopes)


def _cosine_variance(order: float | Float[Array, ""], x: Float[Array, ""]) -> Float[Array, ""]:
    """Var[c], as a mean square about the mean: E[c²] − E[c]² would cancel at large x."""
    nodes, probability, _, tanh, _ = _quadrature(order, x)
    plus, minus = probability * 0.5 * (1 + tanh), probability * 0.5 * (1 - tanh)
    mean = jnp.sum(plus * nodes.versine + minus * (2 - nodes.versine))
    return jnp.sum(plus * (nodes.versine - mean) ** 2 + minus * (2 - nodes.versine - mean) ** 2)


class Nodes(NamedTuple):
    """Quadrature weights, and log sin θ, cos θ and 1 − cos θ at the nodes θ."""

    weight: Float[Array, "N"]
    log_sine: Float[Array, "N"]
    cosine: Float[Array, "N"]
    versine: Float[Array, "N"]


def mode_and_width(order: float | Float[Array, ""], x: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the mode of x cos θ + 2ν log sin θ, and the width of its peak, which is at most π/2."""
    ratio = 1 / (order + jnp.sqrt(order**2 + x**2) + 1e-12)  # cos θ_m / x; 1e-12 for x = ν = 0
    cosine = jnp.minimum(x * ratio, 1)
    mode = jnp.arctan2(jnp.sqrt(2 * order * ratio), cosine)
    # between (1 + cos² θ_m) / ratio, the curvature at high orders, and 1 / ratio = x, that at ν = 0
    curvature = (1 + cosine**2 * order / (1 + order)) / ratio
    return mode, jnp.minimum(1 / jnp.sqrt(curvature), np.pi / 2)


def nodes_between(low: Float[Array, ""], high: Float[Array, ""]) -> Nodes:
    """Return `NUM_NODES` nodes and weights of a quadrature on [low, high] ⊂ [0, π]."""
    unit_nodes, unit_weights = (a.astype(low.dtype) for a in _UNIT_RULE)
    length = high - low
    return Nodes(length * unit_weights, *at_angle(low + length * unit_nodes))


def at_angle(angle: Float[Array, "*N"]) -> tuple[Float[Array, "*N"], Float[Array, "*N"], Float[Array, "*N"]]:
    """Return log sin θ, cos θ and 1 − cos θ, the last accurate near θ = 0."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    # log1p is accurate near π/2, where log sin θ is small; high orders need it
    level = jnp.abs(cosine) < 0.5
    log_sine = jnp.where(level, 0.5 * jnp.log1p(-(jnp.where(level, cosine, 0) ** 2)), jnp.log(jnp.where(level, 1, sine)))
    return log_sine, cosine, 2 * jnp.sin(angle / 2) ** 2


def _quadrature(order: float | Float[Array, ""], x: Float[Array, ""]) -> tuple[Nodes, Array, Array, Array, Array]:
    """Return nodes on [0, π/2], and at each P({θ, π − θ}), tanh(x c/2), tanh(x c); and log ∫ e^{x (c − 1)} sin^{2ν} θ dθ.

    The fractions (1 ± tanh(x c)) / 2 of that probability belong to θ and π − θ.
    """
    mode, width = mode_and_width(*jax.lax.stop_gradient((order, x)))
    nodes = nodes_between(jnp.maximum(mode - NUM_WIDTHS * width, 0), jnp.minimum(mode + NUM_WIDTHS * width, np.pi / 2))
    half = jnp.tanh(x * nodes.cosine / 2)
    tanh = 2 * half / (1 + half**2)
    log_density = 2 * order * nodes.log_sine - x * nodes.versine
    top = jax.lax.stop_gradient(jnp.max(log_density))
    mass = nodes.weight * jnp.exp(log_density - top) * 2 / (1 + tanh)  # 1 + e^{−2xc} = 2 / (1 + tanh(xc))
    total = jnp.sum(mass)
    return nodes, mass / total, half, tanh, top + jnp.log(total)


def _log_gamma(order: float | Float[Array, ""], shift: float) -> float | Float[Array, ""]:
    """Log Γ(order + shift)."""
    return math.lgamma(order + shift) if isinstance(order, int | float) else gammaln(order + shift)


def _unit_rule() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights in s, with u = s² (3 − 2s), which smooths θ^{2ν} at θ = 0 if 2ν is not an integer."""
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    nodes, weights = (nodes + 1) / 2, weights / 2
    return nodes**2 * (3 - 2 * nodes), 6 * nodes * (1 - nodes) * weights


_UNIT_RULE = _unit_rule()
