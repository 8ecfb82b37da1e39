"""Data sets in files: IDX, NumPy archives, folders of image files."""

import gzip
import lzma
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gen_jax.data.dataset import Dataset, Factors, LazyExamples, Split, check_array, three_parts
from gen_jax.types import InputError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MASK_SUFFIXES = (".npy", ".npz", ".png")
NPZ_NAMES = {  # the usual names of each split's array
    part: (f"{part}_images", f"x_{part}", f"{part}_data", part) for part in ("train", "valid", "test")
}
BAD_ARCHIVE = (  # what zipfile and numpy raise for one damage or another
    *(ValueError, OSError, EOFError, RuntimeError, KeyError, OverflowError, MemoryError, SyntaxError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tokenize.TokenError),
)
LARGE = 0.05  # share of the machine's memory above which the size of an archive is told


def load_idx(folder: Path) -> Dataset:
    """Return the data set of four IDX files with MNIST's names, compressed by gzip or not."""

    def split(name: str) -> Split:
        images, labels = _read_idx(folder, f"{name}-images-idx3-ubyte"), _read_idx(folder, f"{name}-labels-idx1-ubyte")
        if len(images) != len(labels):
            raise InputError(f"{folder} has {len(images)} {name} images and {len(labels)} labels: fetch the files again.")
        return Split(check_array(images, f"{folder} ({name})"), labels.astype(np.int32))

    return three_parts(split("train"), None, split("t10k"))


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
    if min(shape) < 0 or values.size != np.prod(shape, dtype=np.int64):
        raise InputError(damaged % f"its header says {'×'.join(map(str, shape))}, and {values.size} bytes follow")
    return values.reshape(shape)


def load_npz(argument: str) -> Dataset:
    """Return the data set of an .npz file of plain arrays."""
    path = Path(argument).expanduser()
    if not path.is_file():
        raise InputError(f"There is no file {path}: give the path of an .npz file.")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is an .npy file: save the array with numpy.savez, as images")
            _tell_size(path, sum(member.file_size for member in archive.zip.infolist()))
            arrays = {name: archive[name] for name in archive.files}
            if other := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
                raise ValueError(f"{other[0]} is no array")
    except BAD_ARCHIVE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole .npz file of plain arrays ({error}).") from error

    def split(names: tuple[str, ...], label_names: tuple[str, ...]) -> Split | None:
        name = next((name for name in names if name in arrays), None)
        if name is None:
            return None
        images = check_array(arrays[name], f"{path} ({name})")
        labels = next((arrays[label_name] for label_name in label_names if label_name in arrays), None)
        if labels is None:
            return Split(images)
        if labels.reshape(-1).shape != (len(images),) or labels.dtype.kind not in "bui":
            raise InputError(
                f"{path} ({name}) has {len(images)} examples and labels of shape {labels.shape}, {labels.dtype}: "
                "give one integer each."
            )
        labels, limits = labels.reshape(-1), np.iinfo(np.int32)
        if labels.min() < limits.min or labels.max() > limits.max:
            raise InputError(f"{path} ({name}) has labels from {labels.min()} to {labels.max()}: give numbers of 32 bits.")
        return Split(images, labels.astype(np.int32))

    train, valid, test = (split(names, (f"{part}_labels", f"y_{part}")) for part, names in NPZ_NAMES.items())
    train = train or split(("images",), ("labels",))
    if train is None:
        wanted = ", ".join(" or ".join(names) for names in NPZ_NAMES.values())
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}: name its arrays {wanted}; or images alone.")
    shapes = {part.x.shape[1:] for part in (train, valid, test) if part is not None}
    if len(shapes) > 1:
        raise InputError(f"{path} holds examples of different shapes, {sorted(shapes)}: give one shape.")
    factors = _known_factors(path, arrays, {"train": train, "valid": valid, "test": test})
    return three_parts(train, valid, test)._replace(factors=factors)


def _known_factors(path: Path, arrays: Mapping[str, np.ndarray], parts: Mapping[str, Split | None]) -> Factors | None:
    """Return the factors of each part, divided as its examples are; None where there are none."""
    alone = "images" in arrays and "factors" in arrays and "train_factors" not in arrays
    named = {
        part: ("factors" if alone and part == "train" else f"{part}_factors", len(examples.x))
        for part, examples in parts.items()
        if examples is not None
    }
    if not any(name in arrays for name, _ in named.values()):
        return None
    found, limits = {}, np.iinfo(np.int32)
    for part, (name, num) in named.items():
        values = arrays.get(name)
        if values is None:
            raise InputError(f"{path} has factors of some examples and no {name}: give those of all, or none.")
        if values.ndim != 2 or len(values) != num or values.size == 0 or values.dtype.kind not in "bui":
            raise InputError(
                f"{path} ({name}) has {num} examples and factors of shape {values.shape}, {values.dtype}: give integers [N, F]."
            )
        if values.min() < limits.min or values.max() > limits.max:
            raise InputError(f"{path} ({name}) has factors from {values.min()} to {values.max()}: give numbers of 32 bits.")
        found[part] = Split(values.astype(np.int32))
    sizes = {split.x.shape[1] for split in found.values()}
    if len(sizes) > 1:
        raise InputError(f"{path} has examples of different numbers of factors, {sorted(sizes)}: give the same ones for all.")
    divided = three_parts(found["train"], found.get("valid"), found.get("test"))  # as the examples: by their number alone
    return Factors(tuple(f"factor {k}" for k in range(sizes.pop())), *(split.x for split in divided.splits.values()))


def _tell_size(path: Path, size: int) -> None:
    """Warn of an archive that unpacks to much of the memory, and refuse one that unpacks to more."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > LARGE * memory:
        told = f"{path} unpacks to {size / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f} GB of memory"
        if size > memory:
            raise InputError(f"{told}: give a folder of images, with --stream.")
        warnings.warn(f"{told}: the arrays stay there while it trains, and on the device too without --stream.", stacklevel=4)


def load_folder(argument: str) -> Dataset:
    """Return the data set of a folder of images of one size and mode, read lazily; the folders in it are the labels."""
    folder = Path(argument).expanduser()
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the path of a folder of images.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if len(paths) < 3:
        raise InputError(f"{folder} holds {len(paths)} image files: training, validation and test data need 3 or more.")
    shape = _read_image(paths[0]).shape

    def read(i: int) -> np.ndarray:
        image = _read_image(paths[i])
        if image.shape != shape:
            found, wanted = ("×".join(map(str, size)) for size in (image.shape, shape))
            raise InputError(f"{paths[i]} is {found}, and {paths[0]} is {wanted}: give images of one size and mode.")
        return image

    classes = sorted({path.parent for path in paths})
    labels = np.array([classes.index(path.parent) for path in paths], np.int32) if len(classes) > 1 else None
    return three_parts(Split(LazyExamples(len(paths), read), labels), None, None)


def load_mask(argument: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return booleans of the given shape from an .npy file, an .npz file of one array, or a .png picture, where white is True.

    Numbers must be 0 and 1, and a picture black and white. [H, W] does for all channels of [H, W, C].

    Raises:
        InputError: there is no such file, it cannot be read, it holds other values than a mask has, or its shape fits no example.
    """
    path = Path(argument).expanduser()
    if not path.is_file():
        raise InputError(f"There is no file {path}: give the path of a mask, one of {', '.join(MASK_SUFFIXES)}.")
    if path.suffix == ".png":
        values = _read_image(path) / 255
        values = values[..., 0] if (values == values[..., :1]).all() else values
    else:
        values = _read_one_array(path)
    if values.dtype.kind not in "buif" or not np.isin(values, (0, 1)).all():
        wanted = "black and white alone" if path.suffix == ".png" else "booleans, or the numbers 0 and 1"
        raise InputError(f"{path} holds other values than a mask has ({values.dtype}): give {wanted}.")
    known = values.astype(bool)
    if len(shape) == 3 and known.shape == shape[:2]:
        return np.broadcast_to(known[..., None], shape)
    if known.shape != shape:
        wanted = f"{shape}, or {shape[:2]} for all channels" if len(shape) == 3 else f"{shape}"
        raise InputError(f"{path} is a mask of shape {known.shape}, which fits no example: give {wanted}.")
    return known


def _read_one_array(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            if len(found.files) != 1 or not isinstance(array := found[found.files[0]], np.ndarray):
                raise ValueError(f"it holds {', '.join(found.files) or 'nothing'}")
            return array
    except BAD_ARCHIVE as error:
        raise InputError(f"{path} is not a whole .npy or .npz file of one plain array ({error}).") from error


def _read_image(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path, formats=IMAGE_FORMATS) as file:  # a file may be of another format than its name says
            mode = file.mode
            array = np.asarray(file if mode in ("L", "RGB") else file.convert("L" if mode == "1" else "RGB"))
    # what Pillow raises for one damage or another
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image ({error}): repair or remove it.") from error
    if mode in ("I", "F") or mode.startswith("I;"):
        raise InputError(f"{path} has more than 8 bits per channel (mode {mode}): convert it to 8 bits.")
    return array.reshape(*array.shape[:2], -1)
