"""Beta variables far out, and the special functions of their divergence, against scipy in float64."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import betaln, digamma, gammaln, polygamma

from gen_jax.distributions import Beta, kl_divergence
from gen_jax.distributions.gamma import log_gamma_divergence

ALPHA, BETA = np.float32([0.05, 0.5, 2.0, 40.0]), np.float32([0.5, 0.3, 3.0, 7.0])
SIZES = [1e-2, 0.5, 3.0, 100.0, 1e4]


def test_samples_are_scipys(key):
    x = np.float64(jax.jit(jax.vmap(Beta(jnp.asarray(ALPHA), jnp.asarray(BETA)).sample))(jax.random.split(key, 4000)))
    for i in range(len(ALPHA)):
        assert scipy.stats.kstest(x[:, i], scipy.stats.beta(ALPHA[i], BETA[i]).cdf).pvalue > 1e-3


def test_a_density_integrates_to_one():
    x = jnp.linspace(0, 1, 10_001)[:-1] + 0.5e-4
    densities = jnp.exp(jax.vmap(Beta(jnp.array([2.5]), jnp.array([1.5])).log_prob)(x[:, None]))
    np.testing.assert_allclose(jnp.mean(densities), 1.0, rtol=1e-5)


def test_pathwise_gradients_are_those_of_the_expectation(key):
    """Of E[log x] = ψ(α) − ψ(α + β) and E[x] = α / (α + β)."""
    alpha, beta = np.float64([0.5, 2.0, 50.0]), np.float64([0.7, 3.0, 5.0])

    def functions(alpha, beta, key):
        x = Beta(alpha, beta).sample(key)
        return jnp.stack([jnp.log(x), x])

    one_element = lambda a, b, key: functions(a[None], b[None], key)[:, 0]
    of_elements = jax.vmap(jax.jacfwd(one_element, argnums=(0, 1)), (0, 0, None))
    of_samples = jax.jit(jax.vmap(of_elements, (None, None, 0)))
    by_alpha, by_beta = of_samples(jnp.float32(alpha), jnp.float32(beta), jax.random.split(key, 10_000))
    total = alpha + beta
    wanted_alpha = np.stack([polygamma(1, alpha) - polygamma(1, total), beta / total**2], axis=1)
    wanted_beta = np.stack([-polygamma(1, total), -alpha / total**2], axis=1)
    for gradients, wanted in ((np.float64(by_alpha), wanted_alpha), (np.float64(by_beta), wanted_beta)):
        assert np.all(np.abs(gradients.mean(0) - wanted) < 4 * gradients.std(0) / 100)


def test_everything_is_finite_and_inside_the_unit_interval(key):
    alpha, beta = (jnp.float32(a) for a in np.transpose(list(itertools.product(SIZES, repeat=2))))

    def terms(alpha, beta, key):
        value, log_q = Beta(alpha, beta).sample_and_log_prob(key)
        return log_q + jnp.sum(jnp.log(value) + jnp.log1p(-value)), value

    evaluate = jax.jit(jax.vmap(jax.value_and_grad(terms, argnums=(0, 1), has_aux=True), (None, None, 0)))
    (log_q, value), gradients = evaluate(alpha, beta, jax.random.split(key, 100))
    chex.assert_tree_all_finite((log_q, gradients))
    assert value.min() > 0
    assert value.max() < 1


def test_divergences_are_scipys_and_finite_for_sizes_far_apart():
    rows = np.float32(list(itertools.product(SIZES, repeat=4)))
    kl = jax.jit(jax.vmap(jax.value_and_grad(lambda r: kl_divergence(Beta(r[:1], r[1:2]), Beta(r[2:3], r[3:])))))
    ours, gradients = kl(jnp.asarray(rows))
    a, b, c, d = np.float64(rows).T
    wanted = betaln(c, d) - betaln(a, b) + (a - c) * digamma(a) + (b - d) * digamma(b) + (c - a + d - b) * digamma(a + b)
    np.testing.assert_allclose(ours, wanted, rtol=2e-3, atol=1e-3)
    chex.assert_tree_all_finite(gradients)


@pytest.mark.parametrize("step", [-0.009, -1e-4, 1e-3, 0.2, 5.0, 1e4])
def test_the_divergence_of_log_gamma(step):
    a = np.array([0.01, 0.7, 10.0, 300.0, 1e4])
    ours = log_gamma_divergence(*(jnp.float32(v) for v in (a, a + step, np.full(5, step))))
    exact = gammaln(a + step) - gammaln(a) - step * digamma(a)
    # where float64 has lost it in the difference of two log Γ, its first terms
    near = 0.5 * step**2 * polygamma(1, a) + step**3 / 6 * polygamma(2, a)
    np.testing.assert_allclose(ours, np.where(np.abs(step) < 1e-3 * a, near, exact), rtol=1e-4)
