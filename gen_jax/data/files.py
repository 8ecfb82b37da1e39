"""Data sets in files: IDX, NumPy archives, folders of image files."""

import gzip
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gen_jax.data.dataset import Dataset, Split, check_array, three_parts
from gen_jax.types import InputError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
NPZ_NAMES = {  # the names that arrays of a split go by, in NumPy archives found in the field
    "train": ("train_images", "x_train", "train"),
    "valid": ("valid_images", "x_valid", "valid"),
    "test": ("test_images", "x_test", "test"),
}
NPZ_LABELS = {split: (f"{split}_labels", f"y_{split}") for split in NPZ_NAMES}


def load_idx(folder: Path) -> Dataset:
    """Return the data set of four IDX files with MNIST's names, compressed by gzip or not."""
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
    return three_parts(train, None, test)


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
    shapes = {part.x.shape[1:] for part in (train, valid, test) if part is not None}
    if len(shapes) > 1:
        raise InputError(f"{path} holds examples of different shapes, {sorted(shapes)}: give one shape.")
    return three_parts(train, valid, test)


def _labels(labels: np.ndarray | None, num_examples: int, where: str) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.reshape(-1).shape != (num_examples,) or labels.dtype.kind not in "bui":
        raise InputError(
            f"{where} has {num_examples} examples and labels of shape {labels.shape}, {labels.dtype}: give one integer each."
        )
    return labels.reshape(-1).astype(np.int32)


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


def load_folder(argument: str) -> Dataset:
    """Return the data set of a folder of images, whose folders are the labels; images are read when they are asked for."""
    folder = Path(argument).expanduser()
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the path of a folder of images.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if len(paths) < 3:
        raise InputError(f"{folder} holds {len(paths)} image files: training, validation and test data need 3 or more.")
    classes = sorted({path.parent for path in paths})
    labels = np.array([classes.index(path.parent) for path in paths], np.int32) if len(classes) > 1 else None
    return three_parts(Split(_ImageFiles(paths), labels), None, None)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
