"""Scaling, binarisation and streamed batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.data import Split, binarise, binarise_split, epoch_batches, to_unit
from gen_jax.types import InputError

IMAGE = jnp.array([0, 51, 127, 128, 255], jnp.uint8)


def test_to_unit():
    np.testing.assert_allclose(to_unit(IMAGE), np.array([0, 0.2, 127 / 255, 128 / 255, 1]), rtol=1e-6)
    x = jnp.array([0.25, 2.0])
    np.testing.assert_array_equal(to_unit(x), x)


def test_threshold_and_none(key):
    np.testing.assert_array_equal(binarise("threshold", key, IMAGE), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(binarise("none", key, IMAGE), to_unit(IMAGE))


def test_a_drawn_pixel_is_one_with_its_intensity(key):
    num = 20_000
    draws = np.asarray(jax.vmap(lambda k: binarise("dynamic", k, IMAGE))(jax.random.split(key, num)))
    assert set(np.unique(draws)) == {0.0, 1.0}
    p = np.asarray(to_unit(IMAGE), np.float64)
    assert np.all(np.abs(draws.mean(0) - p) <= 4 * np.sqrt(p * (1 - p) / num))


def test_a_split_is_drawn_once_each_image_by_its_own_key(key):
    images = np.full((300, 40), 128, np.uint8)
    drawn = binarise_split("fixed", key, images)
    np.testing.assert_array_equal(drawn, binarise_split("dynamic", key, images))
    assert drawn.dtype == jnp.uint8
    assert set(np.unique(drawn)) == {0, 255}
    assert len(np.unique(np.asarray(drawn), axis=0)) == 300
    np.testing.assert_array_equal(drawn[7], 255 * binarise("fixed", jax.random.fold_in(key, 7), jnp.asarray(images[7])))
    assert np.any(drawn != binarise_split("fixed", jax.random.key(1), images))
    np.testing.assert_array_equal(binarise_split("none", key, images), images)


class Recorder:
    """A sequence that counts how often each row is read, as a file reader would be asked."""

    def __init__(self, num: int):
        self.reads = np.zeros(num, int)

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, i: int) -> np.ndarray:
        self.reads[int(i)] += 1
        return np.array([i], np.int32)


def test_a_streamed_epoch_reads_every_example_once_and_leaves_the_rest_out():
    source = Recorder(23)
    batches = list(epoch_batches(Split(source, None), 5, seed=0, epoch=0))
    assert [batch.images.shape for batch in batches] == [(5, 1)] * 4
    assert len(np.unique(np.concatenate([batch.images for batch in batches]))) == 20
    assert all(batch.labels is None for batch in batches)
    assert source.reads.max() == 1


def test_a_streamed_order_is_fixed_by_seed_and_epoch():
    def order(seed, epoch):
        batches = list(epoch_batches(Split(np.arange(64)[:, None], np.arange(64)), 8, seed, epoch))
        rows = np.concatenate([batch.images for batch in batches]).ravel().tolist()
        assert rows == np.concatenate([batch.labels for batch in batches]).tolist()  # labels come with their images
        return rows

    assert order(0, 0) == order(0, 0)
    orders = [order(seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (2, 5))]
    assert len({tuple(o) for o in orders}) == 4
    assert orders[0] != sorted(orders[0])


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(InputError, match="A batch of 9 cannot be drawn from 8"):
        next(epoch_batches(Split(np.zeros((8, 2)), None), 9, 0, 0))
