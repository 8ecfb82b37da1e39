"""What every table of results shares: runs of recipes over seeds, resumable, and their means with standard errors.

    python benchmarks/tables/PROGRAM.py [--out runs/tables] [--seeds 3] [--set NAME=VALUE ...] [--only ROW] [--save]

Each cell is a run folder, made by `gen_jax.recipes.train`: a program that was stopped goes on where it was, and what is done is
not done again. `--set` changes a setting of every run, such as `epochs=200`.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import jax

from gen_jax import recipes

RESULTS = Path(__file__).parents[1] / "results"


def arguments(description: str) -> argparse.Namespace:
    """Return the options that every table has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path("runs/tables"), help="where the run folders go")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 … N − 1")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of every run")
    parser.add_argument("--only", help="run this row alone")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/PROGRAM.json")
    return parser.parse_args()


def run_rows(rows: dict[str, tuple[str, dict[str, Any]]], args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Train (or go on with) every row, a recipe and changes to its settings, under every seed; return what the runs measured."""
    common = dict(item.split("=", 1) for item in args.set)
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):  # a seed of every row first, so that a table cut short compares like with like
        for row, (recipe, changes) in rows.items():
            if args.only in (None, row):
                default = recipes.RECIPES[recipe].settings
                changed = changes | {name: type(getattr(default, name))(value) for name, value in common.items()}
                settings = dataclasses.replace(default, **changed, seed=seed)
                result = recipes.train(recipe, settings, args.out / program() / f"{row}-{seed}")
                if result is None:
                    sys.exit(130)
                print(row, f"seed {seed}", {k: round(v, 3) for k, v in result.items() if isinstance(v, float)}, flush=True)
                results.setdefault(row, []).append(result)
    return results


def report(
    results: dict[str, list[dict[str, Any]]], columns: tuple[str, ...], args: argparse.Namespace, **details: Any
) -> dict[str, dict[str, tuple[float, float]]]:
    """Print mean ± standard error over seeds; save them with every run's numbers where that is asked for."""
    table = {row: {c: mean_and_error([run[c] for run in runs]) for c in columns} for row, runs in results.items()}
    print(f"{'':24}" + "".join(f"{column:>24}" for column in columns))
    for row, cells in table.items():
        print(f"{row:24}" + "".join(f"{mean:15.3f} ± {error:6.3f}" for mean, error in cells.values()))
    if args.save:
        device = jax.devices()[0]
        saved = {
            "command": f"python benchmarks/tables/{Path(sys.argv[0]).name} " + " ".join(sys.argv[1:]),
            "device": f"{device.platform}: {device.device_kind}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()}
            | {n: importlib.metadata.version(n) for n in ("jax", "flax", "optax")},
            "seeds": args.seeds,
            **details,
            "mean and standard error over seeds": table,
            # where the data lie is this machine's own business
            "runs": {row: [{k: v for k, v in run.items() if k != "data"} for run in runs] for row, runs in results.items()},
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{program()}.json").write_text(json.dumps(saved, indent=2) + "\n")
    return table


def program() -> str:
    """The name of the program that runs."""
    return Path(sys.argv[0]).stem


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Return the mean over seeds and its standard error (0 for one seed)."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return statistics.mean(values), error
