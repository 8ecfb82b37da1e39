"""Completion by a VAE against a linear-Gaussian one, of which p(x_missing | x_observed) is a known normal distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import multivariate_normal

from gen_jax.distributions import MultivariateNormal
from gen_jax.evaluate import estimate_from, weighted_mean
from gen_jax.types import InputError
from gen_jax.vae import complete_by_chain, weighted_completions
from tests.contracts.vaes import linear_gaussian_vae

VAE, MARGINAL = linear_gaussian_vae()
EXACT = VAE.init(jax.random.key(0), MARGINAL.mean)
X = np.asarray(MARGINAL.sample(jax.random.key(1)))
OBSERVED = np.array([True, False, True, True, False])
NUM = 2000
WRONG = EXACT | {"shift": jnp.array([0.3, -0.2]), "widen": jnp.float32(1.5)}
WIDE = EXACT | {"shift": jnp.array([0.1, -0.1]), "widen": jnp.float32(2.0)}  # so that weights are bounded
LOC, TRIL = np.asarray(MARGINAL.loc, np.float64), np.asarray(MARGINAL.scale_tril, np.float64)
LOG_P_OBSERVED = multivariate_normal(LOC[OBSERVED], (TRIL @ TRIL.T)[np.ix_(OBSERVED, OBSERVED)]).logpdf(X[OBSERVED])


def conditional():
    """The mean and the covariance of the missing dimensions given the observed ones."""
    loc, covariance, missing = LOC, TRIL @ TRIL.T, ~OBSERVED
    gain = covariance[np.ix_(missing, OBSERVED)] @ np.linalg.inv(covariance[np.ix_(OBSERVED, OBSERVED)])
    mean = loc[missing] + gain @ (X[OBSERVED] - loc[OBSERVED])
    return mean, covariance[np.ix_(missing, missing)] - gain @ covariance[np.ix_(OBSERVED, missing)]


@functools.partial(jax.jit, static_argnames="chain")
def chains(params, chain):
    run = lambda key: complete_by_chain(VAE, params, key, jnp.asarray(X), jnp.asarray(OBSERVED), 100, chain)
    return jax.vmap(run)(jax.random.split(jax.random.key(2), NUM))


def errors(x, moments):
    """In standard errors: of the mean and of the variance of each missing dimension."""
    mean, covariance = moments
    x, variance = np.asarray(x, np.float64)[:, ~OBSERVED], np.diag(covariance)
    of_mean = (x.mean(0) - mean) / np.sqrt(variance / len(x))
    return np.concatenate([of_mean, (x.var(0) - variance) / (variance * np.sqrt(2 / len(x)))])


def limit_of_pseudo_gibbs(params):
    """The moments of the stationary distribution of x_missing' = W (G x + s + noise) + b + noise, a linear recursion."""
    posterior, likelihood = VAE.encode(params, jnp.asarray(X)), VAE.decode(params, jnp.zeros(2))
    gain = np.asarray(jax.jacobian(lambda x: VAE.encode(params, x).loc)(jnp.asarray(X)), np.float64)
    weights = np.asarray(jax.jacobian(lambda z: VAE.decode(params, z).mean)(jnp.zeros(2)), np.float64)[~OBSERVED]
    step, tril = weights @ gain[:, ~OBSERVED], np.asarray(posterior.scale_tril, np.float64)
    noise = weights @ tril @ tril.T @ weights.T + np.diag(np.asarray(likelihood.scale, np.float64)[~OBSERVED] ** 2)
    moved = weights @ (np.asarray(posterior.loc, np.float64) - gain[:, ~OBSERVED] @ X[~OBSERVED]) + LOC[~OBSERVED]
    return np.linalg.solve(np.eye(2) - step, moved), solve_discrete_lyapunov(step, noise)


@pytest.mark.parametrize("chain", ["metropolis", "gibbs"])
def test_with_the_exact_posterior_both_chains_are_exact(chain):
    found = chains(EXACT, chain)
    np.testing.assert_array_equal(found.x[:, OBSERVED], np.broadcast_to(X[OBSERVED], (NUM, 3)))
    assert np.abs(errors(found.x, conditional())).max() < 3
    assert found.acceptance.min() > 0.999
    np.testing.assert_allclose(limit_of_pseudo_gibbs(EXACT)[0], conditional()[0], rtol=1e-4)
    np.testing.assert_allclose(limit_of_pseudo_gibbs(EXACT)[1], conditional()[1], rtol=1e-4)


def test_with_another_one_gibbs_has_a_known_bias_and_metropolis_has_none():
    biased = chains(WRONG, "gibbs")
    assert np.abs(errors(biased.x, conditional())).max() > 10
    assert np.abs(errors(biased.x, limit_of_pseudo_gibbs(WRONG))).max() < 3
    right = chains(WRONG, "metropolis")
    assert np.abs(errors(right.x, conditional())).max() < 3
    assert 0.2 < right.acceptance.mean() < 0.95


def test_no_steps_are_refused():
    with pytest.raises(InputError, match="num_steps is 0"):
        complete_by_chain(VAE, EXACT, jax.random.key(0), jnp.asarray(X), jnp.asarray(OBSERVED), 0)


@functools.partial(jax.jit, static_argnames=("num_samples", "drawn"))
def weighted(params, keys, num_samples, drawn=False):
    """Weighted completions for each key, from two fixed fillings, or from the ends of three short chains."""
    x, observed = jnp.asarray(X).at[1].set(jnp.nan), jnp.asarray(OBSERVED)  # what is not observed does not matter

    def run(key):
        filling_key, draw_key = jax.random.split(key)
        end = lambda key: complete_by_chain(VAE, params, key, x, observed, 5, "gibbs").x
        fillings = jax.vmap(end)(jax.random.split(filling_key, 3)) if drawn else jnp.stack([0 * MARGINAL.loc, MARGINAL.loc])
        return weighted_completions(VAE, params, draw_key, x, observed, fillings, num_samples)

    return jax.vmap(run)(keys)


@pytest.mark.parametrize("drawn", [False, True])
def test_the_mean_weight_is_the_likelihood_of_what_is_observed(drawn):
    """Over many runs of few samples: also where the fillings are drawn, with other keys."""
    found = weighted(WIDE, jax.random.split(jax.random.key(3), NUM), 10, drawn)
    ratios = np.exp(np.asarray(found.log_weights, np.float64) - LOG_P_OBSERVED).mean(axis=1)
    assert abs(ratios.mean() - 1) < 3 * ratios.std() / np.sqrt(NUM)
    assert ratios.std() / np.sqrt(NUM) < 0.03
    np.testing.assert_array_equal(found.x[0, :, OBSERVED].T, np.broadcast_to(X[OBSERVED], (10, 3)))


@pytest.mark.slow
def test_estimates_are_right_within_their_standard_errors_and_these_cover():
    """Of log p(x_observed) and E[x_missing | x_observed]: within 1.96 standard errors in 95 % of 1,000 runs."""
    found = weighted(WIDE, jax.random.split(jax.random.key(4), 1000), 400)
    likelihood = jax.vmap(estimate_from)(found.log_weights)
    mean = jax.vmap(weighted_mean)(found.log_weights, found.means)
    off = (np.asarray(likelihood.log_prob, np.float64) - LOG_P_OBSERVED) / np.asarray(likelihood.standard_error)
    assert np.mean(np.abs(off) < 1.96) == pytest.approx(0.95, abs=0.025)
    assert np.abs(off[:20]).max() < 4
    assert (likelihood.effective_sample_size > 40).all()
    of_mean = (np.asarray(mean.mean, np.float64)[:, ~OBSERVED] - conditional()[0]) / np.asarray(mean.standard_error)[:, ~OBSERVED]
    np.testing.assert_allclose(np.mean(np.abs(of_mean) < 1.96, axis=0), 0.95, atol=0.025)
    assert np.abs(of_mean[:20]).max() < 4
    np.testing.assert_allclose(mean.mean[:, OBSERVED], np.broadcast_to(X[OBSERVED], (1000, 3)), rtol=1e-5)
    # with draws in place of their expectations the same is estimated, less well
    rougher = jax.vmap(weighted_mean)(found.log_weights, found.x)
    off = (rougher.mean - mean.mean)[:, ~OBSERVED] / rougher.standard_error[:, ~OBSERVED]
    assert np.abs(off).max() < 5
    assert (rougher.standard_error > mean.standard_error)[:, ~OBSERVED].mean() > 0.99


@pytest.mark.slow
def test_resampled_completions_are_draws_of_the_conditional():
    keys, choices = jax.random.split(jax.random.key(5), (2, NUM))
    found = weighted(WIDE, keys, 400)
    drawn = jax.vmap(lambda key, one: one.resample(key, 1)[0])(choices, found)
    assert np.abs(errors(drawn, conditional())).max() < 3
    assert np.abs(errors(found.x[:, 0], conditional())).max() > 10  # as they are drawn, without the weights


def test_what_cannot_be_weighed_is_refused():
    x, observed = jnp.asarray(X), jnp.asarray(OBSERVED)
    with pytest.raises(InputError, match="num_samples is 0"):
        weighted_completions(VAE, EXACT, jax.random.key(0), x, observed, x[None], 0)
    dependent = VAE._replace(decode=lambda params, z, context=None: MultivariateNormal(jnp.zeros(5), jnp.eye(5)))
    with pytest.raises(InputError, match=r"p\(x\|z\) is a MultivariateNormal, and .*: give one of Normal, .*Bernoulli"):
        weighted_completions(dependent, EXACT, jax.random.key(0), x, observed, x[None], 10)
