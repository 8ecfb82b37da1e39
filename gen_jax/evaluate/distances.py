"""Distances between real and generated examples, by features of both: real [N, F] and fake [M, F].

The features come from a classifier trained on the same data, so these are not an FID or an Inception score. Compare numbers only
for the same classifier, the same real examples and the same numbers of examples.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gen_jax.evaluate._rows import Rows, float64_pair, float64_rows, row_blocks, squared_distance_blocks
from gen_jax.types import InputError

_NAMES = ("real", "fake")


def frechet_distance(real: Rows, fake: Rows) -> float:
    """Return ‖μ_r − μ_f‖² + tr(Σ_r + Σ_f − 2(Σ_r Σ_f)^½), the squared 2-Wasserstein distance between two normals.

    The trace of the root is that of the symmetric (Σ_r^½ Σ_f Σ_r^½)^½, so it is real, and covariances may be singular; they are
    divided by N − 1. The estimate is biased upwards, more so for fewer examples. Heusel et al. 2017, arXiv:1706.08500, eq. 6.

    Raises:
        InputError: the numbers of features differ, there are fewer than 2 examples, or values are not finite.
    """
    real, fake = float64_pair(real, fake, _NAMES, at_least=2)
    cov_real, cov_fake = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (real, fake))
    values, vectors = np.linalg.eigh(cov_real)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    trace_of_root = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_fake @ root), 0)).sum()
    shift = real.mean(axis=0) - fake.mean(axis=0)
    squared = shift @ shift + np.trace(cov_real) + np.trace(cov_fake) - 2 * trace_of_root
    return max(float(squared), 0.0)  # rounding can make it negative for equal sets


def kernel_distance(real: Rows, fake: Rows) -> float:
    """Return the unbiased estimate of MMD² with the kernel k(x, y) = (xᵀy / F + 1)³.

    Σ_{i≠j} k(r_i, r_j) / N(N−1) + Σ_{i≠j} k(f_i, f_j) / M(M−1) − 2 Σ_{ij} k(r_i, f_j) / NM. Its expectation does not depend on
    N and M, and is 0 for equal distributions, so the estimate can be negative. Bińkowski et al. 2018, arXiv:1801.01401, §4.

    Raises:
        InputError: the numbers of features differ, there are fewer than 2 examples, or values are not finite.
    """
    real, fake = float64_pair(real, fake, _NAMES, at_least=2)

    def cube(values: np.ndarray) -> np.ndarray:
        return values * values * values  # 30 times as fast as values**3

    def sum_over_pairs(x: Float[np.ndarray, "N F"], y: Float[np.ndarray, "M F"]) -> float:
        return sum(float(cube(x[rows] @ y.T / x.shape[1] + 1).sum()) for rows in row_blocks(len(x)))

    def mean_within(x: Float[np.ndarray, "N F"]) -> float:
        diagonal = float(cube(np.square(x).sum(axis=1) / x.shape[1] + 1).sum())
        return (sum_over_pairs(x, x) - diagonal) / (len(x) * (len(x) - 1))

    return mean_within(real) + mean_within(fake) - 2 * sum_over_pairs(real, fake) / (len(real) * len(fake))


class PrecisionRecall(NamedTuple):
    """Precision and recall, between 0 and 1.

    Attributes:
        precision: the share of generated examples within the support of the real ones: quality.
        recall: the share of real examples within the support of the generated ones: variety.
    """

    precision: float
    recall: float


def precision_recall(real: Rows, fake: Rows, neighbours: int = 3) -> PrecisionRecall:
    """Return the improved precision and recall, with k = `neighbours`.

    The support of a set is estimated by the union of closed balls around its examples, whose radius is the distance to the k-th
    nearest other example. Equal sets have 1 and 1; two sets from one distribution have less. Kynkäänniemi et al. 2019,
    arXiv:1904.06991, eq. 1 and 2.

    Raises:
        InputError: the numbers of features differ, a set has k examples or fewer, or values are not finite.
    """
    real, fake = _pair_for_neighbours(real, fake, neighbours)

    def share_within(x: Float[np.ndarray, "N F"], support: Float[np.ndarray, "M F"]) -> float:
        reach = _squared_radii(support, neighbours) + _tie(support)
        return float(np.mean(np.concatenate([(d <= reach).any(axis=1) for _, d in squared_distance_blocks(x, support)])))

    return PrecisionRecall(share_within(fake, real), share_within(real, fake))


class DensityCoverage(NamedTuple):
    """Density and coverage.

    Attributes:
        density: (1/kM) Σ_ij [fake j in the ball of real i], not bounded by 1. Its expectation is 1 for equal distributions.
        coverage: the share of real examples whose ball holds a generated one. Its expectation is about 1 − 2^{−k} for equal
            distributions and N = M.
    """

    density: float
    coverage: float


def density_coverage(real: Rows, fake: Rows, neighbours: int = 5) -> DensityCoverage:
    """Return density and coverage, with k = `neighbours`.

    They use open balls around real examples, with the distance to the k-th nearest other real example as radius, so generated
    outliers add to neither. An example that is there more than k times has a radius of 0, and holds up to k equal ones. Equal
    sets have 1 and 1. Naeem et al. 2020, arXiv:2002.09797, eq. 3 and 4.

    Raises:
        InputError: the numbers of features differ, a set has k examples or fewer, or values are not finite.
    """
    real, fake = _pair_for_neighbours(real, fake, neighbours)
    radii, tie, counts = _squared_radii(real, neighbours), _tie(real), []
    for rows, squared in squared_distance_blocks(real, fake):
        inside = (squared < (radii[rows] - tie)[:, None]).sum(axis=1)
        equal = np.minimum((squared <= tie).sum(axis=1), neighbours)
        counts.append(np.where(radii[rows] <= tie, equal, inside))
    within = np.concatenate(counts)
    return DensityCoverage(float(within.sum()) / (neighbours * len(fake)), float(np.mean(within > 0)))


def classifier_score(probabilities: Rows) -> float:
    """Return exp E_x[KL(p(y|x) ‖ p(y))], between 1 and C, of p(y|x) [N, C] for generated examples.

    It is high if p(y|x) is peaked for each example and all classes occur; p(y) is the mean of p(y|x) over all examples, without
    splits. One example of each class is enough for C. Salimans et al. 2016, arXiv:1606.03498, §4, with another classifier.

    Raises:
        InputError: probabilities are not finite, are below 0, or do not sum to 1 (within 1e-3).
    """
    given = float64_rows(probabilities, "probabilities")
    sums = given.sum(axis=1, keepdims=True)
    if given.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise InputError(f"The probabilities are between {given.min():.3g} and {given.max():.3g}, their sums over classes "
                         f"between {sums.min():.3g} and {sums.max():.3g}: give a softmax of the logits.")  # fmt: skip
    p = given / sums
    log_ratio = np.log(np.where(p > 0, p, 1)) - np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
    return float(np.exp((p * log_ratio).sum(axis=1).mean()))


def _pair_for_neighbours(real: Rows, fake: Rows, neighbours: int) -> tuple[Float[np.ndarray, "N F"], Float[np.ndarray, "M F"]]:
    real, fake = float64_pair(real, fake, _NAMES)
    if not 1 <= neighbours < min(len(real), len(fake)):
        raise InputError(f"neighbours is {neighbours}, with {len(real)} real examples and {len(fake)} generated ones: give 1 or "
                         "more neighbours, and more examples than that.")  # fmt: skip
    return real, fake


def _squared_radii(x: Float[np.ndarray, "N F"], neighbours: int) -> Float[np.ndarray, "N"]:
    """Return the squared distance of each example to the k-th nearest other one."""
    radii = np.empty(len(x))
    for rows, squared in squared_distance_blocks(x, x):
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1]
    return radii


def _tie(x: Float[np.ndarray, "N F"]) -> float:
    """Return the tolerance on squared distances: sets may share examples, and rounding must not decide their ties."""
    return 1e-10 * float(x.var(axis=0).sum())
