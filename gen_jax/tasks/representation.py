"""What simple classifiers read off a model's latents, beside pixels and principal components."""

from typing import Any

import jax
import numpy as np

from gen_jax.data import Split
from gen_jax.evaluate import principal_components, probe_accuracies
from gen_jax.tasks.latent_models import check_latents, encode
from gen_jax.tasks.task import Outcome, Subject, check_count, refuse
from gen_jax.types import GAN, InputError, Key

BUDGETS = (100, 1000)  # of labels, besides all


def perform(subject: Subject, *, data: str | None = None, max_labels: int = 10_000, max_test: int = 5000) -> Outcome:
    """Classify test examples by their latents, their pixels, and as many principal components as there are latents.

    A linear probe and ten nearest neighbours, trained on 100, 1,000 and all labels of the training examples; accuracies with
    standard errors. Latents are posterior means of a VAE, or codes of an autoencoder.

    Args:
        subject: the run.
        data: Data set with labels; by default, the run's own.
        max_labels: The most labels that 'all' may be.
        max_test: The most test examples.
    """
    check_count("max_labels", max_labels)
    check_count("max_test", max_test)
    model = subject.model
    check_latents(model)
    if isinstance(model, GAN):
        raise refuse(model, "show what its latents hold, since it encodes none", "a VAE or an autoencoder")
    if getattr(model, "num_classes", None) is not None:
        raise refuse(model, "be probed if its encoder is told the label", "one that is not conditional")
    dataset = subject.load(data, split="train")
    order_key, train_key, test_key = jax.random.split(subject.key, 3)
    train, test = _some(dataset.train, order_key, max_labels), _some(dataset.test, None, max_test)
    if train.labels is None or test.labels is None:
        raise InputError(f"The examples of {dataset.name} have no labels: give a data set that has.")
    latents = [_flat(encode(model, subject.view, subject.params, k, e)) for k, e in ((train_key, train), (test_key, test))]
    pixels = [_flat(jax.vmap(subject.view.example)(examples.x)) for examples in (train, test)]
    size = latents[0].shape[1]
    sets = {f"latents ({size})": latents, f"pixels ({pixels[0].shape[1]})": pixels}
    sets[f"components ({min(size, *pixels[0].shape)})"] = list(principal_components(*pixels, size))
    labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
    rows: dict[str, dict[str, Any]] = {}
    for name, (x, test_x) in sets.items():
        rows[name] = {}
        for num in (*(n for n in BUDGETS if n < len(labels)), len(labels)):
            found = probe_accuracies(x[:num], labels[:num], test_x, test_labels)
            rows[name] |= {f"{probe}, {num} labels": value for probe, value in found.items()}
    return Outcome("representation", f"{len(test_labels)} test examples of {dataset.name}", summary=rows)


def _some(examples: Split, key: Key | None, most: int) -> Split:
    """Return at most so many examples, the first or in the order of a key."""
    num = len(examples.x)
    rows = np.arange(num) if key is None else np.asarray(jax.random.permutation(key, num))
    x = np.stack([np.asarray(examples.x[int(i)]) for i in rows[:most]])
    return Split(x, None if examples.labels is None else np.asarray(examples.labels)[rows[:most]]).on_device()


def _flat(latents: Any) -> np.ndarray:
    """Return the latents as vectors [N, Z]; of layers, side by side."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(latents)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
