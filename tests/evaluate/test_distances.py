"""Distances by features: closed forms, scipy, loops over all pairs, and what equal distributions have on average."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from gen_jax.evaluate import classifier_score, density_coverage, frechet_distance, kernel_distance, precision_recall
from gen_jax.evaluate._rows import squared_distance_blocks
from gen_jax.types import InputError


def uncorrelated(rng: np.random.Generator, num: int, num_features: int) -> np.ndarray:
    """Features whose sample covariance is diagonal, but for rounding, with means that are not 0."""
    x = rng.normal(size=(num, num_features))
    q, _ = np.linalg.qr(x - x.mean(axis=0))
    return q * rng.uniform(1, 5, num_features) + rng.normal(size=num_features)


def within_three_standard_errors(values, expected: float) -> None:
    values = np.asarray(values)
    assert abs(values.mean() - expected) < 3 * values.std(ddof=1) / math.sqrt(len(values)), (values.mean(), expected)


def test_squared_distances_are_scipys_far_from_the_origin_and_over_several_blocks(rng):
    x, y = 1e6 + rng.normal(size=(1100, 3)), 1e6 + rng.normal(size=(40, 3))
    blocks = list(squared_distance_blocks(x, y))
    assert [rows.start for rows, _ in blocks] == [0, 512, 1024]
    np.testing.assert_allclose(np.concatenate([d for _, d in blocks]), cdist(x, y, "sqeuclidean"), rtol=1e-9, atol=1e-9)


def test_the_frechet_distance_of_uncorrelated_features_is_the_sum_over_features(rng):
    real, fake = uncorrelated(rng, 50, 4), uncorrelated(rng, 70, 4)
    deviations = [x.std(axis=0, ddof=1) for x in (real, fake)]
    expected = np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2 + (deviations[0] - deviations[1]) ** 2)
    np.testing.assert_allclose(frechet_distance(real, fake), expected, rtol=1e-10)


@pytest.mark.parametrize("num_features", [1, 6])
def test_the_frechet_distance_is_that_by_scipys_root(num_features, rng):
    mixing = rng.normal(size=(2, num_features, num_features))
    real, fake = (rng.normal(size=(n, num_features)) @ a + s for n, a, s in zip((40, 60), mixing, (0, 1), strict=True))
    cov_real, cov_fake = (np.cov(x, rowvar=False).reshape(num_features, num_features) for x in (real, fake))
    root = np.real(sqrtm(cov_real @ cov_fake))
    shift = real.mean(axis=0) - fake.mean(axis=0)
    expected = shift @ shift + np.trace(cov_real + cov_fake - 2 * root)
    np.testing.assert_allclose(frechet_distance(real, fake), expected, rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(fake, real), expected, rtol=1e-9)
    assert frechet_distance(real, real) < 1e-10


def test_singular_covariances_are_no_trouble(rng):
    """Features that are never active, or fewer examples than features: the distance is that within the features that vary."""
    real, fake = rng.normal(size=(30, 3)), 2 * rng.normal(size=(30, 3))
    padded = [np.concatenate([x, np.zeros((30, 50))], axis=1) for x in (real, fake)]
    rotation = np.linalg.qr(rng.normal(size=(53, 53)))[0]
    np.testing.assert_allclose(frechet_distance(*(x @ rotation for x in padded)), frechet_distance(real, fake), rtol=1e-5)
    assert frechet_distance(padded[0], padded[0]) < 1e-5


def kernel_distance_of_loops(real, fake):
    def k(x, y):
        return (x @ y / len(x) + 1) ** 3

    def within(x):
        return np.mean([k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])

    return within(real) + within(fake) - 2 * np.mean([k(x, y) for x in real for y in fake])


def test_the_kernel_distance_is_the_loop_over_pairs(rng):
    real, fake = rng.normal(size=(7, 3)), 0.5 + rng.normal(size=(9, 3))
    np.testing.assert_allclose(kernel_distance(real, fake), kernel_distance_of_loops(real, fake), rtol=1e-12)


def test_the_kernel_distance_over_several_blocks(rng):
    """Each example 300 times: the sums over pairs are those of the examples, weighted."""
    real, fake = rng.normal(size=(5, 3)), 0.5 + rng.normal(size=(5, 3))
    k = {name: (x @ y.T / 3 + 1) ** 3 for name, x, y in (("rr", real, real), ("ff", fake, fake), ("rf", real, fake))}
    within = [(300**2 * k[name].sum() - 300 * np.trace(k[name])) / (1500 * 1499) for name in ("rr", "ff")]
    np.testing.assert_allclose(
        kernel_distance(np.repeat(real, 300, axis=0), np.repeat(fake, 300, axis=0)), sum(within) - 2 * k["rf"].mean(), rtol=1e-10
    )


def test_the_kernel_distance_of_equal_distributions_is_zero_on_average_and_positive_for_different_ones(rng):
    within_three_standard_errors([kernel_distance(*rng.exponential(size=(2, 20, 4))) for _ in range(200)], 0.0)
    assert kernel_distance(rng.normal(size=(200, 4)), 1 + rng.normal(size=(200, 4))) > 0.5


def brute_force(real, fake, neighbours):
    """(precision, recall, density, coverage), a distance at a time."""

    def radius(x, i):
        return sorted(math.dist(x[i], x[j]) for j in range(len(x)) if j != i)[neighbours - 1]

    def in_support(x, support):
        return any(math.dist(x, support[i]) <= radius(support, i) for i in range(len(support)))

    inside = np.array([[math.dist(r, f) < radius(real, i) for f in fake] for i, r in enumerate(real)])
    return (
        np.mean([in_support(f, real) for f in fake]),
        np.mean([in_support(r, fake) for r in real]),
        inside.sum() / (neighbours * len(fake)),
        inside.any(axis=1).mean(),
    )


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_precision_recall_density_and_coverage_are_those_of_loops(neighbours, rng):
    real, fake = rng.normal(size=(16, 2)), 0.5 + 0.7 * rng.normal(size=(12, 2))
    numbers = [*precision_recall(real, fake, neighbours), *density_coverage(real, fake, neighbours)]
    np.testing.assert_allclose(numbers, brute_force(real, fake, neighbours), rtol=1e-12)


def test_ties_on_a_grid_are_those_of_exact_arithmetic(rng):
    """Whole numbers, so that the loop is exact: examples in both sets, repeated ones, and many at the very radius of another."""
    real, fake = rng.integers(0, 5, (25, 2)).astype(float), rng.integers(0, 5, (20, 2)).astype(float)
    expected = brute_force(real, fake, 3)
    for shift in (0.0, 0.1, 1000.1):
        numbers = [*precision_recall(real + shift, fake + shift, 3), *density_coverage(real + shift, fake + shift, 3)]
        np.testing.assert_allclose(numbers, expected, rtol=1e-12)


def test_equal_sets_have_one_and_sets_far_apart_zero(rng):
    x = rng.normal(size=(600, 5)).astype(np.float32)  # more than a block
    assert precision_recall(x, x) == (1.0, 1.0)
    assert density_coverage(x, x) == (1.0, 1.0)
    assert precision_recall(x, x + 100) == (0.0, 0.0)
    assert density_coverage(x, x + 100) == (0.0, 0.0)


def test_a_lost_mode_costs_recall_and_coverage_its_share_and_leaves_precision(rng):
    """Four modes far apart; the generated examples are the real ones of three of them."""
    real = np.concatenate([100 * m + rng.normal(size=(100, 2)) for m in range(4)])
    assert precision_recall(real, real[:300]) == (1.0, 0.75)
    density, coverage = density_coverage(real, real[:300])
    np.testing.assert_allclose([density, coverage], [1.0, 0.75], rtol=1e-12)


def test_density_and_coverage_of_equal_distributions_have_their_known_expectations(rng):
    """1, and 1 − Π_{i=1..k} (N − i)/(M + N − i), whatever the distribution (Naeem et al. 2020, §3.3)."""
    num_real, num_fake, neighbours = 20, 15, 3
    found = np.array(
        [density_coverage(rng.normal(size=(num_real, 2)), rng.normal(size=(num_fake, 2)), neighbours) for _ in range(1000)]
    )
    missed = math.prod((num_real - i) / (num_real + num_fake - i) for i in range(1, neighbours + 1))
    within_three_standard_errors(found[:, 0], 1.0)
    within_three_standard_errors(found[:, 1], 1 - missed)


def test_the_classifier_score_is_one_for_no_knowledge_and_c_for_all_classes():
    np.testing.assert_allclose(classifier_score(np.full((50, 10), 0.1)), 1.0, rtol=1e-12)
    np.testing.assert_allclose(classifier_score(np.eye(10)[np.arange(50) % 10]), 10.0, rtol=1e-12)
    np.testing.assert_allclose(classifier_score(np.eye(10)[np.arange(50) % 3]), np.exp(_entropy([17 / 50, 17 / 50, 16 / 50])))


def test_the_classifier_score_is_the_entropy_of_classes_less_the_mean_entropy(rng):
    p = rng.dirichlet(np.full(5, 0.3), 40)
    expected = np.exp(_entropy(p.mean(axis=0)) - np.mean([_entropy(row) for row in p]))
    np.testing.assert_allclose(classifier_score(p), expected, rtol=1e-10)
    np.testing.assert_allclose(classifier_score(p.astype(np.float32)), expected, rtol=1e-5)


def _entropy(p):
    return -sum(q * math.log(q) for q in p if q > 0)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance, precision_recall, density_coverage])
def test_bad_features_are_refused(distance, rng):
    x = rng.normal(size=(10, 3))
    with pytest.raises(InputError, match="real has 3 columns and fake 2"):
        distance(x, x[:, :2])
    with pytest.raises(InputError, match=r"fake is of shape \(1, 3\)|1 generated ones"):
        distance(x, x[:1])
    with pytest.raises(InputError, match="fake holds values that are not finite"):
        distance(x, np.where(x > 1, np.nan, x) if (x > 1).any() else x * np.inf)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
@pytest.mark.parametrize("neighbours", [0, 10])
def test_an_impossible_number_of_neighbours_is_refused(measure, neighbours, rng):
    x = rng.normal(size=(10, 3))
    with pytest.raises(InputError, match=f"neighbours is {neighbours}, with 10 real"):
        measure(x, x, neighbours)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [([[0.5, 0.4]], "softmax"), ([[1.5, -0.5]], "softmax"), ([[np.nan, 1.0]], "not finite"), (np.ones((0, 2)), "of shape")],
)
def test_what_is_no_probability_is_refused(probabilities, message):
    with pytest.raises(InputError, match=message):
        classifier_score(np.array(probabilities))


@pytest.mark.parametrize("copies", [2, 6, 9])
def test_equal_sets_of_repeated_examples_cover_each_other(copies):
    rows = np.repeat(np.random.default_rng(0).normal(size=(20, 3)), copies, axis=0)
    found = density_coverage(rows, rows)
    assert found.coverage == 1
    if copies > 5:  # the radii are 0
        assert found.density == 1
