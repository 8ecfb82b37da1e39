"""How well single latents stand for single known factors: six measures, in the protocols of disentanglement_lib.

They are those of Locatello et al. 2019 (arXiv:1811.12359). `codes` [N, Z] are latents of N examples, `factors` [N, F] the known
factors of the same examples, as whole numbers that only name values. Sets of examples that share a factor are drawn from these
N: so the scores serve any data, not only those of which every combination of factors can be made.

What codes reach that are the factors themselves, in any order and units, and what codes reach that have nothing to do with them,
given many examples of independent factors, the k-th with K_k equally frequent values:

| score               | codes are factors                   | codes are noise                                     |
| ------------------- | ----------------------------------- | --------------------------------------------------- |
| beta_vae            | 1                                   | 1 / F                                               |
| factor_vae          | 1                                   | 1 / F; 0 if all latents are pruned                  |
| mig                 | 1 where K_k ≤ 20, else less         | 0                                                   |
| sap                 | 1 − 1 / K_k where K_k ≤ 3, else less | 0                                                  |
| dci_disentanglement | 1                                   | 0                                                   |
| dci_completeness    | 1                                   | 0                                                   |
| dci_informativeness | 1                                   | 1 / K_k                                             |
| modularity          | 1                                   | 1 − Σ_{k≠m} ((K_k − 1) / (K_m − 1))² / (F − 1)      |

K_k stands for a mean over factors, K_m for the largest. Modularity of noise is not 0, but 0.68 for the sizes of sprites: what
mutual information measured on N examples is too large by goes with K_k − 1.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from gen_jax.types import InputError

BATCH = 64  # examples, or pairs of them, behind one point of the β-VAE and the FactorVAE score
LEAST_EXAMPLES = BATCH
NUM_TRAIN, NUM_TEST = 10_000, 5000  # points or examples of which classifiers are trained and tested
NUM_BINS = 20  # of equal width, for mutual information
LEAST_SCALE = 0.05  # standard deviation of a latent that the FactorVAE score counts, as in the code of disentanglement_lib
NUM_TREES, LEAST_LEAF = 50, 10
AT_ONCE = 1000  # points, of 64 examples each

Codes = Float[np.ndarray, "_ _"]  # [N, Z]; whether it goes with [N, F] is checked in words
Factors = Integer[np.ndarray, "_ _"]
PerPair = Float[np.ndarray, "Z F"]


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018).

    Attributes:
        disentanglement: 1 where each latent matters to one factor at most.
        completeness: 1 where to each factor one latent matters.
        informativeness: the accuracy on test examples of what predicts the factors from all latents, mean over factors.
        importance: [Z, F], how much each latent matters to each factor; a column sums to 1, or to 0 where none does.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: PerPair


def disentanglement(codes: Codes, factors: Factors, seed: int = 0) -> dict[str, float]:
    """Return all scores by name; classifiers are trained on at most 10,000 points and tested on at most 5,000.

    Raises:
        InputError: fewer than 64 examples, two latents or two factors; codes that are not finite; factors that are not integers,
            or constant, or of another number of examples; and what the scores refuse.
    """
    codes, factors = _checked(codes, factors, 2, 2)
    found = dci(codes, factors, seed)
    return {
        "beta_vae": beta_vae_score(codes, factors, seed),
        "factor_vae": factor_vae_score(codes, factors, seed),
        "mig": mutual_information_gap(codes, factors),
        "sap": sap_score(codes, factors, seed),
        "dci_disentanglement": found.disentanglement,
        "dci_completeness": found.completeness,
        "dci_informativeness": found.informativeness,
        "modularity": modularity(codes, factors),
    }


def beta_vae_score(codes: Codes, factors: Factors, seed: int = 0, num_train: int = NUM_TRAIN, num_test: int = NUM_TEST) -> float:
    """Return how often a linear classifier names the factor that pairs of examples share (Higgins et al. 2017).

    A point is drawn so: a factor k, uniformly; 64 examples, and to each another one with the same value of k (of the values that
    two examples or more have). Its features are the mean |z₁ − z₂| over the 64 pairs, its label is k. A multinomial logistic
    regression, with scikit-learn's penalty C = 1, is trained on `num_train` points; the accuracy is that on `num_test` others.
    Codes of all factors but one suffice for an accuracy of 1.

    Raises:
        InputError: as `disentanglement` does, one latent is enough; or no two examples share a value of a factor.
    """
    from sklearn.linear_model import LogisticRegression  # late, here and below: importing it takes a second

    codes, factors = _checked(codes, factors, 1, 2)
    rng = np.random.default_rng(seed)

    def features(groups: _Groups, num: int) -> np.ndarray:
        first = groups.rows(rng, (num, BATCH))
        return np.abs(codes[first] - codes[groups.others(rng, first)]).mean(axis=1)

    x, labels = _points(rng, factors, num_train + num_test, features, codes.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one that has not converged after its steps
        classifier = LogisticRegression(max_iter=1000).fit(x[:num_train], labels[:num_train])
    return float(classifier.score(x[num_train:], labels[num_train:]))


def factor_vae_score(
    codes: Codes, factors: Factors, seed: int = 0, num_train: int = NUM_TRAIN, num_test: int = NUM_TEST
) -> float:
    """Return how often the least varying latent names the factor that a batch shares (Kim & Mnih 2018, arXiv:1802.05983).

    A point is drawn so: a factor k, uniformly; one of its values, that of a random example (of the values that two examples or
    more have); 64 examples with this value, with replacement. The feature is d = argmin_z Var_batch(z) / Var(z), among latents
    whose standard deviation over all examples is at least 0.05; the label is k. To each d the classifier gives the factor that is
    most frequent with it among `num_train` points; the accuracy is that on `num_test` others. If all latents are pruned, it is 0.

    Raises:
        InputError: as `beta_vae_score` does.
    """
    codes, factors = _checked(codes, factors, 1, 2)
    variances = codes.var(axis=0, ddof=1)
    kept = np.sqrt(variances) >= LEAST_SCALE
    codes = codes[:, kept] / np.sqrt(variances[kept])
    if not codes.shape[1]:
        return 0.0
    rng = np.random.default_rng(seed)

    def least(groups: _Groups, num: int) -> np.ndarray:
        batches = codes[groups.batches(rng, groups.rows(rng, (num,)))]
        return batches.var(axis=1, ddof=1).argmin(axis=1)[:, None]

    points, labels = _points(rng, factors, num_train + num_test, least, 1)
    latents = points[:, 0].astype(int)
    votes = np.zeros((codes.shape[1], factors.shape[1]), int)
    np.add.at(votes, (latents[:num_train], labels[:num_train]), 1)
    return float(np.mean(votes.argmax(axis=1)[latents[num_train:]] == labels[num_train:]))


def mutual_information(codes: Codes, factors: Factors) -> PerPair:
    """Return I(z; v) in nats of each latent, in 20 bins of equal width over its range, and each factor.

    Raises:
        InputError: as `disentanglement` does; one latent and one factor are enough.
    """
    codes, factors = _checked(codes, factors)
    low, span = codes.min(axis=0), np.ptp(codes, axis=0)
    bins = np.minimum(NUM_BINS * ((codes - low) / np.where(span > 0, span, 1)), NUM_BINS - 1).astype(int)
    return np.array([[_information(latent, factor) for factor in factors.T] for latent in bins.T])


def mutual_information_gap(codes: Codes, factors: Factors) -> float:
    """Return the MIG, mean over factors v of (I(z₁; v) − I(z₂; v)) / H(v), z₁ and z₂ the two latents that tell most of v.

    Chen et al. 2018 (arXiv:1802.04942); mutual information as in `mutual_information`, of all examples. A latent in 20 bins tells
    no more than log 20 nats, so that of a factor of 40 values no code has more than 0.81.

    Raises:
        InputError: as `disentanglement` does; one factor is enough.
    """
    codes, factors = _checked(codes, factors, 2)
    best = np.sort(mutual_information(codes, factors), axis=0)[::-1]
    return float(np.mean((best[0] - best[1]) / factor_entropies(factors)))


def factor_entropies(factors: Factors) -> Float[np.ndarray, "F"]:
    """Return H(v) in nats of each factor, by the frequencies of its values."""
    frequencies = [np.unique(factor, return_counts=True)[1] / len(factors) for factor in factors.T]
    return np.array([-np.sum(p * np.log(p)) for p in frequencies])


def modularity(codes: Codes, factors: Factors) -> float:
    """Return the mean over latents z of 1 − Σ_{k≠m} I(z; v_k)² / ((F − 1) I(z; v_m)²), m the factor of which z tells most.

    Ridgeway & Mozer 2018 (arXiv:1802.05312); mutual information as in `mutual_information`, of all examples. A latent that tells
    exactly nothing, as a constant one, counts as 0.

    Raises:
        InputError: as `disentanglement` does; one latent is enough.
    """
    codes, factors = _checked(codes, factors, 1, 2)
    squared = mutual_information(codes, factors) ** 2
    most = squared.max(axis=1)
    others = (squared.sum(axis=1) - most) / ((factors.shape[1] - 1) * np.where(most > 0, most, 1))
    return float(np.mean(np.where(most > 0, 1 - others, 0)))


def sap_score(codes: Codes, factors: Factors, seed: int = 0) -> float:
    """Return the separated attribute predictability (Kumar et al. 2018, arXiv:1711.00848): the mean over factors of s₁ − s₂.

    s₁ and s₂ are the highest test accuracies, of all latents, of a linear classifier of the factor from one latent: a support
    vector machine of one class against the rest, C = 0.01, classes weighted to balance. Two thirds of the examples, at most
    10,000, train it; the others, at most 5,000, test it. A middle one of many values is on no side of a line: the accuracy on a
    latent that is a factor of 3 values is 1, of 6 about ½, of 40 less than 0.1.

    Raises:
        InputError: as `disentanglement` does, one factor is enough; or all training examples have the same value of a factor.
    """
    from sklearn.svm import LinearSVC

    codes, factors = _checked(codes, factors, 2)
    train, test = _train_test(factors, seed)
    accuracies = np.zeros((codes.shape[1], factors.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one that has not converged after its steps
        for latent, factor in np.ndindex(accuracies.shape):
            classifier = LinearSVC(C=0.01, class_weight="balanced", dual=False)
            classifier.fit(codes[train][:, [latent]], factors[train, factor])
            accuracies[latent, factor] = classifier.score(codes[test][:, [latent]], factors[test, factor])
    best = np.sort(accuracies, axis=0)[::-1]
    return float(np.mean(best[0] - best[1]))


def dci(codes: Codes, factors: Factors, seed: int = 0) -> DCI:
    """Return disentanglement, completeness and informativeness by ensembles of trees (Eastwood & Williams 2018).

    Each factor is predicted from all latents by 50 extremely randomised trees, with every latent a candidate at each split and 10
    examples or more in a leaf. (The paper has random forests; disentanglement_lib has gradient boosting, which is a hundred times
    slower on a factor of 32 values, for the same accuracy.) The importance of a latent is the total decrease of impurity by
    splits on it, divided by that of all. Examples are divided as in `sap_score`.

    Raises:
        InputError: as `sap_score` does, and for fewer than two factors.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    codes, factors = _checked(codes, factors, 2, 2)
    train, test = _train_test(factors, seed)
    importance, accuracies = np.zeros((codes.shape[1], factors.shape[1])), []
    for k, factor in enumerate(factors.T):
        trees = ExtraTreesClassifier(NUM_TREES, max_features=None, min_samples_leaf=LEAST_LEAF, random_state=seed)
        trees.fit(codes[train], factor[train])
        importance[:, k] = trees.feature_importances_
        accuracies.append(trees.score(codes[test], factor[test]))
    return DCI(concentration(importance), concentration(importance.T), float(np.mean(accuracies)), importance)


def concentration(importance: Float[np.ndarray, "M N"]) -> float:
    """Return Σ_i ρ_i (1 − H(P_i)), P_i = R_i / Σ_j R_ij, H with logarithm to the base N, ρ_i = Σ_j R_ij / Σ_ij R_ij.

    Of an importance matrix R [Z, F] it is the disentanglement, of Rᵀ the completeness. It is 0 if nothing is important.
    """
    totals = importance.sum(axis=1)
    rows = importance[totals > 0] / totals[totals > 0, None]
    entropies = -np.sum(rows * np.log(np.where(rows > 0, rows, 1)), axis=1) / np.log(importance.shape[1])
    return float(np.average(1 - entropies, weights=totals[totals > 0])) if len(rows) else 0.0


class _Groups(NamedTuple):
    """The examples by their value of one factor: those of value v are order[starts[v] : starts[v] + counts[v]].

    `shared` are the examples whose value others have too.
    """

    values: np.ndarray
    shared: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def rows(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return random examples whose value others have too."""
        return rng.choice(self.shared, shape)

    def others(self, rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        """Return for each example a random other one of its value."""
        value = self.values[rows]
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(place))
        step = rng.integers(1, self.counts[value])
        return self.order[self.starts[value] + (place[rows] - self.starts[value] + step) % self.counts[value]]

    def batches(self, rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        """Return for each example 64 of its value [num, 64]."""
        value = self.values[rows][:, None]
        return self.order[self.starts[value] + rng.integers(self.counts[value], size=(len(rows), BATCH))]


def _groups(values: np.ndarray, column: int) -> _Groups:
    counts = np.bincount(values)
    shared = np.flatnonzero(counts[values] > 1)
    if not len(shared):
        raise InputError(f"No two examples share a value of the factor of column {column}: leave it out, or give more examples.")
    return _Groups(values, shared, np.argsort(values, kind="stable"), np.cumsum(counts) - counts, counts)


def _points(
    rng: np.random.Generator, factors: np.ndarray, num: int, features: Callable[[_Groups, int], np.ndarray], size: int
) -> tuple[Float[np.ndarray, "P Z"], Integer[np.ndarray, "P"]]:
    """Return points and their labels: for each a factor, drawn uniformly, and `features` of the examples by its values."""
    labels = rng.integers(factors.shape[1], size=num)
    points = np.empty((num, size))
    for k, values in enumerate(factors.T):
        groups, rows = _groups(values, k), np.flatnonzero(labels == k)
        for start in range(0, len(rows), AT_ONCE):
            block = rows[start : start + AT_ONCE]
            points[block] = features(groups, len(block))
    return points, labels


def _information(x: np.ndarray, y: np.ndarray) -> float:
    """Return Σ p(x, y) log p(x, y) / (p(x) p(y)) by the frequencies of pairs of small whole numbers."""
    joint = np.bincount(x * (y.max() + 1) + y, minlength=(x.max() + 1) * (y.max() + 1)).reshape(-1, y.max() + 1) / len(x)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return max(float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))), 0.0)  # rounding can leave −1e-16


def _train_test(factors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of two thirds of the examples, at most 10,000, and of at most 5,000 of the rest, in a random order."""
    order = np.random.default_rng(seed).permutation(len(factors))
    test, train = np.split(order, [min(NUM_TEST, len(order) // 3)])
    train = train[:NUM_TRAIN]
    constant = np.flatnonzero(np.ptp(factors[train], axis=0) == 0)
    if len(constant):
        raise InputError(
            f"The factor of column {constant[0]} has one value in all {len(train)} examples that classifiers are trained on: "
            "give more examples of its other values."
        )
    return train, test


def _checked(codes: np.ndarray, factors: np.ndarray, latents: int = 1, least_factors: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return codes in float64, and the values of each factor by their ranks 0 … K−1; an InputError for what has no score."""
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise InputError(f"Codes of shape {codes.shape} and factors of shape {factors.shape}: give [N, Z] and [N, F].")
    if factors.dtype.kind not in "iu":
        raise InputError(f"Factors are {factors.dtype}: give whole numbers, one for each value of a factor.")
    for num, least, what in (
        (len(codes), LEAST_EXAMPLES, "examples"),
        (codes.shape[1], latents, "latents"),
        (factors.shape[1], least_factors, "factors"),
    ):
        if num < least:
            raise InputError(f"The number of {what} is {num}: give {least} or more.")
    if not np.isfinite(codes).all():
        bad = int(np.flatnonzero(~np.isfinite(codes).all(axis=1))[0])
        raise InputError(f"Codes hold a NaN or an infinity, first in example {bad}: leave it out, or find its cause.")
    constant = np.flatnonzero((factors == factors[0]).all(axis=0))
    if len(constant):
        raise InputError(
            f"The factor of column {constant[0]} is {factors[0, constant[0]]} in all examples: leave it out, or give others."
        )
    return codes, np.stack([np.unique(factor, return_inverse=True)[1] for factor in factors.T], axis=1)
