"""What a run draws, measured beside training examples (the floor) and noise (the ceiling)."""

from pathlib import Path

import jax
import numpy as np

from gen_jax import train as training
from gen_jax.data import load_dataset, to_unit
from gen_jax.recipes.run import Run, json_number, run_examples, sample
from gen_jax.recipes.sample_quality import check_measurable, measure, measure_drawn, noise_like, num_measured
from gen_jax.types import InputError


def quality(run: Run, num: int | None = None, seed: int = 0) -> dict[str, dict[str, float]]:
    """Return what samples of a run are worth, beside as many training examples (the floor) and noise (the ceiling).

    Each is measured against the test examples of the run's data (`sample_quality.measure`), whatever the kind of model. Images
    are compared as grey values, whatever the binarisation that the model saw.

    Raises:
        InputError: the data are neither images nor points of the plane, or are not the run's any more; or `num` is less than 10
            or more than there are.
    """
    data = run.settings.data
    dataset = load_dataset(data)
    train, test = (run_examples(run, dataset, data, split) for split in ("train", "test"))
    check_measurable(data, test)
    num = min(num_measured(data, test), len(train.images)) if num is None else num
    if not 10 <= num <= len(train.images):
        raise InputError(f"num is {num}: give 10 or more, and no more than the {len(train.images)} training examples.")
    rows = np.random.default_rng(seed).permutation(len(train.images))[:num]
    real = np.asarray(jax.vmap(to_unit)(train.images[rows]))
    classes = run.experiment.num_classes
    return {
        "model": measure_drawn(sample(run, num, seed), data, test, classes),
        "training examples": measure(data, test, real, None if classes is None else train.labels[rows]),
        "noise": measure_drawn(noise_like(test, num, seed), data, test, classes),
    }


def save_quality(run: Run, rows: dict[str, dict[str, float]]) -> Path:
    """Write what `quality` found to `quality.json` in the run folder; return its path."""
    path = run.directory / "quality.json"
    training.write_json(path, {name: {key: json_number(value) for key, value in row.items()} for name, row in rows.items()})
    return path
