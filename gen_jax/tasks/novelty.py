"""Telling examples of other data from the model's own by its scores."""

import math
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import Split, in_unit_interval, to_unit
from gen_jax.evaluate import detection, detection_intervals, neighbour_distances
from gen_jax.tasks.evaluation import evaluate
from gen_jax.tasks.latent_models import representation
from gen_jax.tasks.sample_quality import classifier_of
from gen_jax.tasks.task import CannotError, Outcome, Subject, check_count, draw_examples, first, json_numbers, suffix_of
from gen_jax.types import GAN, DensityModel, InputError

# columns of an evaluation's table, with the sign under which a novel example is to have the larger score
SIGNS = {"log_prob": -1, "elbo": -1, "rate": 1, "distortion": 1, "logit": -1, "squared_error": 1, "contraction": 1}
LIKELIHOODS = ("log_prob", "elbo", "logit")


def novelty_scores(table: dict[str, np.ndarray], of_training: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return scores of examples from the table of their evaluation, each larger the less an example is like the training data.

    They are the columns themselves, with a minus where larger is likelier, and the typicality |c − mean of c over training data|
    of each likelihood c, by which too likely an example is novel as well (Nalisnick et al. 2019, arXiv:1906.02994). The mean is
    of finite values.
    """
    scores = {(f"-{name}" if sign < 0 else name): sign * table[name] for name, sign in SIGNS.items() if name in table}
    for name in LIKELIHOODS:
        if name in table:
            finite = of_training[name][np.isfinite(of_training[name])]
            scores[f"typicality of {name}"] = np.abs(table[name] - finite.mean(dtype=np.float64))
    return scores


def compressed_nats(examples: Split) -> np.ndarray:
    """Return the length in nats of each example of grey values, compressed by zlib: −log of the mass that it gives to them."""
    pixels = np.asarray(jnp.round(255 * to_unit(examples.x)), np.uint8)
    return np.array([8 * math.log(2) * len(zlib.compress(image.tobytes(), 9)) for image in pixels])


def perform(
    subject: Subject,
    *,
    other: str,
    background: str | None = None,
    num: int = 1000,
    num_importance_samples: int | None = None,
    seed: int = 0,
) -> Outcome:
    """Tell test examples of other data from those of the run's own by each of its model's scores.

    AUROC, average precision and the false alarms at 95 % found, with bootstrap intervals, and a histogram of each score. (A model
    may give other data a higher likelihood than its own: the typicality is high then, and the likelihood's AUROC is below ½.)

    A log-likelihood is also held against that of a compressor (Serrà et al. 2020, arXiv:1909.11480) and of a background model
    (Ren et al. 2019, arXiv:1906.02845). A distance is to the five nearest training examples: in the model's representation, and
    for a GAN in the features of a classifier.

    Args:
        subject: the run.
        other: Data set of novel examples, as the model sees its own.
        background: Run folder of a model with a likelihood, for a likelihood ratio.
        num: Number of examples of each, drawn from the test data, and of training examples.
        num_importance_samples: Of a VAE: samples for each log p(x), 100 by default.
        seed: Seed of the draws and of the bootstrap.
    """
    check_count("num", num)
    own, novel = subject.load(), subject.load(other)
    parts = (subject.load(split="train").train, own.test, novel.test)
    call_key, *row_keys = jax.random.split(subject.key, 4)
    subject = subject._replace(key=call_key)
    examples = [draw_examples(part, num, key)[1] for part, key in zip(parts, row_keys, strict=True)]
    if num_importance_samples is None and "num_importance_samples" in subject.evaluation:
        num_importance_samples = 100
    tables = _tables(subject, examples, num_importance_samples)
    known, unknown = (novelty_scores(table, tables[0]) for table in tables[1:])
    if not known:
        raise InputError("This model has no score of one example, as a GAN that sees packs has none: give another run.")
    more: list[dict[str, np.ndarray]] = [{}, {}]
    if "log_prob" in tables[0]:
        grey = all(np.ndim(part.x) == 4 and in_unit_interval(np.asarray(part.x)) for part in examples)
        ratios = {"a compressor": [-compressed_nats(part) for part in examples[1:]]} if grey else {}
        if background is not None:
            ratios["the background"] = _background(subject, background, examples[1:], num_importance_samples)
        for name, of_others in ratios.items():
            for scores, table, of_other in zip(more, tables[1:], of_others, strict=True):
                scores[f"ratio to {name}"] = of_other - table["log_prob"]
    elif background is not None:
        raise InputError("background is given, and this model has no likelihood to hold against it: leave it out.")
    for name, represent in _representations(subject).items():
        features = [represent(part) for part in examples]
        for scores, of_part in zip(more, features[1:], strict=True):
            scores[name] = neighbour_distances(features[0], of_part)
    known, unknown = known | more[0], unknown | more[1]
    rows = {name: _row(known[name], unknown[name], seed) for name in known}
    histograms = plots.histograms({name: {own.name: known[name], novel.name: unknown[name]} for name in known})
    columns = {name: np.concatenate([known[name], unknown[name]]) for name in known}
    which = np.repeat(["known", "novel"], [len(next(iter(scores.values()))) for scores in (known, unknown)])
    summary = {**rows, "data": own.name, "other": novel.name, **subject.provenance}
    name = "".join(c if c.isalnum() else "-" for c in novel.name.rpartition("/")[2])
    return Outcome(
        name=f"novelty-{name}{suffix_of(subject, novel)}",
        text=f"{own.name} against {novel.name}",
        figures={"novelty": histograms},
        summary=json_numbers(summary),
        table={"data": which, **columns},
    )


def _tables(subject: Subject, examples: list[Split], num_importance_samples: int | None) -> list[dict[str, Any]]:
    options = {} if num_importance_samples is None else {"num_importance_samples": num_importance_samples}
    tables = []
    for done, part in enumerate(examples, start=1):
        tables.append(subject.call(evaluate, part, **options).table)
        subject.report(done, len(examples))
    return tables


def _background(subject: Subject, folder: str, examples: list[Split], num_importance_samples: int | None) -> list[np.ndarray]:
    """Return log p(x) of another run's model."""
    if subject.other_run is None:
        raise InputError(f"background is {folder}, and there is no run folder here to read another beside: leave it out.")
    other = subject.other_run(folder)
    for part in examples:
        other.view.check(np.asarray(part.x), "The examples, for the background model,")
    has_samples = "num_importance_samples" in other.evaluation
    if not has_samples and not isinstance(other.model, DensityModel):
        raise InputError(f"The model of {folder} has no likelihood: give the run of a VAE, a flow or a MADE.")
    tables = _tables(other, examples, (num_importance_samples or 100) if has_samples else None)
    return [table["log_prob"] for table in tables]


def _representations(subject: Subject) -> dict[str, Callable[[Split], np.ndarray]]:
    """Return functions of examples by the names of the distances in them."""
    found: dict[str, Callable[[Split], np.ndarray]] = {}
    model, view = subject.model, subject.view

    def of_model(examples: Split) -> np.ndarray:
        return representation(model, view, subject.params, subject.key, examples)

    try:
        of_model(first(subject.load().test, 2))
        found["distance in the model's representation"] = of_model
    except CannotError:  # such as of a flow
        pass
    if isinstance(model, GAN):
        grey = subject.load(None, "none")
        classifier = classifier_of(grey) if len(grey.event_shape) == 3 else None
        if classifier is not None:
            found["distance in a classifier's features"] = lambda examples: classifier.features(jax.vmap(view.read)(examples.x))
    return found


def _row(known: np.ndarray, novel: np.ndarray, seed: int) -> dict[str, Any]:
    """Return the measures of a score with their intervals; examples of which it is NaN are left out, and counted."""
    left_out = int(np.isnan(known).sum() + np.isnan(novel).sum())
    known, novel = known[~np.isnan(known)], novel[~np.isnan(novel)]
    if not len(known) or not len(novel):
        return {"left_out": left_out}
    intervals, row = detection_intervals(known, novel, seed), {}
    for measure, value in detection(known, novel)._asdict().items():
        row |= {measure: value, f"{measure}_low": intervals[measure][0], f"{measure}_high": intervals[measure][1]}
    return row | ({"left_out": left_out} if left_out else {})
