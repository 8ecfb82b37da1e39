"""Data of two domains: what is made of images, and that no training image has its partner in training."""

import numpy as np
import pytest
from scipy import ndimage

from gen_jax.data import absolute_name, domain_channels, domain_of, has_partners, load_dataset, load_true_pairs
from gen_jax.data.pairs import luma, sobel
from gen_jax.types import InputError


@pytest.fixture
def archive(tmp_path):
    """Writes an archive of numbered images, which no two share, with labels, and returns its name."""

    def write(name: str, sizes=(40, 6, 7), shape=(4, 4, 3), labels: bool = True, dtype=np.uint8) -> str:
        rng, start, arrays = np.random.default_rng(len(name)), 0, {}
        for part, num in zip(("train", "valid", "test"), sizes, strict=True):
            x = rng.integers(0, 256, (num, *shape))
            x[:, 0, 0] = np.arange(start, start + num)[:, None]  # the number of the image
            arrays[part] = x.astype(np.uint8) if dtype == np.uint8 else (x / 255).astype(dtype)
            if labels:
                arrays[f"{part}_labels"] = np.arange(start, start + num) % 5
            start += num
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return f"npz:{tmp_path / name}.npz"

    return write


def test_edges_are_those_of_scipy():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 1)).astype(np.uint8)
    for image, found in zip(images, sobel(images), strict=True):
        grey = image[..., 0].astype(float)
        across, down = (ndimage.sobel(grey, axis, mode="nearest") for axis in (0, 1))
        np.testing.assert_allclose(found[..., 0], np.minimum(np.hypot(across, down) / 4, 255), atol=0.51)
    step = np.zeros((1, 6, 6, 1), np.uint8)
    step[:, :, 3:] = 255
    np.testing.assert_array_equal(sobel(step)[0, 2, :, 0], [0, 0, 255, 255, 0, 0])


def test_grey_values_are_the_luma_of_colours():
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]]]], np.uint8)
    np.testing.assert_array_equal(luma(colours)[0, 0, :, 0], [76, 150, 29, 255, 18])


@pytest.mark.parametrize("kind", ["edges", "grey", "inverted"])
def test_no_training_image_has_its_partner_and_every_held_out_one_has(archive, kind):
    base_name = archive("colours")
    base, data, pairs = load_dataset(base_name), load_dataset(f"{kind}:{base_name}"), load_true_pairs(f"{kind}:{base_name}")
    assert has_partners(data.name)
    a, b = domain_of(data, "a"), domain_of(data, "b")
    original = a if kind == "inverted" else b  # the domain of the images as they are
    assert original.train.x.shape == (20, 4, 4, 3)
    for part in ("valid", "test"):
        np.testing.assert_array_equal(original.splits[part].x, base.splits[part].x)
        np.testing.assert_array_equal(data.splits[part].x, pairs.splits[part].x)
        np.testing.assert_array_equal(a.splits[part].labels, base.splits[part].labels)
    # the images of A, whatever was made of them, are those of other rows than the images of B
    made = domain_of(pairs, "a").train.x
    rows_a = [int(np.flatnonzero((made == image).all(axis=(1, 2, 3)))[0]) for image in a.train.x]
    rows_b = [int(np.flatnonzero((domain_of(pairs, "b").train.x == image).all(axis=(1, 2, 3)))[0]) for image in b.train.x]
    assert sorted(rows_a + rows_b) == list(range(40))
    np.testing.assert_array_equal(a.train.labels, base.train.labels[rows_a])
    np.testing.assert_array_equal(b.train.labels, base.train.labels[rows_b])
    again = load_dataset(f"{kind}:{base_name}")
    assert data.fingerprints() == again.fingerprints()


def test_what_is_made_of_an_image_is_that():
    data = load_dataset("inverted:mnist-5k")
    a, b = domain_of(data, "a"), domain_of(data, "b")
    np.testing.assert_array_equal(a.test.x, 255 - b.test.x)
    assert (data.train.x.shape, data.test.x.shape) == ((2000, 28, 28, 2), (500, 28, 28, 2))
    assert (a.train.x != 255 - b.train.x).any(axis=(1, 2, 3)).all()


def test_two_data_sets_are_repeated_in_training_and_cut_elsewhere(archive):
    grey, colours = archive("grey", (5, 3, 4), (4, 4, 1)), archive("colours", (12, 6, 3), dtype=np.float32)
    data = load_dataset(f"pair:{grey},{colours}")
    assert not has_partners(data.name)
    assert {part: split.x.shape for part, split in data.splits.items()} == {
        "train": (12, 4, 4, 4),
        "valid": (3, 4, 4, 4),
        "test": (3, 4, 4, 4),
    }
    a, b = domain_of(data, "a"), domain_of(data, "b")
    # all of a domain before any of it again, in an order of its own; floats became bytes
    for start in (0, 5):
        assert sorted(a.train.x[start : start + 5, 0, 0, 0]) == list(range(5))
    assert sorted(b.train.x[:, 0, 0, 0]) == list(range(12))
    np.testing.assert_array_equal(a.train.labels, a.train.x[:, 0, 0, 0])
    assert len(set(a.test.labels)) == 3
    np.testing.assert_array_equal(load_dataset(f"pair:{grey},{colours}").train.x, data.train.x)
    unlabelled = archive("unlabelled", (12, 6, 3), labels=False)
    assert load_dataset(f"pair:{grey},{unlabelled}").factors is None


def test_a_path_means_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_name("pair:npz:a.npz,mnist") == f"pair:npz:{tmp_path / 'a.npz'},mnist"
    assert absolute_name("edges:folder:x") == f"edges:folder:{tmp_path / 'x'}"
    assert absolute_name("emoji") == "emoji"


@pytest.mark.slow
def test_emoji_are_split_once(shared_data, monkeypatch):
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(shared_data))
    data = load_dataset("emoji")
    shapes = {part: split.x.shape for part, split in data.splits.items()}
    assert shapes == {"train": (1393, 64, 64, 6), "valid": (500, 64, 64, 6), "test": (500, 64, 64, 6)}
    assert data.factors.names == ("label of A", "label of B")
    for style, domain in (("google", "a"), ("twitter", "b")):
        alone, of_pairs = load_dataset(f"emoji:{style}"), domain_of(load_true_pairs("emoji"), domain)
        np.testing.assert_array_equal(alone.train.x, of_pairs.train.x)
        np.testing.assert_array_equal(alone.test.labels, of_pairs.test.labels)
        assert alone.name == f"emoji:{style}"
    with np.load(shared_data / "emoji" / "emoji.npz") as arrays:
        row = int(np.flatnonzero((arrays["google"] == data.test.x[0, ..., :3]).all(axis=(1, 2, 3)))[0])
        np.testing.assert_array_equal(arrays["twitter"][row], data.test.x[0, ..., 3:])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grey:{grey}", "takes the colours from images, and those of .* are grey: give colour images"),
        ("pair:{grey},{large}", "are 4 x 4 and those of .* 5 x 5: give two of one size"),
        ("pair:{colours},{grey}", "the domain A, has colours and .*, the domain B, is grey: name the grey one first"),
        ("pair:{one},{grey}", "has 1 training image: give a domain of two or more"),
        ("pair:{grey},{one}", "has 1 training image: give a domain of two or more"),
        ("inverted:{few}", "3 training images make two domains of 1: give 4 or more"),
        ("pair:emoji:google,emoji:twitter", "would put partners side by side in training: give emoji"),
        ("pair:{grey}", "does not name two data sets: give pair:NAME,NAME"),
        ("pair:mnist-5k,mnist-5k,mnist-5k", "does not name two data sets"),
        ("edges:toy:ring", r"An example of toy:ring has shape \(2,\): give grey or colour images"),
        ("inverted:{negative}", "range from -1 to 1: scale them to"),
        ("edges:mnst-5k", "There is no data set 'mnst-5k'. Did you mean mnist-5k"),
        ("emoji:apple", "There is no style 'apple' of emoji: give emoji:google or emoji:twitter"),
        ("emoji", "The data set emoji is emoji/emoji.npz in the folder GEN_JAX_DATA_DIR, which is not set"),
    ],
)
def test_data_that_are_no_two_domains_are_refused(archive, tmp_path, name, message):
    names = {
        "grey": archive("grey", shape=(4, 4, 1)),
        "colours": archive("colours"),
        "large": archive("large", shape=(5, 5, 1)),
        "one": archive("one", (1, 1, 1), (4, 4, 1)),
        "few": archive("few", (3, 3, 3)),
    }
    np.savez(tmp_path / "negative.npz", images=np.linspace(-1, 1, 160, dtype=np.float32).reshape(10, 4, 4, 1))
    with pytest.raises(InputError, match=message):
        load_dataset(name.format(**names, negative=f"npz:{tmp_path}/negative.npz"))


def test_what_has_no_partners_and_what_is_no_pair_is_told(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="partners of images of pair:mnist,mnist are not known: give emoji, edges:NAME"):
        load_true_pairs("pair:mnist,mnist")
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match=r"There is no file .*emoji.npz: put it there"):
        load_dataset("emoji")
    assert [domain_channels(total) for total in (2, 4, 6)] == [(1, 1), (1, 3), (3, 3)]
    for total in (1, 3):
        with pytest.raises(InputError, match=f"Examples have {total} channels?, and those of two domains have 2 .*: give"):
            domain_channels(total)
