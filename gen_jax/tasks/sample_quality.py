"""The quality of samples, by measures that suit the kind of data.

Images are compared by the features of a small convolutional classifier that is trained here, on the same data. No network is
downloaded, so none of these numbers is an FID or an Inception score; they compare only between models that were measured with the
same classifier: the same data, seed and version.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data import MODES, STACKED, Dataset, DataView, Split, load_dataset
from gen_jax.evaluate import (
    classifier_score,
    density_coverage,
    frechet_distance,
    kernel_distance,
    label_coverage,
    mode_coverage,
    precision_recall,
    sliced_wasserstein,
    wasserstein_2,
)
from gen_jax.nets import MLP, ConvEncoder
from gen_jax.tasks.sampling import sample
from gen_jax.tasks.task import AT_ONCE, Outcome, Subject, check_choice, labels_in_turn
from gen_jax.train import adam, batch_mean, init_state, learning_rate_schedule, make_step, scan_epoch, steps_per_epoch
from gen_jax.types import Array, InputError, Key, Metrics, Params

HeldOut = Literal["valid", "test"]
NUM_POINTS = 2500  # of PacGAN's protocol
NUM_MATCHED = 2000  # points of an optimal matching
NUM_STACKED = 26_000  # of PacGAN's protocol
MOST_IMAGES = 5000
NEIGHBOURS = 5  # of density and coverage
SMALLEST_SIDE = 7  # pixels, of a patch of the sliced Wasserstein distance
NUM_FEATURES = 128
EPOCHS, BATCH_SIZE = 3, 100
CLASSIFIERS_KEPT = 2  # of each of two domains


def quality(
    model: Any,
    params: Params,
    key: Key,
    data: Dataset,
    *,
    num: int | None = None,
    against: HeldOut = "test",
    seed: int = 0,
    view: DataView = DataView(),
) -> dict[str, dict[str, float]]:
    """Return what `measure` finds of samples of a model, of as many training examples (the floor) and of noise (the ceiling).

    The data are grey values, not binarised, or points of the plane. Training examples and noise are chosen by `seed`. Noise is
    uniform: of images over [0, 1], of points over the square of the data.

    Raises:
        InputError: the data are neither images nor points of the plane, or `num` is less than 10 or more than there are.
    """
    check_choice("against", against, HeldOut)
    train, real = data.train, data.splits[against]
    check_measurable(data.name, real, data.view)
    num = min(num_measured(data.name, real), len(train.x)) if num is None else num
    if not 10 <= num <= len(train.x):
        raise InputError(f"num is {num}: give 10 or more, and no more than the {len(train.x)} training examples.")
    rows = np.random.default_rng(seed).permutation(len(train.x))[:num]
    examples = np.asarray(jax.vmap(data.view.read)(train.x[rows]))
    high = np.abs(real.x).max() if _are_points(real) else 1.0
    noise = np.random.default_rng(seed).uniform(-high if _are_points(real) else 0.0, high, examples.shape).astype(np.float32)
    labels = labels_in_turn(model, num)
    return {
        "model": measure(data, against, sample(model, params, key, num, view=view), labels),
        "training examples": measure(data, against, examples, None if labels is None else train.labels[rows]),
        "noise": measure(data, against, noise, labels),
    }


def num_measured(name: str, real: Split) -> int:
    """Return how many samples a measurement takes."""
    if name.startswith(STACKED):
        return NUM_STACKED
    return NUM_POINTS if _are_points(real) else min(MOST_IMAGES, len(real.x))


def measure(data: Dataset, against: str, samples: Any, labels: Any = None) -> dict[str, float]:
    """Return named numbers that compare samples [N, ...] with held-out examples, the split `against` of a data set.

    Points of the plane: the modes covered, where they are known, and the 2-Wasserstein distance. Stacked digits: the modes
    covered, of 1,000, by a classifier of single digits. Images: the sliced Wasserstein distance, from 7 pixels a side; and
    `image_quality` with the accuracy of its classifier, where one can be trained: labels, sides that 4 divides, more than 5
    examples; of samples that were drawn for labels [N], the share in which it finds them. What cannot be measured is left out.

    Raises:
        InputError: the data are neither images nor points of the plane.
    """
    real, drawn = data.splits[against], np.asarray(samples)
    if _are_points(real):
        num = min(NUM_MATCHED, len(real.x), len(drawn))
        modes = mode_coverage(drawn, *MODES[data.name])._asdict() if data.name in MODES else {}
        return _floats(modes) | {"wasserstein_2": wasserstein_2(real.x[:num], drawn[:num])}
    drawn = drawn.clip(0, 1)  # the mean of a Gaussian likelihood can be a little outside
    if data.name.startswith(STACKED):
        classifier = classifier_of(load_dataset(data.name.removeprefix(STACKED), "none"))
        assert classifier is not None  # stacked digits have labels
        digits = [classifier.probabilities(jnp.asarray(drawn[..., i : i + 1])).argmax(axis=1) for i in range(3)]
        coverage = label_coverage(100 * digits[0] + 10 * digits[1] + digits[2], 1000)
        return _floats(coverage._asdict()) | {"classifier_accuracy": classifier.accuracy}
    check_measurable(data.name, real, data.view)
    # in random order: the files of some data sets are sorted, or their first half is easier
    rows = np.random.default_rng(0).permutation(len(real.x))[: len(drawn)]
    images = jax.vmap(data.view.read)(jnp.asarray(real.x[rows]))
    height, width = images.shape[1:3]
    found = {}
    if min(height, width) >= SMALLEST_SIDE:
        num = min(len(images), len(drawn))
        levels = sliced_wasserstein(np.asarray(images[:num]), np.asarray(drawn[:num]))
        found["sliced_wasserstein"] = float(np.mean(list(levels.values())))
    classifier = classifier_of(data)
    if classifier is None or len(drawn) <= NEIGHBOURS:
        return found
    found |= image_quality(classifier, images, jnp.asarray(drawn)) | {"classifier_accuracy": classifier.accuracy}
    if labels is not None:
        named = classifier.probabilities(jnp.asarray(drawn)).argmax(axis=1)
        found["label_accuracy"] = float(np.mean(named == np.asarray(labels)))
    return found


def _floats(numbers: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items()}


def check_measurable(name: str, real: Split, view: DataView) -> None:
    """Raise an InputError for data whose samples cannot be measured."""
    shape = jax.eval_shape(view.read, real.x[0]).shape
    if len(shape) != 3 and not _are_points(real):
        raise InputError(f"An example of {name} has shape {shape}: what can be measured is images and points of the plane.")


def _are_points(split: Split) -> bool:
    return split.x.shape[1:] == (2,)


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


_CLASSIFIERS: dict[tuple[str, ...], ImageClassifier] = {}  # by what they were trained on, of this process


def classifier_of(data: Dataset) -> ImageClassifier | None:
    """Return the classifier that images of a data set are measured with; None where there can be none, and for stacked digits.

    It is trained when it is first asked for, once for the same examples.
    """
    height, width = data.event_shape[:2]
    train, test = data.train, data.test
    unlabelled = train.labels is None or test.labels is None
    if data.name.startswith(STACKED) or unlabelled or height % 4 or width % 4 or len(test.x) <= NEIGHBOURS:
        return None
    by = (train.fingerprint(), test.fingerprint())
    if by not in _CLASSIFIERS:
        if len(_CLASSIFIERS) == CLASSIFIERS_KEPT:
            del _CLASSIFIERS[next(iter(_CLASSIFIERS))]
        _CLASSIFIERS[by] = train_classifier(data)
    return _CLASSIFIERS[by]


def train_classifier(data: Dataset, seed: int = 0) -> ImageClassifier:
    """Train two convolutions of 32 and 64 channels and a layer of 128 features on the labels, for three epochs.

    Raises:
        InputError: there are no labels, or the images cannot be halved twice.
    """
    train, test, read = data.train, data.test, data.view.read
    if train.labels is None or test.labels is None:
        raise InputError("The data have no labels, and features are those of a classifier: give data with labels.")
    num_classes = int(max(train.labels.max(), test.labels.max())) + 1
    body, head = ConvEncoder((32, 64), (NUM_FEATURES,), None), MLP((), (num_classes,))

    def logits_of(params: Params, image: Array) -> Array:
        logits: Any = head.apply(params["head"], body.apply(params["body"], image))
        return logits

    def objective(params: Params, key: Key, example: Split) -> tuple[Array, Metrics]:
        logits = logits_of(params, read(example.x))
        return -jax.nn.log_softmax(logits)[example.labels], {}

    init_key, order_key, noise_key, head_key = jax.random.split(jax.random.key(seed), 4)
    batch_size = min(BATCH_SIZE, len(train.x))
    num_steps = EPOCHS * steps_per_epoch(len(train.x), batch_size)
    optimizer = adam(learning_rate_schedule("cosine", 1e-3, num_steps))
    image = read(train.x[0])
    params = {"body": body.init(init_key, image), "head": head.init(head_key, jnp.zeros(NUM_FEATURES))}
    state = init_state(params, optimizer, noise_key)
    epoch = jax.jit(scan_epoch(make_step(batch_mean(objective), optimizer), batch_size), donate_argnums=0)
    examples = train.on_device()
    for key in jax.random.split(order_key, EPOCHS):
        state, _ = epoch(state, examples, key)

    def over_images(function: Callable[[Params, Array], Any]) -> Callable[[Array], np.ndarray]:
        @jax.jit
        @jax.default_matmul_precision("highest")
        def batched(images: Array) -> Any:
            return jax.lax.map(lambda image: function(state.params, image), images, batch_size=AT_ONCE)

        return lambda images: np.asarray(batched(images))

    probabilities = over_images(lambda params, image: jax.nn.softmax(logits_of(params, image)))
    named = probabilities(jax.vmap(read)(jnp.asarray(test.x))).argmax(axis=1)
    features = over_images(lambda params, image: body.apply(params["body"], image))
    return ImageClassifier(features, probabilities, accuracy=float(np.mean(named == test.labels)))


def image_quality(classifier: ImageClassifier, real: Array, drawn: Array) -> dict[str, float]:
    """Compare drawn images with real ones, both [N, H, W, C] of grey values in [0, 1].

    By features: Fréchet and kernel distance, precision, recall, density, coverage; by labels: the classifier's score.
    """
    real_features, drawn_features = classifier.features(real), classifier.features(drawn)
    return {
        "frechet_distance": frechet_distance(real_features, drawn_features),
        "kernel_distance": kernel_distance(real_features, drawn_features),
        **precision_recall(real_features, drawn_features)._asdict(),
        **density_coverage(real_features, drawn_features)._asdict(),
        "classifier_score": classifier_score(classifier.probabilities(drawn)),
    }


def perform(subject: Subject, *, num: int | None = None, against: HeldOut = "test", seed: int = 0) -> Outcome:
    """Measure samples of a trained run, beside training examples and noise.

    Args:
        subject: the run.
        num: Number of samples; by default 2,500 points, 26,000 stacked digits, or as many images as are held out, up to 5,000.
        against: Which examples samples are compared with: valid to choose between models, test to report.
        seed: Seed of the draw.
    """
    # against grey values, whatever the binarisation that the model saw
    rows = subject.call(quality, subject.load(None, "none"), num=num, against=against, seed=seed)
    return Outcome("quality" if against == "test" else f"quality-{against}", summary=rows)
