"""The linear-Gaussian VAE, whose log p(x) is known: the bound, the weights and the estimator against it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.distributions import kl_divergence
from gen_jax.evaluate import example_keys, importance_weighted, map_examples
from gen_jax.vae import elbo_terms, log_weight
from tests.contracts.vaes import linear_gaussian_vae

VAE, MARGINAL = linear_gaussian_vae()
EXACT = VAE.init(jax.random.key(0), MARGINAL.mean)
LOOSE = {"shift": jnp.array([0.1, -0.1]), "widen": jnp.float32(1.3)}
XS = jax.vmap(MARGINAL.sample)(jax.random.split(jax.random.key(1), 20))
LOG_P = jax.vmap(MARGINAL.log_prob)(XS)


def test_the_elbo_with_the_exact_posterior_is_log_p():
    """The reconstruction varies with z, so it takes the mean over z; the weight log p(x, z) − log q(z|x) does not vary."""
    keys = jax.random.split(jax.random.key(2), len(XS))
    weights = jax.vmap(lambda k, x: log_weight(VAE, EXACT, k, x))(keys, XS)
    np.testing.assert_allclose(weights, LOG_P, atol=1e-4)

    def mean_elbo(x):  # E_q[log p(x|z)] in closed form: the log-likelihood at the mean, less tr(Wᵀ W S) / 2σ²
        posterior = VAE.encode(EXACT, x)
        likelihood = VAE.decode(EXACT, posterior.mean)
        weights = jax.jacobian(lambda z: VAE.decode(EXACT, z).mean)(posterior.mean)
        spread = jnp.sum((weights @ posterior.scale_tril) ** 2) / (2 * likelihood.scale[0] ** 2)
        return likelihood.log_prob(x) - spread - elbo_terms(VAE, EXACT, jax.random.key(0), x).kl

    np.testing.assert_allclose(jax.vmap(mean_elbo)(XS), LOG_P, atol=1e-4)


def test_the_elbo_of_another_posterior_is_lower_by_its_kl():
    """log p(x) − ELBO = KL(q(z|x) ‖ p(z|x)), within four standard errors of the mean over z."""
    x = XS[0]
    keys = jax.random.split(jax.random.key(3), 50_000)
    elbos = np.asarray(jax.vmap(lambda k: elbo_terms(VAE, LOOSE, k, x).elbo)(keys), np.float64)
    gap = kl_divergence(VAE.encode(LOOSE, x), VAE.encode(EXACT, x))
    assert gap > 0.1
    assert abs(LOG_P[0] - elbos.mean() - gap) < 4 * elbos.std() / np.sqrt(len(keys))


@pytest.mark.parametrize(("num_samples", "chunk_size"), [(2000, 100), (777, 100), (400, 1000)])
def test_the_importance_weighted_estimate_is_log_p_within_three_standard_errors(num_samples, chunk_size):
    def estimate(params, key, x):
        return importance_weighted(lambda k: log_weight(VAE, params, k, x), key, num_samples, chunk_size)

    keys = example_keys(jax.random.key(4), len(XS))
    log_prob, standard_error, ess = jax.jit(lambda p: map_examples(estimate, p, keys, XS, 8))(LOOSE)
    assert np.all(np.abs(log_prob - LOG_P) < 3 * standard_error + 1e-4)
    assert np.all((ess > 0.4 * num_samples) & (ess < num_samples))
    # and the mean over the examples, whose error is far smaller, so that a bias would show
    mean_error = abs(np.mean(log_prob - LOG_P))
    assert mean_error < 3 * np.sqrt(np.sum(standard_error**2)) / len(XS)


def test_the_exact_posterior_has_equal_weights():
    estimate = importance_weighted(lambda k: log_weight(VAE, EXACT, k, XS[0]), jax.random.key(5), 500)
    np.testing.assert_allclose(estimate.log_prob, LOG_P[0], atol=1e-4)
    np.testing.assert_allclose(estimate.effective_sample_size, 500, rtol=1e-3)
    assert estimate.standard_error < 1e-3


@pytest.mark.slow
def test_the_bound_grows_with_k_and_stays_below_log_p():
    """L_1 ≤ L_2 ≤ L_8 ≤ L_64 ≤ log p(x) in expectation, over repetitions of the estimate."""
    x, repetitions = XS[0], 4000

    def bound(num_samples):
        keys = jax.random.split(jax.random.key(6), repetitions)
        values = jax.vmap(lambda k: importance_weighted(lambda kk: log_weight(VAE, LOOSE, kk, x), k, num_samples).log_prob)(keys)
        return np.asarray(values, np.float64)

    bounds = [bound(k) for k in (1, 2, 8, 64)]
    means = [b.mean() for b in bounds]
    errors = [b.std() / np.sqrt(repetitions) for b in bounds]
    assert means[0] < means[1] < means[2] < means[3]
    assert means[1] - means[0] > 4 * (errors[0] + errors[1])
    assert means[3] < LOG_P[0] + 4 * errors[3]


def test_the_estimate_does_not_depend_on_the_chunk_size():
    estimates = [
        importance_weighted(lambda k: log_weight(VAE, LOOSE, k, XS[0]), jax.random.key(8), 60, chunk) for chunk in (1, 7, 60)
    ]
    for other in estimates[1:]:
        np.testing.assert_allclose(other, estimates[0], rtol=1e-5)
