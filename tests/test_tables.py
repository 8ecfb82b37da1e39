"""The tables of results: every row is settings that its recipe can have, on the data that it names."""

import importlib
import re
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from gen_jax import recipes
from gen_jax.data import load_dataset
from gen_jax.train import steps_per_epoch

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
