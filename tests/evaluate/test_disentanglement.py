"""Scores of disentanglement, of codes whose scores are known by hand or by symmetry."""

import inspect
import itertools

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from gen_jax import evaluate
from gen_jax.evaluate.disentanglement import concentration
from gen_jax.types import InputError

POINTS = {"num_train": 1500, "num_test": 1500}


def grid(*sizes: int, times: int = 1) -> np.ndarray:
    """Return every combination of factors of these sizes, so often."""
    return np.tile(np.array(list(itertools.product(*map(range, sizes)))), (times, 1))


FACTORS = grid(2, 3, 4, times=30)
PERFECT = FACTORS[:, [2, 0, 1]] * np.array([3.0, -0.7, 20.0]) + 5.0
TURNED = grid(4, 4, 4, times=12)  # the first two are mixed by a rotation by 45° (and a stretch), the third is not
MIXED = np.stack([TURNED[:, 0] + TURNED[:, 1], TURNED[:, 0] - TURNED[:, 1], TURNED[:, 2]], axis=1) * 1.0


def scores(codes, factors, seed=0):
    return {
        "beta": evaluate.beta_vae_score(codes, factors, seed, **POINTS),
        "factor": evaluate.factor_vae_score(codes, factors, seed, **POINTS),
        "mig": evaluate.mutual_information_gap(codes, factors),
        "modularity": evaluate.modularity(codes, factors),
        "dci": evaluate.dci(codes, factors, seed)[:3],
    }


def test_factors_in_any_order_and_units_are_perfect_codes():
    found = scores(PERFECT, FACTORS)
    assert found["dci"] == pytest.approx((1, 1, 1), abs=1e-9)
    assert [found[name] for name in ("beta", "factor")] == [1, 1]
    assert [found[name] for name in ("mig", "modularity")] == pytest.approx([1, 1], abs=1e-9)


def test_values_are_names_and_may_be_any_numbers():
    renamed = np.array([-7, 1000, 3])[FACTORS[:, 1]]
    found = scores(PERFECT, np.stack([FACTORS[:, 0], renamed, FACTORS[:, 2] * 10**9], axis=1))
    assert found["mig"] == pytest.approx(1)
    assert found["factor"] == 1


def test_codes_that_have_nothing_to_do_with_the_factors_score_chance(rng):
    sizes = (3, 6, 12)
    factors = np.stack([rng.integers(0, size, 6000) for size in sizes], axis=1)
    codes = rng.normal(size=(6000, 4))
    found = scores(codes, factors)
    for name in ("beta", "factor"):  # the least frequent factor is not named at 1/3 but for the draw of 1,500 points
        assert abs(found[name] - 1 / 3) < 5 * (1 / 3 * 2 / 3 / 1500) ** 0.5
    assert 0 <= found["mig"] < 0.005
    assert found["modularity"] == pytest.approx(1 - (2**2 + 5**2) / 11**2 / 2, abs=0.06)
    assert found["dci"][:2] == pytest.approx((0, 0), abs=0.01)
    assert found["dci"][2] == pytest.approx(np.mean([1 / size for size in sizes]), abs=0.03)
    assert 0 <= evaluate.sap_score(codes, factors) < 0.03


def test_a_rotation_by_45_degrees_of_two_of_three_factors():
    """Neither mixed latent prefers one of the two factors: by symmetry they share everything, and a guess between two is ½.

    MIG: (0 + 0 + 1) / 3. Modularity: of a mixed latent 1 − m² / 2m² = ½, of the third 1. In the β-VAE and FactorVAE scores, the
    third factor is found always and the others half of the time. DCI: both mixed latents matter half to each of two factors,
    so that two rows and two columns of three have 1 − log 2 / log 3.
    """
    found = scores(MIXED, TURNED)
    assert found["mig"] == pytest.approx(1 / 3, abs=1e-9)
    assert found["modularity"] == pytest.approx(2 / 3, abs=1e-9)
    for name in ("beta", "factor"):
        assert abs(found[name] - 2 / 3) < 5 * (2 / 3 * 1 / 4 / 1500) ** 0.5
    assert found["dci"] == pytest.approx((1 - 2 / 3 * np.log(2) / np.log(3),) * 2 + (1,), abs=0.02)
    information = evaluate.mutual_information(MIXED, TURNED)
    of_sum = entropy([1, 2, 3, 4, 3, 2, 1]) - np.log(4)  # H(a + b) − H(b)
    np.testing.assert_allclose(information, [[of_sum, of_sum, 0], [of_sum, of_sum, 0], [0, 0, np.log(4)]], atol=1e-12)


def test_mutual_information_is_scikit_learns(rng):
    factors = np.stack([rng.integers(0, 3, 500), rng.integers(0, 40, 500)], axis=1)
    codes = rng.normal(size=(500, 3)) + factors[:, [0, 1, 1]] * np.array([1.0, 0.1, 0.0])
    expected = np.empty((3, 2))
    for i, latent in enumerate(codes.T):
        bins = np.digitize(latent, np.histogram(latent, 20)[1][:-1])  # as disentanglement_lib has them
        expected[i] = [mutual_info_score(bins, factor) for factor in factors.T]
    np.testing.assert_allclose(evaluate.mutual_information(codes, factors), expected, atol=1e-12)
    np.testing.assert_allclose(evaluate.factor_entropies(factors), [mutual_info_score(f, f) for f in factors.T], atol=1e-12)
    best = np.sort(expected, axis=0)
    gap = np.mean((best[2] - best[1]) / evaluate.factor_entropies(factors))
    assert evaluate.mutual_information_gap(codes, factors) == pytest.approx(gap)


def test_twenty_bins_hold_half_of_forty_values():
    factors = grid(40, 2, times=2)
    bound = np.log(20) / np.log(40)
    assert evaluate.mutual_information_gap(factors * 1.0, factors) == pytest.approx((bound + 1) / 2)


def test_the_entropies_of_an_importance_matrix_by_hand():
    quarter = 0.25 * np.log2(4) + 0.75 * np.log2(4 / 3)
    assert concentration(np.array([[0.75, 0.25], [0.25, 0.75]])) == pytest.approx(1 - quarter)
    split = np.array([[1, 0], [0, 0.5], [0, 0.5]])  # each latent is of one factor; the second factor is of two latents
    assert concentration(split) == pytest.approx(1)
    assert concentration(split.T) == pytest.approx(1 - 0.5 * np.log(2) / np.log(3))
    weighted = np.array([[3, 0], [0.5, 0.5], [0, 0]])  # rows weigh 3/4, 1/4, 0
    assert concentration(weighted) == pytest.approx(3 / 4)
    assert concentration(np.zeros((2, 3))) == 0


def test_importance_is_of_the_latent_that_tells(rng):
    codes = np.concatenate([PERFECT, rng.normal(size=(len(PERFECT), 1))], axis=1)
    found = evaluate.dci(codes, FACTORS)
    np.testing.assert_allclose(found.importance, [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)


def test_sap_is_the_gap_of_test_accuracies():
    """Of factors of two values: 1 − ½ if a latent is the factor, and of a + b and a − b, which name ¾ of a and of b, nothing."""
    factors = grid(2, 2, 2, times=1000)
    assert evaluate.sap_score(factors * 1.0, factors) == pytest.approx(1 / 2, abs=0.03)
    a, b, c = factors.T
    mixed = np.stack([a + b, a - b, c], axis=1) * 1.0
    assert evaluate.sap_score(mixed, factors) == pytest.approx(1 / 6, abs=0.03)
    three = grid(3, 3, times=400)
    assert evaluate.sap_score(three * 1.0, three) == pytest.approx(2 / 3, abs=0.04)


def test_a_line_tells_extreme_values_alone():
    six = grid(6, 2, times=300)
    first = evaluate.sap_score(six * 1.0, six) * 2 - 1 / 2  # the second factor adds 1 − ½
    assert 0.2 < first < 0.5


def test_one_factor_that_is_missing_from_the_codes_is_found_by_the_beta_vae_score_alone(rng):
    """(a, noise): what differs in a is not shared. When b is shared, a varies as it always does, and noise does in both cases.

    The β-VAE score is 1. In the FactorVAE score a names a and noise names b; when b is shared, either of the two has the least
    variance in about half of the batches: 1/2 + 1/4.
    """
    factors = grid(2, 2, times=500)
    codes = np.stack([factors[:, 0], rng.permutation(factors[:, 0])], axis=1) * 1.0
    assert evaluate.beta_vae_score(codes, factors, **POINTS) > 0.995
    assert abs(evaluate.factor_vae_score(codes, factors, **POINTS) - 3 / 4) < 0.06


def test_collapsed_latents_are_pruned():
    """Of perfect codes (a, b), that of b of too little scale, only a is left to name either; with nothing left it is 0."""
    small = FACTORS * 0.01
    left = evaluate.factor_vae_score(FACTORS[:, :2] * np.array([1.0, 0.01]), FACTORS[:, :2], **POINTS)
    assert abs(left - 1 / 2) < 5 * (1 / 2 * 1 / 2 / 1500) ** 0.5
    assert evaluate.factor_vae_score(small, FACTORS, **POINTS) == 0
    assert evaluate.factor_vae_score(FACTORS * 1.0, FACTORS, **POINTS) == 1
    collapsed = np.concatenate([PERFECT, np.full((len(PERFECT), 1), 0.3)], axis=1)
    assert evaluate.mutual_information(collapsed, FACTORS)[3] == pytest.approx(0)
    assert evaluate.modularity(collapsed, FACTORS) == pytest.approx(3 / 4)
    assert evaluate.dci(collapsed, FACTORS)[:3] == pytest.approx((1, 1, 1))


def test_values_of_one_example_are_not_paired_with_themselves():
    """(a, b) with b = 0 but for 200 examples of values of their own: only those of value 0 form pairs that share b."""
    a, b = np.arange(400) % 2, np.maximum(np.arange(400) - 199, 0)
    factors = np.stack([a, b], axis=1)
    codes = np.stack([a, np.where(b > 0, 1, 0)], axis=1) * 1.0
    assert evaluate.factor_vae_score(codes, factors, **POINTS) == 1  # a batch of copies would have no variance in a either
    assert evaluate.beta_vae_score(codes, factors, **POINTS) == 1
    with pytest.raises(InputError, match="No two examples share a value of the factor of column 1"):
        evaluate.beta_vae_score(codes, np.stack([a, np.arange(400)], axis=1), **POINTS)


def test_all_scores_in_one_call(rng):
    factors = grid(2, 2, times=20)
    codes = rng.normal(size=(80, 2)) + factors
    found = evaluate.disentanglement(codes, factors, seed=3)
    assert found["beta_vae"] == evaluate.beta_vae_score(codes, factors, 3)
    assert found["factor_vae"] == evaluate.factor_vae_score(codes, factors, 3)
    assert found["sap"] == evaluate.sap_score(codes, factors, 3)
    assert [found[f"dci_{name}"] for name in ("disentanglement", "completeness")] == list(evaluate.dci(codes, factors, 3)[:2])
    assert found["dci_informativeness"] == evaluate.dci(codes, factors, 3).informativeness
    assert found["mig"] == evaluate.mutual_information_gap(codes, factors.astype(np.uint8))
    assert found["modularity"] == evaluate.modularity(codes, factors)
    assert len(found) == 8


NAN = np.where(np.arange(len(FACTORS))[:, None] == 7, np.nan, PERFECT)
CONSTANT = FACTORS * np.array([1, 0, 1]) + 4
LAST = np.random.default_rng(1).permutation(len(FACTORS))[0]  # an example that is tested, with a seed of 1
RARE = np.where(np.arange(len(FACTORS))[:, None] == LAST, FACTORS + 9, np.minimum(FACTORS, [9, 0, 9]))


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (PERFECT, CONSTANT, "The factor of column 1 is 4 in all examples"),
        (PERFECT[:, :1], FACTORS, "The number of latents is 1: give 2 or more"),
        (PERFECT, FACTORS[:, :1], "The number of factors is 1: give 2 or more"),
        (PERFECT[:63], FACTORS[:63], "The number of examples is 63: give 64 or more"),
        (NAN, FACTORS, "Codes hold a NaN or an infinity, first in example 7"),
        (PERFECT[:-1], FACTORS, r"Codes of shape \(719, 3\) and factors of shape \(720, 3\)"),
        (PERFECT, RARE, "The factor of column 1 has one value in all 480 examples"),
        (PERFECT, FACTORS * 1.0, "Factors are float64: give whole numbers"),
    ],
)
def test_what_has_no_score_is_refused(codes, factors, message):
    with pytest.raises(InputError, match=message):
        inspect.unwrap(evaluate.disentanglement)(codes, factors, seed=1)  # without the checker of types


@pytest.mark.slow
def test_the_sizes_of_sprites_at_the_full_number_of_points(rng):
    """The numbers that the documentation gives: 0.68 for the modularity of noise, and what bins and lines leave of 1."""
    sizes = np.array([3, 6, 40, 32, 32])
    factors = rng.integers(0, sizes, (15_000, 5))
    noise = evaluate.disentanglement(rng.normal(size=(15_000, 6)), factors)
    assert noise["modularity"] == pytest.approx(0.68, abs=0.02)
    for name in ("beta_vae", "factor_vae"):
        assert noise[name] == pytest.approx(0.2, abs=0.03)
    for name in ("mig", "sap", "dci_disentanglement", "dci_completeness"):
        assert 0 <= noise[name] < 0.01
    perfect = evaluate.disentanglement(factors * 1.0, factors)
    for name in ("beta_vae", "factor_vae", "dci_disentanglement", "dci_completeness", "dci_informativeness", "modularity"):
        assert perfect[name] == pytest.approx(1, abs=1e-3)
    assert 0.8 < perfect["mig"] < 0.95
    assert 0.15 < perfect["sap"] < 0.3
