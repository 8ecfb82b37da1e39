"""Measures of detection against scikit-learn's, and against values by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from gen_jax.evaluate import detection, detection_intervals
from gen_jax.types import InputError

RNG = np.random.default_rng(0)
SETS = {
    "apart": (RNG.normal(size=300), RNG.normal(1.0, 2.0, size=200)),
    "ties": (RNG.integers(0, 4, 300).astype(float), RNG.integers(1, 6, 100).astype(float)),
    "all equal": (np.zeros(7), np.zeros(5)),
    "one of each": (np.array([1.0]), np.array([0.0])),
    "infinite": (np.array([0.0, 1.0, np.inf]), np.array([0.5, np.inf])),
}


@pytest.mark.parametrize("name", SETS)
def test_measures_are_scikit_learns(name):
    known, novel = SETS[name]
    labels, scores = np.repeat([0, 1], [len(known), len(novel)]), np.concatenate([known, novel])
    finite = np.where(np.isinf(scores), 1e9, scores)
    found = detection(known, novel)
    assert found.auroc == pytest.approx(roc_auc_score(labels, finite))
    assert found.ap == pytest.approx(average_precision_score(labels, finite))
    false_rate, recall, _ = roc_curve(labels, finite, drop_intermediate=False)
    assert found.fpr95 == pytest.approx(false_rate[recall >= 0.95].min())


def test_scores_that_separate_are_perfect_and_reversed_ones_are_worst():
    known, novel = np.arange(40.0), np.arange(50.0, 60.0)
    assert detection(known, novel) == (1.0, 1.0, 0.0)
    assert detection(-known, -novel)[::2] == (0.0, 1.0)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_should():
    """AUROC of N(0, 1) against N(1, 1) is Φ(1/√2) = 0.7602; of 20 intervals of 95 %, nearly all hold it."""
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        low, high = detection_intervals(rng.normal(size=60), rng.normal(1.0, 1.0, size=60))["auroc"]
        held += low <= 0.7602 <= high
        assert high - low < 0.25
    assert held >= 16


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="3 known and 0 novel examples"):
        detection(np.zeros(3), np.zeros(0))
    with pytest.raises(InputError, match="A score is NaN"):
        detection(np.array([0.0, np.nan]), np.zeros(2))
