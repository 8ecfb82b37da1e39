"""Translating images from one domain to the other, and measuring translations where the true partners of images are known.

As in `gen_jax.tasks.sample_quality`, features are those of a small classifier that is trained here, so that no number is an FID.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import LUMA, Dataset, DataView, Split, domain_of, has_partners
from gen_jax.evaluate import frechet_distance, image_errors, kernel_distance, mean_and_standard_error, partner_ranks
from gen_jax.gan import DIRECTIONS, CycleGAN, Direction
from gen_jax.tasks.sample_quality import HeldOut, ImageClassifier, classifier_of
from gen_jax.tasks.task import Outcome, Subject, check_choice, check_count, compiled, json_numbers, refuse
from gen_jax.types import Array, Key, Params, split

NUM_CANDIDATES = 500  # images among which the true partner is sought
CHUNK = 50  # images that are translated at once


def translate(model: Any, params: Params, key: Key, images: Any, direction: Direction, *, view: DataView = DataView()) -> Array:
    """Return translations [N, H, W, C'] of the images [N, H, W, C] of one domain, in the data's range. The key is not used.

    Raises:
        InputError: the model does not translate, or there is no such direction.
    """
    if not isinstance(model, CycleGAN):
        raise refuse(model, "translate images", "a CycleGAN")
    check_choice("direction", direction, Direction)
    return _translate(model, view, params, jnp.asarray(images), direction=direction)


@compiled
def _translate(model: CycleGAN, view: DataView, params: Params, images: Array, direction: Direction) -> Array:
    one = lambda x: view.from_model(model.translate(split(params).params, view.example(x), direction))
    return jax.lax.map(one, images, batch_size=CHUNK)


def translation_quality(
    model: Any,
    params: Params,
    key: Key,
    data: Dataset,
    direction: Direction = "a-to-b",
    *,
    against: HeldOut = "test",
    view: DataView = DataView(),
) -> dict[str, dict[str, float]]:
    """Return what `measure_translation` finds of a model, of the images as they are, and of the mean image of the target domain.

    Of the model also cycle_l1, the mean distance of an image to its cycle, there and back. Grey images as they are have equal
    colours, and colour ones their grey values. The mean image is that of the training images.

    Raises:
        InputError: the model does not translate, or there is no such direction.
    """
    source, target = _source_and_target(data, direction)
    images = np.asarray(jax.vmap(view.read)(source.splits[against].x))
    found = translate(model, params, key, images, direction, view=view)
    cycles = _back(model, params, key, found, direction, view)
    mean = np.mean(target.train.x, axis=0, dtype=np.float64) / (255 if target.train.x.dtype == np.uint8 else 1)
    rows = {"model": found, "identity map": _as_channels(images, target), "mean image": np.broadcast_to(mean, found.shape)}
    partners, classifier = has_partners(data.name), classifier_of(target)
    measured = {name: measure_translation(np.asarray(row), target, against, partners, classifier) for name, row in rows.items()}
    measured["model"] |= _mean("cycle_l1", image_errors(cycles, images).l1)
    return measured


def cycle_errors(model: CycleGAN, params: Params, key: Key, examples: Split, view: DataView) -> dict[str, np.ndarray]:
    """Return the mean distance (L1) over pixels of each image to its cycle, in both directions."""
    errors = {}
    for direction, source in zip(DIRECTIONS, model.domains(jax.vmap(view.read)(jnp.asarray(examples.x))), strict=True):
        cycles = _back(model, params, key, translate(model, params, key, source, direction, view=view), direction, view)
        errors[f"{direction.replace('-', '_')}_cycle_l1"] = image_errors(cycles, source).l1
    return errors


def _back(model: CycleGAN, params: Params, key: Key, found: Array, direction: Direction, view: DataView) -> Array:
    """Return translations of translations."""
    return translate(model, params, key, found, "b-to-a" if direction == "a-to-b" else "a-to-b", view=view)


def measure_translation(
    found: np.ndarray, target: Dataset, against: HeldOut, partners: bool, classifier: ImageClassifier | None
) -> dict[str, float]:
    """Return named numbers that compare translations with the held-out images of the target domain.

    With true partners, the means over images, with standard errors, of the `image_errors`, and of the rank of the partner among
    up to 500 images by the distance in pixels, and in the features of a classifier, with the median. With a classifier, the
    Fréchet and the kernel distance of the two sets. What cannot be measured is left out.
    """
    real = np.asarray(jax.vmap(target.view.read)(target.splits[against].x))
    numbers: dict[str, float] = {}
    if partners:
        for name, values in image_errors(found, real)._asdict().items():
            numbers |= {} if values is None else _mean(name, values)
    sets = {"pixels": (found.reshape(len(found), -1), real.reshape(len(real), -1))}
    if classifier is not None:
        sets["features"] = classifier.features(jnp.asarray(found)), classifier.features(jnp.asarray(real))
    rows = np.random.default_rng(0).permutation(len(real))[:NUM_CANDIDATES]
    for name, (of_found, of_real) in sets.items() if partners else ():
        ranks = partner_ranks(of_found[rows], of_real[rows])
        numbers |= _mean(f"rank_by_{name}", ranks) | {f"median_rank_by_{name}": float(np.median(ranks))}
    if classifier is not None:
        of_found, of_real = sets["features"]
        numbers["frechet_distance"] = frechet_distance(of_real, of_found)
        numbers["kernel_distance"] = kernel_distance(of_real, of_found)
        numbers["classifier_accuracy"] = classifier.accuracy
    return numbers


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    mean, error = mean_and_standard_error(values)
    return {name: mean, f"{name}_se": error}


def _source_and_target(data: Dataset, direction: Direction) -> tuple[Dataset, Dataset]:
    a, b = domain_of(data, "a"), domain_of(data, "b")
    return (a, b) if direction == "a-to-b" else (b, a)


def _as_channels(images: np.ndarray, target: Dataset) -> np.ndarray:
    channels = target.train.x.shape[-1]
    if images.shape[-1] == channels:
        return images
    return np.repeat(images, channels, axis=-1) if channels > 1 else (images @ LUMA.astype(np.float32))[..., None]


def perform(
    subject: Subject,
    *,
    direction: Direction = "a-to-b",
    num: int = 10,
    against: HeldOut = "test",
) -> Outcome:
    """Translate images with a CycleGAN, and measure translations beside the images as they are and a mean image.

    Args:
        subject: the run.
        direction: From which domain to which.
        num: Number of images in the figure, from the first.
        against: Which images: valid to choose between models, test to report.
    """
    check_count("num", num)
    check_choice("against", against, HeldOut)
    if not isinstance(subject.model, CycleGAN):
        raise refuse(subject.model, "translate images", "a CycleGAN")
    data = subject.load(None, "none")
    rows = subject.call(translation_quality, data, direction, against=against)
    source, target = _source_and_target(data, direction)
    images, partners = (np.asarray(jax.vmap(of.view.read)(of.splits[against].x[:num])) for of in (source, target))
    found = subject.call(translate, images, direction)
    shown = {
        "source": images,
        "translation": np.asarray(found),
        "cycle": np.asarray(_back(subject.model, subject.params, subject.key, found, direction, subject.view)),
    }
    text = f"{len(images)} of {len(source.splits[against].x)} {against} images, {direction}"
    if has_partners(data.name):
        shown["true partner"] = partners
    else:
        text += "; they have no true partners, and what needs them is left out"
    channels = max(row.shape[-1] for row in shown.values())
    grid = np.stack([np.broadcast_to(row, (*row.shape[:-1], channels)) for row in shown.values()])
    figure = plots.image_grid(grid.reshape(-1, *grid.shape[2:]), len(images), direction, list(shown))
    name = f"translation-{direction}" if against == "test" else f"translation-{direction}-{against}"
    return Outcome(name, text, {name: figure}, grid, json_numbers(rows))
