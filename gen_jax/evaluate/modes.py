"""Which modes of known data a model draws, in the protocol of PacGAN (Lin et al. 2018, arXiv:1712.04086, §4)."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from gen_jax.evaluate._rows import Rows, float64_pair
from gen_jax.types import Array, InputError


class ModeCoverage(NamedTuple):
    """What samples in the plane say of the modes of a mixture of M equal normals.

    Each sample belongs to its nearest mode, and is of high quality where its distance to that mode's centre is 3σ or less.

    Attributes:
        num_modes: how many modes have a sample of high quality.
        high_quality: share of samples of high quality. For true data it is 1 − e^{−9/2} = 0.98889 (modes 6σ apart or more).
        reverse_kl: KL(q ‖ uniform) in nats, with q_m the share of all samples, of high quality or not, that belong to mode m; up
            to log M. For N true samples it is about (M − 1) / 2N, not 0.
        variance_ratio: mean over modes with 2 samples of high quality or more (NaN if there is none) of the variance of these
            samples (of a coordinate, about their mean, with n − 1), divided by that of true data, 0.94945σ²: the variance of a
            normal cut off at 3σ. It is 1 for true data, and near s²/0.949 for modes shrunk to sσ with a small s.
    """

    num_modes: int
    high_quality: float
    reverse_kl: float
    variance_ratio: float


def mode_coverage(samples: Rows, centres: Rows, scale: float) -> ModeCoverage:
    """Return how samples cover the modes of a mixture of normals N(c_m, σ²I) of equal weights in the plane.

    Args:
        samples: [N, 2].
        centres: c_m [M, 2].
        scale: σ.

    Raises:
        InputError: samples or centres are not of the plane, there are none, values are not finite, or σ is not above 0.
    """
    from scipy.spatial.distance import cdist  # late: importing it takes a tenth of a second

    samples, centres = float64_pair(samples, centres, ("samples", "centres"))
    if samples.shape[1] != 2 or not (math.isfinite(scale) and scale > 0):
        raise InputError(f"The samples have {samples.shape[1]} columns and the scale is {scale}: give points of the plane, and a "
                         "scale above 0.")  # fmt: skip
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
    """What the labels of samples say of M classes of equal weights.

    Attributes:
        num_modes: how many labels occur.
        reverse_kl: KL(q ‖ uniform) in nats, with q_m the share of samples of label m; up to log M. For N true samples it is about
            (M − 1) / 2N, not 0.
    """

    num_modes: int
    reverse_kl: float


def label_coverage(labels: Int[Array | np.ndarray, "N"], num_modes: int) -> LabelCoverage:
    """Return how labels of samples cover the M classes of the data, such as the 1000 of three stacked digits.

    Args:
        labels: the classes that a classifier trained on the data gives to samples, from 0 to M − 1.
        num_modes: M.

    Raises:
        InputError: there is no label, or one that is not of these classes.
    """
    labels = np.asarray(labels)
    if len(labels) < 1 or labels.min() < 0 or labels.max() >= num_modes:
        raise InputError(f"There are {len(labels)} labels, for {num_modes} modes: give labels from 0 to num_modes − 1.")
    return LabelCoverage(len(np.unique(labels)), _kl_to_uniform(np.bincount(labels, minlength=num_modes)))


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of Wilson 1927 for a share, such as that of the seeds for which training succeeds.

    (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), with z the normal quantile of (1 + confidence) / 2. Unlike p̂ ± z s.e.
    it is of use for few trials, and has a width where all of them succeed.

    Raises:
        InputError: there is no trial, more successes than trials, or a confidence that is not between 0 and 1.
    """
    if not (0 <= successes <= trials and trials > 0 and 0 < confidence < 1):
        raise InputError(f"There are {successes} successes of {trials} trials at a confidence of {confidence}: give 1 trial or "
                         "more, from 0 to all of them a success, and a confidence between 0 and 1.")  # fmt: skip
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), successes / trials
    middle = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    # the two ends are exactly 0 and 1 where no trial, or every trial, is a success
    low = 0.0 if successes == 0 else (middle - half) / (1 + z**2 / trials)
    high = 1.0 if successes == trials else (middle + half) / (1 + z**2 / trials)
    return low, high


def _kl_to_uniform(counts: Int[np.ndarray, "M"]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(np.sum(shares * np.log(shares)) + math.log(len(counts)))
