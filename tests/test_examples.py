"""The recipe of a user's own file: trained, resumed, and used by the tasks, from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gen_jax import runs
from gen_jax.cli import main
from gen_jax.recipes import find_recipe
from gen_jax.types import InputError

FILE = Path(__file__).parents[1] / "examples" / "own_vae.py"
OWN = f"{FILE}:RECIPE"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("own")
    images = np.random.default_rng(0).integers(0, 2, (60, 4, 4), np.uint8)
    np.savez(directory / "data.npz", images=images)
    sizes = ["--hidden-sizes", "8", "--latent-dim", "2"]
    flags = [*sizes, "--data", f"npz:{directory}/data.npz", "--epochs", "2", "--batch-size", "10", "--rate", "3"]
    assert main(["train", OWN, *flags, "--out", str(directory / "run")]) == 0
    return directory / "run"


def test_it_has_at_most_sixty_lines():
    assert len(FILE.read_text().splitlines()) <= 60


def test_an_own_recipe_trains_with_its_settings(run):
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"] == OWN
    assert config["settings"]["rate"] == 3.0
    assert {"reconstructions.png", "samples.png", "curves.png"} <= {path.name for path in (run / "figures").iterdir()} | {
        "curves.png"
    }
    result = json.loads((run / "result.json").read_text())
    assert result["test_nll"] <= -result["test_elbo"] + 4 * (result["test_nll_se"] + result["test_elbo_se"])


@pytest.mark.parametrize("task", ["evaluate", "sample", "reconstruct", "interpolate", "traverse", "latents"])
def test_every_task_of_a_vae_takes_it(run, capsys, task):
    assert main([task, str(run), "--recipe", OWN]) == 0
    assert main([task, str(run)]) == 2  # a run folder never causes code to be loaded
    assert "give it as --recipe FILE.py:NAME" in " ".join(capsys.readouterr().err.split())


def test_more_epochs_go_on_with_a_finished_run(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    settings = runs.load_run(tmp_path / "run", OWN).settings
    more = type(settings)(**{**vars(settings), "epochs": 3})
    assert runs.train(OWN, more, tmp_path / "run")["epoch"] >= 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[:2] == first  # what was done stays
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["epochs"] == 3


def test_a_recipe_object_is_taken_too(run, tmp_path):
    settings = runs.load_run(run, OWN).settings
    result = runs.train(find_recipe(OWN), settings, tmp_path / "run")
    found = json.loads((run / "result.json").read_text())
    assert result["test_nll"] == found["test_nll"]
    with pytest.raises(InputError, match="was trained by a recipe of a user's own"):
        runs.load_run(tmp_path / "run")
    for recipe in (OWN, find_recipe(OWN)):
        assert runs.load_run(tmp_path / "run", recipe).epoch == found["epoch"]
    with pytest.raises(InputError, match="out is missing"):
        runs.train(find_recipe(OWN), settings)


def test_a_run_of_the_library_needs_no_recipe(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"recipe": "vae"}))
    with pytest.raises(InputError, match="was trained by the library's recipe vae: leave --recipe out"):
        runs.load_run(tmp_path, OWN)


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("RECIPE = 3", "RECIPE", "has no recipe 'RECIPE': its recipes are none"),
        ("1 / 0", "RECIPE", r"raises ZeroDivisionError \(division by zero\)"),
        ("def broken(:", "RECIPE", "raises SyntaxError"),
        ("from gen_jax.recipes import RECIPES; MINE = RECIPES['vae']", "RECIPE", "its recipes are MINE"),
    ],
)
def test_a_file_without_such_a_recipe_is_named(tmp_path, code, name, message):
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(InputError, match=message):
        find_recipe(f"{tmp_path}/own.py:{name}")
