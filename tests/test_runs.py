"""Recipes from Python and from the command line, on a data set of a few images."""

import csv
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filelock import FileLock

from gen_jax import recipes, runs, tasks, train
from gen_jax.__main__ import STOPPED
from gen_jax.cli import _sentence, main
from gen_jax.data import load_dataset
from gen_jax.densities import density_loss, with_event_shape
from gen_jax.distributions import Normal
from gen_jax.flows import elementwise_affine, flow_density
from gen_jax.recipes.vae import VaeSettings
from gen_jax.types import InputError
from tests import small
from tests.small import done, drawn_from

RNG = np.random.default_rng(0)
SMALL = {"hidden_sizes": (8,), "batch_size": 8, "num_importance_samples": 7, "epochs": 3}
FLAGS = ["--hidden-sizes", "8", "--batch-size", "8", "--num-importance-samples", "7", "--epochs", "3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """Forty 4×4 images: the left or the right half bright, as their label says."""
    labels = np.arange(40) % 2
    images = RNG.integers(0, 60, (40, 4, 4), np.uint8)
    images[labels == 0, :, :2] += 180
    images[labels == 1, :, 2:] += 180
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    np.savez(path, images=images, labels=labels)
    return f"npz:{path}"


def settings(data: str, **changes) -> VaeSettings:
    return small.settings("vae", data=data, latent_dim=2, **(SMALL | changes))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "vae"
    runs.train("vae", settings(data), directory)
    return directory


def error_of(capsys, *argv) -> str:
    """Run a command that must fail by bad input, and return the one sentence it says."""
    assert main([str(a) for a in argv]) == 2
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    assert captured.lstrip().startswith("Error: ")
    assert not set(captured) & set("╭│─╰")
    return " ".join(captured.split())


def test_a_run_holds_what_it_should(run):
    result = json.loads((run / "result.json").read_text())
    wanted = {"test_elbo", "test_nll", "test_nll_se", "num_importance_samples", "train_seconds", "jax_version", "device"}
    assert wanted <= set(result)
    assert result["num_importance_samples"] == 7
    assert result["jax_version"] == jax.__version__
    assert result["test_nll"] <= -result["test_elbo"] + 4 * (result["test_nll_se"] + result["test_elbo_se"])
    assert len(train.read_metrics(run / "metrics.jsonl")) == 3
    figures = {path.name for path in (run / "figures").iterdir()}
    assert figures == {"reconstructions.png", "samples.png", "curves.png", "latents.png", "manifold.png"}


@pytest.mark.slow
def test_training_learns(data, tmp_path):
    """More epochs give a better test ELBO than the first, by more than its error."""
    result = runs.train("vae", settings(data, epochs=60, validate_every=20, learning_rate=1e-2), tmp_path / "run")
    first = train.read_metrics(tmp_path / "run" / "metrics.jsonl")[0]
    assert result["test_elbo"] > first["train_elbo"] + 1.0


def test_a_finished_run_is_returned_as_it_is(run, data):
    before = (run / "result.json").stat().st_mtime_ns
    assert runs.train("vae", settings(data), run) == json.loads((run / "result.json").read_text())
    assert (run / "result.json").stat().st_mtime_ns == before


MORE = {"epochs": 5, "num_importance_samples": 9}


class KilledError(BaseException):
    """Ends a call at an instant, as `kill -9` would: nothing after it is written."""


def same_but_for_seconds(directory: Path) -> tuple:
    """What a run ends with: its result, rows, checkpoints and parameters."""
    result = json.loads((directory / "result.json").read_text()) | {"train_seconds": 0}
    rows = [row | {"seconds": 0} for row in train.read_metrics(directory / "metrics.jsonl")]
    params = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(runs.load_run(directory).params)]
    return result, rows, train.saved_epochs(directory / "checkpoints"), params


@pytest.fixture(scope="module")
def longer(run, data, tmp_path_factory) -> tuple:
    """What the run ends with that goes on with more epochs, undisturbed."""
    directory = tmp_path_factory.mktemp("longer") / "run"
    shutil.copytree(run, directory)
    result = runs.train("vae", settings(data, **MORE), directory)
    assert result["settings"]["epochs"] == 5
    assert len(train.read_metrics(directory / "metrics.jsonl")) == 5
    return same_but_for_seconds(directory)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("config.json", "checkpoint", "result.json")]


@pytest.mark.parametrize("instant", ["config is written", "result is gone", *SLOW])
@pytest.mark.slow
def test_a_finished_run_that_is_killed_as_it_goes_on_ends_the_same(run, longer, data, tmp_path, monkeypatch, instant):
    """At whichever write, and also where the config has the new epochs and the result is still that of the old ones."""
    directory = tmp_path / "run"
    shutil.copytree(run, directory)
    if instant == "config is written":
        config = train.read_config(directory)
        train.write_json(directory / "config.json", config | {"settings": config["settings"] | MORE})
    else:
        real_replace = os.replace

        def replace(old, new):
            if Path(new).name == instant:
                raise KilledError
            real_replace(old, new)

        def stop(*arguments):
            raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replace)
            if instant == "result is gone":
                patched.setattr(train, "store_config", stop)
            if instant == "checkpoint":
                patched.setattr(train.loop, "save_checkpoint", stop)
            with pytest.raises(KilledError):
                runs.train("vae", settings(data, **MORE), directory)
    (row,) = train.list_runs(directory)
    assert (row["finished"], row["test"]) == (False, {})
    runs.train("vae", settings(data, **MORE), directory)
    assert same_but_for_seconds(directory) == longer


@pytest.mark.slow
def test_the_versions_that_trained_a_run_stay_until_others_train_on(run, data, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(run, directory)
    config = json.loads((directory / "config.json").read_text())
    config["versions"] = {"gen_jax": "0.0.1", "jax": "0.0.2"}
    train.write_json(directory / "config.json", config)
    before = (directory / "config.json").read_bytes()
    runs.train("vae", settings(data), directory)
    assert (directory / "config.json").read_bytes() == before
    assert runs.train("vae", settings(data, num_importance_samples=9), directory)["num_importance_samples"] == 9
    found = train.read_config(directory)
    assert (found["versions"], found["settings"]["num_importance_samples"]) == (config["versions"], 9)
    runs.train("vae", settings(data, epochs=4, num_importance_samples=9), directory)
    assert train.read_config(directory)["versions"]["jax"] == jax.__version__


def test_runs_are_listed_beside_folders_of_something_else(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"recipe": "vae", "settings": [1]}')
    assert main(["runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "3 of 3" in shown
    assert "yes" in shown
    assert "other" not in shown


CHANGES = ({"stream": True}, {"ema_decay": 0.9, "clip_norm": 1.0}, {"binarise": "fixed"})


@pytest.mark.parametrize("change", [{}, *(pytest.param(change, marks=pytest.mark.slow) for change in CHANGES)])
@pytest.mark.slow
def test_a_run_that_stops_goes_on_and_ends_the_same(data, tmp_path, change):
    class StoppedError(Exception):
        pass

    def stop(row):
        if row["epoch"] == 2:
            raise StoppedError

    whole = runs.train("vae", settings(data, **change), tmp_path / "whole")
    with pytest.raises(StoppedError):
        runs.train("vae", settings(data, **change), tmp_path / "stopped", on_epoch=stop)
    resumed = runs.train("vae", settings(data, **change), tmp_path / "stopped")
    assert resumed.pop("train_seconds") > 0
    whole.pop("train_seconds")
    assert resumed == whole
    a, b = (runs.load_run(tmp_path / name).params for name in ("whole", "stopped"))
    assert jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y), a, b))


@pytest.mark.slow
def test_two_seeds_differ_and_one_repeats(data, tmp_path):
    results = [runs.train("vae", settings(data, seed=s), tmp_path / name) for s, name in ((0, "a"), (0, "b"), (1, "c"))]
    assert results[0]["test_elbo"] == results[1]["test_elbo"] != results[2]["test_elbo"]


def test_a_run_is_rebuilt_from_its_config_alone(run):
    loaded = runs.load_run(run)
    assert isinstance(loaded.settings, VaeSettings)
    result = json.loads((run / "result.json").read_text())
    evaluation = done(loaded, "evaluate")
    assert evaluation.summary["test_nll"] == result["test_nll"]
    assert evaluation.summary["test_elbo"] == result["test_elbo"]


def test_the_table_has_a_line_an_example(run, data, capsys):
    assert main(["evaluate", str(run), "--split", "valid", "--num-importance-samples", "20"]) == 0
    capsys.readouterr()
    with (run / "evaluation-valid.csv").open() as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((run / "evaluation-valid.json").read_text())
    assert len(rows) == summary["num_examples"] == 4
    assert set(rows[0]) == {
        "index", "label", "elbo", "rate", "distortion", "log_prob", "standard_error", "effective_sample_size",
    }  # fmt: skip
    for row in rows:
        assert float(row["elbo"]) == pytest.approx(-float(row["rate"]) - float(row["distortion"]), rel=1e-5)
        assert 1 <= float(row["effective_sample_size"]) <= 20.01
    assert summary["valid_nll"] == pytest.approx(-np.mean([float(row["log_prob"]) for row in rows]), rel=1e-6)


@pytest.mark.slow
def test_every_split_is_evaluated_as_binary_images(run, monkeypatch):
    """Under dynamic binarisation training images are drawn at each step; an evaluation draws them once."""
    seen, real = {}, tasks.evaluation.evaluate

    def spy(model, params, key, examples, **options):
        seen[len(examples.x)] = examples.x
        return real(model, params, key, examples, **options)

    monkeypatch.setattr(tasks.evaluation, "evaluate", spy)
    for split in ("train", "valid", "test"):
        done(runs.load_run(run), "evaluate", split=split)
    for x in seen.values():
        assert set(np.unique(x)) == {0, 255}
    assert set(seen) == {32, 4}


def test_samples_are_written(run, tmp_path, capsys):
    assert main(["sample", str(run), "--num", "5", "--to", str(tmp_path / "s.png")]) == 0
    images = np.load(tmp_path / "s.npy")
    assert images.shape == (5, 4, 4, 1)
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(images, drawn_from(runs.load_run(run), 5))
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert "5 samples" in capsys.readouterr().out


def test_the_command_line_trains(data, tmp_path, capsys):
    assert main(["train", "vae", "--data", data, "--out", str(tmp_path / "run"), *FLAGS]) == 0
    assert "test_nll" in capsys.readouterr().out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["architecture"]["hidden_sizes"] == [8]
    assert config["settings"]["latent_dim"] == 20
    # what these latents have no figure for is left out, and told where it is asked for
    assert {path.stem for path in (tmp_path / "run" / "figures").iterdir()} == {"reconstructions", "samples", "curves"}
    assert "A VAE cannot show its latent space, which is no plane or sphere" in error_of(capsys, "latents", tmp_path / "run")


@pytest.mark.slow
def test_gaussian_likelihoods_train_on_grey_values(data, tmp_path):
    changes = {"binarise": "none", "learning_rate": 1e-2, "epochs": 30, "validate_every": 10}
    learned = runs.train("vae", settings(data, likelihood="gaussian-learned", scale=0.5, **changes), tmp_path / "learned")
    fixed = runs.train("vae", settings(data, likelihood="gaussian", scale=0.5, **changes), tmp_path / "fixed")
    assert learned["test_elbo"] > fixed["test_elbo"] + 1.0  # σ = ½ is far too wide for these images


def test_the_recipes_are_listed(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in recipes.RECIPES)


def state_of(recipe, shape) -> train.TrainState:
    """The shapes of the state of a recipe at its own settings."""
    experiment = recipe.build(recipe.settings, shape)
    return jax.eval_shape(lambda: train.start(jax.random.key(0), experiment.model, experiment.optimizer(1), shape))


def test_every_recipe_builds_at_its_own_settings():
    for recipe in recipes.RECIPES.values():
        recipes.check_settings(recipe.settings)
        colours = {"cifar10": (32, 32, 3), "emoji:google": (64, 64, 3), "emoji": (64, 64, 6)}
        shapes = {"sprites": (64, 64, 1), "edges:mnist-5k": (28, 28, 2), **colours}
        shape = shapes.get(recipe.settings.data, (28, 28, 1))
        assert jax.tree.leaves(state_of(recipe, shape).params), f"{recipe.summary} has no parameters"


def test_the_iwae_model_has_the_papers_size():
    recipe = recipes.RECIPES["vae-mnist"]
    params = state_of(recipe, (28, 28, 1)).params
    weights = 785 * 200 + 201 * 200 + 201 * 100 + 51 * 200 + 201 * 200 + 201 * 784
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == weights


# bad input: a sentence, a non-zero exit, and nothing lost


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "vea"], "There is no recipe 'vea'. Did you mean vae?"),
        (["trian", "vae"], "There is no command 'trian'. Did you mean train?"),
        (["train", "vae", "--data", "mnits"], "There is no data set 'mnits'. Did you mean mnist?"),
        (["train", "vae", "--epochs", "0"], "epochs is 0: give 1 or more."),
        (["train", "vae", "--batch-size", "4001"], "A batch of 4001 cannot be drawn from 4000"),
        (["train", "vae", "--latent-dim", "0"], "latent_dim is 0"),
        (["train", "vae", "--hidden-sizes", "8", "0"], "hidden_sizes is 0: give 1 or more"),
        (["train", "vae", "--learning-rate", "-1"], "learning_rate is -1.0: give a positive number"),
        (["train", "vae", "--ema-decay", "1"], "ema_decay is 1.0"),
        (["train", "vae", "--ema-decay", "0.9", "--ema-half-life", "2"], "which say the same thing: give one of them, and None"),
        (["train", "vae", "--clip-norm", "0"], "clip_norm is 0.0"),
        (["train", "vae", "--seed", "-1"], "seed is -1"),
        (["train", "vae", "--num-importance-samples", "0"], "num_importance_samples is 0"),
        (["train", "vae-fashion", "--data", "mnist-5k", "--scale", "0"], "scale is 0.0: give a positive number"),
        (["train", "vae", "--objective", "capacty"], "There is no objective 'capacty'. Did you mean capacity?"),
        (["train", "vae", "--objective"], "--objective needs a value: give elbo, capacity"),
        (["train", "vae", "--seed", str(2**32)], "seed is 4294967296: give less than 4294967296."),
        (
            ["train", "vae", "--binarise-seed", "4", "--binarise", "threshold"],
            "binarise is threshold, which draws nothing: leave it",
        ),
        (["train", "own/file.py"], "own/file.py is a file: give the name of a Recipe in it too, as in own/file.py:RECIPE."),
        (["train", "nowhere.py:RECIPE"], "There is no file nowhere.py"),
        (["train", "vae", "--data", "npz:nowhere.npz"], "There is no file"),
        (["train", "vae", "--data", "folder:nowhere"], "There is no folder"),
        (
            ["train", "progressive-mnist", "--mixing", "0.5"],
            "--mixing comes with --architecture style or --architecture style2. `",
        ),
        (["train", "vae", "--gamma=2"], "--gamma comes with --objective capacity. `gen-jax train vae --help` lists"),
        (["train", "vae", "--epoch", "3"], "Unrecognized options: --epoch, 3. Did you mean --epoch-steps or --epochs?"),
        (["train", "vae", "--epochs", "x"], "--epochs: invalid literal for int() with base 10: 'x'. `gen-jax train vae --help`"),
        (["train", "vae", "--schedule", "cosin"], "invalid choice 'cosin' for argument '--schedule'. Expected one of"),
        (["sample", "nowhere", "--num", "1.5"], "--num"),
        (["sample"], "Missing from gen-jax sample: PATH Run folder that `gen-jax train` made."),
        (["runs", "a", "b"], "Unrecognized options: b. `gen-jax runs --help` lists what it takes."),
        (["evaluate", "nowhere"], "nowhere is not a run folder"),
        (["sample", "nowhere"], "nowhere is not a run folder"),
    ],
)
def test_bad_words_get_a_sentence(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, *argv)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "flags", "message"),
    [
        (
            np.full((20, 3), 1.5),
            ["--binarise", "none"],
            "range from 1.5 to 1.5, and a Bernoulli likelihood takes values in [0, 1]",
        ),
        (np.full((20, 3), -0.1), [], "not intensities in [0, 1]"),
        (np.full((20, 3), np.nan), [], "holds a NaN"),
    ],
)
def test_values_that_the_likelihood_cannot_have_are_refused(images, flags, message, tmp_path, capsys):
    np.savez(tmp_path / "a.npz", images=images)
    assert message in error_of(capsys, "train", "vae", "--data", f"npz:{tmp_path}/a.npz", "--out", tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()


def test_images_of_another_shape_are_refused(run, tmp_path, capsys):
    np.savez(tmp_path / "a.npz", images=np.zeros((20, 5, 5)))
    message = error_of(capsys, "evaluate", run, "--data", f"npz:{tmp_path}/a.npz")
    assert "(5, 5, 1) each and the model takes (4, 4, 1)" in message


def test_a_folder_that_is_no_run_is_left_alone(data, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert "is not a run folder" in error_of(capsys, "train", "vae", "--data", data, "--out", tmp_path, *FLAGS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert "is not a run folder" in error_of(capsys, "train", "vae", "--data", data, "--out", tmp_path / "notes.txt", *FLAGS)


def test_a_new_folder_that_another_process_holds_gets_no_config(data, tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="Another process"):
        runs.train("vae", settings(data), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("left", [[], ["config.json.partial"], [".lock"]])
@pytest.mark.slow
def test_a_run_killed_before_its_config_was_written_starts_again(data, tmp_path, left):
    for name in left:
        (tmp_path / name).write_text('{"recipe"')
    assert runs.train("vae", settings(data, epochs=1), tmp_path)["epoch"] == 1


def test_a_run_of_other_settings_is_left_alone(run, data, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    message = error_of(capsys, "train", "vae", "--data", data, "--latent-dim", "3", "--out", run, *FLAGS)
    assert "was made by other settings: settings.latent_dim = 2 (now 3)" in message
    message = error_of(capsys, "train", "vae", "--data", data, "--latent-dim", "2", "--out", run, *FLAGS[:-1], "2")
    assert "has been trained for 3: give 3 or more" in message
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; the next test covers a path that nobody can make")
def test_a_folder_that_cannot_be_written_is_named(data, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "cannot be written" in error_of(capsys, "train", "vae", "--data", data, "--out", tmp_path / "run", *FLAGS)


def test_a_folder_that_cannot_be_made_is_named(data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in error_of(capsys, "train", "vae", "--data", data, "--out", tmp_path / "file" / "run", *FLAGS)


def test_a_config_that_is_damaged_is_named(run, tmp_path, capsys):
    directory = tmp_path / "run"
    shutil.copytree(run, directory)
    (directory / "config.json").write_text((directory / "config.json").read_text()[:30])
    assert "is not valid JSON" in error_of(capsys, "sample", directory)
    config = json.loads((run / "config.json").read_text())
    for change, message in (
        ({"event_shape": ["a"]}, "damaged or of another version"),
        ({"settings": [1]}, "settings is [1]: give settings by name"),
        (
            {"settings": config["settings"] | {"objective": "elbo"}},
            "objective is 'elbo': give a choice: its kind, with its settings",
        ),
        ({"settings": config["settings"] | {"objective": {}}}, "objective is {}: give a choice: its kind, with its settings"),
        ({"settings": config["settings"] | {"unheard_of": 1}}, "There is no setting 'unheard_of'"),
        ({"settings": config["settings"] | {"latent_dim": "20"}}, "latent_dim"),
        ({"settings": config["settings"] | {"learning_rate": "1e-3"}}, "learning_rate"),
        ({"settings": config["settings"] | {"likelihood": "x"}}, "likelihood"),
    ):
        (directory / "config.json").write_text(json.dumps(config | change))
        assert message in error_of(capsys, "sample", directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_dim": 0}, "latent_dim is 0: give 1 or more"),
        ({"schedule": "cosin"}, "schedule is 'cosin': give constant, cosine, linear-after-half, iwae"),
        ({"epochs": 2.5}, "epochs is 2.5: give an integer"),
        ({"num_classes": 1}, "num_classes is 1: give 2 or more"),
        ({"clip_norm": "1"}, "clip_norm is '1': give a number"),
        ({"objective": {"kind": "elbo"}}, "objective is {'kind': 'elbo'}: give a choice: its kind, with its settings"),
        ({"stream": 1}, "stream is 1: give true or false"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_from_python_too(data, tmp_path, change, message):
    wrong = settings(data)
    for name, value in change.items():
        object.__setattr__(wrong, name, value)  # past the checker that these tests run with and users do not
    with pytest.raises(InputError, match=message):
        runs.train("vae", wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_data_that_changed_under_their_name_are_told(data, tmp_path):
    path = tmp_path / "d.npz"
    shutil.copy(data.removeprefix("npz:"), path)
    runs.train("vae", settings(f"npz:{path}", epochs=1), tmp_path / "run")
    np.savez(path, images=RNG.integers(0, 256, (40, 4, 4), np.uint8))
    with pytest.raises(InputError, match="are not those that"):
        done(runs.load_run(tmp_path / "run"), "evaluate")
    with pytest.raises(InputError, match=r"was made by other settings: data.test = 4, crc32"):
        runs.train("vae", settings(f"npz:{path}", epochs=1), tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_outside_training_is_a_sentence(run, monkeypatch, capsys, number):
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(runs, "load_run", lambda *_: os.kill(os.getpid(), number))
    assert main(["evaluate", str(run)]) == 130
    assert "Stopped." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_signal_while_importing_is_a_sentence():
    code = """
import builtins, os, signal, sys
import gen_jax.__main__ as entry

real = builtins.__import__

def signalled(name, *rest):
    if name == "gen_jax.cli":
        os.kill(os.getpid(), signal.SIGTERM)
    return real(name, *rest)

builtins.__import__ = signalled
sys.exit(entry.main())
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (130, STOPPED)


@pytest.mark.slow
def test_a_signal_at_any_moment_of_a_command_ends_it(data, tmp_path):
    """From the first import on; none is swallowed, and none shows a stack trace."""
    command = [sys.executable, "-m", "gen_jax", "train", "vae", "--data", data, *FLAGS[:-1], "100000", "--out"]
    for i, seconds in enumerate(np.linspace(0.3, 3.0, 6)):  # the interpreter itself takes its signals before
        process = subprocess.Popen([*command, str(tmp_path / str(i))], stderr=subprocess.PIPE, text=True)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        try:
            errors = process.communicate(timeout=60)[1]
        finally:
            process.kill()
        assert (process.returncode, "Stopped." in errors, "Traceback" in errors) == (130, True, False), errors


def test_no_memory_is_a_sentence(data, tmp_path, capsys, monkeypatch):
    """What JAX raises for an array of 32 TB."""
    monkeypatch.setattr("gen_jax.runs.train", lambda *args, **options: jax.block_until_ready(jnp.zeros((10**12, 8))))
    argv = ["train", "vae", "--data", data, "--out", tmp_path / "run", *FLAGS]
    assert "Out of memory" in error_of(capsys, *argv)


@pytest.mark.slow
def test_a_full_memory_leaves_no_folder_behind(data, tmp_path, monkeypatch, capsys):
    """The same command with smaller settings may have it."""
    argv = ["train", "vae", "--data", data, "--out", tmp_path / "run", *FLAGS]
    with monkeypatch.context() as patched:
        patched.setattr(train.loop.MetricsLog, "__init__", full_memory)
        assert "Out of memory" in error_of(capsys, *argv, "--latent-dim", 3)
        assert not (tmp_path / "run").exists()
        (tmp_path / "run").mkdir()  # one's own stays
        assert "Out of memory" in error_of(capsys, *argv, "--latent-dim", 3)
    assert list((tmp_path / "run").iterdir()) == []
    assert main([str(a) for a in [*argv, "--latent-dim", "2"]]) == 0


def full_memory(*args, **options):
    raise MemoryError


def test_an_error_of_the_system_that_is_of_no_file_speaks_for_itself():
    assert _sentence(OSError(errno.ECONNRESET, "Connection reset by peer")) == "[Errno 104] Connection reset by peer"
    assert _sentence(OSError(errno.EACCES, "Permission denied", "data")).startswith(
        "data cannot be used (Permission denied): give"
    )


@pytest.mark.slow
def test_one_example_has_no_standard_error(tmp_path):
    np.savez(tmp_path / "d.npz", train=np.ones((9, 4), np.uint8), valid=np.ones((1, 4), np.uint8), test=np.ones((1, 4), np.uint8))
    runs.train("vae", settings(f"npz:{tmp_path}/d.npz", epochs=1, num_importance_samples=1), tmp_path / "run")
    text = (tmp_path / "run" / "result.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["test_nll_se"] is None


def test_a_config_edited_to_another_model_is_named(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"latent_dim": 2', '"latent_dim": 3'))
    assert "is of another model" in error_of(capsys, "sample", tmp_path / "run")


def test_a_damaged_result_is_named(run, data, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    result = tmp_path / "run" / "result.json"
    result.write_text(result.read_text()[:20])
    with pytest.raises(InputError, match="the same command evaluates the run again"):
        runs.train("vae", settings(data), tmp_path / "run")
    result.unlink()
    again = runs.train("vae", settings(data), tmp_path / "run")
    assert again == json.loads((run / "result.json").read_text())


@pytest.mark.parametrize("num", ["0", "-5"])
def test_an_evaluation_of_no_samples_is_refused(run, capsys, num):
    assert f"num_importance_samples is {num}" in error_of(capsys, "evaluate", run, "--num-importance-samples", num)


@pytest.mark.parametrize("flags", [["--num", "0"], ["--seed", "-1"], ["--seed", str(2**40)], ["--to", "a.jpg"]])
def test_impossible_samples_are_refused(run, capsys, flags):
    assert flags[-1] in error_of(capsys, "sample", run, *flags)


@pytest.mark.parametrize(
    ("to", "message"),
    [("nowhere/a.png", "There is no folder"), ("a.png", "is a folder: give the path"), ("file/a.png", "There is no folder")],
)
def test_where_no_picture_can_be_written_is_told_before_the_work(run, tmp_path, monkeypatch, capsys, to, message):
    (tmp_path / "a.png").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(runs, "perform", lambda *_, **__: pytest.fail("the work is done"))
    assert message in error_of(capsys, "sample", run, "--to", tmp_path / to)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"The folder {run} cannot be written" in error_of(capsys, "sample", run)


def test_what_the_system_refuses_says_what_to_do(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "figures")
    (tmp_path / "run" / "figures").write_text("a file")
    (tmp_path / "run" / "result.json").unlink()
    stored = json.loads((run / "config.json").read_text())["settings"]
    argv = ["train", "vae", "--data", stored["data"], "--latent-dim", "2", "--out", tmp_path / "run", *FLAGS]
    assert main([str(a) for a in argv]) == 2
    assert "figures cannot be used (File exists): something else of that name is there" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"data": {}}, {"data": "x"}, {"settings": "x"}, {"event_shape": "x"}, {"recipe": 3}])
def test_a_config_that_was_edited_is_a_sentence(run, tmp_path, capsys, wrong):
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | wrong))
    assert error_of(capsys, "evaluate", tmp_path / "run")


def test_a_folder_of_fit_is_told(data, tmp_path, capsys):
    model = with_event_shape(flow_density(Normal(jnp.zeros(16), jnp.ones(16)), elementwise_affine(16)), (4, 4, 1))
    train.fit(
        jax.random.key(0), model, density_loss(model), load_dataset(data), epochs=1, batch_size=8, directory=tmp_path / "fit"
    )
    assert "names no recipe to rebuild its model by, as a folder of `fit` does not" in error_of(
        capsys, "sample", tmp_path / "fit"
    )


def test_a_folder_in_which_another_process_trains_is_left_alone(data, tmp_path, capsys):
    runs.train("vae", settings(data, epochs=1), tmp_path / "run")
    with FileLock(tmp_path / "run" / ".lock"):
        argv = ["train", "vae", "--data", data, "--latent-dim", "2", "--out", tmp_path / "run", *FLAGS[:-1], "1"]
        assert "Another process is training" in error_of(capsys, *argv)


def test_other_data_have_an_evaluation_of_their_own(run, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", images=RNG.integers(0, 256, (30, 4, 4), np.uint8))
    before = {path.name: path.read_bytes() for path in run.glob("evaluation-*")}
    assert main(["evaluate", str(run), "--data", f"npz:{tmp_path}/other.npz"]) == 0
    capsys.readouterr()
    new = [path for path in run.glob("evaluation-*.json") if path.name not in before]
    assert len(new) == 1
    assert json.loads(new[0].read_text())["data"] == f"npz:{tmp_path}/other.npz"
    assert all((run / name).read_bytes() == content for name, content in before.items())


def test_grey_values_under_a_bernoulli_likelihood_are_told(data, tmp_path):
    with pytest.warns(UserWarning, match="cross-entropy, not a log-likelihood"):
        runs.train("vae", settings(data, binarise="none", epochs=1), tmp_path / "run")


@pytest.mark.slow
def test_a_path_means_the_same_from_another_folder(data, tmp_path, monkeypatch):
    shutil.copy(data.removeprefix("npz:"), tmp_path / "d.npz")
    monkeypatch.chdir(tmp_path)
    runs.train("vae", settings("npz:d.npz", epochs=1), tmp_path / "run")
    monkeypatch.chdir("/")
    assert runs.perform(runs.load_run(tmp_path / "run"), "evaluate").summary["num_examples"] == 4


def test_a_run_without_a_checkpoint_is_named(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert "holds no checkpoint yet" in error_of(capsys, "evaluate", tmp_path / "run")


@pytest.mark.filterwarnings("always")  # as a user has them, not as errors
def test_a_damaged_best_checkpoint_gives_way_with_a_warning(run, tmp_path, capsys):
    directory = tmp_path / "run"
    shutil.copytree(run, directory)
    best = directory / "checkpoints" / str(runs.load_run(run).epoch)
    file = next(path for path in best.rglob("*") if path.is_file() and path.stat().st_size > 100)
    file.write_bytes(file.read_bytes()[:50])
    assert main(["sample", str(directory), "--num", "2"]) == 0
    captured = capsys.readouterr().err
    assert captured.lstrip().startswith("Warning: The checkpoint")
    assert "Traceback" not in captured


def test_divergence_is_a_sentence_and_its_own_exit_status(data, tmp_path, capsys):
    assert main(["train", "vae", "--data", data, "--out", str(tmp_path / "run"), "--learning-rate", "1e20", *FLAGS]) == 3
    message = " ".join(capsys.readouterr().err.split())
    assert "Error: Step" in message
    assert "Traceback" not in message


def test_debug_shows_the_stack_trace(data):
    with pytest.raises(InputError):
        main(["train", "vae", "--data", data, "--epochs", "0", "--debug"])


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.03, 0.1])
def test_a_second_signal_ends_a_process_at_once_without_a_stack_trace(data, tmp_path, seconds):
    command = [
        sys.executable,
        "-m",
        "gen_jax",
        "train",
        "vae",
        "--data",
        data,
        *FLAGS[:-1],
        "100000",
        "--out",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not train.saved_epochs(tmp_path / "run" / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    try:
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    # the system may make one signal of two at the same time
    ended = "Stopped." in errors or (seconds == 0.0 and "The state is saved" in errors)
    assert (process.returncode, ended, "Traceback" in errors) == (130, True, False), errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_cleanly(data, tmp_path, number):
    command = [
        sys.executable,
        "-m",
        "gen_jax",
        "train",
        "vae",
        "--data",
        data,
        *FLAGS[:-1],
        "100000",
        "--out",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not train.saved_epochs(tmp_path / "run" / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "The state is saved" in errors
    assert "Traceback" not in errors
    last_row = train.read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert train.saved_epochs(tmp_path / "run" / "checkpoints")[-1] == last_row["epoch"]


@pytest.mark.slow
def test_nothing_is_compiled_a_second_time(data, tmp_path):
    """Training compiles in its first epoch only, and a second evaluation, sampling or figure compiles nothing."""
    compilations, at_epoch = [], {}
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compilations.append(event) if "backend_compile" in event else None
    )
    try:
        runs.train(
            "vae", settings(data, epochs=5), tmp_path, on_epoch=lambda row: at_epoch.update({row["epoch"]: len(compilations)})
        )
        assert compilations  # the listener hears
        assert at_epoch[2] == at_epoch[5]
        run = runs.load_run(tmp_path)

        def all_once():
            done(run, "evaluate")
            drawn_from(run, 3)

        all_once()
        before = len(compilations)
        all_once()
        assert len(compilations) == before
    finally:
        jax.monitoring.clear_event_listeners()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "flags", "num"),
    [
        ("vae", FLAGS[:-2], 5),
        ("vae", [*FLAGS[:-2], "--stream", "--ema-decay", "0.99", "--validate-every", "3"], 5),
        (
            "dcgan-mnist",
            ["--channels", "4", "--batch-size", "8", "--latent-dim", "3", "--ema-decay", "0.9", "--epoch-steps", "2"],
            5,
        ),
    ],
    ids=["scanned", "streamed", "gan"],
)
def test_kill_9_at_random_instants(data, tmp_path, recipe, flags, num):
    """SIGKILL `gen-jax train` at random, start it again each time: it ends with the bits of a run that was not killed."""
    epochs, instants = 200, random.Random(0)
    options = [*flags, "--epochs", str(epochs), "--data", data]

    def start(name: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "gen_jax", "train", recipe, *options, "--out", str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rows() -> list[dict]:
        return train.read_metrics(tmp_path / "killed" / "metrics.jsonl")

    assert start("whole").wait() == 0
    epochs_at_kill = []
    for i in range(num):
        done, began = len(rows()), time.monotonic()
        process = start("killed")
        # one kill of five comes while it starts, the others after it has trained on
        while i % 5 != 0 and len(rows()) <= done and process.poll() is None and time.monotonic() - began < 120:
            time.sleep(0.02)
        time.sleep(instants.uniform(0, 6 if i % 5 == 0 else 1))
        process.kill()
        process.wait()
        epochs_at_kill.append(len(rows()))
    assert len({epoch for epoch in epochs_at_kill if 0 < epoch < epochs}) >= num // 2, epochs_at_kill
    assert start("killed").wait() == 0

    whole, killed = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "killed"))
    assert killed | {"train_seconds": 0} == whole | {"train_seconds": 0}
    states = [tmp_path / name / "checkpoints" for name in ("whole", "killed")]
    assert train.saved_epochs(states[0]) == train.saved_epochs(states[1])
    params = [runs.load_run(tmp_path / name).params for name in ("whole", "killed")]
    assert jax.tree.all(jax.tree.map(np.array_equal, *params))
    without_time = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in train.read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "killed")
    ]
    assert without_time[0] == without_time[1]
