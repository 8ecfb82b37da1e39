"""Scores of novelty, on a model whose likelihoods are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import flows, tasks
from gen_jax.data import Dataset, DataView, Split
from gen_jax.distributions import Normal
from gen_jax.tasks.novelty import _row, compressed_nats, novelty_scores, perform
from gen_jax.types import InputError
from tests.tasks.test_tasks import AUTOENCODER, KEY, LINEAR, MARGINAL, PARAMS, POINTS

RNG = np.random.default_rng(0)
DIM = 50


def dataset(name, draw):
    return Dataset(*(Split(draw().astype(np.float32)) for _ in range(3)), name=name)


def subject_of(model, params, own, others, **more):
    sets = {None: own} | {other.name: other for other in others}
    return tasks.Subject(model, params, DataView(), KEY, lambda data=None, *_, **__: sets[data], own.name, **more)


def test_too_likely_examples_are_found_by_their_typicality_alone():
    """Of N(0, I) in 50 dimensions, points near the origin are likelier than any draw: the known trap."""
    density = flows.flow_density(Normal(np.zeros(DIM, np.float32), np.ones(DIM, np.float32)), flows.elementwise_affine(DIM))
    own = dataset("own", lambda: RNG.normal(size=(300, DIM)))
    small, far = (dataset(name, lambda s=s: s * RNG.normal(size=(200, DIM))) for name, s in (("small", 0.5), ("far", 1.5)))
    subject = subject_of(density, density.init(KEY), own, [small, far])
    trap, plain = perform(subject, other="small"), perform(subject, other="far")
    assert trap.summary["-log_prob"]["auroc"] < 0.01
    assert trap.summary["typicality of log_prob"]["auroc"] > 0.99
    assert plain.summary["-log_prob"]["auroc"] > 0.99
    assert plain.summary["-log_prob"]["fpr95"] < 0.05
    assert (trap.name, trap.text) == ("novelty-small-7545ea13", "own against small")
    assert len(trap.table["-log_prob"]) == 500
    assert perform(subject, other="far").summary == plain.summary
    exact = -np.sum(own.test.x.astype(np.float64) ** 2, 1) / 2 - DIM / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(np.sort(-plain.table["-log_prob"][:300]), np.sort(exact), rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "params", "scores"),
    [
        (LINEAR, PARAMS, ["-log_prob", "-elbo", "rate", "distortion", "typicality of log_prob", "typicality of elbo"]),
        (AUTOENCODER, None, ["squared_error", "contraction"]),
        (POINTS, None, ["-logit", "typicality of logit"]),
    ],
    ids=["VAE", "autoencoder", "GAN"],
)
def test_each_family_has_its_scores(model, params, scores):
    draw = lambda: np.asarray(jax.vmap(MARGINAL.sample)(jax.random.split(jax.random.key(RNG.integers(99)), 60)))
    own, other = dataset("own", draw), dataset("other", lambda: 5 * draw() + 3)
    params = model.init(KEY, jnp.asarray(own.train.x[0])) if params is None else params
    found = perform(
        subject_of(model, params, own, [other]), other="other", num=50, num_importance_samples=20 if model is LINEAR else None
    )
    distance = "distance in the model's representation"
    assert [name for name, row in found.summary.items() if isinstance(row, dict)] == [*scores, distance]
    for name in (*scores, distance):
        row = found.summary[name]
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
    assert found.summary[distance]["auroc"] > 0.9 or model is AUTOENCODER
    assert found.summary[scores[0]]["auroc"] > 0.9 or model is POINTS


def test_likelihoods_are_held_against_a_background_and_a_compressor():
    """Two normals, whose ratio is known; a compressor gives flat images less than noise."""
    density = flows.flow_density(Normal(jnp.zeros(5), jnp.ones(5)), flows.elementwise_affine(5))
    own, other = (dataset(name, lambda s=s: s * RNG.normal(size=(40, 5))) for name, s in (("own", 1.0), ("other", 3.0)))
    params = density.init(KEY)
    wide = jax.tree.map(lambda leaf: leaf + 0.5, params)
    subject = subject_of(density, params, own, [other])
    found = perform(subject._replace(other_run=lambda folder: subject._replace(params=wide)), other="other", background="run")
    ratio = lambda x: density.log_prob(wide, x) - density.log_prob(params, x)
    for known, data in ((True, own), (False, other)):
        rows = found.table["ratio to the background"][(found.table["data"] == "known") == known]
        np.testing.assert_allclose(np.sort(rows), np.sort(jax.vmap(ratio)(data.test.x)), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="there is no run folder here"):
        perform(subject, other="other", background="run")
    images = Split(np.concatenate([np.zeros((1, 28, 28, 1)), RNG.integers(0, 256, (1, 28, 28, 1))]).astype(np.uint8))
    flat, noise = compressed_nats(images)
    assert flat < 30 * np.log(256)
    assert noise > 784 * np.log(256)


def test_a_score_that_is_no_number_is_left_out_and_counted():
    """One point at −∞ among training data does not make the typicality of others NaN."""
    table = {"log_prob": np.array([-1.0, -2.0])}
    scores = novelty_scores(table, {"log_prob": np.array([-1.0, -np.inf, -3.0])})
    np.testing.assert_array_equal(scores["typicality of log_prob"], [1.0, 0.0])
    row = _row(np.array([0.0, np.nan, 1.0]), np.array([2.0, 3.0]), 0)
    assert (row["left_out"], row["auroc"]) == (1, 1.0)
