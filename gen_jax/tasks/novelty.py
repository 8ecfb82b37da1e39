"""Telling examples of other data from the model's own by its scores."""

from typing import Any

import numpy as np

from gen_jax import plots
from gen_jax.data import Split
from gen_jax.evaluate import detection, detection_intervals
from gen_jax.tasks.evaluation import evaluate
from gen_jax.tasks.task import Outcome, Subject, check_count, first
from gen_jax.types import InputError

# columns of an evaluation's table, with the sign under which a novel example is to have the larger score
SIGNS = {"log_prob": -1, "elbo": -1, "rate": 1, "distortion": 1, "logit": -1, "squared_error": 1, "contraction": 1}
LIKELIHOODS = ("log_prob", "elbo", "logit")


def novelty_scores(table: dict[str, np.ndarray], of_training: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return scores of examples from the table of their evaluation, each larger the less an example is like the training data.

    They are the columns themselves, with a minus where larger is likelier, and the typicality |c − mean of c over training data|
    of each likelihood c, by which too likely an example is novel as well (Nalisnick et al. 2019, arXiv:1906.02994).
    """
    scores = {(f"-{name}" if sign < 0 else name): sign * table[name] for name, sign in SIGNS.items() if name in table}
    means = {name: of_training[name].mean(dtype=np.float64) for name in LIKELIHOODS if name in table}
    return scores | {f"typicality of {name}": np.abs(table[name] - mean) for name, mean in means.items()}


def perform(
    subject: Subject, *, other: str, num: int = 1000, num_importance_samples: int | None = None, seed: int = 0
) -> Outcome:
    """Tell test examples of other data from those of the run's own by each of its model's scores.

    AUROC, average precision and the false alarms at 95 % found, with bootstrap intervals, and a histogram of each score. (A model
    may give other data a higher likelihood than its own: the typicality is high then, and the likelihood's AUROC is below ½.)

    Args:
        subject: the run.
        other: Data set of novel examples, as the model sees its own.
        num: Number of examples of each, from the first.
        num_importance_samples: Of a VAE: samples for each log p(x); by default 100.
        seed: Seed of the bootstrap.
    """
    check_count("num", num)
    own, novel = subject.load(), subject.load(other)
    if num_importance_samples is None and "num_importance_samples" in subject.evaluation:
        num_importance_samples = 100
    options = {} if num_importance_samples is None else {"num_importance_samples": num_importance_samples}
    done = 0

    def table(examples: Split) -> dict[str, Any]:
        nonlocal done
        found = subject.call(evaluate, first(examples, num), **options).table
        done += 1
        subject.report(done, 3)
        return found

    training = table(subject.load(split="train").train)
    known, unknown = (novelty_scores(table(data.test), training) for data in (own, novel))
    if not known:
        raise InputError("This model has no score of one example, as a GAN that sees packs has none: give another run.")
    rows: dict[str, dict[str, Any]] = {}
    for name in known:
        intervals = detection_intervals(known[name], unknown[name], seed)
        found = detection(known[name], unknown[name])._asdict()
        rows[name] = {}
        for measure, value in found.items():
            rows[name] |= {measure: value, f"{measure}_low": intervals[measure][0], f"{measure}_high": intervals[measure][1]}
    histograms = plots.histograms({name: {own.name: known[name], novel.name: unknown[name]} for name in known})
    columns = {name: np.concatenate([known[name], unknown[name]]) for name in known}
    which = np.repeat(["known", "novel"], [len(next(iter(scores.values()))) for scores in (known, unknown)])
    name = "".join(c if c.isalnum() else "-" for c in novel.name.rpartition("/")[2])
    text = f"{own.name} against {novel.name}"
    return Outcome(f"novelty-{name}", text, {"novelty": histograms}, summary=rows, table={"data": which, **columns})
