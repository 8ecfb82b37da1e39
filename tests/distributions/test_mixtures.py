"""Categorical and normal-mixture distributions against numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gen_jax.distributions import Categorical, NormalMixture

LOGITS = np.array([[0.5, -1.0, 2.0], [0.0, 3.0, -2.0]])
LOC = np.array([[0.0, -2.0, 3.0], [1.0, 1.5, -4.0]])
SCALE = np.array([[0.5, 1.0, 2.0], [0.1, 1.0, 0.3]])
MIXTURE = NormalMixture(*map(jnp.float32, (LOGITS, LOC, SCALE)))
WEIGHTS = scipy.special.softmax(LOGITS, axis=-1)


@pytest.mark.parametrize("value", [[0, 0], [2, 1], [1, 2]])
def test_log_prob_of_a_categorical(value):
    wanted = sum(np.log(WEIGHTS[i, v]) for i, v in enumerate(value))
    np.testing.assert_allclose(Categorical(jnp.float32(LOGITS)).log_prob(jnp.array(value)), wanted, rtol=1e-6)


def test_a_category_that_is_ruled_out_leaves_the_others_finite():
    distribution = Categorical(jnp.array([[0.0, -jnp.inf, 1.0]]))
    np.testing.assert_allclose(distribution.log_prob(jnp.array([2])), np.log(np.e / (1 + np.e)), rtol=1e-6)
    assert distribution.log_prob(jnp.array([1])) == -jnp.inf


def test_samples_of_a_categorical_have_its_probabilities(key):
    draws = jax.vmap(Categorical(jnp.float32(LOGITS)).sample)(jax.random.split(key, 5000))
    for i in range(2):
        assert scipy.stats.chisquare(np.bincount(draws[:, i], minlength=3), 5000 * WEIGHTS[i]).pvalue > 1e-3


@pytest.mark.parametrize("value", [[0.3, -4.1], [10.0, 1.0], [-50.0, 50.0]])
def test_log_prob_of_a_mixture(value):
    wanted = sum(scipy.special.logsumexp(scipy.stats.norm(LOC[i], SCALE[i]).logpdf(v), b=WEIGHTS[i]) for i, v in enumerate(value))
    np.testing.assert_allclose(MIXTURE.log_prob(jnp.float32(value)), wanted, rtol=1e-5)


def test_samples_and_mean_of_a_mixture(key):
    draws = np.asarray(jax.vmap(MIXTURE.sample)(jax.random.split(key, 5000)))
    for i in range(2):
        cdf = lambda x, i=i: (WEIGHTS[i] * scipy.stats.norm(LOC[i], SCALE[i]).cdf(np.asarray(x)[..., None])).sum(-1)  # noqa: E731
        assert scipy.stats.kstest(draws[:, i], cdf).pvalue > 1e-3
    np.testing.assert_allclose(MIXTURE.mean, (WEIGHTS * LOC).sum(-1), rtol=1e-6)
    assert np.all(np.abs(draws.mean(0) - MIXTURE.mean) < 4 * draws.std(0) / np.sqrt(5000))
