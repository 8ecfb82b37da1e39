"""Wasserstein distances against scipy, closed forms and permutations; the pyramid against scipy's filters."""

import itertools
import math

import numpy as np
import pytest
from scipy.ndimage import convolve1d
from scipy.stats import wasserstein_distance

from gen_jax.evaluate import laplacian_pyramid, sliced_wasserstein, sliced_wasserstein_of_points, wasserstein_2
from gen_jax.types import InputError

BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


def filtered(images, gain=1.0):
    for axis in (1, 2):
        images = convolve1d(images, gain * BINOMIAL, axis=axis, mode="mirror")
    return images


def doubled(images):
    num, height, width, channels = images.shape
    spread = np.zeros((num, 2 * height, 2 * width, channels), images.dtype)
    spread[:, ::2, ::2] = images
    return filtered(spread, gain=2.0)


def test_along_a_line_it_is_scipys(rng):
    x, y = rng.normal(size=300), 1 + 2 * rng.exponential(size=300)
    np.testing.assert_allclose(
        sliced_wasserstein_of_points(x[:, None], y[:, None], num_projections=5), wasserstein_distance(x, y), rtol=1e-12
    )


@pytest.mark.parametrize("dim", [2, 5])
def test_a_shift_has_the_mean_length_of_its_projection(dim, rng):
    """E|uᵀv| = ‖v‖ Γ(D/2) / √π Γ((D + 1)/2): 2/π in the plane. Var |uᵀv| = ‖v‖²/D − that squared."""
    v = np.linspace(1, 2, dim)
    x, norm = rng.normal(size=(50, dim)), np.linalg.norm(v)
    expected = norm * math.gamma(dim / 2) / (math.sqrt(math.pi) * math.gamma((dim + 1) / 2))
    standard_error = math.sqrt((norm**2 / dim - expected**2) / 4000)
    assert abs(sliced_wasserstein_of_points(x, rng.permutation(x + v), num_projections=4000) - expected) < 3 * standard_error


def test_the_seed_draws_the_lines(rng):
    x, y = rng.normal(size=(2, 20, 3))
    once = sliced_wasserstein_of_points(x, y, 10, seed=1)
    assert once == sliced_wasserstein_of_points(x, y, 10, seed=1) != sliced_wasserstein_of_points(x, y, 10, seed=2)


def test_the_matching_of_few_points_is_the_best_of_all_permutations(rng):
    x, y = rng.normal(size=(2, 6, 2))
    costs = [np.mean(np.sum((x - y[list(order)]) ** 2, axis=1)) for order in itertools.permutations(range(6))]
    np.testing.assert_allclose(wasserstein_2(x, y), math.sqrt(min(costs)), rtol=1e-12)


def test_wasserstein_2_of_a_shift_is_its_length_and_of_a_permutation_zero(rng):
    x, shift = rng.normal(size=(300, 2)), np.array([3.0, -4.0])
    np.testing.assert_allclose(wasserstein_2(x, rng.permutation(x + shift)), 5.0, rtol=1e-12)
    assert wasserstein_2(x, rng.permutation(x)) == 0.0


@pytest.mark.parametrize("size", [(64, 64), (28, 28), (32, 24), (18, 18), (17, 20), (8, 8)])
def test_a_pyramid_is_scipys_filter_and_gives_the_images_back(size, rng):
    images = rng.normal(size=(2, *size, 3))
    *details, image = laplacian_pyramid(images)
    assert [level.shape[1:3] for level in (*details, image)] == {
        (64, 64): [(64, 64), (32, 32), (16, 16)],
        (28, 28): [(28, 28), (14, 14)],
        (32, 24): [(32, 24), (16, 12)],
        (18, 18): [(18, 18), (9, 9)],
    }.get(size, [size])
    halved = images
    for _ in details:
        halved = filtered(halved)[:, ::2, ::2]
    np.testing.assert_allclose(image, halved, atol=1e-12)
    for detail in reversed(details):
        image = doubled(image) + detail
    np.testing.assert_allclose(image, images, atol=1e-12)


def test_equal_sets_are_at_no_distance_and_scale_does_not_count(rng):
    images = rng.normal(size=(30, 32, 32, 3))
    assert sliced_wasserstein(images, images, num_projections=16) == {32: 0.0, 16: 0.0}
    apart = sliced_wasserstein(images, 5 * images + np.array([1.0, -2.0, 0.0]), num_projections=16)
    assert max(apart.values()) < 1e-5


def test_integers_are_the_numbers_that_they_are(rng):
    real, fake = rng.integers(0, 256, (2, 5, 28, 28, 1), np.uint8)
    assert sliced_wasserstein(real, fake) == sliced_wasserstein(real.astype(np.float32), fake.astype(np.float64))


def test_every_patch_is_drawn_and_normalised(rng):
    """7-pixel images have a single patch each, so that the distance is that of the images, normalised by channel."""
    real, fake = rng.normal(size=(40, 7, 7, 2)), rng.exponential(size=(40, 7, 7, 2))
    normal = [((x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))).reshape(40, -1) for x in (real, fake)]
    expected = sliced_wasserstein_of_points(*normal, num_projections=64, seed=3)
    found = sliced_wasserstein(real, fake, seed=3, num_patches=1, num_projections=64)
    np.testing.assert_allclose(found[7], expected, rtol=1e-5)


def test_patches_lie_whole_within_the_image_and_reach_its_borders(rng):
    """Of 8-pixel images that are 1 in one corner and 0 else, one patch in four holds the corner: a mean of 1 / (4·49)."""
    corner = np.zeros((400, 8, 8, 1))
    corner[:, -1, -1] = 1
    spread = rng.normal(size=(400, 8, 8, 1))
    (found,) = sliced_wasserstein(corner, spread, num_patches=64, num_projections=200).values()
    share = 1 / 196
    one = np.where(np.arange(49) == 48, 1.0, 0.0)
    patches = (np.where(np.arange(25600)[:, None] % 4 == 0, one, 0.0) - share) / math.sqrt(share * (1 - share))
    expected = sliced_wasserstein_of_points(patches, rng.normal(size=(25600, 49)), num_projections=200)
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_a_change_of_the_finest_detail_shows_at_its_scale(rng):
    """Every image has detail, or every second one with twice its variance: the same covariance, other distributions."""

    def images(detail):
        noise = rng.normal(size=(200, 32, 32, 1))
        fine = detail * np.sqrt(1 / np.mean(np.square(detail))) * (noise - filtered(filtered(noise)))
        return doubled(rng.normal(size=(200, 16, 16, 1))) + fine

    every, every_second = np.ones((200, 1, 1, 1)), (np.arange(200) % 2).reshape(200, 1, 1, 1)
    real, same, other = images(every), images(every), images(every_second)
    floor, apart = (sliced_wasserstein(real, x, num_patches=16, num_projections=64) for x in (same, other))
    assert apart[32] > 3 * floor[32]
    assert apart[16] < 1.5 * floor[16]


def test_images_without_structure_are_far_from_real_ones(rng):
    """Constant grey is 0 once normalised, not rounding blown up, so the distance is the mean E|uᵀx| of the real patches."""
    real, grey = rng.normal(size=(200, 32, 32, 1)), np.full((200, 32, 32, 1), 0.1)
    found = sliced_wasserstein(real, grey, num_patches=16, num_projections=128)
    assert found[32] > 0.5
    assert found[16] > 0.5


def test_no_more_images_are_taken_than_asked_for(rng):
    """Half of the images differ, so with one image of each set the distance is 0 for some seeds; sets of unequal size are cut."""
    real = rng.normal(size=(20, 7, 7, 1))
    other = real.copy()
    other[:10] += rng.normal(size=(10, 7, 7, 1))
    found = [sliced_wasserstein(real, other, seed=seed, num_images=1, num_patches=4)[7] for seed in range(20)]
    assert 0 < sum(distance == 0 for distance in found) < 20
    assert sliced_wasserstein(real, real[:5])[7] > 0


def test_bad_input_is_refused(rng):
    x = rng.normal(size=(10, 2))
    for distance in (wasserstein_2, sliced_wasserstein_of_points):
        with pytest.raises(InputError, match="10 points and 9"):
            distance(x, x[:9])
        with pytest.raises(InputError, match="x has 2 columns and y 1"):
            distance(x, x[:, :1])
        with pytest.raises(InputError, match="y holds values that are not finite"):
            distance(x, x * np.inf)
    with pytest.raises(InputError, match="2001 points: the matching is exact"):
        wasserstein_2(np.zeros((2001, 2)), np.zeros((2001, 2)))
    with pytest.raises(InputError, match="num_projections is 0"):
        sliced_wasserstein_of_points(x, x, num_projections=0)


@pytest.mark.parametrize(
    ("real", "fake", "settings", "message"),
    [
        ((4, 8, 8, 3), (4, 8, 8, 1), {}, "of one shape"),
        ((4, 6, 8, 3), (4, 6, 8, 3), {}, "of 7 pixels or more"),
        ((0, 8, 8, 3), (4, 8, 8, 3), {}, "There are 0 real and 4 generated"),
        ((4, 8, 8, 3), (4, 8, 8, 3), {"num_images": 0}, "num_images is 0"),
        ((4, 8, 8, 3), (4, 8, 8, 3), {"num_patches": 0}, "num_patches 0"),
        ((4, 8, 8, 3), (4, 8, 8, 3), {"num_projections": 0}, "num_projections 0"),
    ],
)
def test_bad_images_are_refused(real, fake, settings, message):
    with pytest.raises(InputError, match=message):
        sliced_wasserstein(np.zeros(real), np.zeros(fake), **settings)


def test_images_that_are_not_finite_are_refused():
    images = np.zeros((4, 8, 8, 1))
    images[2, 3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        sliced_wasserstein(np.zeros((4, 8, 8, 1)), images)
