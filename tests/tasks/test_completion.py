"""Completion as a task: estimates against a linear-Gaussian VAE and against all values of ten bits, and masks from files."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.stats import chisquare, multivariate_normal

from gen_jax import made, tasks
from gen_jax.data import Dataset, DataView, Split
from gen_jax.densities import with_event_shape
from gen_jax.tasks.completion import observed_part, perform
from gen_jax.types import InputError
from tests.contracts.vaes import linear_gaussian_vae

KEY = jax.random.key(0)
VAE, MARGINAL = linear_gaussian_vae()
PARAMS = VAE.init(KEY, MARGINAL.mean) | {"shift": jnp.array([0.1, -0.1]), "widen": jnp.float32(2.0)}
X = Split(np.asarray(jax.vmap(MARGINAL.sample)(jax.random.split(jax.random.key(1), 12))))
OBSERVED = np.array([True, False, True, True, False])
LOC, TRIL = np.asarray(MARGINAL.loc, np.float64), np.asarray(MARGINAL.scale_tril, np.float64)
COVARIANCE = TRIL @ TRIL.T


def of_linear_gaussian():
    """log p(x_observed), log p(x), and E[x | x_observed] of each example."""
    given, both = np.ix_(OBSERVED, OBSERVED), np.ix_(~OBSERVED, OBSERVED)
    log_p_observed = multivariate_normal(LOC[OBSERVED], COVARIANCE[given]).logpdf(X.x[:, OBSERVED])
    mean = X.x.astype(np.float64)
    gain = COVARIANCE[both] @ np.linalg.inv(COVARIANCE[given])
    mean[:, ~OBSERVED] = LOC[~OBSERVED] + (mean[:, OBSERVED] - LOC[OBSERVED]) @ gain.T
    return log_p_observed, multivariate_normal(LOC, COVARIANCE).logpdf(X.x), mean


@pytest.mark.slow
def test_estimates_for_a_vae_are_right_within_their_standard_errors():
    found = tasks.missing_estimate(VAE, PARAMS, KEY, X, OBSERVED, num_importance_samples=500, num_steps=5)
    log_p_observed, log_p, mean = of_linear_gaussian()

    def close(value, wanted, error):
        off = np.asarray(value, np.float64) - wanted
        assert (np.abs(off) < 4 * np.asarray(error) + 1e-4).all()
        assert np.asarray(error).max() < 0.3

    close(found.observed.log_prob, log_p_observed, found.observed.standard_error)
    close(found.whole.log_prob, log_p, found.whole.standard_error)
    close(found.nll, log_p_observed - log_p, found.nll_standard_error)
    close(found.mean.mean, mean, found.mean.standard_error)
    assert (found.observed.effective_sample_size > 50).all()


@pytest.mark.parametrize("method", [None, *(pytest.param(name, marks=pytest.mark.slow) for name in ("gibbs", "resampling"))])
def test_the_task_tells_them_in_a_table_and_a_figure(method, monkeypatch):
    shown = []
    monkeypatch.setattr("gen_jax.plots.image_grid", lambda images, columns, title, names: shown.append((images, columns, names)))
    subject = tasks.Subject(VAE, PARAMS, DataView(), KEY, lambda *_, **__: Dataset(X, X, X, name="linear"), "linear")
    options = {"num": 12, "draws": 3, "num_importance_samples": 300, "num_steps": 20}
    outcome = perform(subject, observed="right", method=method, **options)
    known, table = np.arange(5) >= 2, outcome.table
    wanted = multivariate_normal(LOC[known], COVARIANCE[2:, 2:]).logpdf(X.x[:, known])
    assert outcome.name == "-".join(["completions-right", *([method] if method else []), "0"])
    assert np.all(np.abs(table["log_prob_observed"] - wanted) < 4 * table["log_prob_observed_se"])
    assert np.all(np.abs(table["nll_missing"] - (wanted - of_linear_gaussian()[1])) < 4 * table["nll_missing_se"])
    assert outcome.summary["nll_missing"] == pytest.approx(table["nll_missing"].mean(), rel=1e-5)
    assert outcome.summary["nll_missing_se"] == pytest.approx(table["nll_missing"].std(ddof=1) / np.sqrt(12), rel=1e-4)
    assert outcome.summary["num_observed"] == 3
    assert outcome.array.shape == (3, 12, 5)
    np.testing.assert_array_equal(outcome.array[:, :, known], np.broadcast_to(X.x[:, known], (3, 12, 3)))
    ((images, columns, names),) = shown
    assert (images.shape, columns, names) == ((6 * 12, 5), 12, ["example", "given", "mean", "draws", "", ""])
    np.testing.assert_array_equal(images[:12], X.x)
    np.testing.assert_array_equal(images[12:24, :2], np.full((12, 2), 0.5))
    np.testing.assert_array_equal(images[24:36, known], X.x[:, known])


BITS = np.array(list(itertools.product((0.0, 1.0), repeat=10)), np.float32)
NET = made.made(10, (30,), made.bernoulli_output())
DENSITY = made.ensemble(NET, lambda index: NET.degrees)


@pytest.fixture(scope="module")
def of_bits():
    """Parameters under which bits depend strongly on each other, with the probability of each of the 2^10 values."""
    params = DENSITY.init(KEY)
    keys = iter(jax.random.split(jax.random.key(2), 10))
    params = jax.tree.map(lambda leaf: leaf + 0.4 * jax.random.normal(next(keys), leaf.shape), params.params), params.state
    params = type(DENSITY.init(KEY))(*params)
    log_probs = np.asarray(jax.jit(jax.vmap(lambda x: DENSITY.log_prob(params, x)))(BITS), np.float64)
    assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-5)
    return params, np.exp(log_probs)


FIRST = np.arange(10) < 4
LATER = np.isin(np.arange(10), (1, 4, 8, 9))  # after others in the order


def conditional(probs, x, known):
    """The values of what is missing, as rows of BITS, and their probabilities."""
    rows = np.flatnonzero((BITS[:, known] == x[known]).all(axis=1))
    return rows, probs[rows] / probs[rows].sum()


@pytest.mark.parametrize(("known", "exact"), [(FIRST, True), (LATER, False)])
def test_estimates_for_a_made_are_those_of_all_its_values(of_bits, known, exact):
    params, probs = of_bits
    x = BITS[[37, 500, 777]]
    found = tasks.missing_estimate(DENSITY, params, KEY, Split(x), known, num_importance_samples=2000)
    for i, one in enumerate(x):
        rows, given = conditional(probs, one, known)
        index = np.flatnonzero((one == BITS).all(axis=1))[0]
        errors = float(found.nll_standard_error[i]), np.asarray(found.mean.standard_error[i], np.float64)
        assert found.whole.log_prob[i] == pytest.approx(np.log(probs[index]), abs=1e-4)
        assert abs(found.observed.log_prob[i] - np.log(probs[rows].sum())) < 3 * found.observed.standard_error[i] + 1e-4
        assert abs(found.nll[i] + np.log(probs[index] / probs[rows].sum())) < 3 * errors[0] + 1e-4
        assert (errors[0] < 1e-4) == exact
        assert np.all(np.abs(found.mean.mean[i] - given @ BITS[rows]) < 4 * errors[1] + 1e-6)
        assert errors[1].max() < 0.1


def p_value(drawn, probs, x, known):
    """Of a chi-squared test of completions against the conditional, with rare values taken together."""
    rows, given = conditional(probs, x, known)
    index = np.asarray(drawn, int) @ 2 ** np.arange(10)[::-1]
    assert np.isin(index, rows).all()
    counts, expected = np.bincount(index, minlength=1024)[rows], given * len(index)
    rare = expected < 5
    if rare.any():
        counts, expected = (np.append(values[~rare], values[rare].sum()) for values in (counts, expected))
    return chisquare(counts, expected).pvalue


def test_completions_in_order_have_the_frequencies_of_all_its_values(of_bits):
    params, probs = of_bits
    found = tasks.complete(DENSITY, params, KEY, Split(BITS[[37]]), FIRST, num=4000)
    assert bool(found.exact.all())
    assert p_value(found.x[:, 0], probs, BITS[37], FIRST) > 1e-3


def test_examples_are_completed_by_draws_of_their_own(of_bits):
    """4,000 times the same example, completed once each, as one example 4,000 times."""
    params, probs = of_bits
    found = tasks.complete(DENSITY, params, KEY, Split(np.repeat(BITS[[37]], 4000, axis=0)), FIRST, num=1)
    assert p_value(found.x[0], probs, BITS[37], FIRST) > 1e-3


@pytest.mark.slow
def test_by_resampling_any_order_is_right(of_bits):
    """As many examples as draws, since each has its own weighted completions."""
    params, probs = of_bits
    density, known = with_event_shape(DENSITY, (5, 2)), LATER.reshape(5, 2)
    many = Split(np.broadcast_to(BITS[37].reshape(5, 2), (1500, 5, 2)).copy())
    plain = tasks.complete(density, params, KEY, many, known, num=1)
    assert not plain.exact.any()
    assert p_value(plain.x[0].reshape(-1, 10), probs, BITS[37], LATER) < 1e-6
    found = tasks.complete(density, params, KEY, many, known, num=1, method="resampling", num_importance_samples=150)
    assert p_value(found.x[0].reshape(-1, 10), probs, BITS[37], LATER) > 1e-3
    assert (found.effective_sample_size > 20).all()


SHAPE = (4, 3, 1)
MASK = np.arange(12).reshape(4, 3) % 5 < 2


def save_picture(path, values, mode="L"):
    Image.fromarray(np.asarray(values, np.uint8)).convert(mode).save(path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("mask.npy", lambda path: np.save(path, MASK)),
        ("whole.npy", lambda path: np.save(path, MASK[..., None])),
        ("numbers.npy", lambda path: np.save(path, MASK.astype(np.float64))),
        ("mask.npz", lambda path: np.savez_compressed(path, anything=MASK.astype(np.uint8))),
        ("grey.png", lambda path: save_picture(path, 255 * MASK)),
        ("bits.png", lambda path: save_picture(path, 255 * MASK, "1")),
        ("colour.png", lambda path: save_picture(path, 255 * MASK, "RGB")),
    ],
)
def test_a_mask_comes_from_a_file(tmp_path, name, save):
    save(tmp_path / name)
    found = observed_part(str(tmp_path / name), SHAPE, KEY)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, MASK[..., None])


def test_a_mask_of_rows_and_columns_is_that_of_every_channel(tmp_path):
    np.save(tmp_path / "mask.npy", MASK)
    found = observed_part(str(tmp_path / "mask.npy"), (4, 3, 3), KEY)
    np.testing.assert_array_equal(found, np.stack([MASK] * 3, axis=-1))


def pickled(path):
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("none.npy", lambda path: None, "There is no file .*none.npy: give the path of a mask, one of .npy, .npz, .png"),
        ("half.npy", lambda path: np.save(path, MASK / 2), r"holds other values than a mask has \(float64\): give booleans, or"),
        ("words.npy", lambda path: np.save(path, MASK.astype(str)), r"holds other values .*: give booleans"),
        ("grey.png", lambda path: save_picture(path, 100 * MASK), "holds other values .*: give black and white alone"),
        ("other.npy", lambda path: np.save(path, MASK.T), r"of shape \(3, 4\), which .*: give \(4, 3, 1\), or \(4, 3\) for all"),
        ("two.npz", lambda path: np.savez(path, a=MASK, b=MASK), r"not a whole .npy or .npz file of one plain array \(.*a, b\)"),
        ("damaged.npz", lambda path: path.write_bytes(b"PK\3\4"), "not a whole .npy or .npz file of one plain array"),
        ("pickle.npy", pickled, "not a whole .npy or .npz file of one plain array"),
        ("damaged.png", lambda path: path.write_bytes(b"no picture"), "cannot be read as an image"),
        ("all.npy", lambda path: np.save(path, MASK | True), "observed is True everywhere, so that nothing is missing"),
        ("nothing.png", lambda path: save_picture(path, 0 * MASK), "observed is False everywhere, so that nothing is known"),
    ],
)
def test_a_file_that_is_no_mask_is_told_in_a_sentence(tmp_path, name, save, message):
    save(tmp_path / name)
    bits = made.made(12, (12,), made.bernoulli_output())
    density = with_event_shape(made.ensemble(bits, lambda index: bits.degrees), SHAPE)
    images = Split(np.zeros((2, *SHAPE), np.float32))
    data = Dataset(images, images, images, name="blank")
    subject = tasks.Subject(density, density.init(KEY), DataView(), KEY, lambda *_, **__: data, "blank")
    with pytest.raises(InputError, match=message) as told:
        perform(subject, num=2, draws=1, observed=str(tmp_path / name))
    assert str(told.value).count(". ") == 0


def test_a_random_part_is_half_and_another_for_another_key():
    one, other = (observed_part("random", (100, 100), jax.random.key(i)) for i in range(2))
    assert one.mean() == pytest.approx(0.5, abs=0.02)
    assert (one != other).mean() == pytest.approx(0.5, abs=0.03)
