"""A small convolutional classifier, trained here on the data at hand, whose features tell how near samples come to them.

No network is downloaded, so that no number made of these features is an FID or an Inception score; numbers compare only between
models that were measured with the same classifier: of the same data, seed and version.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data import Split, to_unit
from gen_jax.evaluate import (
    classifier_score,
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
    sliced_wasserstein,
)
from gen_jax.nets import MLP, ConvEncoder
from gen_jax.train import adam, batch_mean, init_state, learning_rate_schedule, make_step, scan_epoch, steps_per_epoch
from gen_jax.types import Array, InputError, Key, Metrics, Params

NUM_FEATURES = 128
EPOCHS, BATCH_SIZE = 3, 100
AT_ONCE = 500  # images


class ImageClassifier(NamedTuple):
    """A trained classifier.

    Attributes:
        features: images [N, H, W, C] of grey values in [0, 1] -> [N, 128], the layer below the logits.
        probabilities: such images -> [N, classes].
        accuracy: on the test images.
    """

    features: Callable[[Array], np.ndarray]
    probabilities: Callable[[Array], np.ndarray]
    accuracy: float


def train_classifier(train: Split, test: Split, seed: int = 0) -> ImageClassifier:
    """Train two convolutions of 32 and 64 channels and a layer of 128 features on the labels, for three epochs.

    Raises:
        InputError: there are no labels, or the images cannot be halved twice.
    """
    if train.labels is None or test.labels is None:
        raise InputError("The data have no labels, and features are those of a classifier: give data with labels.")
    num_classes = int(max(train.labels.max(), test.labels.max())) + 1
    body, head = ConvEncoder((32, 64), (NUM_FEATURES,), None), MLP((), (num_classes,))

    def logits_of(params: Params, image: Array) -> Array:
        logits: Any = head.apply(params["head"], body.apply(params["body"], image))
        return logits

    def objective(params: Params, key: Key, example: Split) -> tuple[Array, Metrics]:
        logits = logits_of(params, to_unit(example.images))
        return -jax.nn.log_softmax(logits)[example.labels], {}

    init_key, order_key, noise_key, head_key = jax.random.split(jax.random.key(seed), 4)
    num_steps = EPOCHS * steps_per_epoch(len(train.images), BATCH_SIZE)
    optimizer = adam(learning_rate_schedule("cosine", 1e-3, num_steps))
    image = to_unit(train.images[0])
    params = {"body": body.init(init_key, image), "head": head.init(head_key, jnp.zeros(NUM_FEATURES))}
    state = init_state(params, optimizer, noise_key)
    epoch = jax.jit(scan_epoch(make_step(batch_mean(objective), optimizer), BATCH_SIZE), donate_argnums=0)
    data = train.on_device()
    for key in jax.random.split(order_key, EPOCHS):
        state, _ = epoch(state, data, key)

    @jax.jit
    def features(images: Array) -> Array:
        return jax.lax.map(lambda x: body.apply(state.params["body"], x), images, batch_size=AT_ONCE)

    @jax.jit
    def probabilities(images: Array) -> Array:
        return jax.lax.map(lambda x: jax.nn.softmax(logits_of(state.params, x)), images, batch_size=AT_ONCE)

    found = np.asarray(probabilities(jax.vmap(to_unit)(jnp.asarray(test.images)))).argmax(axis=1)
    return ImageClassifier(
        features=lambda images: np.asarray(features(images)),
        probabilities=lambda images: np.asarray(probabilities(images)),
        accuracy=float(np.mean(found == test.labels)),
    )


def sample_quality(classifier: ImageClassifier, real: Array, drawn: Array) -> dict[str, float]:
    """Return how near drawn images come to real ones, [N, H, W, C] of grey values in [0, 1] both.

    By features: Fréchet and kernel distance, precision, recall, density, coverage; by labels: the classifier's score; by patches:
    the mean of the sliced Wasserstein distances of the levels of a Laplacian pyramid.
    """
    real_features, drawn_features = classifier.features(real), classifier.features(drawn)
    levels = sliced_wasserstein(np.asarray(real), np.asarray(drawn))
    return {
        "frechet_distance": frechet_distance(real_features, drawn_features),
        "kernel_distance": kernel_distance(real_features, drawn_features),
        **precision_recall(real_features, drawn_features)._asdict(),
        **density_coverage(real_features, drawn_features)._asdict(),
        "classifier_score": classifier_score(classifier.probabilities(drawn)),
        "sliced_wasserstein": float(np.mean(list(levels.values()))),
    }
