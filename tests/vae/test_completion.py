"""Completion by a VAE against a linear-Gaussian one, of which p(x_missing | x_observed) is a known normal distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.types import InputError
from gen_jax.vae import complete_by_chain
from tests.contracts.vaes import linear_gaussian_vae

VAE, MARGINAL = linear_gaussian_vae()
EXACT = VAE.init(jax.random.key(0), MARGINAL.mean)
X = np.asarray(MARGINAL.sample(jax.random.key(1)))
OBSERVED = np.array([True, False, True, True, False])
NUM = 2000


def conditional():
    """The mean and the covariance of the missing dimensions given the observed ones."""
    loc, tril = np.asarray(MARGINAL.loc, np.float64), np.asarray(MARGINAL.scale_tril, np.float64)
    covariance, missing = tril @ tril.T, ~OBSERVED
    gain = covariance[np.ix_(missing, OBSERVED)] @ np.linalg.inv(covariance[np.ix_(OBSERVED, OBSERVED)])
    mean = loc[missing] + gain @ (X[OBSERVED] - loc[OBSERVED])
    return mean, covariance[np.ix_(missing, missing)] - gain @ covariance[np.ix_(OBSERVED, missing)]


@functools.partial(jax.jit, static_argnames="chain")
def chains(params, chain):
    run = lambda key: complete_by_chain(VAE, params, key, jnp.asarray(X), jnp.asarray(OBSERVED), 200, chain)
    return jax.vmap(run)(jax.random.split(jax.random.key(2), NUM))


def errors(found):
    """In standard errors: of the mean and of the variance of each missing dimension."""
    mean, covariance = conditional()
    x, variance = np.asarray(found.x, np.float64)[:, ~OBSERVED], np.diag(covariance)
    of_mean = (x.mean(0) - mean) / np.sqrt(variance / NUM)
    return np.concatenate([of_mean, (x.var(0) - variance) / (variance * np.sqrt(2 / NUM))])


@pytest.mark.parametrize("chain", ["metropolis", "gibbs"])
def test_with_the_exact_posterior_both_chains_are_exact(chain):
    found = chains(EXACT, chain)
    np.testing.assert_array_equal(found.x[:, OBSERVED], np.broadcast_to(X[OBSERVED], (NUM, 3)))
    assert np.abs(errors(found)).max() < 4
    assert found.acceptance.min() > 0.999


def test_with_another_one_gibbs_is_biased_and_metropolis_is_not():
    wrong = EXACT | {"shift": jnp.array([0.3, -0.2]), "widen": jnp.float32(1.5)}
    assert np.abs(errors(chains(wrong, "gibbs"))).max() > 10
    right = chains(wrong, "metropolis")
    assert np.abs(errors(right)).max() < 4
    assert 0.2 < right.acceptance.mean() < 0.95


def test_no_steps_are_refused():
    with pytest.raises(InputError, match="num_steps is 0"):
        complete_by_chain(VAE, EXACT, jax.random.key(0), jnp.asarray(X), jnp.asarray(OBSERVED), 0)
