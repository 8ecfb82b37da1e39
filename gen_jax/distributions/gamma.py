"""Shared by `Beta` and `PowerSpherical`: gamma samples in logs, and accurate differences of log Γ."""

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Float

from gen_jax.distributions.implicit import with_implicit_derivative
from gen_jax.types import Array, Key

SHIFT = 8  # Stirling's series is used above it


def sample_log_gamma(key: Key, shape: Float[Array, "*event"]) -> Float[Array, "*event"]:
    """Draw log G, G ~ Gamma(a, 1), with the implicit derivative dG/da = −(∂F/∂a) / p (Figurnov et al. 2018, arXiv:1805.08498).

    JAX computes it for G > e^{−20}. Below, where G may underflow, F = G^a / Γ(a + 1) gives d log G / da = (ψ(a + 1) − log G) / a.
    """
    log_value = jax.random.loggamma(key, jax.lax.stop_gradient(shape), dtype=shape.dtype)
    return with_implicit_derivative(_log_gamma_slope, log_value, shape)


def _log_gamma_slope(log_value: Float[Array, "*event"], shape: Float[Array, "*event"]) -> Float[Array, "*event"]:
    """Return d log G / da."""
    value = jnp.exp(jnp.maximum(log_value, -20))
    small = (digamma(shape + 1) - log_value) / shape
    return jnp.where(log_value < -20, small, jax.lax.random_gamma_grad(shape, value) / value)


def log_gamma_divergence(
    a: Float[Array, "*event"], b: Float[Array, "*event"], step: Float[Array, "*event"]
) -> Float[Array, "*event"]:
    """Return log Γ(b) − log Γ(a) − (b − a) ψ(a) ≥ 0 for positive a and b, the Bregman divergence of log Γ.

    For b near a it is much smaller than its terms. To avoid the cancellation it is computed as a sum of terms in (b − a)², by the
    recurrence of Γ up to x = a + 8, y = b + 8, and Stirling's series to x⁻³.

    Args:
        a: where log Γ is linearised.
        b: where it is evaluated.
        step: b − a, an argument because computing it here would lose digits.
    """
    shifts = [_u_minus_log1p(step, a + k, b + k) for k in range(SHIFT)]
    x, y = a + SHIFT, b + SHIFT
    close = jnp.abs(step) < 0.3 * x
    near = jnp.where(close, step, 0)
    by_series = near**2 / x - (y - 0.5) * _u_minus_log1p(near, x, y)
    by_logs = (y - 0.5) * (jnp.log(y) - jnp.log(x)) - step + step / (2 * x)
    corrections = step**2 / (12 * x**2 * y) - (step / x**2) ** 2 * (3 / y + 2 * x / y**2 + x**2 / y**3) / 360
    return sum(shifts) + jnp.where(close, by_series, by_logs) + corrections


def _u_minus_log1p(step: Float[Array, "*event"], a: Float[Array, "*event"], b: Float[Array, "*event"]) -> Float[Array, "*event"]:
    """Return u − log(1 + u) for u = step / a = b / a − 1."""
    close = jnp.abs(step) < 0.3 * a
    # log(b / a) = 2 atanh s with s = step / (a + b), and u = 2 s / (1 − s)
    s = jnp.where(close, step, 0) / (a + b)
    by_series = 2 * s**2 / (1 - s) - 2 * s**3 * (1 / 3 + s**2 * (1 / 5 + s**2 * (1 / 7 + s**2 * (1 / 9 + s**2 / 11))))
    return jnp.where(close, by_series, step / a - (jnp.log(b) - jnp.log(a)))
