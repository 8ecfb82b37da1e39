"""The recipe of a user's own file: trained, resumed, and used by the tasks, from the command line."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from gen_jax import runs
from gen_jax.cli import main
from gen_jax.recipes import Recipe, find_recipe
from gen_jax.types import InputError
from tests.small import fast_first

FILE = Path(__file__).parents[1] / "examples" / "own_vae.py"
OWN = f"{FILE}:RECIPE"


# a model of a type that the library does not know: the point that is nearest to all examples
LOCATED = """
from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import optax

from gen_jax.recipes import Experiment, Positive, Recipe, Settings, view_of


class Located(NamedTuple):
    init: object


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocatedSettings(Settings):
    step: Positive = 2.0  # named as a part of the checksums is


def build(settings: LocatedSettings, event_shape: tuple[int, ...]) -> Experiment:
    def loss(params, state, key, step, batch):
        warm = 0.0 * jnp.minimum(step, 100 * settings.epochs)  # what depends on the number of epochs may be another after more
        return jnp.mean(jnp.abs(batch.x - params[None]) ** settings.step) + warm, (state, {})

    model = Located(lambda key, x: jnp.zeros(event_shape))
    rates = lambda num_steps: optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, 2, num_steps)
    return Experiment(model, loss, lambda num_steps: optax.adam(rates(num_steps)), view_of(settings, event_shape))


RECIPE = Recipe("a point", LocatedSettings(batch_size=12, learning_rate=0.1), build)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 2, (60, 4, 4), np.uint8))
    return f"npz:{path}"


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("own")
    sizes = ["--hidden-sizes", "8", "--latent-dim", "2"]
    flags = [*sizes, "--data", data, "--epochs", "2", "--batch-size", "10", "--rate", "3"]
    assert main(["train", OWN, *flags, "--out", str(directory / "run")]) == 0
    return directory / "run"


@pytest.fixture(scope="module")
def located(data, tmp_path_factory) -> Path:
    """A folder that holds a recipe's file, and what it made in `runs/point`."""
    folder = tmp_path_factory.mktemp("located")
    (folder / "point.py").write_text(LOCATED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "point.py:RECIPE", "--data", data, "--epochs", "2", "--binarise", "none"]) == 0
    return folder


def again(folder: Path, name: str = "point.py:RECIPE", **changes) -> dict | None:
    """Train in the folder's run once more."""
    settings = runs.load_run(folder / "runs/point", f"{folder}/point.py:RECIPE").settings
    return runs.train(name, dataclasses.replace(settings, **changes), folder / "runs/point")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_has_at_most_sixty_lines():
    assert len(FILE.read_text().splitlines()) <= 60


def test_an_own_recipe_trains_with_its_settings(run):
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"] == OWN
    assert config["settings"]["rate"] == 3.0
    drawn = {path.name for path in (run / "figures").iterdir()}
    # its tasks, and curves of what every loss has
    assert drawn == {"reconstructions.png", "samples.png", "latents.png", "manifold.png", "loss.png", "score.png"}
    result = json.loads((run / "result.json").read_text())
    assert result["test_nll"] <= -result["test_elbo"] + 4 * (result["test_nll_se"] + result["test_elbo_se"])


@pytest.mark.parametrize("task", fast_first(["evaluate", "sample", "reconstruct", "interpolate", "traverse", "latents"], 2))
def test_every_task_of_a_vae_takes_it(run, capsys, task):
    assert main([task, str(run), "--recipe", OWN]) == 0
    assert main([task, str(run)]) == 2  # a run folder never causes code to be loaded
    assert "give it as --recipe FILE.py:NAME" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
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


@pytest.mark.slow
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
        ("raise SystemExit('bye')", "RECIPE", r"raises SystemExit \(bye\)"),
        ("import nowhere_at_all", "RECIPE", "raises ModuleNotFoundError"),
        (
            LOCATED.replace("LocatedSettings(batch", "dict(batch"),
            "RECIPE",
            "are of type dict: give an instance of a dataclass that",
        ),
    ],
)
def test_a_file_without_such_a_recipe_is_named(tmp_path, code, name, message):
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(InputError, match=message):
        find_recipe(f"{tmp_path}/own.py:{name}")


def test_a_model_of_ones_own_type_is_trained_and_has_its_validation(located):
    result = json.loads((located / "runs/point/result.json").read_text())
    rows = [json.loads(line) for line in (located / "runs/point/metrics.jsonl").read_text().splitlines()]
    assert result["valid_score"] == max(row["valid_score"] for row in rows) == rows[result["epoch"] - 1]["valid_score"]
    assert result["train_seconds"] > 0
    assert {path.name for path in (located / "runs/point/figures").iterdir()} == {"loss.png", "score.png"}


def test_a_recipe_is_the_same_by_any_path(located, tmp_path, monkeypatch):
    config = json.loads((located / "runs/point/config.json").read_text())
    assert config["recipe"] == f"{located}/point.py:RECIPE"
    result = json.loads((located / "runs/point/result.json").read_text())
    monkeypatch.chdir(located / "runs")
    (tmp_path / "link.py").symlink_to(located / "point.py")
    for name in ("../point.py:RECIPE", f"{located}/runs/../point.py:RECIPE", f"{tmp_path}/link.py:RECIPE"):
        assert again(located, name) == result


@pytest.mark.parametrize(
    ("old", "new"),
    fast_first(
        [
            ("- params[None]", "- 2 * params[None]"),
            ("jnp.zeros(event", "jnp.ones(event"),
            ("optax.adam(", "optax.nadam("),
            ("learning_rate, 2", "learning_rate, 3"),
        ]
    ),
)
def test_a_run_does_not_go_on_with_a_recipe_that_computes_something_else(located, tmp_path, old, new):
    shutil.copytree(located, tmp_path, dirs_exist_ok=True)
    run, file = tmp_path / "runs/point", tmp_path / "point.py"
    (run / "config.json").write_text((run / "config.json").read_text().replace(str(located), str(tmp_path)))
    file.write_text(LOCATED.replace(old, new))
    before = contents(run)
    for epochs in (2, 3):
        with pytest.raises(InputError, match=r"was made before .*point.py:RECIPE was edited.* Undo the edit"):
            again(tmp_path, f"{file}:RECIPE", epochs=epochs)
    with pytest.raises(InputError, match=r"other settings: settings.step = 2.0 \(now 3.0\)\. Choose"):
        again(tmp_path, f"{file}:RECIPE", step=3.0)
    assert contents(run) == before
    file.write_text("# a remark changes nothing\n" + LOCATED)
    assert again(tmp_path, f"{file}:RECIPE", epochs=3)["epoch"] == 3
    assert contents(run) != before


def test_recipe_objects_are_told_apart_by_what_they_compute(data, tmp_path):
    (tmp_path / "a.py").write_text(LOCATED)
    (tmp_path / "b.py").write_text(LOCATED.replace("- params", "+ params"))
    a, b = (find_recipe(f"{tmp_path}/{name}.py:RECIPE") for name in "ab")
    settings = dataclasses.replace(a.settings, data=data, epochs=1)
    result = runs.train(a, settings, tmp_path / "run")
    assert runs.train(a, settings, tmp_path / "run") == result
    with pytest.raises(InputError, match="was edited"):
        runs.train(b, dataclasses.replace(b.settings, data=data, epochs=1), tmp_path / "run")


def test_a_file_may_import_its_neighbours_also_in_build(tmp_path):
    (tmp_path / "own_neighbour.py").write_text("SUMMARY = 'a point from a neighbour'")
    (tmp_path / "own_late_neighbour.py").write_text("MIDDLE = 3.0")
    code = LOCATED.replace('Recipe("a point"', "Recipe(own_neighbour.SUMMARY").replace(
        "import dataclasses", "import own_neighbour", 1
    )
    code = code.replace("def build", "import dataclasses\ndef build").replace("@data", "import dataclasses\n@data")
    code = code.replace("jnp.zeros(event_shape)", "jnp.full(event_shape, middle)")
    code = code.replace("    def loss", "    from own_late_neighbour import MIDDLE as middle\n    def loss")
    (tmp_path / "own.py").write_text(code)
    recipe = find_recipe(f"{tmp_path}/own.py:RECIPE")
    assert recipe.summary == "a point from a neighbour"
    assert float(recipe.build(recipe.settings, (2, 2, 1)).model.init(jax.random.key(0), None)[0, 0, 0]) == 3.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    def loss",
            "    {}['missing']\n    def loss",
            r"build of .*own.py:RECIPE raises KeyError \('missing'\): correct it",
        ),
        ("return Experiment(", "return (", "build of .*own.py:RECIPE returns tuple: return a recipes.Experiment"),
        ("learning_rate, 2", "learning_rate, 4", r"optimizer of .*own.py:RECIPE raises ValueError \(.*decay_steps=0"),
        ("params[None]", "params[:3][None]", r"What .*own.py:RECIPE builds raises \w+Error \("),
        ("_shape))\n\n", "_shape), tasks=('smaple',))\n\n", "There is no task 'smaple'. Did you mean sample?"),
    ],
)
def test_what_the_code_of_a_recipe_raises_is_a_sentence(located, data, tmp_path, capsys, old, new, message):
    assert old in LOCATED
    code = LOCATED.replace(old, new)
    (tmp_path / "own.py").write_text(code)
    name, settings = f"{tmp_path}/own.py:RECIPE", ["--data", data, "--epochs", "1"]
    assert main(["train", name, *settings, "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=message):
        runs.train(name, dataclasses.replace(find_recipe(name).settings, data=data, epochs=1), tmp_path / "run")
    if "build of" in message:
        with pytest.raises(InputError, match=message):  # and not that the config is damaged
            runs.load_run(located / "runs/point", name)


def test_a_recipe_that_is_not_the_runs_is_named(run, located):
    with pytest.raises(InputError, match=r"a user's own, .*own_vae.py:RECIPE, and not by vae: give it as --recipe FILE.py:NAME"):
        runs.load_run(run, "vae")
    with pytest.raises(InputError, match=r"do not suit the recipe of a point \(There is no setting 'latent_dim' here: leave"):
        runs.load_run(run, f"{located}/point.py:RECIPE")
    with pytest.raises(InputError, match="are of type int"):
        runs.load_run(run, Recipe("nothing", 3, print))
