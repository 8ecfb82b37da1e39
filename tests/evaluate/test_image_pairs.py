"""Errors of images against scikit-image, and ranks against a loop."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gen_jax.evaluate import image_errors, partner_ranks, ssim
from gen_jax.types import InputError


@pytest.mark.parametrize("shape", [(11, 11, 1), (20, 15, 3)])
def test_errors_are_those_of_scikit_image(shape):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (4, *shape))
    y = np.clip(x + rng.normal(0, [[[[0.01]]], [[[0.1]]], [[[0.5]]], [[[2.0]]]], x.shape), 0, 1)
    found = image_errors(x, y)
    for i in range(4):
        expected = structural_similarity(
            x[i], y[i], data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        np.testing.assert_allclose(found.ssim[i], expected, rtol=1e-9)
        np.testing.assert_allclose(found.psnr[i], peak_signal_noise_ratio(x[i], y[i], data_range=1.0), rtol=1e-9)
        np.testing.assert_allclose(found.l1[i], np.abs(x[i] - y[i]).mean(), rtol=1e-12)
    assert (np.diff(found.ssim) < 0).all()
    assert (np.diff(found.l1) > 0).all()


def test_of_equal_images_and_of_opposite_ones():
    x = np.random.default_rng(0).integers(0, 2, (600, 12, 12, 1)).astype(np.float32)
    same, opposite = image_errors(x, x), image_errors(x, 1 - x)
    np.testing.assert_allclose(same.ssim, 1, rtol=1e-12)
    assert np.isinf(same.psnr).all()
    assert (same.l1 == 0).all()
    assert opposite.ssim.max() < 0
    assert opposite.ssim.mean() < -0.9
    np.testing.assert_allclose(opposite.l1, 1)
    np.testing.assert_allclose(opposite.psnr, 0, atol=1e-9)


def test_ranks_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    partners = rng.normal(size=(30, 4))
    found = partners + rng.normal(size=(30, 4))
    ranks = partner_ranks(found, partners)
    for i in range(30):
        distances = ((partners - found[i]) ** 2).sum(axis=1)
        assert ranks[i] == 1 + (distances < distances[i]).sum()
    np.testing.assert_array_equal(partner_ranks(partners, partners), 1)
    twins = np.repeat(partners[:5], 2, axis=0)  # each image there twice: a tie
    np.testing.assert_array_equal(partner_ranks(twins, twins), 1.5)
    np.testing.assert_array_equal(partner_ranks(np.zeros((7, 4)), np.ones((7, 4))), 4)  # all are equal
    assert partner_ranks(np.zeros((30, 4)), partners).mean() == pytest.approx(15.5)  # one image for all: chance
    np.testing.assert_array_equal(partner_ranks(found + 1e6, partners + 1e6), ranks)


@pytest.mark.parametrize(
    ("of", "x", "y", "message"),
    [
        (image_errors, np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 4, 3)), "give pairs, both"),
        (ssim, np.zeros((2, 10, 12, 1)), np.zeros((2, 10, 12, 1)), "The images are 10 x 12: give 11 pixels a side"),
        (partner_ranks, np.zeros((3, 4)), np.zeros((4, 4)), "found has 3 rows and partners 4: give pairs"),
        (partner_ranks, np.zeros((3, 4)), np.zeros((3, 5)), "give equal numbers"),
        (partner_ranks, np.full((3, 4), np.nan), np.zeros((3, 4)), "not finite"),
    ],
)
def test_what_are_no_pairs_is_refused(of, x, y, message):
    with pytest.raises(InputError, match=message):
        of(x, y)


def test_small_images_have_no_ssim():
    x = np.random.default_rng(0).uniform(size=(3, 10, 12, 3))
    assert image_errors(x, x).ssim is None
