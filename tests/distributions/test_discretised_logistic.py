"""Masses of the discretised logistic distribution over all its levels."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from gen_jax.distributions import DiscretisedLogistic
from tests.contracts.distributions import discretised_masses

LEVELS = jnp.arange(256, dtype=jnp.float32) / 255
PAIRS = np.array(list(itertools.product([-10.0, 0.0, 0.3, 1.0, 10.0], [1e-4, 1e-2, 0.3, 1e3])))


@jax.jit
@jax.vmap
def of_all_levels(loc, scale):
    """[256] log-masses, and their gradients in loc and scale."""
    log_mass = lambda loc, scale, x: DiscretisedLogistic(loc, scale).log_prob(x)
    return jax.vmap(jax.value_and_grad(log_mass, argnums=(0, 1)), (None, None, 0))(loc, scale, LEVELS)


def test_masses_sum_to_one_and_have_finite_gradients():
    log_masses, gradients = of_all_levels(*jnp.float32(PAIRS.T))
    np.testing.assert_allclose(jnp.exp(log_masses).sum(axis=1), 1.0, rtol=1e-4)
    chex.assert_tree_all_finite((log_masses, gradients))


def test_masses_are_differences_of_scipys_cdf():
    loc, scale = np.array([0.3, 0.5, 1.0, 0.0]), np.array([0.05, 0.3, 1e3, 0.02])
    ours, _ = of_all_levels(jnp.float32(loc), jnp.float32(scale))
    np.testing.assert_allclose(jnp.exp(ours), discretised_masses(loc, scale), rtol=1e-4)


def test_log_prob_falls_linearly_far_from_loc():
    """A hundred scales away it is about −100 nats, where a difference of sigmoids would be 0."""
    log_mass = DiscretisedLogistic(jnp.array([0.0]), jnp.array([0.005])).log_prob(jnp.array([0.6]))
    bin_width = 1 / 255 / 0.005
    np.testing.assert_allclose(log_mass, -120 + np.log(2 * np.sinh(bin_width / 2)), rtol=1e-4)


def test_samples_have_the_masses(key):
    masses = discretised_masses(np.array([0.1]), np.array([0.03]))[0]
    distribution = DiscretisedLogistic(jnp.float32(0.1), jnp.float32(0.03))
    draws = np.rint(255 * np.float64(jax.vmap(distribution.sample)(jax.random.split(key, 20_000)))).astype(int)
    counts, expected = np.bincount(draws, minlength=256)[:60], 20_000 * masses[:60]
    counts, expected = np.append(counts, 20_000 - counts.sum()), np.append(expected, 20_000 - expected.sum())
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3


def test_the_mean_is_that_of_the_levels_but_for_half_a_bin():
    loc, scale = PAIRS.T
    exact = discretised_masses(loc, scale) @ np.float64(LEVELS)
    ours = DiscretisedLogistic(jnp.float32(loc), jnp.float32(scale)).mean
    np.testing.assert_array_less(np.abs(ours - exact), np.where(scale < 5e-3, 0.5 / 255 + 1e-6, 2e-4))
