"""Distances between an image and the one that it should be, for pairs of images [N, H, W, C] with values in [0, 1].

SSIM: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gen_jax.evaluate._rows import Rows, float64_pair, row_blocks, squared_distance_blocks
from gen_jax.types import Array, InputError

Images = Float[Array | np.ndarray, "_ _ _ _"]
WINDOW, SCALE = 11, 1.5  # pixels of SSIM's Gaussian window, and its standard deviation
_C1, _C2 = 0.01**2, 0.03**2  # of the paper, for a range of 1


class ImageErrors(NamedTuple):
    """Errors of each of N images.

    Attributes:
        l1: the mean over pixels and channels of |x − y|.
        psnr: −10 log₁₀ of the mean of (x − y)², in dB; infinite for equal images.
        ssim: the structural similarity, 1 for equal images; None for images of fewer than 11 pixels a side.
    """

    l1: Float[np.ndarray, "N"]
    psnr: Float[np.ndarray, "N"]
    ssim: Float[np.ndarray, "N"] | None


def image_errors(found: Images, partners: Images) -> ImageErrors:
    """Return the errors of images against their partners.

    Raises:
        InputError: the two differ in shape.
    """
    x, y = _pair(found, partners)
    axes = (1, 2, 3)
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(np.mean((x - y) ** 2, axis=axes))
    return ImageErrors(np.mean(np.abs(x - y), axis=axes), psnr, ssim(x, y) if min(x.shape[1:3]) >= WINDOW else None)


def ssim(found: Images, partners: Images) -> Float[np.ndarray, "N"]:
    """Return the mean of (2μ_x μ_y + C₁)(2σ_xy + C₂) / (μ_x² + μ_y² + C₁)(σ_x² + σ_y² + C₂) of each pair.

    Moments are under a Gaussian window of 11 × 11 pixels with a standard deviation of 1.5, wherever it fits into the image, in
    each channel; C₁ = 0.01², C₂ = 0.03².

    Raises:
        InputError: the two differ in shape, or have fewer than 11 pixels a side.
    """
    x, y = _pair(found, partners)
    if min(x.shape[1:3]) < WINDOW:
        raise InputError(f"The images are {x.shape[1]} x {x.shape[2]}: give {WINDOW} pixels a side, the window of SSIM, or more.")
    return np.concatenate([_ssim(x[rows], y[rows]) for rows in row_blocks(len(x))])


def _ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y, covariance = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2, _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return np.mean(luminance * (2 * covariance + _C2) / (var_x + var_y + _C2), axis=(1, 2, 3))


def _windowed(x: np.ndarray) -> np.ndarray:
    """Return the weighted mean under the window at each place where it fits."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SCALE) ** 2)
    weights /= weights.sum()
    height, width = (size - WINDOW + 1 for size in x.shape[1:3])
    x = sum(weight * x[:, i : i + height] for i, weight in enumerate(weights))
    return sum(weight * x[:, :, i : i + width] for i, weight in enumerate(weights))


def partner_ranks(found: Rows, partners: Rows) -> Float[np.ndarray, "N"]:
    """Return the rank, from 1 to N, of row i of `partners` by its distance to row i of `found`, among all rows of `partners`.

    A tie counts half: chance has a mean of (N + 1) / 2.

    Raises:
        InputError: the two differ in shape, or values are not finite.
    """
    x, y = float64_pair(found, partners, ("found", "partners"))
    if len(x) != len(y):
        raise InputError(f"found has {len(x)} rows and partners {len(y)}: give pairs.")
    tie, ranks = 1e-10 * float(y.var(axis=0).sum()), np.empty(len(x))  # rounding must not decide between equal rows
    for rows, squared in squared_distance_blocks(x, y):
        own = squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)][:, None]
        equal = np.abs(squared - own) <= tie  # holds the partner itself
        ranks[rows] = 1 + np.sum((squared < own) & ~equal, axis=1) + (np.sum(equal, axis=1) - 1) / 2
    return ranks


def _pair(found: Images, partners: Images) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(found, np.float64), np.asarray(partners, np.float64)
    if x.shape != y.shape or x.ndim != 4:
        raise InputError(f"The images are of shapes {x.shape} and {y.shape}: give pairs, both [N, H, W, C].")
    return x, y
