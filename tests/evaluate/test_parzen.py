"""Parzen windows against a sum in float64, and against what one window has."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from gen_jax.evaluate import choose_parzen_scale, parzen_log_likelihood
from gen_jax.types import InputError


def direct(samples, test, scale):
    dim = samples.shape[1]
    log_probs = -0.5 * cdist(test, samples, "sqeuclidean") / scale**2 - dim * math.log(scale * math.sqrt(2 * math.pi))
    return logsumexp(log_probs, axis=1) - math.log(len(samples))


@pytest.mark.parametrize("scale", [0.01, 0.2, 3.0])
def test_it_is_the_sum_in_float64_over_several_blocks(scale, rng):
    samples, test = rng.random((60, 784), np.float32), rng.random((1100, 784), np.float32)
    expected = direct(samples.astype(np.float64), test.astype(np.float64), scale)
    np.testing.assert_allclose(parzen_log_likelihood(samples, test, scale), expected, rtol=1e-11)


def test_one_sample_is_one_normal(rng):
    test = rng.normal(size=(5, 3))
    expected = multivariate_normal(np.ones(3), 0.25 * np.eye(3)).logpdf(test)
    np.testing.assert_allclose(parzen_log_likelihood(np.ones((1, 3)), test, 0.5), expected, rtol=1e-12)


def test_a_sample_is_as_likely_far_from_the_origin(rng):
    samples, test = rng.normal(size=(20, 3)), rng.normal(size=(10, 3))
    np.testing.assert_allclose(
        parzen_log_likelihood(samples + 1e6, test + 1e6, 0.3), parzen_log_likelihood(samples, test, 0.3), rtol=1e-7
    )


def test_the_scale_of_highest_mean_is_chosen(rng):
    samples, valid, scales = rng.normal(size=(300, 2)), rng.normal(size=(200, 2)), np.logspace(-2, 1, 10)
    means = [parzen_log_likelihood(samples, valid, scale).mean() for scale in scales]
    assert 0 < np.argmax(means) < 9
    assert choose_parzen_scale(samples, valid, scales) == scales[np.argmax(means)]
    assert choose_parzen_scale(samples, valid, list(scales[:2])) == scales[1]


def test_with_one_sample_the_best_scale_is_the_root_mean_square(rng):
    """Of one normal at 0, the maximum-likelihood σ is √(mean ‖x‖² / D)."""
    valid = rng.normal(size=(50, 4))
    best = math.sqrt(np.mean(valid**2))
    assert choose_parzen_scale(np.zeros((1, 4)), valid, [0.99 * best, best, 1.01 * best]) == best


def test_bad_input_is_refused():
    x = np.zeros((4, 3))
    with pytest.raises(InputError, match="samples has 3 columns and test 2"):
        parzen_log_likelihood(x, x[:, :2], 1.0)
    with pytest.raises(InputError, match="test holds values that are not finite"):
        parzen_log_likelihood(x, x + np.nan, 1.0)
    with pytest.raises(InputError, match=r"samples is of shape \(0, 3\)"):
        parzen_log_likelihood(x[:0], x, 1.0)
    for scales in ([], [0.0], [1.0, -1.0], [math.nan]):
        with pytest.raises(InputError, match="each above 0"):
            choose_parzen_scale(x, x, scales)
