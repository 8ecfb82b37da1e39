"""Parzen windows: a log-likelihood for models that only draw samples (Breuleux et al. 2011; Goodfellow et al. 2014).

It ranks models badly (Theis et al. 2016, arXiv:1511.01844, §3.2): in many dimensions it is far from the model's log-likelihood
whatever the number of samples, and centroids of k-means get a better number than examples of the data themselves. It is here to
compare with published numbers.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gen_jax.evaluate._rows import Rows, float64_pair, squared_distance_blocks
from gen_jax.types import InputError


def parzen_log_likelihood(samples: Rows, test: Rows, scale: float) -> Float[np.ndarray, "M"]:
    """Return log (1/N) Σ_n N(x; s_n, σ²I) in nats, for each test example x.

    `mean_and_standard_error` gives the two numbers that papers print.

    Args:
        samples: what the model drew [N, D].
        test: the examples [M, D].
        scale: σ; see `choose_parzen_scale`.

    Raises:
        InputError: the dimensions differ, there is no example, values are not finite, or σ is not above 0.
    """
    return _log_likelihoods(samples, test, [scale], "test")[0]


def choose_parzen_scale(samples: Rows, valid: Rows, scales: Sequence[float] | Float[np.ndarray, "S"]) -> float:
    """Return the σ of highest mean log-likelihood of the validation examples (Goodfellow et al. 2014, arXiv:1406.2661, §5).

    Args:
        samples: what the model drew [N, D].
        valid: examples [M, D] that are not those of the test.
        scales: σ to choose from, such as `np.logspace(-1, 0, 10)`. A choice at either end says that the range is too narrow.

    Raises:
        InputError: there is no σ, or as in `parzen_log_likelihood`.
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
        nearest = squared.min(axis=1)  # its term is the largest, for every scale
        squared -= nearest[:, None]
        for i, scale in enumerate(scales):
            sums = np.exp(squared * (-0.5 / scale**2)).sum(axis=1)
            log_probs[i, rows] = np.log(sums) - 0.5 * nearest / scale**2
    log_normalisers = [math.log(len(samples)) + samples.shape[1] * math.log(math.sqrt(2 * math.pi) * scale) for scale in scales]
    return log_probs - np.array(log_normalisers)[:, None]
