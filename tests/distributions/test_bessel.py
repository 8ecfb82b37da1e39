"""log I_ν(x) against scipy's in float64, where that is finite, and against its power series, where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, ive, logsumexp

from gen_jax.distributions import log_bessel_i
from gen_jax.distributions.bessel import cosine_moments

XS = np.float32([1e-3, 1e-2, 0.1, 0.5, 1.7, 3.0, 8.0, 20.0, 50.0, 100.0, 1e3, 1e4, 1e5, 1e6]).astype(np.float64)
ORDERS = [0.0, 0.25, 0.5, 4.0, 63.0, 127.0]


def exact_log_mgf(order: float, x: np.ndarray) -> np.ndarray:
    """log M(x) = log Γ(ν + 1) I_ν(x) (2/x)^ν = log Σ_k (x/2)^{2k} Γ(ν + 1) / (k! Γ(ν + 1 + k)), in float64."""
    k = np.arange(1, 400)
    terms = 2 * k * np.log(x[:, None] / 2) - gammaln(k + 1) - (gammaln(order + 1 + k) - gammaln(order + 1))
    series = np.log1p(np.exp(logsumexp(np.where(x[:, None] > 100, -1.0, terms), axis=1)))
    with np.errstate(divide="ignore"):
        large = np.log(ive(order, x)) + x + gammaln(order + 1) - order * np.log(x / 2)
    return np.where(x <= 100, series, large)


def exact_ratio(order: float, x: np.ndarray) -> np.ndarray:
    """I_{ν+1}(x) / I_ν(x) = x / (2ν + 2) M_{ν+1}(x) / M_ν(x)."""
    return x / (2 * order + 2) * np.exp(exact_log_mgf(order + 1, x) - exact_log_mgf(order, x))


@pytest.mark.parametrize("order", ORDERS)
def test_values_and_derivatives(order):
    f = lambda x: log_bessel_i(order, x)
    moments = lambda x: cosine_moments(order, x)
    derivatives = jax.jit(
        jax.vmap(lambda x: (f(x), jax.grad(f)(x), jax.grad(jax.grad(f))(x), moments(x), jax.jacfwd(moments)(x)))
    )
    value, slope, curvature, moment, moment_slope = jax.tree.map(np.float64, derivatives(jnp.float32(XS)))
    log_mgf, ratio = exact_log_mgf(order, XS), exact_ratio(order, XS)
    terms = np.stack([order * np.log(XS / 2), np.full_like(XS, gammaln(order + 1)), log_mgf])
    exact = terms[0] - terms[1] + terms[2]
    np.testing.assert_array_less(np.abs(value - exact), 1e-5 * np.abs(terms).max(0))
    np.testing.assert_allclose(slope, order / XS + ratio, rtol=1e-5)
    np.testing.assert_allclose(moment.mean, ratio, rtol=1e-5)
    # Var[cos] = 1 − A² − (2ν + 1) A / x; where float64 has no digits of that left, its limit (2ν + 1) / 2x²
    difference = 1 - ratio**2 - (2 * order + 1) * ratio / XS
    variance = np.where(XS <= 1e3, difference, (order + 0.5) / XS**2)
    rtol = np.where(XS <= 1e3, 1e-4, 1e-4 + (order + 1) / XS)
    np.testing.assert_array_less(np.abs(moment_slope.mean / variance - 1), rtol)
    np.testing.assert_array_less(np.abs(curvature - (variance - order / XS**2)), rtol * (variance + order / XS**2))
    # KL is the integral of x Var[cos], which float64 has from the difference but for small x, where it is x² / (4ν + 4)
    divergence = np.where(XS < 0.05, XS**2 / (4 * order + 4), XS * ratio - log_mgf)
    np.testing.assert_allclose(moment.divergence, divergence, rtol=1e-4)
    np.testing.assert_allclose(moment_slope.divergence, XS * moment_slope.mean, rtol=1e-5)


def test_the_order_may_be_an_array():
    orders = jnp.float32([0.0, 2.5, 63.0])
    ours = jax.jit(jax.vmap(log_bessel_i, in_axes=(0, None)))(orders, jnp.float32(7.0))
    np.testing.assert_allclose(ours, np.log(ive(np.float64(orders), 7.0)) + 7, rtol=1e-5)


def test_moments_at_zero():
    moments = jax.jit(lambda x: (cosine_moments(0.0, x), cosine_moments(63.0, x)))(jnp.float32(0.0))
    for at_zero in moments:
        np.testing.assert_allclose(at_zero, [0, 0, 0, 1, 0], atol=1e-6)


@pytest.mark.parametrize("order", [0.0, 63.0])
def test_third_derivatives_are_the_derivatives_of_the_second(order):
    """By a central difference of A′ = 1 − A² − (2ν + 1) A / x, in float64."""
    x, step = np.array([0.5, 8.0, 50.0]), 1e-4
    prime = lambda x: 1 - exact_ratio(order, x) ** 2 - (2 * order + 1) * exact_ratio(order, x) / x
    wanted = (prime(x + step) - prime(x - step)) / (2 * step)
    ours = jax.jit(jax.vmap(jax.grad(jax.grad(lambda x: cosine_moments(order, x).mean))))(jnp.float32(x))
    np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-6)
