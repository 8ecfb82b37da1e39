"""Distributions on the sphere against scipy's, against quadrature of the angle's density in float64, and by their gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gen_jax.distributions import PowerSpherical, UniformSphere, VonMisesFisher, kl_divergence
from gen_jax.distributions.von_mises_fisher import _angle_gradient

ANGLES = np.linspace(1e-9, np.pi - 1e-9, 100_001)


def unit_vector(dim: int, seed: int = 0) -> np.ndarray:
    direction = np.random.default_rng(seed).normal(size=dim)
    return direction / np.linalg.norm(direction)


def vmf(dim: int, concentration: float) -> VonMisesFisher:
    return VonMisesFisher(jnp.float32(unit_vector(dim)), jnp.float32(concentration))


def angle_density(dim: int, concentration: float) -> np.ndarray:
    """Of the angle to loc at ANGLES, under a von Mises-Fisher distribution."""
    log_density = concentration * np.cos(ANGLES) + (dim - 2) * np.log(np.sin(ANGLES))
    density = np.exp(log_density - log_density.max())
    return density / np.trapezoid(density, ANGLES)


def angle_cdf(dim: int, concentration: float) -> np.ndarray:
    density = angle_density(dim, concentration)
    cdf = np.append(0, np.cumsum(density[1:] + density[:-1]))
    return cdf / cdf[-1]


def cosine_moments(family, dim: int, concentration: float) -> tuple[float, float]:
    """E[t], E[t²] of t = loc · x."""
    if family is PowerSpherical:
        half_above = scipy.stats.beta((dim - 1) / 2 + concentration, (dim - 1) / 2)
        return 2 * half_above.mean() - 1, 4 * half_above.moment(2) - 4 * half_above.mean() + 1
    weights = angle_density(dim, concentration)
    weights /= weights.sum()
    return weights @ np.cos(ANGLES), weights @ np.cos(ANGLES) ** 2


@pytest.mark.parametrize(("dim", "concentration"), [(2, 0.5), (128, 20.0)])
def test_log_prob_is_scipys(dim, concentration):
    distribution = vmf(dim, concentration)
    x, log_probs = jax.jit(jax.vmap(distribution.sample_and_log_prob))(jax.random.split(jax.random.key(1), 100))
    x = np.concatenate([np.float64(x), [unit_vector(dim), -unit_vector(dim), unit_vector(dim, 1)]])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    wanted = scipy.stats.vonmises_fisher(unit_vector(dim), concentration).logpdf(x)
    ours = jax.jit(jax.vmap(distribution.log_prob))(jnp.float32(x))
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(log_probs, wanted[:100], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical])
def test_densities_integrate_to_one(family, key):
    circle = jnp.linspace(-jnp.pi, jnp.pi, 1001)[:-1]
    on_circle = family(jnp.array([0.6, 0.8]), jnp.float32(3.0))
    densities = jnp.exp(jax.jit(jax.vmap(on_circle.log_prob))(jnp.stack([jnp.cos(circle), jnp.sin(circle)], axis=1)))
    np.testing.assert_allclose(jnp.mean(densities) * 2 * np.pi, 1.0, rtol=1e-5)
    uniform = UniformSphere(10)
    x = jax.jit(jax.vmap(uniform.sample))(jax.random.split(key, 20_000))
    ours = jax.jit(jax.vmap(family(jnp.float32(unit_vector(10)), jnp.float32(4.0)).log_prob))(x)
    ratios = np.float64(jnp.exp(ours - uniform.log_prob(x[0])))
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / np.sqrt(len(ratios))


@pytest.mark.parametrize("dim", [2, 3, 10, 128])
def test_samples_have_the_angle_and_the_uniform_direction_about_loc(dim, key):
    loc, other = unit_vector(dim), unit_vector(dim, 1)
    across = other - loc * (loc @ other)
    across /= np.linalg.norm(across)
    draw = jax.jit(jax.vmap(lambda concentration, key: vmf(dim, concentration).sample(key), in_axes=(None, 0)))
    for concentration in (1e-3, 0.5, 20.0, 300.0, 1e5):
        x = np.float64(draw(jnp.float32(concentration), jax.random.split(key, 4000)))
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
        angle = 2 * np.arcsin(np.minimum(np.linalg.norm(x - np.float64(np.float32(loc)), axis=1) / 2, 1))
        cdf = angle_cdf(dim, concentration)
        assert scipy.stats.kstest(angle, lambda a, cdf=cdf: np.interp(a, ANGLES, cdf)).pvalue > 1e-3
        # the direction about loc is uniform on a sphere of one dimension less, and so is its cosine to a fixed one
        cosine = (x @ across) / np.maximum(np.sin(angle), 1e-12)
        if dim == 2:
            assert scipy.stats.binomtest(int((cosine > 0).sum()), len(x)).pvalue > 1e-3
        else:
            marginal = scipy.stats.beta((dim - 2) / 2, (dim - 2) / 2)
            assert scipy.stats.kstest(np.clip((1 + cosine) / 2, 0, 1), marginal.cdf).pvalue > 1e-3


def test_samples_of_a_power_spherical_have_its_cosine(key):
    distribution = PowerSpherical(jnp.float32(unit_vector(5)), jnp.float32(7.0))
    x = jax.jit(jax.vmap(distribution.sample))(jax.random.split(key, 4000))
    assert scipy.stats.kstest((1 + np.float64(x) @ unit_vector(5)) / 2, scipy.stats.beta(2 + 7, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_the_derivative_of_the_angle_in_the_concentration_is_implicit(dim):
    """dθ/dκ = −(∂F/∂κ) / p, by a central difference of F in float64."""
    gradient = jax.jit(jax.vmap(lambda a, k: _angle_gradient(jnp.float32(dim / 2 - 1), a, k), in_axes=(0, None)))
    for concentration in (0.5, 20.0, 300.0):
        step = 1e-4 * concentration
        slope = (angle_cdf(dim, concentration + step) - angle_cdf(dim, concentration - step)) / (2 * step)
        at = np.searchsorted(angle_cdf(dim, concentration), [1e-3, 0.05, 0.3, 0.5, 0.7, 0.95, 0.999])
        wanted = -slope[at] / angle_density(dim, concentration)[at]
        np.testing.assert_allclose(gradient(jnp.float32(ANGLES[at]), jnp.float32(concentration)), wanted, rtol=2e-3)


@pytest.mark.parametrize(
    ("family", "dim"),
    [(VonMisesFisher, 2), (VonMisesFisher, 3), (VonMisesFisher, 10), pytest.param(PowerSpherical, 3, marks=pytest.mark.slow)],
)
def test_pathwise_gradients_are_those_of_the_expectation(family, dim, key):
    """E[a·x + (a·x)²] = E[t] m + E[t²] m² + (1 − E[t²]) (1 − m²) / (D − 1), m = a · loc, for a unit vector a."""
    a, loc, turn = (unit_vector(dim, seed) for seed in range(3))

    def exact(concentration, shift):
        moved = loc + shift * turn
        m = a @ moved / np.linalg.norm(moved)
        first, second = cosine_moments(family, dim, concentration)
        return first * m + second * m**2 + (1 - second) * (1 - m**2) / (dim - 1)

    def of_one_sample(concentration, shift, key):
        moved = jnp.float32(loc) + shift * jnp.float32(turn)
        dot = jnp.sum(jnp.float32(a) * family(moved / jnp.linalg.norm(moved), concentration).sample(key))
        return dot + dot**2

    pathwise = jax.jit(jax.vmap(jax.grad(of_one_sample, argnums=(0, 1)), in_axes=(None, None, 0)))
    for concentration in (0.5, 20.0, 300.0):
        h = 1e-3 * concentration
        by_concentration = (exact(concentration + h, 0) - exact(concentration - h, 0)) / (2 * h)
        by_shift = (exact(concentration, 1e-4) - exact(concentration, -1e-4)) / 2e-4
        gradients = np.float64(pathwise(jnp.float32(concentration), jnp.float32(0), jax.random.split(key, 3000)))
        standard_error = gradients.std(axis=1) / np.sqrt(gradients.shape[1])
        assert np.all(np.abs(gradients.mean(axis=1) - [by_concentration, by_shift]) < 4 * standard_error)


@pytest.mark.parametrize(
    ("family", "dim"),
    [
        pytest.param(VonMisesFisher, 2, marks=pytest.mark.slow),
        pytest.param(VonMisesFisher, 10, marks=pytest.mark.slow),
        (VonMisesFisher, 128),
        pytest.param(PowerSpherical, 2, marks=pytest.mark.slow),
        pytest.param(PowerSpherical, 128, marks=pytest.mark.slow),
    ],
)
def test_everything_is_finite_from_almost_uniform_to_almost_a_point(family, dim, key):
    loc = jnp.zeros(dim).at[0].set(1.0)  # where a Householder reflection would be 0/0

    def terms(loc, concentration, key):
        q = family(loc, concentration)
        value, log_q = q.sample_and_log_prob(key)
        return log_q + kl_divergence(q, UniformSphere(dim)) + jnp.sum(value) + jnp.sum(q.mean)

    at = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(terms, argnums=(0, 1)), (None, None, 0)), (None, 0, None)))
    chex.assert_tree_all_finite(at(loc, 10.0 ** jnp.arange(-3.0, 7.0), jax.random.split(key, 50)))


@pytest.mark.parametrize("dim", [2, 128])
def test_the_divergence_of_a_power_spherical_is_its_formula(dim):
    """log |S| − H, with H of De Cao & Aziz (2020), in float64."""
    concentration = np.float32([1e-3, 0.1, 3.0, 50.0, 1e3])
    q = lambda k: PowerSpherical(jnp.float32(unit_vector(dim)), k)
    divergence = jax.jit(jax.vmap(jax.value_and_grad(lambda k: kl_divergence(q(k), UniformSphere(dim)))))
    kl, slope = divergence(jnp.asarray(concentration))
    k, b = concentration.astype(float), (dim - 1) / 2
    a, gammaln = k + b, scipy.special.gammaln
    log_mean_power = k * np.log(2) + gammaln(a) + gammaln(2 * b) - gammaln(a + b) - gammaln(b)
    mean_log = np.log(2) + scipy.special.digamma(a) - scipy.special.digamma(a + b)
    np.testing.assert_allclose(kl, k * mean_log - log_mean_power, rtol=1e-4, atol=1e-11)
    np.testing.assert_allclose(slope, k * (scipy.special.polygamma(1, a) - scipy.special.polygamma(1, a + b)), rtol=1e-4)


def test_a_concentration_that_is_no_number_ends_the_rejection_loop(key):
    assert np.isnan(jax.jit(vmf(3, np.nan).sample)(key)).all()
