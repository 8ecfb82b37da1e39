"""How far generated examples are from real ones, by features of both.

The features are those of a classifier trained on the same data, so no number here is an FID or an Inception score, and none is to
be called so: numbers compare only where the classifier, the number of examples and the real examples are the same.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gen_jax.evaluate._rows import Rows, float64_pair, float64_rows, row_blocks, squared_distance_blocks
from gen_jax.types import InputError

_NAMES = ("real", "fake")


def frechet_distance(real: Rows, fake: Rows) -> float:
    """Return ‖μ_r − μ_f‖² + tr(Σ_r + Σ_f − 2(Σ_r Σ_f)^½), the squared 2-Wasserstein distance of two normals of these moments.

    The trace of the root is that of the symmetric (Σ_r^½ Σ_f Σ_r^½)^½, by eigenvalues: it is real, and needs no offset where a
    covariance is singular. Covariances are with N − 1. The estimate is biased upwards, by more for fewer examples, so compare at
    the same numbers of them. Heusel et al. 2017, arXiv:1706.08500, eq. 6.

    Args:
        real: features of real examples [N, F].
        fake: features of generated examples [M, F].

    Raises:
        InputError: the features differ in number, there are fewer than 2 examples, or values are not finite.
    """
    real, fake = float64_pair(real, fake, _NAMES, at_least=2)
    cov_real, cov_fake = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (real, fake))
    values, vectors = np.linalg.eigh(cov_real)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    trace_of_root = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_fake @ root), 0)).sum()
    shift = real.mean(axis=0) - fake.mean(axis=0)
    squared = shift @ shift + np.trace(cov_real) + np.trace(cov_fake) - 2 * trace_of_root
    return max(float(squared), 0.0)  # rounding can take that of equal sets below 0


def kernel_distance(real: Rows, fake: Rows) -> float:
    """Return the unbiased estimate of MMD² with the kernel k(x, y) = (xᵀy / F + 1)³.

    Σ_{i≠j} k(r_i, r_j) / N(N−1) + Σ_{i≠j} k(f_i, f_j) / M(M−1) − 2 Σ_{ij} k(r_i, f_j) / NM, on all pairs. Its expectation does
    not depend on the numbers of examples, and is 0 for equal distributions, so that it can be below 0. Bińkowski et al. 2018,
    arXiv:1801.01401, §4.

    Args:
        real: features of real examples [N, F].
        fake: features of generated examples [M, F].

    Raises:
        InputError: the features differ in number, there are fewer than 2 examples, or values are not finite.
    """
    real, fake = float64_pair(real, fake, _NAMES, at_least=2)

    def cube(values: np.ndarray) -> np.ndarray:
        return values * values * values  # NumPy's power of an array is thirty times slower

    def sum_over_pairs(x: Float[np.ndarray, "N F"], y: Float[np.ndarray, "M F"]) -> float:
        return sum(float(cube(x[rows] @ y.T / x.shape[1] + 1).sum()) for rows in row_blocks(len(x)))

    def mean_within(x: Float[np.ndarray, "N F"]) -> float:
        of_itself = float(cube(np.square(x).sum(axis=1) / x.shape[1] + 1).sum())
        return (sum_over_pairs(x, x) - of_itself) / (len(x) * (len(x) - 1))

    return mean_within(real) + mean_within(fake) - 2 * sum_over_pairs(real, fake) / (len(real) * len(fake))


class PrecisionRecall(NamedTuple):
    """Shares of examples that lie in the estimated support of the other set, between 0 and 1.

    Attributes:
        precision: share of generated examples that are within the support of the real ones: quality.
        recall: share of real examples that are within the support of the generated ones: variety.
    """

    precision: float
    recall: float


def precision_recall(real: Rows, fake: Rows, neighbours: int = 3) -> PrecisionRecall:
    """Return the improved precision and recall.

    The support of a set is the union of balls around its examples, each up to and with the k-th nearest other example of the set.
    Equal sets have 1 and 1; two sets from one distribution have less. Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2
    (k = 3).

    Args:
        real: features of real examples [N, F].
        fake: features of generated examples [M, F].
        neighbours: k.

    Raises:
        InputError: the features differ in number, there are not more than k examples of each, or values are not finite.
    """
    real, fake = _pair_for_neighbours(real, fake, neighbours)

    def share_within(x: Float[np.ndarray, "N F"], support: Float[np.ndarray, "M F"]) -> float:
        reach = _squared_radii(support, neighbours) + _tie(support)
        return float(np.mean(np.concatenate([(d <= reach).any(axis=1) for _, d in squared_distance_blocks(x, support)])))

    return PrecisionRecall(share_within(fake, real), share_within(real, fake))


class DensityCoverage(NamedTuple):
    """How densely generated examples lie among the real ones, and how many of these they reach.

    Attributes:
        density: (1/kM) Σ_ij [fake j in the ball of real i], not bounded by 1. Its expectation is 1 for equal distributions.
        coverage: share of real examples whose ball holds a generated one. Its expectation for equal distributions and N = M is
            about 1 − 2^{−k}.
    """

    density: float
    coverage: float


def density_coverage(real: Rows, fake: Rows, neighbours: int = 5) -> DensityCoverage:
    """Return density and coverage, by balls around real examples that end before the k-th nearest other real example.

    The balls are of real examples alone, so a generated outlier adds to neither number. Equal sets have 1 and 1. Naeem et al.
    2020, arXiv:2002.09797, eq. 3 and 4 (k = 5).

    Args:
        real: features of real examples [N, F].
        fake: features of generated examples [M, F].
        neighbours: k.

    Raises:
        InputError: the features differ in number, there are not more than k examples of each, or values are not finite.
    """
    real, fake = _pair_for_neighbours(real, fake, neighbours)
    reach = _squared_radii(real, neighbours) - _tie(real)
    within = np.concatenate([(d < reach[rows, None]).sum(axis=1) for rows, d in squared_distance_blocks(real, fake)])
    return DensityCoverage(float(within.sum()) / (neighbours * len(fake)), float(np.mean(within > 0)))


def classifier_score(probabilities: Rows) -> float:
    """Return exp E_x[KL(p(y|x) ‖ p(y))], between 1 and C: high where each example is of a clear class, and all classes are drawn.

    p(y) is the mean of p(y|x) over all the examples given (no splits). Salimans et al. 2016, arXiv:1606.03498, §4, with another
    classifier. It looks at no real example, and one example of each class reaches C.

    Args:
        probabilities: p(y|x) of generated examples [N, C], by a classifier trained on the real ones.

    Raises:
        InputError: they are not finite, below 0, or do not sum to 1 (by more than 1e-3).
    """
    given = float64_rows(probabilities, "probabilities")
    sums = given.sum(axis=1, keepdims=True)
    if given.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise InputError(f"The probabilities are between {given.min():.3g} and {given.max():.3g}, their sums over classes "
                         f"between {sums.min():.3g} and {sums.max():.3g}: give a softmax of the logits.")  # fmt: skip
    p = given / sums  # a softmax in float32 sums to 1 within rounding
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
    """Return the squared distance that counts as none: sets may share examples, and rounding is not to decide on their ties."""
    return 1e-10 * float(x.var(axis=0).sum())
