"""Wasserstein distances between samples: exact, sliced (along random directions), and sliced between patches of images."""

import math

import numpy as np
from jaxtyping import Float, Num

from gen_jax.evaluate._rows import Rows, float64_pair
from gen_jax.types import Array, InputError

Images = Num[Array | np.ndarray, "_ _ _ _"]
_PATCH = 7
_MIN_SIZE = 16
_MAX_POINTS = 2_000  # the matching takes up to ten seconds


def wasserstein_2(x: Rows, y: Rows) -> float:
    """Return the exact 2-Wasserstein distance √(min over matchings π of (1/N) Σ_n ‖x_n − y_π(n)‖²) between points x, y [N, D].

    For two samples of one distribution it is above 0, and decreases with N.

    Raises:
        InputError: the shapes differ, there are more than 2,000 points, or values are not finite.
    """
    from scipy.optimize import linear_sum_assignment  # late: importing it takes a tenth of a second
    from scipy.spatial.distance import cdist

    x, y = _equal_shapes(x, y)
    if len(x) > _MAX_POINTS:
        raise InputError(f"There are {len(x)} points: the matching is exact and takes N³ steps, give {_MAX_POINTS} or fewer.")
    cost = cdist(x, y, "sqeuclidean")
    return math.sqrt(cost[linear_sum_assignment(cost)].mean())


def sliced_wasserstein_of_points(x: Rows, y: Rows, num_projections: int = 512, seed: int = 0) -> float:
    """Return the mean over random unit vectors u of the 1-Wasserstein distance between uᵀx and uᵀy, for points x, y [N, D].

    In one dimension, that distance is the mean absolute difference of the sorted points. Rabin et al. 2011.

    Raises:
        InputError: the shapes differ, `num_projections` is less than 1, or values are not finite.
    """
    return _mean_over_projections(*_equal_shapes(x, y), num_projections, seed)


def sliced_wasserstein(
    real: Images, fake: Images, seed: int = 0, num_images: int = 2048, num_patches: int = 64, num_projections: int = 512
) -> dict[int, float]:
    """Return the sliced Wasserstein distance between patches of real and generated images, for each height of a pyramid level.

    For each level of the `laplacian_pyramid` (64, 32 and 16 pixels for 64-pixel images), 7 × 7 patches are cut at random
    positions, each channel is normalised to mean 0 and standard deviation 1 over all patches of its set, and the sets are
    compared by `sliced_wasserstein_of_points`. Karras et al. 2018, arXiv:1710.10196, §5, use 16,384 images with 128 patches each,
    and report the distances times 1,000.

    Equal sets have 0, because both are cut at the same positions. Two sets from one distribution do not: as a baseline, take two
    sets of real images, with the same numbers of images and patches.

    Args:
        real: [N, H, W, C], integers or floats of any scale.
        fake: [M, H, W, C].
        seed: for the choice of images and patches, and for the projections.
        num_images: of each set, chosen at random; fewer if a set has fewer.
        num_patches: of each image at each level; each takes 196 C bytes of memory.
        num_projections: the number of random directions.

    Raises:
        InputError: the images differ in shape or are smaller than a patch, a set is empty, a number is less than 1, or values are
            not finite.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    if real.ndim != 4 or real.shape[1:] != fake.shape[1:] or min(real.shape[1:3]) < _PATCH:
        raise InputError(f"The real images are of shape {real.shape} and the generated ones {fake.shape}: give [N, H, W, C] "
                         f"of one shape, of {_PATCH} pixels or more.")  # fmt: skip
    if min(len(real), len(fake), num_images, num_patches, num_projections) < 1:
        raise InputError(f"There are {len(real)} real and {len(fake)} generated images, num_images is {num_images}, num_patches "
                         f"{num_patches}, num_projections {num_projections}: give 1 or more of each.")  # fmt: skip
    num = min(len(real), len(fake), num_images)
    real_levels, fake_levels = (_patches_by_level(images, num, num_patches, seed) for images in (real, fake))
    return {
        height: _mean_over_projections(patches, fake_levels[height], num_projections, seed)
        for height, patches in real_levels.items()
    }


def laplacian_pyramid(images: Float[np.ndarray, "N H W C"]) -> list[Float[np.ndarray, "N _ _ C"]]:
    """Return the levels of a Laplacian pyramid (Burt & Adelson 1983), finest first.

    Each level is the image minus its halved and doubled version, by the binomial filter (1, 4, 6, 4, 1)/16 along both axes with
    mirrored borders; the last level is the smallest image. Halving stops at 16 pixels or fewer, or at an odd size.
    """
    levels = []
    while min(images.shape[1:3]) > _MIN_SIZE and images.shape[1] % 2 == images.shape[2] % 2 == 0:
        halved = _half(_half(images, 1), 2)
        levels.append(images - _double(_double(halved, 1), 2))
        images = halved
    return [*levels, images]


def _half(x: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    x = np.moveaxis(x, axis, -1)
    size = x.shape[-1]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 2)], mode="reflect")
    halved = sum(weight / 16 * padded[..., i : i + size : 2] for i, weight in enumerate((1, 4, 6, 4, 1)))
    return np.moveaxis(np.asarray(halved, x.dtype), -1, axis)


def _double(x: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Return x with zeros inserted, filtered, times 2."""
    x = np.moveaxis(x, axis, -1)
    # mirrored about the first position and the last, which is an inserted zero
    padded = np.concatenate([x[..., 1:2], x, x[..., -1:]], axis=-1)
    left, middle, right = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    doubled = np.stack([(left + 6 * middle + right) / 8, (middle + right) / 2], axis=-1)
    return np.moveaxis(doubled.reshape(*x.shape[:-1], 2 * x.shape[-1]), -1, axis)


def _patches_by_level(
    images: Num[np.ndarray, "N H W C"], num: int, num_patches: int, seed: int
) -> dict[int, Float[np.ndarray, "P D"]]:
    """Return normalised patches of `num` random images, `num_patches` of each image and level."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:num])
    positions = np.random.default_rng((seed, 1))  # another generator, so that they do not depend on the size of the set
    parts: dict[int, list[np.ndarray]] = {}
    largest = 0.0
    for start in range(0, num, 64):
        chunk = images[chosen[start : start + 64]].astype(np.float32)
        largest = max(largest, float(np.abs(chunk).max()))
        if not np.isfinite(chunk).all():
            raise InputError("The images hold values that are not finite: leave out these images, or find their cause.")
        for level in laplacian_pyramid(chunk):
            top, left = (positions.integers(0, size - _PATCH + 1, (len(level), num_patches)) for size in level.shape[1:3])
            windows = np.lib.stride_tricks.sliding_window_view(level, (_PATCH, _PATCH), axis=(1, 2))
            patches = np.moveaxis(windows[np.arange(len(level))[:, None], top, left], 2, -1)  # [N, P, 7, 7, C]
            parts.setdefault(level.shape[1], []).append(patches.reshape(-1, *patches.shape[2:]))
    return {height: _normalised(np.concatenate(patches), 1e-6 * largest) for height, patches in parts.items()}


def _normalised(patches: Float[np.ndarray, "P 7 7 C"], rounding: float) -> Float[np.ndarray, "P D"]:
    mean, scale = (statistic(patches, axis=(0, 1, 2), dtype=np.float64) for statistic in (np.mean, np.std))
    scale = np.where(scale > rounding, scale, np.inf)  # a constant channel becomes 0, not amplified rounding errors
    patches -= mean.astype(np.float32)
    patches /= scale.astype(np.float32)
    return patches.reshape(len(patches), -1)


def _mean_over_projections(x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "N D"], num_projections: int, seed: int) -> float:
    if num_projections < 1:
        raise InputError(f"num_projections is {num_projections}: give 1 or more.")
    directions = np.random.default_rng(seed).normal(size=(num_projections, x.shape[1]))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(x.dtype)
    total = 0.0
    for start in range(0, num_projections, 32):  # bounds the memory
        along_x, along_y = (np.sort(directions[start : start + 32] @ points.T, axis=1) for points in (x, y))
        total += np.abs(along_x - along_y).mean(axis=1, dtype=np.float64).sum()
    return float(total / num_projections)


def _equal_shapes(x: Rows, y: Rows) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
    x, y = float64_pair(x, y, ("x", "y"))
    if len(x) != len(y):
        raise InputError(f"There are {len(x)} points and {len(y)}: give equal numbers.")
    return x, y
