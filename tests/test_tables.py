"""The tables of results: every row is settings that its recipe can have, on the data that it names."""

import importlib
import json
import re
import shlex
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from gen_jax import recipes
from gen_jax.data import load_dataset
from gen_jax.train import steps_per_epoch
from tests import pages

FOLDER = Path(__file__).parents[1] / "benchmarks" / "tables"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("table", "members"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The examples are grey")  # samples are what the VAE of `parzen` is asked for
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_row_can_be_run(name, monkeypatch, shared_data):
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(shared_data))
    monkeypatch.syspath_prepend(FOLDER)
    program = importlib.import_module(name)
    try:
        rows = program.rows() if hasattr(program, "rows") else program.ROWS
        table = importlib.import_module("table")
        for documented in re.findall(r"--set ((?:\w+=[\w.-]+ ?)+)", program.__doc__):
            for settings in table.settings_of(rows, Namespace(only=None, set=documented.split())).values():
                recipes.check_settings(settings)
        chosen = table.settings_of(rows, Namespace(only=None, set=[]))
        assert set(chosen) == set(rows)
        for row, settings in chosen.items():
            recipes.check_settings(settings)
            dataset = load_dataset(settings.data, "none")
            experiment = recipes.RECIPES[rows[row][0]].build(settings, dataset.event_shape)
            for part, split in dataset.splits.items():
                experiment.view.check(split.x, part)
            steps = steps_per_epoch(len(dataset.train.x), settings.examples_per_step, settings.epoch_steps)
            settings.check_steps(settings.epochs * steps)
            experiment.optimizer(settings.epochs * steps)
    finally:
        for module in (name, "table"):
            sys.modules.pop(module, None)


def test_packs_take_as_many_steps_of_as_many_decisions(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    table = importlib.import_module("table")
    try:
        rows = {name: ("gan-ring", {"packing": packing}) for name, packing in (("alone", 1), ("packed", 4))}
        chosen = table.settings_of(rows, Namespace(only=None, set=["epochs=6"]))
        assert {name: (row.batch_size, row.epochs) for name, row in chosen.items()} == {"alone": (100, 6), "packed": (400, 24)}
        with pytest.raises(SystemExit, match="--set packing: the rows differ in it"):
            table.settings_of(rows, Namespace(only=None, set=["packing=2"]))
        alone = table.settings_of(rows, Namespace(only=["packed"], set=["packing=2"]))  # no other row differs from it
        assert {name: row.packing for name, row in alone.items()} == {"packed": 2}
        with pytest.raises(SystemExit, match="There is no setting 'beta'"):
            table.settings_of(rows, Namespace(only=None, set=["beta=2"]))
    finally:
        sys.modules.pop("table", None)


def test_every_trial_is_kept_with_its_commands_and_each_is_understood(monkeypatch):
    """A command that is changed is measured anew."""
    monkeypatch.syspath_prepend(FOLDER.parent)
    program = importlib.import_module("trials")
    try:
        kept = json.loads((FOLDER.parent / "results/trials.json").read_text())
        commands = {name: [f"gen-jax {command}" for command in commands] for name, commands in program.TRIALS.items()}
        assert {name: trial["commands"] for name, trial in kept.items()} == commands
        for command in (command for commands in program.TRIALS.values() for command in commands):
            pages.parse(shlex.split(command))
    finally:
        for module in ("trials", "common"):
            sys.modules.pop(module, None)


@pytest.mark.slow
def test_a_trial_keeps_what_its_commands_measure(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER.parent)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    program = importlib.import_module("trials")
    try:
        small = "--epochs 1 --epoch-steps 2 --num-importance-samples 2 --hidden-sizes 4 --latent-dim 2"
        trial = program.run(
            [f"train vae {small}", "traverse runs/vae", "bound runs/vae --num 2 --num-rate 20 --num-steps 2"], tmp_path
        )
    finally:
        for module in ("trials", "common"):
            sys.modules.pop(module, None)
    assert trial["commands"][1] == "gen-jax traverse runs/vae"
    assert len(trial["seconds"]) == 3
    assert set(trial["found"]) == {"vae"}
    result = json.loads((tmp_path / "runs/vae/result.json").read_text())
    assert trial["found"]["vae"]["result"]["test_elbo"] == result["test_elbo"]
    assert {"settings", "data"} & set(trial["found"]["vae"]["result"]) == set()
    assert "mutual_information" in trial["found"]["vae"]["bound-test"]
