"""What every table of results shares: runs of recipes over seeds, resumable, and their means with standard errors.

    python benchmarks/tables/PROGRAM.py [--out runs/tables] [--seeds 3] [--set NAME=VALUE ...] [--only ROW ...] [--save [FILE]]

Each cell is a run folder, made by `gen_jax.runs.train`: a program that was stopped goes on where it was, and what is done is
not done again. `--set` changes a setting of every run, such as `epochs=200`. Settings have the flat names of the command line,
and a choice is given by its kind: `objective=capacity gamma=100`. `--at-once` trains the seeds of a row as one program
(`members.py`), for a GPU.

Packs of m, of a GAN, are in batches of m times the examples and have m times the epochs: as many steps, of as many decisions of
the discriminator, which is how PacGAN (Lin et al. 2018, arXiv:1712.04086) compares them.
"""

import argparse
import ast
import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

import jax
import members
import numpy as np

from gen_jax import recipes, runs, tasks
from gen_jax.recipes.settings import SAMPLES, seed_key
from gen_jax.types import InputError

RESULTS = Path(__file__).parents[1] / "results"
Rows = dict[str, tuple[str, dict[str, Any]]]
Results = dict[str, list[dict[str, Any]]]


def arguments(description: str, seeds: int = 3, **options: dict[str, Any]) -> argparse.Namespace:
    """Return the options that every table has, and those of one alone, each with what argparse takes for it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path("runs/tables"), help="where the run folders go")
    parser.add_argument("--seeds", type=int, default=seeds, help="seeds 0 … N − 1")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of every run")
    parser.add_argument("--only", nargs="*", metavar="ROW", help="run these rows alone")
    parser.add_argument("--at-once", action="store_true", help="train the seeds of a row as one program (VAEs)")
    default, what = RESULTS / f"{program()}.json", "write benchmarks/results/PROGRAM.json, or this file, of the rows that are run"
    parser.add_argument("--save", nargs="?", type=Path, const=default, metavar="FILE", help=what)
    for name, how in options.items():
        parser.add_argument(f"--{name}", **how)
    return parser.parse_args()


def settings_of(rows: Rows, args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of every row that is to be run: its recipe's, with its own changes and those that `--set` makes."""
    if unknown := sorted(set(args.only or ()) - set(rows)):
        sys.exit(f"There is no row {', '.join(unknown)}: the rows are {', '.join(rows)}.")
    common = {name: _value(text) for name, _, text in (item.partition("=") for item in args.set)}
    every = [changes for row, (_, changes) in rows.items() if not args.only or row in args.only]
    varied = {name for changes in every for name in changes if any(other.get(name) != changes[name] for other in every)}
    if both := sorted(varied & set(common)):
        sys.exit(f"--set {both[0]}: the rows differ in it.")
    try:
        return {
            row: _as_many_decisions(recipes.change(recipes.RECIPES[recipe].settings, **(changes | common)))
            for row, (recipe, changes) in rows.items()
            if not args.only or row in args.only
        }
    except InputError as error:  # a setting that a row has not
        sys.exit(str(error))


def _as_many_decisions(settings: Any) -> Any:
    m = getattr(settings, "packing", 1)
    return dataclasses.replace(settings, batch_size=m * settings.batch_size, epochs=m * settings.epochs)


def run_rows(rows: Rows, args: argparse.Namespace) -> Results:
    """Train (or go on with) every row, a recipe and changes to its settings, under every seed; return what the runs measured."""
    chosen = settings_of(rows, args)
    if args.at_once:
        members.prepare(rows, chosen, args.seeds, lambda row, seed: run_directory(args, row, seed))
    results: Results = {}
    for seed in range(args.seeds):  # a seed of every row first, so that a table cut short compares like with like
        for row, settings in chosen.items():
            result = runs.train(rows[row][0], dataclasses.replace(settings, seed=seed), run_directory(args, row, seed))
            if result is None:
                sys.exit(130)
            print(row, f"seed {seed}", {k: round(v, 3) for k, v in result.items() if isinstance(v, float)}, flush=True)
            results.setdefault(row, []).append(result)
    return results


def run_directory(args: argparse.Namespace, row: str, seed: int) -> Path:
    """Return where a run of a row is."""
    return args.out / program() / f"{row}-{seed}".replace(" ", "_").replace(",", "")


def load(args: argparse.Namespace, row: str, seed: int) -> runs.Run:
    """Return a run of a row, as it was trained."""
    return runs.load_run(run_directory(args, row, seed))


def drawn(run: runs.Run, num: int) -> np.ndarray:
    """Return `num` draws of a run, under seed 0: means of a VAE, examples of any other model; for each label in turn."""
    view, model = run.experiment.view, run.experiment.model
    return np.asarray(tasks.sample(model, run.params, seed_key(0, SAMPLES), num, view=view))


def quality(run: runs.Run) -> dict[str, dict[str, float]]:
    """Return what samples of a run are worth, beside training examples and noise."""
    return runs.perform(run, "quality").summary


def report(rows: Rows, results: Results, columns: tuple[str, ...], args: argparse.Namespace) -> None:
    """Print mean ± standard error over seeds; save them with every run's settings and numbers where that is asked for.

    A column that a row's runs have not is left out of that row.
    """
    table = {row: {c: mean_and_error([run[c] for run in runs]) for c in columns if c in runs[0]} for row, runs in results.items()}
    print(f"{'':28}" + "".join(f"{column:>26}" for column in columns))
    for row, cells in table.items():
        print(f"{row:28}" + "".join(f"{_shown(*cells[c]) if c in cells else '–':>26}" for c in columns))
    devices = sorted({f"{run['device']}, {os.cpu_count()} cores" for runs in results.values() for run in runs})
    runs_of_rows = {row: [_portable(run) for run in runs] for row, runs in results.items()}
    save(rows, {"mean and standard error over seeds": table, "runs": runs_of_rows}, args, devices)


def _portable(run: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured of a run, without where its data lie."""
    kept = {name: value for name, value in run.items() if name != "data"}
    kind, colon, path = kept.get("settings", {}).get("data", "").partition(":")
    return kept | {"settings": kept["settings"] | {"data": f"{kind}:{Path(path).name}"}} if colon else kept


def _shown(mean: float, error: float | None) -> str:
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"


def device() -> str:
    """The name of the device that programs run on here."""
    return f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}, {os.cpu_count()} cores"


def save(rows: Rows, measured: dict[str, Any], args: argparse.Namespace, devices: list[str]) -> None:
    """Write what was measured to the file that `--save` names, with how, where that is asked for."""
    if not args.save:
        return
    options = ["--at-once"] if args.at_once else []
    options += [*(["--set", *args.set] if args.set else []), *(["--only", *args.only] if args.only else [])]
    if getattr(args, "data", None) is not None:
        options += ["--data", f"npz:{Path(args.data).name}", "--trials", str(args.trials)]
    saved = {
        # where the runs and the data lie is this machine's own business
        "command": shlex.join(["python", f"benchmarks/tables/{program()}.py", "--seeds", str(args.seeds), "--save", *options]),
        "devices": devices,
        "versions": {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in ("jax", "flax", "optax")},
        "seeds": args.seeds,
        "rows, as changes to the settings of a recipe": rows,
    } | measured
    args.save.parent.mkdir(parents=True, exist_ok=True)
    args.save.write_text(json.dumps(saved, indent=2, ensure_ascii=False) + "\n")


def program() -> str:
    """The name of the program that runs."""
    return Path(sys.argv[0]).stem


def mean_and_error(values: list[float]) -> tuple[float, float | None]:
    """Return the mean over seeds and its standard error (None for one seed)."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.mean(values), error


def _value(text: str) -> Any:
    """Return what a setting is set to: a Python literal, or else a word such as `mnist`."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
