"""A data set: images (or other events) in three splits, as arrays on the host."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gen_jax.data.sprites import SPRITE_SHAPE
from gen_jax.types import InputError


class Split(NamedTuple):
    """Examples along the first axis.

    Attributes:
        images: [N, *event], uint8 (0…255 stands for [0, 1]) or float32; int32, the numbers of sprites, which are drawn when they
            are seen (`to_unit`); or a sequence that reads such images one by one.
        labels: [N] int32, or None.

    A batch is one too, on the device, and so is an example, without the first axis.
    """

    images: Any
    labels: Any

    def on_device(self) -> "Split":
        """Return the split as JAX arrays."""
        return Split(jnp.asarray(self.images), None if self.labels is None else jnp.asarray(self.labels))

    def in_memory(self) -> "Split":
        """Return the split with every image read into one array."""
        if isinstance(self.images, np.ndarray):
            return self
        images = np.stack([self.images[i] for i in range(len(self.images))])
        return Split(check_array(images, "The data set"), self.labels)


class Dataset(NamedTuple):
    """Training, validation and test examples."""

    train: Split
    valid: Split
    test: Split

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        image = np.asarray(self.test.images[0])
        return SPRITE_SHAPE if image.dtype == np.int32 else image.shape


class Rows:
    """Some rows of a sequence that is read lazily, itself such a sequence."""

    def __init__(self, source: Any, indices: np.ndarray):
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.source[int(self.indices[i])]


def split_rows(images: Any, labels: np.ndarray | None, parts: Sequence[np.ndarray]) -> list[Split]:
    """Return a split for each array of row numbers."""

    def rows(part: np.ndarray) -> Any:
        return images[part] if isinstance(images, np.ndarray) else Rows(images, part)

    return [Split(rows(part), None if labels is None else labels[part]) for part in parts]


def random_parts(num_examples: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """Cut 0…N−1, in an order fixed for ever, into parts of the given sizes and the rest, which comes first."""
    order = _mixed(np.arange(num_examples))
    return np.split(order, np.cumsum([num_examples - sum(sizes), *sizes])[:-1])


def _mixed(rows: np.ndarray) -> np.ndarray:
    """Return row numbers in the order of their hashes: mixed, and the same under every version of every library."""
    hashes = [hashlib.sha256(str(row).encode()).digest() for row in rows]
    return rows[sorted(range(len(rows)), key=hashes.__getitem__)]


def stratified_parts(labels: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """As `random_parts`, of every class apart: `sizes` counts the examples of each class. The classes come mixed."""
    parts_of_class = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        parts_of_class.append([rows[part] for part in random_parts(len(rows), sizes)])
    return [_mixed(np.concatenate(parts)) for parts in zip(*parts_of_class, strict=True)]


def check_array(images: np.ndarray, where: str) -> np.ndarray:
    """Return images in canonical form: uint8 or float32, [N, H, W] as [N, H, W, 1], {0, 1} integers as {0, 255}.

    Raises:
        InputError: no examples, no event axis, a dtype that is not numeric, integers outside 0…255, or a NaN or infinity.
    """
    if images.ndim < 2 or images.size == 0:
        raise InputError(f"{where} has shape {images.shape}: give examples along the first axis, [N, ...], none of the sizes 0.")
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype.kind in "bui":
        low, high = images.min(), images.max()
        if low < 0 or high > 255:
            raise InputError(f"{where} holds integers from {low} to {high}: give pixels in 0…255 (or 0 and 1).")
        return (images * np.uint8(255) if high <= 1 else images).astype(np.uint8)
    if images.dtype.kind != "f":
        raise InputError(f"{where} has dtype {images.dtype}: give integers in 0…255 or floats.")
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        bad = int(np.argwhere(~np.isfinite(images).reshape(len(images), -1).all(axis=1))[0, 0])
        raise InputError(f"{where} holds a NaN or a number too large for float32, first in example {bad}: remove or mend it.")
    return images
