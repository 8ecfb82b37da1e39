"""Scores of novelty, on a model whose likelihoods are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import flows, tasks
from gen_jax.data import Dataset, DataView, Split
from gen_jax.distributions import Normal
from gen_jax.tasks.novelty import perform
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
