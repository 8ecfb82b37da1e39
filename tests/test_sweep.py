"""Sweeps of every family: each run of one is the run alone, can be written as a run, and more settings can be varied at once."""

import dataclasses

import jax
import numpy as np
import pytest

from gen_jax import runs, tasks
from gen_jax.recipes import change
from gen_jax.sweep import sweep, train_many
from gen_jax.train import read_metrics
from gen_jax.types import InputError
from tests.small import settings

FAMILIES = {
    "vae": {"hidden_sizes": (4,), "latent_dim": 2},
    "flow-2d": {},
    "made-mnist": {"data": "mnist-5k", "hidden_sizes": (4,)},
    "autoencoder": {"data": "mnist-5k"},
    "gan-mnist": {"hidden_sizes": (4,), "latent_dim": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FAMILIES)
def test_a_run_of_a_sweep_is_the_run_alone(recipe, tmp_path):
    """Of two learning rates and two seeds, in two parts: its metrics, and the run folder that is written of it."""
    small = settings(recipe, **{"epochs": 2, "epoch_steps": 5, "batch_size": 20, "validate_every": 2, **FAMILIES[recipe]})
    rows = sweep(recipe, small, num_seeds=2, vary={"learning_rate": (1e-3, 3e-3)}, at_once=3, out=tmp_path / "sweep")
    assert [row["learning_rate"] for row in rows] == [1e-3, 3e-3]
    for row in rows:
        found = []
        for seed in (0, 1):
            changed = dataclasses.replace(change(small, learning_rate=row["learning_rate"]), seed=seed)
            alone = tmp_path / f"{row['learning_rate']:g}-{seed}"
            runs.train(recipe, changed, alone)
            found.append(read_metrics(alone / "metrics.jsonl")[-1])
            written = tmp_path / "sweep" / f"learning_rate={row['learning_rate']:g}-seed={seed}"
            of_sweep, of_run = runs.load_run(written), runs.load_run(alone)
            assert of_sweep.settings == of_run.settings == changed
            if recipe != "gan-mnist":  # whose best epoch, as here, is the last
                for a, b in zip(jax.tree.leaves(of_sweep.params), jax.tree.leaves(of_run.params), strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)
            last = read_metrics(written / "metrics.jsonl")[-1]
            for name in last.keys() - {"seconds"}:
                np.testing.assert_allclose(last[name], found[-1][name], rtol=1e-3, atol=1e-4, err_msg=name)
        for name in found[0].keys() - {"seconds", "epoch", "step"}:
            of_seeds = np.array([of_seed[name] for of_seed in found])
            np.testing.assert_allclose(row[name], of_seeds.mean(), rtol=2e-2, atol=2e-2, err_msg=name)
    assert sum(row.get("best", False) for row in rows) == (recipe != "gan-mnist")


@pytest.mark.slow
def test_every_combination_of_settings_is_trained():
    small = settings("vae", epochs=1, epoch_steps=2, batch_size=10, **FAMILIES["vae"])
    trained = train_many("vae", small, num_seeds=1, vary={"beta": (1.0, 2.0), "learning_rate": (1e-3, 1e-2, 1e-1)})
    assert [(s.objective.beta, s.learning_rate) for s in trained.settings] == [
        (beta, rate) for beta in (1.0, 2.0) for rate in (1e-3, 1e-2, 1e-1)
    ]
    assert trained.history["loss"].shape == (6, 1, 1)
    of_run = lambda i: np.concatenate([np.ravel(leaf[i, 0]) for leaf in jax.tree.leaves(trained.variables)])
    assert len({of_run(i).tobytes() for i in range(6)}) == 6
    z = tasks.sample(trained.experiment.model, jax.tree.map(lambda leaf: leaf[3, 0], trained.variables), jax.random.key(0), 2)
    assert np.isfinite(z).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_seeds": 0}, "num_seeds is 0: give 1 or more"),
        ({"num_seeds": 1, "vary": {"beta": ()}}, "values of beta is 0: give 1 or more"),
        ({"num_seeds": 1, "at_once": 0}, "at_once is 0: give 1 or more"),
        ({"num_seeds": 1, "vary": {"gamma": (1.0,)}}, "gamma is no real number among the settings: give one of"),
    ],
)
def test_what_cannot_be_swept_is_told(options, words):
    with pytest.raises(InputError, match=words):
        train_many("vae", settings("vae", epochs=1), **options)
