"""Scaling, binarisation and streamed batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.data import DEFAULT_BINARISATION, Dataset, DataView, Split, binarise, load_dataset, to_unit
from gen_jax.types import InputError

IMAGE = jnp.array([0, 51, 127, 128, 255], jnp.uint8)
ONCE = 1  # what the key of a seed is folded with, for what is binarised once


def test_to_unit():
    """The greys are 0 … 255 over 255; black and white are exact on any device."""
    greys = np.asarray(to_unit(np.arange(256, dtype=np.uint8)))
    np.testing.assert_allclose(greys, np.arange(256) / 255, rtol=1.2e-7)
    assert (greys[0], greys[255]) == (0, 1)
    np.testing.assert_allclose(to_unit(IMAGE), np.array([0, 0.2, 127 / 255, 128 / 255, 1]), rtol=1e-6)
    x = jnp.array([0.25, 2.0])
    np.testing.assert_array_equal(to_unit(x), x)


def test_threshold_and_none(key):
    np.testing.assert_array_equal(binarise("threshold", key, to_unit(IMAGE)), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(binarise("none", key, to_unit(IMAGE)), to_unit(IMAGE))


def test_a_drawn_pixel_is_one_with_its_intensity(key):
    num = 20_000
    draws = np.asarray(jax.vmap(lambda k: binarise("dynamic", k, to_unit(IMAGE)))(jax.random.split(key, num)))
    assert set(np.unique(draws)) == {0.0, 1.0}
    p = np.asarray(to_unit(IMAGE), np.float64)
    assert np.all(np.abs(draws.mean(0) - p) <= 4 * np.sqrt(p * (1 - p) / num))


# a data set binarised once


def of_images(x: np.ndarray) -> Dataset:
    """The same images in all three parts, with their numbers for labels."""
    return Dataset(*[Split(x, np.arange(len(x), dtype=np.int32))] * 3, name="images")


def drawn_by_hand(mode, x: np.ndarray, seed: int, part: int) -> np.ndarray:
    """Image i of a part, by numpy but for the draw: with the key of the seed folded with 1, the part's number, and i."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), ONCE), part)
    intensities = x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x
    if mode == "threshold":
        return 255 * (intensities >= 0.5)
    return 255 * np.stack([jax.random.bernoulli(jax.random.fold_in(key, i), p) for i, p in enumerate(intensities)])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("mode", ["dynamic", "fixed", "threshold"])
def test_what_is_binarised_once_are_draws_with_the_documented_keys(mode, dtype):
    grey = np.random.default_rng(0).integers(0, 256, (300, 4, 5, 1)).astype(np.uint8)  # more than are drawn at once
    x = grey if dtype == np.uint8 else grey.astype(np.float32) / np.float32(255)
    found = of_images(x).binarised(mode, seed=3)
    for i, (name, split) in enumerate(found.splits.items()):
        if name == "train" and mode != "fixed":
            assert split.x is x  # drawn anew at every step
            continue
        np.testing.assert_array_equal(split.x, drawn_by_hand(mode, x, 3, i))
        assert split.x.dtype == np.uint8
        np.testing.assert_array_equal(split.labels, np.arange(300))
    evaluated = of_images(x).binarised(mode, seed=3, train=True)
    np.testing.assert_array_equal(evaluated.train.x, drawn_by_hand(mode, x, 3, 0))
    np.testing.assert_array_equal(evaluated.test.x, found.test.x)
    assert found.view.binarise == mode


def test_the_mean_of_what_is_binarised_once_is_the_intensity():
    grey = np.tile(np.arange(256, dtype=np.uint8), (3000, 1))
    test = of_images(grey).binarised("dynamic").test.x
    p = np.arange(256) / 255
    assert np.all(np.abs(test.mean(0) / 255 - p) <= 5 * np.sqrt(p * (1 - p) / 3000))
    assert len(np.unique(test, axis=0)) == 3000  # each with a key of its own


def test_parts_and_seeds_are_drawn_apart_and_dynamic_as_fixed():
    data = of_images(np.full((50, 40), 128, np.uint8))
    drawn = data.binarised("fixed")
    parts = [split.x for split in drawn.splits.values()] + [data.binarised("fixed", seed=1).test.x]
    assert len(np.unique(np.stack(parts), axis=0)) == 4
    np.testing.assert_array_equal(drawn.test.x, data.binarised("dynamic").test.x)


def test_a_data_set_is_loaded_as_the_field_uses_it():
    assert set(DEFAULT_BINARISATION.items()) == {("mnist-5k", "dynamic"), ("mnist", "dynamic")}
    grey, default, seeded = (load_dataset("mnist-5k", *args) for args in (("none",), (), (None, 7)))
    assert (grey.view.binarise, default.view.binarise) == ("none", "dynamic")
    np.testing.assert_array_equal(default.train.x, grey.train.x)
    for i, name in ((1, "valid"), (2, "test")):
        found, of_seed, stored = (data.splits[name] for data in (default, seeded, grey))
        np.testing.assert_array_equal(found.x[:20], drawn_by_hand("dynamic", stored.x[:20], 0, i))
        np.testing.assert_array_equal(of_seed.x[:20], drawn_by_hand("dynamic", stored.x[:20], 7, i))
        np.testing.assert_array_equal(found.labels, stored.labels)
    assert load_dataset("toy:two-moons").view.binarise == "none"


def test_none_and_sprites_stay_as_they_are():
    data = of_images(np.array([[0.0, 7.0], [-1.0, 0.5]], np.float32))
    assert data.binarised("none").splits == data.splits
    sprites = Dataset(*[Split(np.arange(5, dtype=np.int32))] * 3, view=load_dataset("sprites").view)
    for mode in ("dynamic", "fixed", "threshold"):
        found = sprites.binarised(mode)
        assert found.splits == sprites.splits
        seen = np.asarray(found.view.training_examples(jax.random.key(0), found.train).x)
        np.testing.assert_array_equal(seen, sprites.view.examples(sprites.train).x)  # black and white, whatever is drawn


def test_values_outside_of_the_unit_interval_are_not_binarised():
    data = of_images(np.array([[0.0, 0.5], [0.25, 1.5]], np.float32))
    for mode in ("dynamic", "fixed", "threshold"):
        with pytest.raises(InputError, match=r"train examples of images range from 0 to 1\.5, which are not intensities in"):
            data.binarised(mode)


def test_streamed_examples_are_binarised_at_each_step_or_not_at_all():
    grey = Split(np.full((4, 3), 128, np.uint8))
    streamed = Dataset(Split(Recorder(8)), grey, grey)
    assert streamed.binarised("dynamic").train is streamed.train
    for options in ({"mode": "fixed"}, {"mode": "dynamic", "train": True}):
        with pytest.raises(InputError, match="Streamed examples cannot be binarised once and kept"):
            streamed.binarised(**options)


# what a model sees


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_view_is_what_training_draws_and_evaluation_sees(key, symmetric):
    stored = Split(np.tile(np.array([0, 51, 128, 255], np.uint8), (5000, 1)), np.arange(5000))
    p, low = np.array([0, 51, 128, 255]) / 255, -1 if symmetric else 0
    for mode in ("dynamic", "fixed", "threshold", "none"):
        view = DataView(binarise=mode, symmetric=symmetric)
        seen = view.training_examples(key, stored)
        assert seen.labels is stored.labels
        wanted, values = np.rint(p) if mode == "threshold" else p, np.asarray(view.from_model(seen.x))
        if mode == "dynamic":
            assert set(np.unique(seen.x)) == {low, 1}
            assert np.all(np.abs(values.mean(0, dtype=np.float64) - p) <= 5 * np.sqrt(p * (1 - p) / 5000))
            assert len(np.unique(values, axis=0)) == 4  # black and white are certain, each of the others has its own draw
        else:  # what is fixed was drawn before: nothing is drawn of it again
            np.testing.assert_allclose(values, np.tile(wanted, (5000, 1)), atol=1e-6)
        evaluated = view.examples(stored)
        np.testing.assert_allclose(view.from_model(evaluated.x), np.tile(p, (5000, 1)), atol=1e-6)
        np.testing.assert_array_equal(evaluated.x[3], view.example(stored.x[3]))


# labels and fingerprints


def test_a_fingerprint_tells_examples_and_labels_apart():
    x, labels = np.arange(12, dtype=np.uint8).reshape(6, 2), np.arange(6, dtype=np.int32)
    data = Dataset(Split(x, labels), Split(x), Split(x, labels))
    assert data.fingerprints() == {
        "train": Split(x.copy(), labels.copy()).fingerprint(),
        "valid": Split(x.copy()).fingerprint(),
        "test": Split(x.copy(), labels.copy()).fingerprint(),
    }
    assert data.fingerprints()["train"] == Split(x, labels).on_device().fingerprint()
    relabelled, other = labels.copy(), x.copy()
    relabelled[3], other[3, 1] = 0, 0
    splits = (Split(x, labels), Split(x), Split(x, relabelled), Split(other, labels), Split(x[:5], labels[:5]))
    assert len({split.fingerprint() for split in splits}) == len(splits)
    streamed = [Split(Recorder(6), given).fingerprint() for given in (None, labels, relabelled)]
    assert streamed[0] == "6"
    assert len(set(streamed)) == 3


# streaming


class Recorder:
    """A sequence that counts how often each row is read, as a file reader would be asked."""

    def __init__(self, num: int):
        self.reads = np.zeros(num, int)

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, i: int) -> np.ndarray:
        self.reads[int(i)] += 1
        return np.array([i], np.int32)


def streamed(train: Split) -> Dataset:
    return Dataset(train, Split(np.zeros((1, 1))), Split(np.zeros((1, 1))))


def test_batches_are_the_rows_that_are_asked_for_each_read_once():
    source = Recorder(23)
    rows = np.random.default_rng(0).permutation(23)[:20].reshape(4, 5)
    batches = list(streamed(Split(source)).batches(rows))
    assert [batch.x.shape for batch in batches] == [(5, 1)] * 4
    np.testing.assert_array_equal([batch.x[:, 0] for batch in batches], rows)
    assert all(batch.labels is None for batch in batches)
    np.testing.assert_array_equal(source.reads, np.isin(np.arange(23), rows))


@pytest.mark.parametrize("lazy", [True, False])
def test_labels_come_with_their_images(lazy):
    labels = np.random.default_rng(1).integers(0, 10, 64).astype(np.int32)
    x = Recorder(64) if lazy else np.arange(64, dtype=np.int32)[:, None]
    rows = np.random.default_rng(2).integers(0, 64, (7, 8))  # some of them twice
    batches = list(streamed(Split(x, labels)).batches(rows))
    np.testing.assert_array_equal([batch.x[:, 0] for batch in batches], rows)
    np.testing.assert_array_equal([batch.labels for batch in batches], labels[rows])


def test_rows_given_by_jax_are_streamed_too():
    rows = np.asarray(jax.random.permutation(jax.random.key(0), 12).reshape(3, 4))
    batches = list(streamed(Split(np.arange(12.0)[:, None])).batches(rows))
    np.testing.assert_array_equal([batch.x[:, 0] for batch in batches], rows)
