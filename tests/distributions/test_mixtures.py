"""Categorical and normal-mixture distributions against numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gen_jax.distributions import Categorical, Mixture, Normal, NormalMixture, VonMisesFisher, kl_divergence

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
        cdf = lambda x, i=i: (WEIGHTS[i] * scipy.stats.norm(LOC[i], SCALE[i]).cdf(np.asarray(x)[..., None])).sum(-1)
        assert scipy.stats.kstest(draws[:, i], cdf).pvalue > 1e-3
    np.testing.assert_allclose(MIXTURE.mean, (WEIGHTS * LOC).sum(-1), rtol=1e-6)
    assert np.all(np.abs(draws.mean(0) - MIXTURE.mean) < 4 * draws.std(0) / np.sqrt(5000))


def test_a_mixture_of_events_is_one_of_elements_where_the_event_has_one(key):
    logits, loc, scale = (jnp.float32(a[:1]) for a in (LOGITS, LOC, SCALE))
    of_elements, of_events = NormalMixture(logits, loc, scale), Mixture(logits[0], Normal(loc.T, scale.T))
    values = jnp.linspace(-5.0, 8.0, 9)[:, None]
    np.testing.assert_allclose(jax.jit(jax.vmap(of_events.log_prob))(values), jax.vmap(of_elements.log_prob)(values), rtol=1e-5)
    np.testing.assert_allclose(of_events.mean, of_elements.mean, rtol=1e-6)
    draws = np.asarray(jax.jit(jax.vmap(of_events.sample))(jax.random.split(key, 5000)))[:, 0]
    cdf = lambda x: (WEIGHTS[0] * scipy.stats.norm(LOC[0], SCALE[0]).cdf(np.asarray(x)[..., None])).sum(-1)
    assert scipy.stats.kstest(draws, cdf).pvalue > 1e-3


def test_a_mixture_of_equal_components_is_one_of_them(key):
    loc = jnp.array([0.6, 0.0, 0.8])
    one = VonMisesFisher(loc, jnp.float32(5.0))
    mixture = Mixture(jnp.array([1.0, -2.0]), jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), one))
    value = jnp.array([0.0, 0.6, 0.8])
    np.testing.assert_allclose(jax.jit(mixture.log_prob)(value), one.log_prob(value), rtol=1e-5)
    np.testing.assert_allclose(mixture.mean, one.mean, rtol=1e-5)
    divergence = jax.jit(lambda key: kl_divergence(one, mixture, key, num_samples=8))(key)
    np.testing.assert_allclose(divergence, 0.0, atol=1e-5)
