"""Coverage of modes, on constructions whose numbers are exact and on true data, whose numbers are known."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, entropy

from gen_jax.evaluate import label_coverage, mode_coverage, wilson_interval
from gen_jax.types import InputError

GRID = np.stack(np.meshgrid(np.arange(-4.0, 5, 2), np.arange(-4.0, 5, 2)), axis=-1).reshape(-1, 2)  # 25 modes, 2 apart
SCALE = 0.05
CROSS = SCALE * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # a coordinate's variance is 2/3 σ², with n − 1
TRUNCATED_VARIANCE = 1 - 4.5 * math.exp(-4.5) / (1 - math.exp(-4.5))


def true_data(rng: np.random.Generator, num: int) -> np.ndarray:
    return GRID[rng.integers(0, 25, num)] + SCALE * rng.normal(size=(num, 2))


def test_a_construction_has_the_numbers_that_it_was_made_with(rng):
    """Four samples in each of three modes, of two widths; and four samples beyond 3σ, all nearest to a fourth mode."""
    far = GRID[3] + 3.01 * CROSS
    samples = np.concatenate([GRID[0] + CROSS, GRID[1] + CROSS, GRID[2] + 2 * CROSS, far])
    found = mode_coverage(rng.permutation(samples), GRID, SCALE)
    assert found.num_modes == 3
    assert found.high_quality == 0.75
    np.testing.assert_allclose(found.reverse_kl, math.log(25 / 4), rtol=1e-12)
    np.testing.assert_allclose(found.variance_ratio, 2 / 3 * (1 + 1 + 4) / 3 / TRUNCATED_VARIANCE, rtol=1e-12)


def test_reverse_kl_is_scipys():
    counts = np.array([1, 5, 0, 14])
    found = mode_coverage(np.repeat(GRID[:4], counts, axis=0), GRID[:4], SCALE)
    np.testing.assert_allclose(found.reverse_kl, entropy(counts / 20, np.full(4, 0.25)), rtol=1e-12)


def test_true_data_have_the_known_share_and_a_variance_ratio_of_one(rng):
    num = 40_000
    found = mode_coverage(true_data(rng, num), GRID, SCALE)
    share = 1 - math.exp(-4.5)
    assert found.num_modes == 25
    assert abs(found.high_quality - share) < 3 * math.sqrt(share * (1 - share) / num)
    # a variance over n samples of two coordinates has a standard error of less than √(1/n), as for a normal
    assert abs(found.variance_ratio - 1) < 3 / math.sqrt(num)
    # 2N KL is chi-squared with 24 degrees of freedom
    assert abs(2 * num * found.reverse_kl - 24) < 3 * math.sqrt(48)


def test_a_shrunk_mode_has_the_square_of_the_shrinkage(rng):
    samples = true_data(rng, 5000)
    centres = GRID[np.linalg.norm(samples[:, None] - GRID, axis=-1).argmin(axis=1)]
    kept = np.linalg.norm(samples - centres, axis=1) <= 3 * SCALE
    samples, centres = samples[kept], centres[kept]
    whole, shrunk = (mode_coverage(centres + s * (samples - centres), GRID, SCALE).variance_ratio for s in (1.0, 0.3))
    np.testing.assert_allclose(shrunk, 0.09 * whole, rtol=1e-9)


def test_moving_the_samples_off_the_centre_does_not_widen_a_mode():
    there, moved = (mode_coverage(GRID[0] + CROSS + shift, GRID, SCALE) for shift in (0.0, SCALE))
    np.testing.assert_allclose(moved.variance_ratio, there.variance_ratio, rtol=1e-9)


def test_no_sample_near_a_mode_leaves_no_variance():
    found = mode_coverage(GRID[:2] + 0.5, GRID, SCALE)
    assert found[:2] == (0, 0.0)
    assert math.isnan(found.variance_ratio)
    assert math.isnan(mode_coverage(GRID[:2], GRID, SCALE).variance_ratio)  # one sample a mode


def test_label_coverage_counts_labels_and_is_scipys_divergence(rng):
    counts = np.array([3, 0, 7, 1, 0])
    found = label_coverage(rng.permutation(np.repeat(np.arange(5), counts)), 5)
    assert found.num_modes == 3
    np.testing.assert_allclose(found.reverse_kl, entropy(counts / 11, np.full(5, 0.2)), rtol=1e-12)
    assert label_coverage(np.arange(1000), 1000) == (1000, pytest.approx(0.0, abs=1e-12))
    assert label_coverage(np.zeros(10, int), 1000) == (1, pytest.approx(math.log(1000)))


def test_label_coverage_of_true_data_is_what_its_docstring_says(rng):
    num = 26_000
    found = label_coverage(rng.integers(0, 1000, num), 1000).reverse_kl
    assert abs(2 * num * found - 999) < 0.05 * 999 + 3 * math.sqrt(2 * 999)  # chi-squared, to second order in 1000/26,000


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (1, 5), (5, 5), (37, 100), (999, 1000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_the_interval_is_scipys(successes, trials, confidence):
    expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, trials, confidence), (expected.low, expected.high), rtol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="samples has 3 columns and centres 2"):
        mode_coverage(np.zeros((4, 3)), GRID, SCALE)
    with pytest.raises(InputError, match="3 columns and the scale is 1"):
        mode_coverage(np.zeros((4, 3)), np.zeros((4, 3)), 1.0)
    with pytest.raises(InputError, match="the scale is 0"):
        mode_coverage(GRID, GRID, 0.0)
    with pytest.raises(InputError, match="samples holds values that are not finite"):
        mode_coverage(np.full((4, 2), np.nan), GRID, SCALE)
    with pytest.raises(InputError, match=r"samples is of shape \(0, 2\)"):
        mode_coverage(np.zeros((0, 2)), GRID, SCALE)
    for labels in ([], [-1], [5]):
        with pytest.raises(InputError, match="labels, for 5 modes"):
            label_coverage(np.array(labels, int), 5)
    for arguments in ((1, 0), (3, 2), (-1, 2), (1, 2, 1.0)):
        with pytest.raises(InputError, match=f"There are {arguments[0]} successes of {arguments[1]}"):
            wilson_interval(*arguments)
