"""Evaluation against NumPy, on weights whose mean is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.evaluate import active_units, example_keys, importance_weighted, map_examples, mean_and_standard_error
from gen_jax.types import InputError


def log_weight(key):
    return 2.0 * jax.random.normal(key, ()) - 500.0  # log-normal weights, far below what float32 holds as a probability


@pytest.mark.parametrize("num_samples", [1, 2, 50, 333])
def test_the_estimate_its_error_and_its_sample_size_are_numpys(num_samples, key):
    log_w = np.array([log_weight(jax.random.fold_in(key, k)) for k in range(num_samples)], np.float64)
    w = np.exp(log_w + 500)
    estimate = importance_weighted(log_weight, key, num_samples, chunk_size=100)
    np.testing.assert_allclose(estimate.log_prob, np.log(w.mean()) - 500, rtol=1e-5)
    np.testing.assert_allclose(estimate.effective_sample_size, w.sum() ** 2 / (w**2).sum(), rtol=1e-3)
    expected = w.std(ddof=1) / np.sqrt(num_samples) / w.mean() if num_samples > 1 else np.inf
    np.testing.assert_allclose(estimate.standard_error, expected, rtol=1e-3)


def test_a_sample_of_no_weight_counts_as_one(key):
    """A weight of zero (log w = −∞) is a sample like any other: it halves the mean of two equal weights."""

    def half(key):
        return jnp.where(jax.random.bernoulli(key), 0.0, -jnp.inf)

    estimate = importance_weighted(half, key, 1000)
    share = np.mean([bool(jax.random.bernoulli(jax.random.fold_in(key, k))) for k in range(1000)])
    np.testing.assert_allclose(estimate.log_prob, np.log(share), rtol=1e-5)
    np.testing.assert_allclose(estimate.effective_sample_size, 1000 * share, rtol=1e-4)


def test_no_weight_at_all_is_a_sample_size_of_zero(key):
    estimate = importance_weighted(lambda k: jnp.where(jax.random.bernoulli(k, 0.0), 0.0, -jnp.inf), key, 10)
    np.testing.assert_array_equal(estimate, (-np.inf, np.inf, 0.0))


def test_memory_does_not_grow_with_the_number_of_samples(key):
    """The compiled program's temporary memory is the same for 100 chunks as for 1,000."""

    def weight(key):
        return jnp.sum(jax.random.normal(key, (64,)))

    def temporary_bytes(num_samples):
        compiled = jax.jit(lambda key: importance_weighted(weight, key, num_samples, chunk_size=50)).lower(key).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # the starts of the chunks are four bytes each
    assert temporary_bytes(50_000) - temporary_bytes(5_000) <= 4 * 900


@pytest.mark.parametrize(("num_samples", "chunk_size"), [(0, 10), (10, 0), (-1, 10)])
def test_impossible_sizes_are_refused(num_samples, chunk_size, key):
    with pytest.raises(InputError, match="give 1 or more"):
        importance_weighted(log_weight, key, num_samples, chunk_size)


@pytest.mark.parametrize("chunk_size", [1, 4, 10, 100])
def test_map_examples_is_a_loop_whatever_the_chunk_size(chunk_size, key):
    def describe(params, key, x):
        return {"value": params * jnp.sum(x) + jax.random.normal(key, ()), "double": 2 * x}

    xs = jnp.arange(30.0).reshape(10, 3)
    keys = example_keys(key, 10)
    table = map_examples(describe, 3.0, keys, xs, chunk_size)
    for i in range(10):
        row = describe(3.0, jax.random.fold_in(key, i), xs[i])
        np.testing.assert_allclose(table["value"][i], row["value"], rtol=1e-6)
        np.testing.assert_array_equal(table["double"][i], row["double"])


def test_matrix_products_run_at_the_highest_precision(key):
    text = (
        jax.jit(lambda xs: map_examples(lambda p, k, x: x @ x, None, example_keys(key, 4), xs, 2))
        .lower(jnp.ones((4, 3, 3)))
        .as_text()
    )
    assert "HIGHEST" in text


def test_active_units_are_those_whose_means_vary():
    means = np.random.default_rng(0).normal(size=(500, 3)) * np.array([1.0, 0.05, 0.2])
    np.testing.assert_array_equal(active_units(jnp.asarray(means + 5.0, jnp.float32)), [True, False, True])
    np.testing.assert_array_equal(active_units(jnp.asarray(means, jnp.float32), threshold=0.5), [True, False, False])


def test_mean_and_standard_error():
    values = np.array([1.0, 2.0, 6.0], np.float32)
    mean, standard_error = mean_and_standard_error(values)
    np.testing.assert_allclose([mean, standard_error], [3.0, np.sqrt(7 / 3)])
    assert mean_and_standard_error(values[:1]) == (1.0, np.inf)
