"""The VQ-VAE: codes by brute force, gradients that go straight through, codebook averages by NumPy, a prior that sums to one."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.data import Split
from gen_jax.nets import MLP
from gen_jax.types import InputError
from gen_jax.vae import (
    Codebook,
    Quantised,
    bernoulli_likelihood,
    elbo_terms,
    nearest_codes,
    perplexity,
    updated_codebook,
    vector_quantised_loss,
    vector_quantised_vae,
)
from tests.contracts.vaes import BINARY, CASES, CODES, EVENT

RNG = np.random.default_rng(0)
VAE = CASES["vector-quantised"].vae
FEATURES = jnp.asarray(RNG.normal(size=(4, 3, 2)), jnp.float32)
CODEBOOK = jnp.asarray(RNG.normal(size=(5, 2)), jnp.float32)


LEARNED = vector_quantised_vae(MLP((5,), (2, 2)), MLP((5,), EVENT), 3, (2,), bernoulli_likelihood(), CODES, learned=True)


@pytest.fixture
def params(key):
    return VAE.init(key, BINARY)


def vectors_of(variables):
    return variables.state.vectors if isinstance(variables.state, Codebook) else variables.params["codebook"]


def test_codes_are_the_nearest():
    distances = np.linalg.norm(np.asarray(FEATURES)[:, :, None] - np.asarray(CODEBOOK), axis=-1)
    np.testing.assert_array_equal(nearest_codes(FEATURES, CODEBOOK), distances.argmin(-1))
    np.testing.assert_array_equal(nearest_codes(CODEBOOK, CODEBOOK), np.arange(5))
    np.testing.assert_allclose(Quantised(FEATURES, CODEBOOK).mean, np.asarray(CODEBOOK)[distances.argmin(-1)], atol=1e-6)


def test_gradients_go_straight_through():
    """To h as if z were h; to e not at all."""
    loss = lambda h, e: jnp.sum(jnp.sin(Quantised(h, e).mean))
    into_features, into_codebook = jax.grad(loss, argnums=(0, 1))(FEATURES, CODEBOOK)
    np.testing.assert_allclose(into_features, jnp.cos(CODEBOOK[nearest_codes(FEATURES, CODEBOOK)]), rtol=1e-5)
    np.testing.assert_array_equal(into_codebook, 0)


@pytest.mark.slow
def test_the_prior_is_a_distribution_over_all_codes(params):
    prior, vectors = VAE.prior(params), params.state.vectors
    every = jnp.array(list(itertools.product(range(3), repeat=2)))
    np.testing.assert_allclose(np.exp(jax.vmap(lambda codes: prior.log_prob(vectors[codes]))(every)).sum(), 1.0, rtol=1e-5)
    drawn = prior.sample(jax.random.key(0))
    assert all(np.any(np.all(np.asarray(vectors) == np.asarray(row), axis=-1)) for row in drawn)


def test_the_elbo_prices_the_codes_exactly(params, key):
    """log p(x, z) of the one z that the posterior has: no Monte Carlo in it."""
    posterior = VAE.encode(params, BINARY)
    z = vectors_of(params)[posterior.codes]
    expected = VAE.decode(params, z).log_prob(BINARY) + VAE.prior(params).log_prob(z)
    np.testing.assert_allclose(elbo_terms(VAE, params, key, BINARY).elbo, expected, rtol=1e-5)
    assert posterior.log_prob(z) == 0
    assert posterior.log_prob(vectors_of(params)[(posterior.codes + 1) % 3]) == -np.inf


@pytest.mark.parametrize("vae", [VAE, LEARNED], ids=["averages", "learned"])
def test_the_loss_is_the_papers(vae, key):
    x = jnp.stack([BINARY, 1 - BINARY])
    params = vae.init(key, BINARY)
    value, (_, metrics) = vector_quantised_loss(vae, 0.25)(*params, key, jnp.int32(0), Split(x))
    expected, gaps = 0.0, 0.0
    for image in x:
        posterior = vae.encode(params, image)
        e = vectors_of(params)[posterior.codes]
        gap = np.sum((np.asarray(posterior.features) - np.asarray(e)) ** 2)
        expected += -float(elbo_terms(vae, params, key, image).elbo) + (1.25 if vae is LEARNED else 0.25) * gap
        gaps += gap
    np.testing.assert_allclose(value, expected / 2, rtol=1e-5)
    np.testing.assert_allclose(metrics["quantisation_error"], gaps / 2, rtol=1e-5)


@pytest.mark.slow
def test_a_codebook_that_is_learned_moves_towards_the_features(key):
    params = LEARNED.init(key, BINARY)
    loss = lambda p: vector_quantised_loss(LEARNED, 0.25)(p, params.state, key, jnp.int32(0), Split(BINARY[None]))[0]
    gradient = jax.grad(loss)(params.params)["codebook"]
    posterior = LEARNED.encode(params, BINARY)
    expected = np.zeros_like(gradient)
    for code, h in zip(posterior.codes, posterior.features, strict=True):
        expected[code] += 2 * (np.asarray(vectors_of(params))[code] - np.asarray(h))
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_averages_are_those_of_numpy_and_dead_codes_are_put_where_features_are(params, key):
    """In the state that the loss returns: of the features of its own batch, at the parameters before the step."""
    x = jax.random.bernoulli(key, 0.5, (16, *BINARY.shape)).astype(jnp.float32)
    features = np.asarray(jax.vmap(lambda x: VAE.encode(params, x).features)(x)).reshape(-1, 2)
    # one code at the middle of the features, one far away and in use until now, one dead
    vectors = np.array([features.mean(0), [50.0, 50.0], [-50.0, 50.0]], np.float32)
    shares = np.array([0.5, 0.4, 0.005], np.float32)
    codebook = Codebook(jnp.asarray(vectors), jnp.asarray(shares), jnp.asarray(vectors * shares[:, None]), params.state.prior)
    _, (new, _) = vector_quantised_loss(VAE, decay=0.9)(params.params, codebook, key, jnp.int32(0), Split(x))
    np.testing.assert_allclose(new.shares, [0.9 * 0.5 + 0.1, 0.9 * 0.4, 1 / 3], rtol=1e-5)
    moved = (0.9 * 0.5 * vectors[0] + 0.1 * features.mean(0)) / (0.9 * 0.5 + 0.1)
    np.testing.assert_allclose(new.vectors[0], moved, rtol=1e-4)
    np.testing.assert_allclose(new.vectors[1], vectors[1], rtol=1e-5)
    assert np.any(np.all(np.isclose(features, np.asarray(new.vectors[2]), rtol=1e-6), axis=-1))
    np.testing.assert_allclose(new.sums[2], new.vectors[2] / 3, rtol=1e-5)
    chex.assert_trees_all_equal(new.prior, params.state.prior)
    again = updated_codebook(codebook, jax.random.fold_in(key, 16), jnp.asarray(features).reshape(16, 2, 2), 0.9)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), again, new)


def test_a_codebook_in_use_follows_a_batch_as_appendix_a_says(key):
    """N_k and m_k code by code, in a loop of NumPy's; here no code is dead."""
    shares, sums = RNG.uniform(0.1, 0.3, 5).astype(np.float32), RNG.normal(size=(5, 2)).astype(np.float32)
    codebook = Codebook(CODEBOOK, jnp.asarray(shares), jnp.asarray(sums), {"of": jnp.ones(3)})
    new = updated_codebook(codebook, key, FEATURES, decay=0.7)
    h = np.asarray(FEATURES, np.float64).reshape(-1, 2)
    for k in range(5):
        own = [v for v in h if np.linalg.norm(v - np.asarray(CODEBOOK), axis=-1).argmin() == k]
        share, total = 0.7 * shares[k] + 0.3 * len(own) / 12, 0.7 * sums[k] + 0.3 * np.sum(own, axis=0) / 12
        np.testing.assert_allclose(new.shares[k], share, rtol=1e-5)
        np.testing.assert_allclose(new.sums[k], total * np.ones(2), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(new.vectors[k], total / share * np.ones(2), rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_equal(new.prior, codebook.prior)


def test_where_gradients_train_the_codebook_the_state_is_that_of_the_prior_and_stays(key):
    params, state = LEARNED.init(key, BINARY)
    chex.assert_trees_all_equal(state, CODES.init(key).state)
    _, (after, _) = vector_quantised_loss(LEARNED)(params, state, key, jnp.int32(0), Split(BINARY[None]))
    chex.assert_trees_all_equal(after, state)
    with_averages = VAE.init(key, BINARY)
    assert "codebook" not in with_averages.params
    chex.assert_trees_all_equal(params["codebook"], with_averages.state.vectors)
    chex.assert_trees_all_equal(with_averages.state.prior, state)
    np.testing.assert_allclose(with_averages.state.shares, 1 / 3)
    np.testing.assert_allclose(with_averages.state.sums, with_averages.state.vectors / 3, rtol=1e-6)


@pytest.mark.parametrize("vae", [VAE, LEARNED], ids=["averages", "learned"])
def test_a_second_step_traces_nothing(vae, key):
    params, state = vae.init(key, BINARY)
    loss, traces = vector_quantised_loss(vae), []

    @jax.jit
    def counted(*args):
        traces.append(None)
        return loss(*args)

    _, (state, _) = counted(params, state, key, jnp.int32(0), Split(BINARY[None]))
    counted(params, state, key, jnp.int32(1), Split(BINARY[None]))
    assert len(traces) == 1


def test_perplexity_counts_codes():
    np.testing.assert_allclose(perplexity(jnp.arange(8).reshape(2, 4), 16), 8.0, rtol=1e-5)
    np.testing.assert_allclose(perplexity(jnp.zeros((2, 4), jnp.int32), 16), 1.0)


def test_bad_input_is_refused(params):
    case = CASES["vector-quantised"]
    with pytest.raises(InputError, match="num_codes is 1: give 2 or more"):
        vector_quantised_vae(MLP((), (2, 2)), MLP((), EVENT), 1, (2,), bernoulli_likelihood(), CODES)
    with pytest.raises(InputError, match="context is given"):
        case.vae.encode(params, BINARY, jnp.zeros(3))


def test_the_nearest_code_is_found_far_from_the_origin():
    """Among vectors of spread 1 at an offset of 10,000, against distances in float64."""
    codebook, features = (np.float32(1e4 + RNG.normal(size=(num, 8))) for num in (64, 500))
    distances = np.linalg.norm(np.float64(features)[:, None] - np.float64(codebook), axis=-1)
    np.testing.assert_array_equal(nearest_codes(jnp.asarray(features), jnp.asarray(codebook)), distances.argmin(axis=1))
