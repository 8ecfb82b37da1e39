"""The classifier of labels, on classes that can be told apart, and on labels that mean nothing."""

import numpy as np
import pytest

from gen_jax.evaluate import label_classifier
from gen_jax.types import InputError

RNG = np.random.default_rng(0)


def halves(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose left (0) or right (1) half is bright."""
    labels = np.arange(num) % 2
    images = RNG.integers(0, 100, (num, 4, 4, 1), np.uint8)
    images[labels == 0, :, :2] += 150
    images[labels == 1, :, 2:] += 150
    return images, labels


def test_it_knows_what_it_was_taught():
    accuracy = label_classifier(*halves(400))
    images, labels = halves(100)
    assert accuracy(images, labels) == 1.0
    assert accuracy(images.astype(np.float32) / 255, labels) == 1.0  # grey values, as a model draws them
    assert accuracy(images, 1 - labels) == 0.0
    random = RNG.integers(0, 2, 100)
    assert accuracy(images, random) == np.mean(random == labels)


def test_bad_input_is_refused():
    images, labels = halves(10)
    with pytest.raises(InputError, match="10 images and 9 labels"):
        label_classifier(images, labels[:9])
    with pytest.raises(InputError, match="of 1 classes"):
        label_classifier(images, np.zeros(10, int))
