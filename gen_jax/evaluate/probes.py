"""How much of a label simple classifiers read off a representation: a linear probe and nearest neighbours."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gen_jax.types import InputError

NEIGHBOURS = 10
STRENGTHS = (0.1, 1.0, 0.01, 10.0, 0.001)  # inverse penalties; of equals the first is taken


def principal_components(
    train: Float[np.ndarray, "N D"], test: Float[np.ndarray, "M D"], size: int
) -> tuple[Float[np.ndarray, "N K"], Float[np.ndarray, "M K"]]:
    """Return both sets projected onto the first K = min(size, N, D) principal directions of the training set."""
    mean = train.mean(axis=0)
    directions = np.linalg.svd(train - mean, full_matrices=False)[2][:size].T
    return (train - mean) @ directions, (test - mean) @ directions


def probe_accuracies(
    train: Float[np.ndarray, "N D"],
    train_labels: Int[np.ndarray, "N"],
    test: Float[np.ndarray, "M D"],
    test_labels: Int[np.ndarray, "M"],
) -> dict[str, float]:
    """Return the accuracy on the test set of a multinomial logistic regression, and of the 10 nearest neighbours, with a s.e.

    Features are centred and divided by one number, by the training set, so that their variances keep their proportions. The
    penalty of the regression is the best of five on the last fifth of the training examples; then it is trained on all of them.

    Raises:
        InputError: the training labels are all the same.
    """
    from sklearn.neighbors import KNeighborsClassifier  # late: importing it takes a second

    if len(np.unique(train_labels)) < 2:
        raise InputError(f"All {len(train_labels)} training labels are equal: give examples of two classes or more.")
    mean = train.mean(axis=0)
    scale = np.sqrt(np.mean((train - mean) ** 2)) or 1.0
    train, test = ((x - mean) / scale for x in (train, test))
    cut = len(train) - len(train) // 5
    strength = 1.0
    if len(np.unique(train_labels[:cut])) > 1 and cut < len(train):
        scores = [_logistic(c, train[:cut], train_labels[:cut]).score(train[cut:], train_labels[cut:]) for c in STRENGTHS]
        strength = STRENGTHS[int(np.argmax(scores))]
    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(train))).fit(train, train_labels)
    found = {}
    for name, classifier in (("linear", _logistic(strength, train, train_labels)), ("neighbours", neighbours)):
        accuracy = float(classifier.score(test, test_labels))
        found |= {name: accuracy, f"{name}_se": (accuracy * (1 - accuracy) / len(test)) ** 0.5}
    return found


def _logistic(strength: float, x: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one that has not converged after its steps
        return LogisticRegression(C=strength, max_iter=200).fit(x, labels)
