"""What simple classifiers read off a model's representation, beside pixels and principal components."""

from typing import Any

import jax
import numpy as np

from gen_jax.evaluate import principal_components, probe_accuracies
from gen_jax.tasks.latent_models import representation
from gen_jax.tasks.task import Outcome, Subject, check_count, draw_examples, refuse, suffix_of
from gen_jax.types import InputError

BUDGETS = (100, 1000)  # of labels, besides all


def perform(subject: Subject, *, data: str | None = None, max_labels: int = 10_000, max_test: int = 5000) -> Outcome:
    """Classify test examples by a model's representation, by pixels, and by as many principal components.

    A linear probe and ten nearest neighbours, trained on 100, 1,000 and all labels of the training examples; accuracies with
    standard errors. It is the posterior mean of a VAE, the code of an autoencoder, the last hidden layer of a MADE, or the
    features of a discriminator.

    Args:
        subject: the run.
        data: Data set with labels; by default, the run's own.
        max_labels: The most labels that 'all' may be.
        max_test: The most test examples.
    """
    check_count("max_labels", max_labels)
    check_count("max_test", max_test)
    model = subject.model
    if getattr(model, "num_classes", None) is not None:
        raise refuse(model, "be probed if it is told the label", "one that is not conditional")
    dataset = subject.load(data, split="train")
    train_key, test_key, order_key, test_order_key = jax.random.split(subject.key, 4)
    _, train = draw_examples(dataset.train, max_labels, order_key)
    _, test = draw_examples(dataset.test, max_test, test_order_key)
    if train.labels is None or test.labels is None:
        raise InputError(f"The examples of {dataset.name} have no labels: give a data set that has.")
    of_model = [
        representation(model, subject.view, subject.params, key, examples)
        for key, examples in ((train_key, train), (test_key, test))
    ]
    pixels = [_flat(jax.vmap(subject.view.example)(examples.x)) for examples in (train, test)]
    size = of_model[0].shape[1]
    sets = {f"model ({size})": of_model, f"pixels ({pixels[0].shape[1]})": pixels}
    if size < pixels[0].shape[1]:
        sets[f"components ({min(size, *pixels[0].shape)})"] = list(principal_components(*pixels, size))
    labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
    budgets = [num for num in BUDGETS if num < len(labels) and len(np.unique(labels[:num])) > 1]
    rows: dict[str, dict[str, Any]] = {}
    for done, (name, (x, test_x)) in enumerate(sets.items()):
        rows[name] = {}
        for num in (*budgets, len(labels)):
            found = probe_accuracies(x[:num], labels[:num], test_x, test_labels)
            rows[name] |= {f"{probe}, {num} labels": value for probe, value in found.items()}
        subject.report(done + 1, len(sets))
    text = f"{len(test_labels)} test examples of {dataset.name}"
    return Outcome(
        f"representation{suffix_of(subject, dataset)}", text, summary={**rows, "data": dataset.name, **subject.provenance}
    )


def _flat(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64).reshape(len(x), -1)
