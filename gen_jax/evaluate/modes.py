"""Coverage of the known modes of a data distribution, by the protocol of PacGAN (Lin et al. 2018, arXiv:1712.04086, §4)."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from gen_jax.evaluate._rows import Rows, float64_pair
from gen_jax.types import Array, InputError


class ModeCoverage(NamedTuple):
    """Coverage of a mixture of M normals by samples.

    Each sample is assigned to the nearest mode, and is of high quality if its distance to the centre of that mode is at most 3σ.

    Attributes:
        num_modes: the number of modes with a high-quality sample.
        high_quality: the share of high-quality samples: 1 − e^{−9/2} = 0.98889 for true data with modes at least 6σ apart.
        reverse_kl: KL(q ‖ uniform) in nats, at most log M, with q_m the share of all samples assigned to mode m. For N samples of
            the true distribution it is about (M − 1) / 2N, not 0.
        variance_ratio: the variance of a coordinate of the high-quality samples (with n − 1), averaged over modes with at least 2
            of them (NaN without any) and divided by 0.94945σ², the variance of a normal truncated at 3σ. It is 1 for true data,
            and about s²/0.949 for modes shrunk to a small sσ.
    """

    num_modes: int
    high_quality: float
    reverse_kl: float
    variance_ratio: float


def mode_coverage(samples: Rows, centres: Rows, scale: float) -> ModeCoverage:
    """Return the coverage of M equally weighted normals N(c_m, σ²I) by samples [N, 2], for centres c [M, 2] and scale σ.

    Raises:
        InputError: samples or centres are not 2-D points or are empty, values are not finite, or σ is not above 0.
    """
    from scipy.spatial.distance import cdist  # late: importing it takes a tenth of a second

    samples, centres = float64_pair(samples, centres, ("samples", "centres"))
    if samples.shape[1] != 2 or not (math.isfinite(scale) and scale > 0):
        raise InputError(f"The samples have {samples.shape[1]} columns and the scale is {scale}: give 2 columns and a scale "
                         "above 0.")  # fmt: skip
    distances = cdist(samples, centres)
    mode = distances.argmin(axis=1)
    good = distances.min(axis=1) <= 3 * scale
    variances = [
        np.var(samples[good & (mode == m)], axis=0, ddof=1).mean()
        for m, count in enumerate(np.bincount(mode[good], minlength=len(centres)))
        if count >= 2
    ]
    return ModeCoverage(
        num_modes=len(np.unique(mode[good])),
        high_quality=float(good.mean()),
        reverse_kl=_kl_to_uniform(np.bincount(mode, minlength=len(centres))),
        variance_ratio=float(np.mean(variances)) / (_TRUNCATED_VARIANCE * scale**2) if variances else math.nan,
    )


# r²/2σ² of a normal in the plane is exponential, so with a = 9/2 the mean of r²/2σ² below a is 1 − a e^{−a} / (1 − e^{−a})
_TRUNCATED_VARIANCE = 1 - 4.5 * math.exp(-4.5) / -math.expm1(-4.5)


class LabelCoverage(NamedTuple):
    """Coverage of M equally frequent classes by samples.

    Attributes:
        num_modes: the number of labels that occur.
        reverse_kl: as in `ModeCoverage`, with q_m the share of samples of label m.
    """

    num_modes: int
    reverse_kl: float


def label_coverage(labels: Int[Array | np.ndarray, "N"], num_modes: int) -> LabelCoverage:
    """Return the coverage of M = `num_modes` classes, such as the 1000 of three stacked digits, by samples.

    The labels, from 0 to M − 1, are those that a classifier trained on the data assigns to the samples.

    Raises:
        InputError: there are no labels, or some are out of range.
    """
    labels = np.asarray(labels)
    if len(labels) < 1 or labels.min() < 0 or labels.max() >= num_modes:
        raise InputError(f"There are {len(labels)} labels, for {num_modes} modes: give labels from 0 to num_modes − 1.")
    return LabelCoverage(len(np.unique(labels)), _kl_to_uniform(np.bincount(labels, minlength=num_modes)))


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of Wilson 1927 for a proportion, such as that of seeds for which training succeeds.

    (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), with z the normal quantile of (1 + confidence) / 2. Unlike p̂ ± z s.e.,
    it is valid for few trials, and not empty if all succeed.

    Raises:
        InputError: there are no trials, more successes than trials, or the confidence is not between 0 and 1.
    """
    if not (0 <= successes <= trials and trials > 0 and 0 < confidence < 1):
        raise InputError(f"There are {successes} successes of {trials} trials at a confidence of {confidence}: give 1 trial or "
                         "more, as many successes at most, and a confidence between 0 and 1.")  # fmt: skip
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), successes / trials
    middle = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    # exactly 0 or 1, without rounding, if no trial or every trial is a success
    low = 0.0 if successes == 0 else (middle - half) / (1 + z**2 / trials)
    high = 1.0 if successes == trials else (middle + half) / (1 + z**2 / trials)
    return low, high


def _kl_to_uniform(counts: Int[np.ndarray, "M"]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(np.sum(shares * np.log(shares)) + math.log(len(counts)))
