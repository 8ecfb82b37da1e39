"""Translations by maps that are known, and their measures by hand."""

from inspect import unwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import tasks
from gen_jax.data import Dataset, DataView, Split, domain_of
from gen_jax.data.pairs import true_pairs, two_domains, unpaired
from gen_jax.gan import cycle_gan
from gen_jax.types import InputError
from tests.gan.test_cycle import Pixel, Scale

KEY, VIEW = jax.random.key(0), DataView(symmetric=True)
NEGATIVE = cycle_gan((Scale(-1.0), Scale(-1.0)), (Pixel(1.0), Pixel(1.0)), (1, 1))  # in [−1, 1]: x ↦ 1 − x in [0, 1]
TO_COLOUR = cycle_gan((Scale(1.0, 3), Scale(0.5)), (Pixel(1.0), Pixel(1.0)), (1, 3))


def images(num: int, channels: int = 1, side: int = 12) -> np.ndarray:
    return np.random.default_rng(num).integers(0, 256, (num, side, side, channels)).astype(np.uint8)


def base(channels: int = 1, labels: bool = True) -> Dataset:
    """Images whose labels are those of a bright and of a dark left half."""

    def split(num: int) -> Split:
        x, label = images(num, channels), np.arange(num, dtype=np.int32) % 2
        x[label == 0, :, :6] //= 2
        return Split(x, label if labels else None)

    return Dataset(split(60), split(21), split(22))


def subject_of(model, data: Dataset) -> tasks.Subject:
    params = model.init(KEY, jnp.zeros(data.event_shape))
    return tasks.Subject(model, params, VIEW, KEY, lambda *_, **__: data, data.name)


INVERTED = unpaired(true_pairs("inverted", "base", base()))._replace(name="inverted:base")


@pytest.mark.parametrize("direction", ["a-to-b", "b-to-a"])
def test_a_perfect_translation_is_the_partner(direction):
    found = subject_of(NEGATIVE, INVERTED).call(tasks.translation_quality, INVERTED, direction)
    source, target = (domain_of(INVERTED, domain) for domain in (("a", "b") if direction == "a-to-b" else ("b", "a")))
    model = found["model"]
    for name, value in {"l1": 0, "ssim": 1, "rank_by_pixels": 1, "rank_by_features": 1, "cycle_l1": 0}.items():
        assert model[name] == pytest.approx(value, abs=1e-5), name
    assert model["psnr"] > 100
    assert model["frechet_distance"] == pytest.approx(0, abs=1e-3)
    x, mean = source.test.x / 255, (target.train.x / 255).mean(axis=0)
    assert found["identity map"]["l1"] == pytest.approx(np.abs(2 * x - 1).mean(), rel=1e-5)
    errors = np.abs(mean - target.test.x / 255).mean(axis=(1, 2, 3))
    assert found["mean image"]["l1"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["mean image"]["l1_se"] == pytest.approx(errors.std(ddof=1) / np.sqrt(22), rel=1e-5)
    assert found["mean image"]["rank_by_pixels"] == pytest.approx(11.5)  # one image for all: chance
    assert "cycle_l1" not in found["mean image"]


def test_what_the_task_returns_is_what_was_measured():
    subject = subject_of(NEGATIVE, INVERTED)
    outcome = tasks.TASKS["translate"](subject, num=4, direction="b-to-a")
    assert (outcome.name, list(outcome.figures)) == ("translation-b-to-a", ["translation-b-to-a"])
    source, partner = INVERTED.test.x[:4, ..., 1:] / 255, INVERTED.test.x[:4, ..., :1] / 255
    np.testing.assert_allclose(outcome.array, [source, 1 - source, source, partner], atol=1e-6)
    assert outcome.summary == subject.call(tasks.translation_quality, INVERTED, "b-to-a")
    held_out = tasks.TASKS["translate"](subject, against="valid", num=30)
    assert held_out.array.shape == (4, 21, 12, 12, 1)  # all that there are
    assert held_out.name == "translation-a-to-b-valid"


def test_an_evaluation_has_both_directions():
    found = tasks.TASKS["evaluate"](subject_of(NEGATIVE, INVERTED))
    assert set(found.table) == {"index", "a_to_b_cycle_l1", "b_to_a_cycle_l1"}
    np.testing.assert_allclose(found.table["b_to_a_cycle_l1"], 0, atol=1e-6)
    for direction in ("a_to_b", "b_to_a"):
        assert found.summary[f"test_{direction}_l1"] == pytest.approx(0, abs=1e-6)
        assert found.summary[f"test_{direction}_rank_by_features"] == 1
    of_training = tasks.TASKS["evaluate"](subject_of(NEGATIVE, INVERTED), split="train").summary
    assert {name for name in of_training if name.startswith("train_")} == {
        f"train_{direction}_cycle_l1{end}" for direction in ("a_to_b", "b_to_a") for end in ("", "_se")
    }  # they are no pairs


def test_grey_images_become_colours_and_colours_grey():
    data = unpaired(true_pairs("grey", "base", base(3, labels=False)))._replace(name="grey:base")
    subject = subject_of(TO_COLOUR, data)
    found = subject.call(tasks.translation_quality, data, "a-to-b")
    grey, colours = data.test.x[..., :1] / 255, data.test.x[..., 1:] / 255
    assert found["identity map"]["l1"] == pytest.approx(np.abs(grey - colours).mean(), rel=1e-5)
    assert found["model"]["l1"] == pytest.approx(found["identity map"]["l1"], rel=1e-5)  # it repeats the grey
    back = subject.call(tasks.translation_quality, data, "b-to-a")
    assert back["identity map"]["l1"] == pytest.approx(0, abs=0.5 / 255)  # rounding
    outcome = tasks.TASKS["translate"](subject, num=2)
    assert outcome.array.shape == (4, 2, 12, 12, 3)


@pytest.mark.parametrize("labels", [True, False])
def test_without_partners_or_labels_what_needs_them_is_left_out(labels):
    data = two_domains(("x", "y"), (base(labels=labels), base(labels=labels)))._replace(name="pair:x,y")
    outcome = tasks.TASKS["translate"](subject_of(NEGATIVE, data), num=3)
    assert "no true partners, and what needs them is left out" in outcome.text
    assert outcome.array.shape == (3, 3, 12, 12, 1)
    of_sets = {"frechet_distance", "kernel_distance", "classifier_accuracy"} if labels else set()
    assert set(outcome.summary["model"]) == {"cycle_l1", "cycle_l1_se"} | of_sets
    pairs = unpaired(true_pairs("inverted", "base", base(labels=False)))._replace(name="inverted:base")
    found = subject_of(NEGATIVE, pairs).call(tasks.translation_quality, pairs)["model"]
    assert "rank_by_pixels" in found
    assert "rank_by_features" not in found


def test_what_cannot_be_translated_is_told():
    params = NEGATIVE.init(KEY, jnp.zeros((12, 12, 2)))
    with pytest.raises(InputError, match=r"direction is 'a-b': give a-to-b or b-to-a\."):
        unwrap(tasks.translate)(NEGATIVE, params, KEY, images(2) / 255, "a-b")
    with pytest.raises(InputError, match="num is 0: give 1 or more"):
        tasks.TASKS["translate"](subject_of(NEGATIVE, INVERTED), num=0)


@pytest.mark.parametrize("task", sorted(set(tasks.TASKS) - {"evaluate", "translate"}))
def test_every_other_task_refuses_a_cycle_gan(task):
    subject = subject_of(NEGATIVE, INVERTED)._replace(config={"event_shape": (12, 12, 2)}, provenance={"epoch": 1})
    with pytest.raises(InputError) as told:
        tasks.TASKS[task](subject, **({"other": "mnist"} if task == "novelty" else {}))
    other = {
        "novelty": "This model has no score of one example",
        "representation": "The examples of inverted:base have no labels",
    }
    assert str(told.value).startswith(other.get(task, "A CycleGAN cannot "))
    assert ": give " in str(told.value)
