"""Tuning: of a known score the best is found, and a study is the same whoever trains it and however often it is stopped."""

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from gen_jax import runs, tasks, train
from gen_jax.arguments import TrainCommand, choose, read, space, train_command
from gen_jax.cli import main
from gen_jax.recipes import RECIPES, change
from gen_jax.tune import Range, tune
from gen_jax.tune.space import checked, distributions, propose, values_of
from gen_jax.types import InputError
from tests.known_score import RECIPE
from tests.small import settings

OWN = str(Path(__file__).with_name("known_score.py")) + ":RECIPE"


def images(path: Path, test_seed: int) -> str:
    """Twenty training images, ten for validation, and ten test images by a seed."""
    draw = lambda seed, num: np.random.default_rng(seed).integers(0, 256, (num, 2, 2), np.uint8)
    np.savez(path, train=draw(0, 20), valid=draw(1, 10), test=draw(2 + test_seed, 10))
    return f"npz:{path}"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return images(tmp_path_factory.mktemp("data") / "random.npz", 0)


def known(data: str, **changes):
    return change(RECIPE.settings, data=data, **changes)


def score(aim: float, epochs: int) -> float:
    return -((aim - 3) ** 2) - 1 / epochs


def test_every_combination_is_tried_once_and_the_best_is_made_a_run(data, tmp_path):
    """Of two settings, one of which has no effect on the score, and more trials than there are combinations."""
    vary, out = {"aim": (1.0, 3.5), "hidden_sizes": [(2,), (4, 2)]}, tmp_path / "study"
    told = []
    tuned = tune(RECIPE, known(data), vary=vary, out=out, trials=20, on_trial=told.append)
    assert told == tuned.rows
    assert sorted((row["aim"], row["hidden_sizes"]) for row in tuned.rows) == sorted(itertools.product(*vary.values()))
    for row in tuned.rows:
        assert (row["state"], row["epochs"]) == ("complete", 2)
        assert row["valid_score"] == pytest.approx(score(row["aim"], 2), abs=1e-6)
    assert tuned.settings.aim == 3.5
    run = runs.load_run(out / "best", RECIPE)
    assert run.settings == tuned.settings
    assert tuned.result["valid_score"] == pytest.approx(score(3.5, 2), abs=1e-6)
    listed = json.loads((out / "trials.json").read_text())
    assert [row["aim"] for row in listed["trials"]] == [row["aim"] for row in tuned.rows]
    assert tuned.rows[listed["best"]]["aim"] == 3.5
    assert (out / "trials.png").stat().st_size > 1000
    assert tune(RECIPE, known(data), vary=vary, out=out, trials=20) == tuned  # nothing is left to do


class Killed(BaseException):
    """In place of a signal that nothing catches."""


@pytest.mark.slow
def test_a_study_that_was_killed_is_the_one_that_was_not(data, tmp_path):
    """Between the second trial's epochs, and after the third's last one. What was saved is not trained again."""
    vary, trials = {"aim": Range(-5.0, 10.0), "width": Range(1, 2)}, 4
    whole = tune(RECIPE, known(data), vary=vary, out=tmp_path / "whole", trials=trials)
    trained = []

    def until(last):
        def on_epoch(trial, row):
            trained.append((trial, row["epoch"]))
            if (trial, row["epoch"]) == last:
                raise Killed

        return on_epoch

    for last in ((1, 1), (2, 2)):
        with pytest.raises(Killed):
            tune(RECIPE, known(data), vary=vary, out=tmp_path / "parts", trials=trials, on_epoch=until(last))
    parts = tune(RECIPE, known(data), vary=vary, out=tmp_path / "parts", trials=trials, on_epoch=until(None))
    assert parts.rows == whole.rows
    assert parts.settings == whole.settings
    once = list(itertools.product(range(trials), (1, 2)))
    assert sorted(trained) == sorted([*once, (1, 1), (2, 2)])  # where it goes on, the last epoch is told again


@pytest.mark.slow
def test_more_trials_go_on_with_a_study_and_make_another_run_of_the_best(data, tmp_path):
    vary = {"aim": (30.0, 20.0, 3.0)}
    one = tune(RECIPE, known(data), vary=vary, out=tmp_path / "study", trials=1)
    all_ = tune(RECIPE, known(data), vary=vary, out=tmp_path / "study", trials=3)
    assert all_.rows[:1] == one.rows
    assert all_.settings.aim == 3
    assert one.settings.aim != 3
    assert runs.load_run(tmp_path / "study" / "best", RECIPE).settings.aim == 3


@pytest.mark.slow
def test_a_trial_below_the_median_is_pruned_after_a_third_of_its_epochs(data, tmp_path):
    """The curves have one shape, so that the first look decides: by the median of those that ran to their ends, from five on."""
    vary = {"aim": Range(-40.0, 40.0)}
    tuned = tune(RECIPE, known(data, epochs=4), vary=vary, out=tmp_path / "study", trials=9)
    ended: list[float] = []
    for row in tuned.rows:
        pruned = len(ended) >= 5 and score(row["aim"], 2) < np.median(ended)
        assert (row["state"], row["epochs"]) == (("pruned", 2) if pruned else ("complete", 4))
        assert row["valid_score"] == pytest.approx(score(row["aim"], row["epochs"]), rel=1e-5)
        assert (tmp_path / "study" / "trials" / str(row["trial"])).exists() != pruned
        if not pruned:
            ended.append(score(row["aim"], 2))
    assert 5 <= len(ended) < 9


def test_a_trial_that_diverges_is_told_and_is_not_the_end(data, tmp_path):
    tuned = tune(RECIPE, known(data), vary={"aim": (99.0, 4.0)}, out=tmp_path / "study", trials=2)
    states = {row["aim"]: row["state"] for row in tuned.rows}
    assert states == {99.0: "fail", 4.0: "complete"}
    assert "Step 0 has loss nan" in next(row["why"] for row in tuned.rows if row["aim"] == 99)
    with pytest.raises(InputError, match=r"None of the 1 trials of .* ran to its end: the last says: Step 0 has loss nan"):
        tune(RECIPE, known(data), vary={"aim": (99.0,)}, out=tmp_path / "other", trials=2)


@pytest.mark.slow
def test_a_trial_whose_folder_cannot_be_used_is_gone_on_with(data, tmp_path):
    """What is wrong is not of its settings: the study keeps the trial, and what is in the folder."""
    out, vary = tmp_path / "study", {"aim": Range(-5.0, 10.0)}
    tune(RECIPE, known(data), vary=vary, out=out, trials=1)
    (out / "trials" / "1").mkdir()
    mine = out / "trials" / "1" / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(InputError, match="is not a run folder"):
        tune(RECIPE, known(data), vary=vary, out=out, trials=2)
    assert mine.read_text() == "mine"
    mine.unlink()
    tuned = tune(RECIPE, known(data), vary=vary, out=out, trials=2)
    assert [row["state"] for row in tuned.rows] == ["complete"] * 2


def test_a_trial_whose_settings_no_run_can_have_is_told_and_is_not_the_end(data, tmp_path):
    """Its loss is found to be no scalar when it is traced, after the folder was opened; the other trial is made all the same."""

    def build(settings, event_shape):
        experiment = RECIPE.build(settings, event_shape)

        def loss(*args):
            value, (state, metrics) = experiment.loss(*args)
            return value, (state, metrics | ({"many": jnp.zeros(2)} if settings.width == 2 else {}))

        return experiment._replace(loss=loss)

    tuned = tune(RECIPE._replace(build=build), known(data), vary={"width": (1, 2)}, out=tmp_path / "study", trials=2)
    assert {row["width"]: row["state"] for row in tuned.rows} == {1: "complete", 2: "fail"}
    assert "many" in next(row["why"] for row in tuned.rows if row["width"] == 2)


def test_a_trial_without_the_metric_of_the_study_ends_at_its_first_validation(data, tmp_path):
    def build(settings, event_shape):
        experiment = RECIPE.build(settings, event_shape)

        @jax.jit
        def validate(params, key, examples):
            found = experiment.validate(params, key, examples)
            return found | ({"valid_elbo": found["valid_score"]} if settings.width == 1 else {})

        return experiment._replace(validate=validate)

    epochs = []
    tuned = tune(
        RECIPE._replace(build=build),
        known(data),
        vary={"width": (1, 2)},
        out=tmp_path / "study",
        on_epoch=lambda trial, row: epochs.append(trial),
    )
    assert tuned.metric == "valid_elbo"
    (failed,) = [row for row in tuned.rows if row["width"] == 2]
    assert failed["state"] == "fail"
    assert failed["why"] == "Validation reports no valid_elbo with these settings."
    assert epochs.count(failed["trial"]) == 1


def test_a_signal_while_the_best_run_is_evaluated_is_told_as_one(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "train", lambda *args, **options: None)
    assert tune(RECIPE, known(data), vary={"aim": (3.0,)}, out=tmp_path / "study") is None
    flags = ["--data", data, "--vary", "aim=3.0", "--out", str(tmp_path / "other")]
    assert main(["tune", OWN, *flags]) == 130
    assert "Stopped. The state is saved" in capsys.readouterr().err


@pytest.mark.slow
def test_test_data_are_used_once_and_choose_nothing(tmp_path, monkeypatch):
    """Under other test data every trial is the same, and what is evaluated is the best run alone."""
    evaluated = []
    real = tasks.TASKS["evaluate"]
    monkeypatch.setitem(tasks.TASKS, "evaluate", lambda subject: evaluated.append(subject.provenance) or real(subject))
    found = []
    for seed in (0, 1):
        small = settings("made-mnist", data=images(tmp_path / f"{seed}.npz", seed), hidden_sizes=(4,), epochs=1, batch_size=10)
        vary = {"learning_rate": (1e-3, 1e-1)}
        found.append(tune("made-mnist", small, vary=vary, out=tmp_path / f"study-{seed}", trials=2))
        assert len(evaluated) == seed + 1
        assert [path.parent.name for path in (tmp_path / f"study-{seed}").rglob(train.RESULT_FILE)] == ["best"]
    assert found[0].rows == found[1].rows
    assert found[0].result["test_nll"] != found[1].result["test_nll"]


def trial_of(params, space, value=None):
    state = TrialState.RUNNING if value is None else TrialState.COMPLETE
    return create_trial(state=state, value=value, params=params, distributions=distributions(space))


def test_what_is_proposed_depends_on_the_trials_before_and_the_seed_alone():
    vary = {"learning_rate": Range(1e-4, 1e-2, log=True), "latent_dim": Range(2, 9), "hidden_sizes": [(8,), (9, 9)]}
    space = checked(RECIPES["vae"].settings, vary)
    trials = []
    for i in range(12):
        params = propose(space, trials, 0)
        assert params == propose(space, trials, 0)
        assert params != propose(space, trials, 1)
        values = values_of(space, params)
        assert 1e-4 <= values["learning_rate"] <= 1e-2
        assert values["latent_dim"] in range(2, 10)
        assert type(values["latent_dim"]) is int
        assert values["hidden_sizes"] in ((8,), (9, 9))
        trials.append(trial_of(params, space, float(i)))


def test_proposals_come_closer_to_the_best_than_random_ones():
    """The first ten are random, the next ten are not: under four seeds, by the distance from the best in powers of ten."""
    space, distances = checked(RECIPES["vae"].settings, {"learning_rate": Range(1e-5, 1.0, log=True)}), []
    for seed in range(4):
        trials = []
        for _ in range(20):
            params = propose(space, trials, seed)
            trials.append(trial_of(params, space, -abs(np.log10(params["learning_rate"] / 1e-3))))
        distances.append([-trial.value for trial in trials])
    assert np.mean(distances, axis=0)[10:].mean() < 0.75 * np.mean(distances, axis=0)[:10].mean()  # 0.5 of it


def test_no_combination_is_proposed_twice():
    """Those that are being trained count too."""
    space, trials = checked(RECIPES["vae"].settings, {"latent_dim": Range(2, 4), "activation": ("relu", "tanh")}), []
    while (params := propose(space, trials, 0)) is not None:
        trials.append(trial_of(params, space))
    found = sorted((trial.params["latent_dim"], trial.params["activation"]) for trial in trials)
    assert found == sorted(itertools.product((2, 3, 4), ("relu", "tanh")))


@pytest.mark.parametrize(
    ("recipe", "vary", "words"),
    [
        ("vae", {}, "vary is empty: give settings and their values"),
        ("vae", {"latent_dims": (1,)}, "There is no setting 'latent_dims'"),
        ("vae", {"latent_dim": (1, 2, 1)}, "The values of latent_dim are .*: give one or more, and each once"),
        ("vae", {"latent_dim": ()}, "The values of latent_dim are .*: give one or more"),
        ("vae", {"latent_dim": (2, 0)}, "latent_dim is 0: give 1 or more"),
        ("vae", {"latent_dim": Range(2.5, 4)}, "it is a whole number: give whole ends"),
        ("vae", {"latent_dim": Range(0, 4)}, "latent_dim is 0: give 1 or more"),
        ("vae", {"latent_dim": Range(4, 2)}, "give two finite numbers, the lower one first"),
        ("vae", {"learning_rate": Range(0.0, 1.0, log=True)}, "0 and below have no logarithm"),
        ("vae", {"hidden_sizes": Range(1, 2)}, "it is no number: give the values to choose from, as hidden-sizes=VALUE"),
        ("vae", {"gamma": (1.0,)}, "gamma"),
        ("vae", {"binarise": ("fixed", "dynamic")}, "binarise changes what validation measures"),
        ("vae", {"epochs": (1, 2)}, "epochs is the same for all trials"),
        ("vae", {"devices": (1, 2)}, "devices has no effect on what training comes to"),
        ("vae", {"stream": (True, False)}, "stream has no effect"),
        ("vae", {"shard_params": (True, False)}, "shard_params has no effect"),
        ("vae", {"num_importance_samples": (10, 20)}, "num_importance_samples has no effect"),
        ("gan-mnist", {"latent_dim": (2, 3)}, "no metric of validation data by which one run is better"),
    ],
)
def test_what_cannot_be_tuned_is_told(recipe, vary, words, tmp_path):
    """Before anything is written."""
    with pytest.raises(InputError, match=words):
        tune(recipe, settings(recipe, data="mnist-5k"), vary=vary, out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_another_study_in_the_folder_is_told(data, tmp_path):
    out, vary = tmp_path / "study", {"aim": (3.0,)}
    tune(RECIPE, known(data), vary=vary, out=out, trials=1)
    with pytest.raises(InputError, match=r"study of another search space: \{'aim': \['3.0'\]\} \(now \{'aim': \['4.0'\]\}\)"):
        tune(RECIPE, known(data), vary={"aim": (4.0,)}, out=out)
    with pytest.raises(InputError, match=r"study of another settings: \{'epochs': 2\} \(now \{'epochs': 4\}\)"):
        tune(RECIPE, known(data, epochs=4), vary=vary, out=out)
    with pytest.raises(InputError, match=r"study of another recipe: \(a Recipe object\) \(now vae\)"):
        tune("vae", settings("vae", data=data), vary={"latent_dim": (2,)}, out=out)
    with pytest.raises(InputError, match="exists and holds no study"):
        tune(RECIPE, known(data), vary=vary, out=out / "best")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "study.db").write_text("not SQLite" * 1000)
    with pytest.raises(InputError, match="is damaged, or of another version of Optuna"):
        tune(RECIPE, known(data), vary=vary, out=tmp_path / "bad")


def test_without_optuna_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install '.\[tune\]', in gen_jax's source folder"):
        tune(RECIPE, vary={"aim": (3.0,)}, out=tmp_path / "study")


def test_values_and_ranges_are_read():
    found = space(
        ["hidden-sizes=[64],[128,64]", "latent-dim=2,5", "learning-rate=1e-4..1e-2:log", "clip-norm=None,1.5", "beta=0..4"]
    )
    assert found == {
        "hidden_sizes": ([64], [128, 64]),
        "latent_dim": (2, 5),
        "learning_rate": Range(1e-4, 1e-2, True),
        "clip_norm": (None, 1.5),
        "beta": Range(0, 4),
    }
    assert space(["activation=relu,tanh", "shard-params=True,False"]) == {
        "activation": ("relu", "tanh"),
        "shard_params": (True, False),
    }


@pytest.mark.parametrize("word", ["latent-dim", "latent-dim=", "=2"])
def test_what_is_no_value_is_told(word, tmp_path, capsys):
    assert main(["tune", "vae", "--vary", word, "--out", str(tmp_path / "study")]) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "values",
    ["2,,5", "2,", ",2", "[64][128]", "[64],[128", "[64,,32]", "[]2", "2..50:lg", "2..", "..5", "2..5,7", "0.1..0.2:log,3"],
)
def test_words_that_are_no_values_are_not_read_in_part(values):
    with pytest.raises(InputError, match=r"give NAME=VALUE,VALUE,… or NAME=LOW\.\.HIGH"):
        space([f"latent-dim={values}"])


def test_numbers_of_arrays_are_those_of_python():
    """By values and by types, as a study and its table store them."""
    vary = {"latent_dim": np.arange(2, 5), "hidden_sizes": [np.array([8, 4]), [2]], "learning_rate": list(jnp.array([0.5, 0.25]))}
    found = checked(RECIPES["vae"].settings, vary)
    assert found["latent_dim"] == {"2": 2, "3": 3, "4": 4}
    assert found["hidden_sizes"] == {"[8, 4]": (8, 4), "[2]": (2,)}
    assert found["learning_rate"] == {"0.5": 0.5, "0.25": 0.25}
    assert {type(value) for value in found["latent_dim"].values()} == {int}
    ranges = {"latent_dim": Range(np.int64(2), np.int64(5)), "learning_rate": Range(np.float32(0.5), np.float64(1.0))}
    assert repr(checked(RECIPES["vae"].settings, ranges)) == repr({"latent_dim": Range(2, 5), "learning_rate": Range(0.5, 1.0)})


def test_a_real_number_that_is_drawn_again_stays(monkeypatch):
    """No whole number takes its place; here there is none in the range."""
    space = checked(RECIPES["vae"].settings, {"learning_rate": Range(0.25, 0.75)})
    params = propose(space, [], 0)
    monkeypatch.setattr("optuna.trial.Trial.params", property(lambda trial: params))
    assert propose(space, [trial_of(params, space, 1.0)], 0) == params


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("vae", {"hidden_sizes": (64, 32), "objective": "capacity", "gamma": 7.5, "clip_norm": 2.0, "stream": True}),
        ("vae", {"learning_rate": 3e-05}),
        ("made-dna", {"data": "npz:/a folder/x.npz", "hidden_sizes": (8,)}),
        ("progressive-mnist", {"ema_half_life": None}),
    ],
)
def test_the_command_of_settings_makes_them(recipe, changes):
    wanted = settings(recipe, **changes)
    words = shlex.split(train_command(recipe, wanted))
    assert words[:3] == ["gen-jax", "train", recipe]
    chosen, rest = choose(RECIPES[recipe].settings, words[3:])
    assert read(TrainCommand, rest, "", "", TrainCommand(chosen, Path("out"))).settings == wanted


COMMAND = [sys.executable, "-m", "gen_jax", "tune", OWN, "--vary", "aim=-9..9", "width=1..2", "--trials", "4"]


def start(data: str, out: Path, *more: str) -> subprocess.Popen:
    flags = ["--data", data, "--out", str(out), *more]
    return subprocess.Popen([*COMMAND, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


@pytest.mark.slow
def test_two_processes_share_the_trials_and_one_that_is_killed_is_replaced(data, tmp_path):
    """The same command twice; the third of three processes goes on with what the first, which is killed, left."""
    out = tmp_path / "study"
    first = start(data, out, "--epochs", "20")
    while not (out / "trials" / "0" / train.METRICS_FILE).exists():
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    both = [start(data, out, "--epochs", "20") for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in both]
    lines = [line for _, err in ended for line in err.splitlines()]
    told = [line.split(":")[0] for line in lines if line.startswith("trial ") and ": state" in line]
    assert sorted(told) == [f"trial {i}" for i in range(4)]
    rows = json.loads((out / "trials.json").read_text())["trials"]
    for row in rows:
        assert row["valid_score"] == pytest.approx(score(row["aim"], row["epochs"]), rel=1e-5)
    assert (out / "best" / train.RESULT_FILE).exists()
    assert [process.returncode for process in both] == [0, 0]


@pytest.mark.slow
def test_a_study_that_is_stopped_by_ctrl_c_goes_on(data, tmp_path):
    out = tmp_path / "study"
    process = start(data, out, "--epochs", "40")
    while not (out / "trials" / "1" / train.METRICS_FILE).exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "Stopped. The state is saved: the same command goes on" in err
    process = start(data, out, "--epochs", "40")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    rows = json.loads((out / "trials.json").read_text())["trials"]
    assert len(rows) == 4
    best = max((row for row in rows if row["state"] == "complete"), key=lambda row: row["valid_score"])
    assert f"gen-jax train {OWN}" in said
    assert f"--aim {best['aim']}" in said
