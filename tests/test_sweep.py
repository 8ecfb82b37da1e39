"""Sweeps of every family: each run of one is the run alone, can be written as a run, and more settings can be varied at once."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from gen_jax import cli, runs, tasks
from gen_jax.recipes import change
from gen_jax.sweep import measure, sweep, train_many, training
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
    small = settings(recipe, **{"epochs": 2, "epoch_steps": 5, "batch_size": 20, **FAMILIES[recipe]})
    name, values = ("beta", (0.5, 4.0)) if recipe == "vae" else ("learning_rate", (1e-3, 3e-3))
    rows = sweep(recipe, small, num_seeds=2, vary={name: values}, at_once=3, out=tmp_path / "sweep")
    assert [row[name] for row in rows] == list(values)
    for row in rows:
        found = []
        for seed in (0, 1):
            changed = dataclasses.replace(change(small, **{name: row[name]}), seed=seed)
            alone = tmp_path / f"{row[name]:g}-{seed}"
            runs.fit(recipe, changed, alone)
            found.append(read_metrics(alone / "metrics.jsonl")[-1])
            written = tmp_path / "sweep" / f"{name}={row[name]!r}-seed={seed}"
            of_sweep, of_run = runs.load_run(written), runs.load_run(alone)
            assert of_sweep.settings == of_run.settings == changed
            for a, b in zip(jax.tree.leaves(of_sweep.params), jax.tree.leaves(of_run.params), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4)  # here 1e-7 for most
            last = read_metrics(written / "metrics.jsonl")[-1]
            assert last["seconds"] > 0
            for metric in last.keys() - {"seconds"}:
                np.testing.assert_allclose(last[metric], found[-1][metric], rtol=1e-3, atol=1e-4, err_msg=metric)
        for metric in found[0].keys() - {"seconds", "epoch", "step"}:
            of_seeds = np.array([of_seed[metric] for of_seed in found])
            np.testing.assert_allclose(row[metric], of_seeds.mean(), rtol=1e-3, atol=1e-3, err_msg=metric)
    best = [row.get("best", False) for row in rows]
    if recipe == "gan-mnist":
        assert not any(best)
    else:
        metric = next(metric for metric in ("valid_elbo", "valid_log_prob", "valid_score") if metric in rows[0])
        assert best == [row[metric] == max(other[metric] for other in rows) for row in rows]


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
        ({"num_seeds": 1, "vary": {"beta": (1.0, 1.0)}}, "give each once"),
        ({"num_seeds": 1, "vary": {"weight_decay": (0.0, 0.1)}}, "weight_decay is 0 among its values"),
        ({"num_seeds": 1, "vary": {"gamma": (1.0,)}}, "gamma is no real number among the settings: give one of"),
        (
            {"num_seeds": 1, "vary": {"latent_dim": (2.0,)}},
            "latent_dim is no real number .*: give one of .*`gen-jax tune` varies",
        ),
        ({"num_seeds": 1, "vary": {"kl_warmup_steps": (5.0,)}}, "kl_warmup_steps is no real number among the settings"),
    ],
)
def test_what_cannot_be_swept_is_told(options, words):
    """Before anything is trained."""
    with pytest.raises(InputError, match=words):
        train_many("vae", settings("vae", epochs=1), **options)


def test_what_a_sweep_does_not_have_is_told():
    with pytest.raises(InputError, match="stream is True, which a sweep does not have"):
        train_many("vae", settings("vae", epochs=1, stream=True), num_seeds=1)
    for name in ("validate_every", "num_importance_samples"):
        with pytest.raises(InputError, match=f"{name} is 7, which a sweep does not have"):
            sweep("vae", settings("vae", epochs=1, **{name: 7}), num_seeds=1)


@pytest.mark.slow
def test_runs_are_written_before_they_are_measured_and_the_rows_after(tmp_path, monkeypatch):
    """Of values of an array, whose runs are called by numbers of Python; and a part of the runs at a time changes nothing."""
    small = settings("gan-ring", epochs=1, epoch_steps=2, hidden_sizes=(4,), batch_size=20)
    options = {"num_seeds": 2, "vary": {"penalty_weight": np.linspace(0.5, 1.0, 2)}}
    written = {f"penalty_weight={value}-seed={seed}" for value in (0.5, 1.0) for seed in (0, 1)}
    out, there, real = tmp_path / "sweep", [], measure._measured
    monkeypatch.setattr(measure, "_measured", lambda *args: there.append({path.name for path in out.iterdir()}) or real(*args))
    rows = sweep("gan-ring", small, **options, at_once=2, out=out)
    assert there == [written]
    assert {path.name for path in out.iterdir()} == written | {"sweep.json"}
    assert json.loads((out / "sweep.json").read_text()) == rows
    monkeypatch.undo()
    found = lambda row: {name: value for name, value in row.items() if value is not None}
    for row, whole in zip(rows, sweep("gan-ring", small, **options), strict=True):
        assert found(row) == pytest.approx(found(whole), rel=1e-2, abs=1e-3)


@pytest.mark.slow
def test_a_model_that_is_drawn_by_the_seed_is_not_trained_under_many():
    """Masks of a MADE in random orders are part of the model: those of another seed are another model."""
    small = settings("made-mnist", data="mnist-5k", hidden_sizes=(4,), shuffle="orderings", epochs=1, epoch_steps=2)
    with pytest.raises(InputError, match="draws a part of its model, such as masks or a prior, by the seed"):
        train_many("made-mnist", small, num_seeds=2)
    assert train_many("made-mnist", small, num_seeds=1).history["loss"].shape == (1, 1, 1)


@pytest.mark.slow
def test_a_run_that_diverges_is_counted_and_is_in_no_mean():
    small = settings("vae", epochs=1, epoch_steps=3, batch_size=10, **FAMILIES["vae"])
    fine, diverged = sweep("vae", small, num_seeds=2, vary={"learning_rate": (1e-3, 1e30)})
    assert (fine["num_diverged"], diverged["num_diverged"]) == (0, 2)
    assert diverged["train_loss"] is None
    assert fine["best"]
    assert "best" not in diverged


@pytest.mark.slow
def test_runs_that_do_not_fit_are_trained_in_smaller_parts(monkeypatch):
    """Of five runs no more than two fit: three parts after two attempts. A single one that does not fit is an error."""
    small = settings("vae", epochs=2, epoch_steps=2, batch_size=10, **FAMILIES["vae"])
    sizes, epochs, host = [], [], training._host

    def of_two(states):
        sizes.append(len(states.step))
        if sizes[-1] > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.")
        return host(states)

    whole = train_many("vae", small, num_seeds=5)
    monkeypatch.setattr(training, "_host", of_two)
    with pytest.warns(UserWarning, match="Out of memory: [23] runs at once are tried. Another time give at_once=[23]"):
        parts = train_many("vae", small, num_seeds=5, on_epoch=lambda done, total: epochs.append((done, total)))
    assert sizes == [5, 3, 2, 2, 1]
    assert epochs[-2:] == [(9, 10), (10, 10)]
    for a, b in zip(jax.tree.leaves(whole.variables), jax.tree.leaves(parts.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(training, "_host", lambda states: of_two(states._replace(step=np.zeros(3))))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"), pytest.warns(UserWarning, match="1 runs at once"):
        train_many("vae", small, num_seeds=2)


def test_the_printed_table_has_a_column_for_each_value_and_means_with_their_errors(monkeypatch, capsys):
    """Of two values that differ in the tenth digit, at a width of one column, where the first row lacks a metric."""
    rows = [
        {"beta": 1.0, "num_seeds": 2, "test_elbo": -3.0, "test_elbo_se": 0.25, "active_units": None, "active_units_se": None},
        {"beta": 1.0000000001, "num_seeds": 2, "test_elbo": -2.5, "test_elbo_se": None, "best": True},
    ]
    monkeypatch.setattr("gen_jax.sweep.sweep", lambda *args, **options: rows)
    for width in (60, 200):
        monkeypatch.setattr(cli.out, "_width", width)
        assert cli.main(["sweep", "vae", "--num-seeds", "2", "--vary", "beta=1,2"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()]
        assert lines.count(["beta", "1.0"]) == (width == 60)
        assert ["test_elbo", *["-3.0000", "±", "0.2500"], *(["-2.5000"] if width == 200 else [])] in lines
        assert ["best", "yes"] in lines


VARIED = [
    ("autoencoder", "contraction", (0.1, 0.7), {"data": "mnist-5k"}),
    ("autoencoder-denoising", "amount", (0.1, 0.7), {"data": "mnist-5k"}),
    ("vae", "scale", (0.3, 0.9), {"likelihood": "gaussian", "binarise": "none"}),
    ("vae", "gamma", (3.0, 9.0), {"objective": "capacity", "capacity_steps": 4}),
    ("vae", "clip_norm", (1e-8, 1.0), {}),
    ("gan-ring", "clip_weights", (0.01, 0.1), {"loss": "wasserstein", "penalty": "none"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "name", "values", "changes"), VARIED)
def test_a_setting_varied_is_the_setting_given(recipe, name, values, changes):
    """Parameters and metrics of a run of the second value are those of a sweep of one run that has it as a number of Python."""
    small = settings(
        recipe, **({"epochs": 1, "epoch_steps": 4, "batch_size": 10, "hidden_sizes": (4,), "latent_dim": 2} | changes)
    )
    trained = train_many(recipe, small, num_seeds=1, vary={name: values})
    of_run = lambda many, i: np.concatenate([np.ravel(leaf[i, 0]) for leaf in jax.tree.leaves((many.variables, many.history))])
    alone = train_many(recipe, change(small, **{name: values[1]}), num_seeds=1)
    np.testing.assert_allclose(of_run(trained, 1), of_run(alone, 0), rtol=1e-3, atol=1e-4)
    assert np.abs(of_run(trained, 0) - of_run(trained, 1)).max() > 1e-3


def test_a_number_that_enters_no_step_is_told():
    """The first scale of a learned one is a parameter's start, of a model that all runs share."""
    small = settings("vae", epochs=1, likelihood="gaussian-learned", binarise="none", **FAMILIES["vae"])
    with pytest.raises(InputError, match="scale does not enter a step of this recipe: give a setting of its objective"):
        train_many("vae", small, num_seeds=1, vary={"scale": (0.1, 0.2)})


@pytest.mark.slow
def test_the_decay_of_an_average_can_be_swept():
    """Of settings without one, too."""
    small = settings("vae", epochs=1, epoch_steps=3, batch_size=10, **FAMILIES["vae"])
    trained = train_many("vae", small, num_seeds=1, vary={"ema_decay": (0.1, 0.9)})
    low, high = (np.concatenate([np.ravel(leaf[i, 0]) for leaf in jax.tree.leaves(trained.states.ema)]) for i in (0, 1))
    params = np.concatenate([np.ravel(leaf[0, 0]) for leaf in jax.tree.leaves(trained.states.params)])
    assert np.abs(low - params).max() < np.abs(high - params).max()
