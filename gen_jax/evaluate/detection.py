"""How well a score tells examples of other data from those that a model was trained on: areas, rates, bootstrap intervals."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gen_jax.types import InputError

RATE = 0.95  # of novel examples found, at which false alarms are counted
NUM_RESAMPLES = 1000


def neighbour_distances(
    known: Float[np.ndarray, "N F"], examples: Float[np.ndarray, "M F"], num: int = 5
) -> Float[np.ndarray, "M"]:
    """Return the mean Euclidean distance of each example to its nearest known ones: large where it is far from all of them."""
    from sklearn.neighbors import NearestNeighbors  # late: importing it takes a second

    found = NearestNeighbors(n_neighbors=min(num, len(known))).fit(known)
    return found.kneighbors(examples)[0].mean(axis=1)


class Detection(NamedTuple):
    """Measures of a score that should be larger for novel examples than for known ones.

    Attributes:
        auroc: the probability that a novel example scores higher than a known one, ties counted half: ½ for chance.
        ap: average precision, Σ_n (R_n − R_{n−1}) P_n over the thresholds, with precision P and recall R of the novel ones.
        fpr95: the share of known examples above the highest threshold that at least 95 % of the novel ones reach.
    """

    auroc: float
    ap: float
    fpr95: float


def detection(known: Float[np.ndarray, "N"], novel: Float[np.ndarray, "M"]) -> Detection:
    """Return how well scores tell novel examples from known ones.

    Raises:
        InputError: there are no known or no novel examples, or a score is NaN.
    """
    known, novel = (np.asarray(scores, np.float64) for scores in (known, novel))
    if not len(known) or not len(novel):
        raise InputError(f"There are {len(known)} known and {len(novel)} novel examples: give some of both.")
    if np.isnan(known).any() or np.isnan(novel).any():
        raise InputError("A score is NaN: leave those examples out.")
    thresholds = np.unique(np.concatenate([known, novel]))[::-1]
    hits, alarms = (len(scores) - np.searchsorted(np.sort(scores), thresholds) for scores in (novel, known))
    recall, false_rate = hits / len(novel), alarms / len(known)
    heights, widths = np.append(0.0, recall), np.diff(false_rate, prepend=0.0)
    return Detection(
        auroc=float(np.sum(widths * (heights[1:] + heights[:-1]) / 2)),
        ap=float(np.sum(np.diff(recall, prepend=0.0) * hits / (hits + alarms))),
        fpr95=float(false_rate[np.argmax(recall >= RATE)]),
    )


def detection_intervals(
    known: Float[np.ndarray, "N"], novel: Float[np.ndarray, "M"], seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap interval of each measure: of 1,000 draws of both sets with replacement."""
    rng, known, novel = np.random.default_rng(seed), np.asarray(known), np.asarray(novel)
    draws = [detection(rng.choice(known, len(known)), rng.choice(novel, len(novel))) for _ in range(NUM_RESAMPLES)]
    low, high = np.percentile(np.array(draws), (2.5, 97.5), axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(Detection._fields, low, high, strict=True)}
