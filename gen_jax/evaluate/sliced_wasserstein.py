"""Wasserstein distances between samples: exact for few points, along random lines for many, and of the patches of images."""

import math

import numpy as np
from jaxtyping import Float, Int, Num

from gen_jax.evaluate._rows import Rows, float64_pair
from gen_jax.types import Array, InputError

Images = Num[Array | np.ndarray, "_ _ _ _"]
_PATCH = 7
_SMALLEST = 16
_MOST_POINTS = 2_000  # the matching takes some ten seconds at worst, and grows as their cube


def wasserstein_2(x: Rows, y: Rows) -> float:
    """Return the 2-Wasserstein distance √(min over matchings π of (1/N) Σ_n ‖x_n − y_π(n)‖²) of as many points each, exactly.

    It is that of the samples: for two sets from one distribution it is not 0, and falls with N.

    Args:
        x: points [N, D], mostly of the plane.
        y: points [N, D].

    Raises:
        InputError: the shapes differ, there are more than 2,000 points, or values are not finite.
    """
    from scipy.optimize import linear_sum_assignment  # late: importing it takes a tenth of a second
    from scipy.spatial.distance import cdist

    x, y = _as_many(x, y)
    if len(x) > _MOST_POINTS:
        raise InputError(f"There are {len(x)} points: the matching is exact and takes N³ steps, give {_MOST_POINTS} or fewer.")
    cost = cdist(x, y, "sqeuclidean")
    return math.sqrt(cost[linear_sum_assignment(cost)].mean())


def sliced_wasserstein_of_points(x: Rows, y: Rows, num_projections: int = 512, seed: int = 0) -> float:
    """Return the mean over random unit vectors u of the 1-Wasserstein distance between uᵀx and uᵀy.

    Along a line the distance is the mean absolute difference of the sorted projections. Rabin et al. 2011; in one dimension it is
    the 1-Wasserstein distance itself.

    Args:
        x: points [N, D].
        y: points [N, D].
        num_projections: how many u.
        seed: for the u.

    Raises:
        InputError: the shapes differ, there is no projection, or values are not finite.
    """
    x, y = _as_many(x, y)
    return _mean_over_lines(x, y, num_projections, seed)


def sliced_wasserstein(
    real: Images,
    fake: Images,
    seed: int = 0,
    num_images: int = 2048,
    num_patches: int = 64,
    num_projections: int = 512,
) -> dict[int, float]:
    """Return the sliced Wasserstein distance between patches of real and generated images, by the height of the pyramid's level.

    A level of the Laplacian pyramid holds the structure of its scale: 64-pixel images have levels of 64, 32 and 16, 28-pixel
    images of 28 and 14 (see `laplacian_pyramid`). At each level, 7 × 7 patches are cut at random places within the image; each
    channel is shifted and scaled to mean 0 and standard deviation 1 over all patches of its own set; the distance is that of
    `sliced_wasserstein_of_points`. Karras et al. 2018, arXiv:1710.10196, §5, who take 16,384 images and 128 patches of each, and
    print these numbers times 1,000: here they are plain.

    Both sets have their patches at the same places, so equal sets have 0. Two sets from one distribution do not: compare with the
    distance between two sets of real images, at the same numbers of images and patches.

    Args:
        real: [N, H, W, C], integers or floats; their scale does not count, as patches are normalised.
        fake: [M, H, W, C].
        seed: for the choice of images and patches, and for the projections.
        num_images: how many images of each set, at most: taken at random where there are more, and as many of both sets.
        num_patches: how many patches of each image, at each level; each takes 196 C bytes of memory.
        num_projections: how many random directions.

    Raises:
        InputError: the images differ in shape, there are none, they are smaller than a patch, a number is not above 0, or
            values are not finite.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    if real.ndim != 4 or real.shape[1:] != fake.shape[1:] or min(real.shape[1:3]) < _PATCH:
        raise InputError(f"The real images are of shape {real.shape} and the generated ones {fake.shape}: give [N, H, W, C] "
                         f"of one shape, of {_PATCH} pixels or more.")  # fmt: skip
    if min(len(real), len(fake), num_images, num_patches, num_projections) < 1:
        raise InputError(f"There are {len(real)} real and {len(fake)} generated images, num_images is {num_images}, num_patches "
                         f"{num_patches}, num_projections {num_projections}: give 1 or more of each.")  # fmt: skip
    num = min(len(real), len(fake), num_images)
    of_real, of_fake = (_patches_by_level(images, num, num_patches, seed) for images in (real, fake))
    return {height: _mean_over_lines(of_real[height], of_fake[height], num_projections, seed) for height in of_real}


def laplacian_pyramid(images: Float[np.ndarray, "N H W C"]) -> list[Float[np.ndarray, "N _ _ C"]]:
    """Return the levels of a Laplacian pyramid, finest first: each image less its smooth part, and the smallest image at the end.

    The smooth part is the image halved and doubled again, with the binomial filter (1, 4, 6, 4, 1)/16 along both axes and borders
    mirrored (Burt & Adelson 1983). Halving stops at 16 pixels or fewer, or at an odd size. Doubling the last level and adding
    the one before it, and so on, gives the images back.
    """
    levels = []
    while min(images.shape[1:3]) > _SMALLEST and images.shape[1] % 2 == images.shape[2] % 2 == 0:
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
    """Return x with zeros in between, filtered, times 2: what the filter makes of even places and of odd ones, put together."""
    x = np.moveaxis(x, axis, -1)
    # the mirror stands at the first place and at the last, which is odd: so the left neighbour is the second, the right the last
    padded = np.concatenate([x[..., 1:2], x, x[..., -1:]], axis=-1)
    left, middle, right = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    doubled = np.stack([(left + 6 * middle + right) / 8, (middle + right) / 2], axis=-1)
    return np.moveaxis(doubled.reshape(*x.shape[:-1], 2 * x.shape[-1]), -1, axis)


def _patches_by_level(
    images: Num[np.ndarray, "N H W C"], num: int, num_patches: int, seed: int
) -> dict[int, Float[np.ndarray, "P D"]]:
    """Return normalised patches of `num` random images, `num_patches` of each image and level, with 64 images at a time."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:num])
    places = np.random.default_rng((seed, 1))  # of their own, so that they do not depend on the size of the set
    parts: dict[int, list[np.ndarray]] = {}
    largest = 0.0
    for start in range(0, num, 64):
        chunk = images[chosen[start : start + 64]].astype(np.float32)
        largest = max(largest, float(np.abs(chunk).max()))
        if not np.isfinite(chunk).all():
            raise InputError("The images hold values that are not finite: leave those images out, or find where they come from.")
        for level in laplacian_pyramid(chunk):
            top, left = (places.integers(0, size - _PATCH + 1, (len(level), num_patches)) for size in level.shape[1:3])
            parts.setdefault(level.shape[1], []).append(_cut(level, top, left))
    return {height: _normalised(np.concatenate(patches), 1e-6 * largest) for height, patches in parts.items()}


def _cut(
    images: Float[np.ndarray, "N H W C"], top: Int[np.ndarray, "N P"], left: Int[np.ndarray, "N P"]
) -> Float[np.ndarray, "N*P 7 7 C"]:
    windows = np.lib.stride_tricks.sliding_window_view(images, (_PATCH, _PATCH), axis=(1, 2))
    patches = windows[np.arange(len(images))[:, None], top, left]  # [N, P, C, 7, 7]
    return np.moveaxis(patches, 2, -1).reshape(-1, _PATCH, _PATCH, images.shape[-1])


def _normalised(patches: Float[np.ndarray, "P 7 7 C"], rounding: float) -> Float[np.ndarray, "P D"]:
    mean, scale = (statistic(patches, axis=(0, 1, 2), dtype=np.float64) for statistic in (np.mean, np.std))
    scale = np.where(scale > rounding, scale, np.inf)  # a channel without structure is 0, not rounding blown up
    patches -= mean.astype(np.float32)
    patches /= scale.astype(np.float32)
    return patches.reshape(len(patches), -1)


def _mean_over_lines(x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "N D"], num_projections: int, seed: int) -> float:
    if num_projections < 1:
        raise InputError(f"num_projections is {num_projections}: give 1 or more.")
    directions = np.random.default_rng(seed).normal(size=(num_projections, x.shape[1]))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(x.dtype)
    total = 0.0
    for start in range(0, num_projections, 32):  # so that memory does not grow with the number of projections
        along_x, along_y = (np.sort(directions[start : start + 32] @ points.T, axis=1) for points in (x, y))
        total += np.abs(along_x - along_y).mean(axis=1, dtype=np.float64).sum()
    return float(total / num_projections)


def _as_many(x: Rows, y: Rows) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]]:
    x, y = float64_pair(x, y, ("x", "y"))
    if len(x) != len(y):
        raise InputError(f"There are {len(x)} points and {len(y)}: give as many of each.")
    return x, y
