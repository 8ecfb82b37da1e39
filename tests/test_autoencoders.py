"""Autoencoders against linear ones, whose Jacobian and optimum are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import train
from gen_jax.autoencoders import autoencoder, autoencoder_loss, contraction, corrupt, corrupted, squared_error
from gen_jax.data import Split
from gen_jax.nets import MLP
from gen_jax.types import InputError

LINEAR = autoencoder(MLP((), (2,)), MLP((), (5,)))


def test_the_error_of_a_linear_autoencoder_is_that_of_its_matrices(key):
    params = LINEAR.init(key, jnp.zeros(5))
    x = jax.random.normal(key, (5,))
    f, g = params["encoder"]["params"]["Dense_0"]["kernel"], params["decoder"]["params"]["Dense_0"]["kernel"]
    error = np.sum((np.asarray(x) - np.asarray(x @ f @ g)) ** 2)
    np.testing.assert_allclose(squared_error(LINEAR, params, key, x), error, rtol=1e-5)
    denoising = LINEAR._replace(corrupt=lambda key, x: x.at[2].set(0.0))
    seen = x.at[2].set(0.0)
    from_seen = np.sum((np.asarray(x) - np.asarray(seen @ f @ g)) ** 2)
    np.testing.assert_allclose(squared_error(denoising, params, key, x), from_seen, rtol=1e-5)
    value, (state, metrics) = autoencoder_loss(LINEAR, 0.5)(params, (), key, jnp.int32(0), Split(jnp.stack([x, x])))
    np.testing.assert_allclose(value, error + 0.5 * np.sum(np.asarray(f) ** 2), rtol=1e-5)
    assert state == ()
    assert set(metrics) == {"squared_error", "contraction"}
    np.testing.assert_allclose(metrics["squared_error"], error, rtol=1e-5)
    np.testing.assert_allclose(metrics["contraction"], np.sum(np.asarray(f) ** 2), rtol=1e-5)
    np.testing.assert_allclose(contraction(LINEAR, params, x), np.sum(np.asarray(f) ** 2), rtol=1e-5)


def test_a_denoising_autoencoder_sees_each_example_with_a_noise_of_its_own_and_is_held_to_the_example(key):
    """And where none of it is asked for, no contraction is computed."""
    noise = functools.partial(corrupt, "masking", 0.5)
    model = autoencoder(MLP((), (2,)), MLP((), (5,)), noise)
    params, x = model.init(key, jnp.zeros(5)), jax.random.normal(key, (5,))
    f, g = params["encoder"]["params"]["Dense_0"]["kernel"], params["decoder"]["params"]["Dense_0"]["kernel"]
    seen = np.stack([noise(k, x) for k in jax.random.split(key, 4)])
    assert len(np.unique(seen, axis=0)) > 1
    np.testing.assert_array_equal(corrupted(model, key, x), noise(key, x))
    np.testing.assert_array_equal(corrupted(LINEAR, key, x), x)
    value, (state, metrics) = autoencoder_loss(model)(params, (), key, jnp.int32(0), Split(jnp.stack([x] * 4)))
    expected = np.mean(np.sum((np.asarray(x) - seen @ np.asarray(f) @ np.asarray(g)) ** 2, axis=-1))
    np.testing.assert_allclose((value, metrics["squared_error"]), (expected, expected), rtol=1e-5)
    assert (state, set(metrics)) == ((), {"squared_error"})


def test_the_contraction_of_a_sigmoid_layer_is_the_papers(key):
    """Σ_j (h_j (1 − h_j))² Σ_i W_ji², Rifai et al. 2011."""
    model = autoencoder(MLP((3,), None, jax.nn.sigmoid), MLP((), (5,)))
    params = model.init(key, jnp.zeros(5))
    x = jax.random.normal(key, (5,))
    h, w = np.asarray(model.encode(params, x)), np.asarray(params["encoder"]["params"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(contraction(model, params, x), np.sum((h * (1 - h)) ** 2 * np.sum(w**2, axis=0)), rtol=1e-5)


def test_a_trained_linear_autoencoder_spans_the_principal_components(key):
    """Its error is the variance that two principal components leave over (Baldi & Hornik 1989)."""
    data = np.random.default_rng(0).normal(size=(200, 5)) @ np.diag([3.0, 2.0, 1.0, 0.5, 0.2]).astype(np.float32)
    data = jnp.asarray(data - data.mean(0), jnp.float32)
    loss = train.batch_mean(lambda params, key, x: (squared_error(LINEAR, params, key, x), {}))
    step = train.make_step(loss, train.adam(0.03))
    state = train.init_state(LINEAR.init(key, data[0]), train.adam(0.03), key)
    state, metrics = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, data), s, None, length=1500))(state)
    left = np.linalg.svd(np.asarray(data, np.float64), compute_uv=False)[2:]
    np.testing.assert_allclose(metrics["loss"][-1], np.sum(left**2) / 200, rtol=0.01)


def test_corruptions_have_their_amounts(key):
    x = jnp.full(100_000, 2.0)
    masked = corrupt("masking", 0.3, key, x)
    assert set(np.unique(masked)) == {0.0, 2.0}
    assert abs(np.mean(masked == 0) - 0.3) < 4 * np.sqrt(0.21 / len(x))
    noisy = corrupt("gaussian", 0.5, key, x)
    assert abs(np.mean(noisy) - 2) < 4 * 0.5 / np.sqrt(len(x))
    assert abs(np.std(noisy) - 0.5) < 4 * 0.5 / np.sqrt(2 * len(x))


def test_bad_input_is_refused(key):
    with pytest.raises(InputError, match=r"amount is 1\.5"):
        corrupt("masking", 1.5, key, jnp.zeros(2))
    with pytest.raises(InputError, match="amount is -1"):
        corrupt("gaussian", -1.0, key, jnp.zeros(2))
    model = autoencoder(MLP((), (2,)), MLP((), (4,)))
    with pytest.raises(InputError, match="The decoder returns"):
        squared_error(model, model.init(key, jnp.zeros(5)), key, jnp.zeros(5))
