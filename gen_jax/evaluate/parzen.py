"""Parzen windows: a log-likelihood for models without a density (Breuleux et al. 2011; Goodfellow et al. 2014).

Use it only to compare with published numbers. In many dimensions it is far from the model's log-likelihood whatever the number of
samples, and k-means centroids score better than the training data (Theis et al. 2016, arXiv:1511.01844, §3.2).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gen_jax.evaluate._rows import Rows, float64_pair, squared_distance_blocks
from gen_jax.types import InputError


def parzen_log_likelihood(samples: Rows, test: Rows, scale: float) -> Float[np.ndarray, "M"]:
    """Return log (1/N) Σ_n N(x; s_n, σ²I) in nats, for each test example x [M, D], samples s [N, D] of the model, and scale σ.

    Papers report the `mean_and_standard_error` of these.

    Raises:
        InputError: the dimensions differ, a set is empty, values are not finite, or σ is not above 0.
    """
    return _log_likelihoods(samples, test, [scale], "test")[0]


def choose_parzen_scale(samples: Rows, valid: Rows, scales: Sequence[float] | Float[np.ndarray, "S"]) -> float:
    """Return the σ with the highest mean log-likelihood of validation examples [M, D].

    Choose from a range such as `np.logspace(-1, 0, 10)`, and widen it if the result is one of its ends. Goodfellow et al. 2014,
    arXiv:1406.2661, §5.

    Raises:
        InputError: there is no scale, or as in `parzen_log_likelihood`.
    """
    return float(scales[int(np.argmax(_log_likelihoods(samples, valid, scales, "valid").mean(axis=1)))])


def _log_likelihoods(
    samples: Rows, points: Rows, scales: Sequence[float] | Float[np.ndarray, "S"], name: str
) -> Float[np.ndarray, "S M"]:
    samples, points = float64_pair(samples, points, ("samples", name))
    if len(scales) == 0 or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise InputError(f"The scales are {list(scales)}: give one or more, each above 0.")
    log_probs = np.empty((len(scales), len(points)))
    for rows, squared in squared_distance_blocks(points, samples):
        nearest = squared.min(axis=1)  # the largest term of the log-sum-exp, for every scale
        squared -= nearest[:, None]
        for i, scale in enumerate(scales):
            sums = np.exp(squared * (-0.5 / scale**2)).sum(axis=1)
            log_probs[i, rows] = np.log(sums) - 0.5 * nearest / scale**2
    log_normalisers = [math.log(len(samples)) + samples.shape[1] * math.log(math.sqrt(2 * math.pi) * scale) for scale in scales]
    return log_probs - np.array(log_normalisers)[:, None]
