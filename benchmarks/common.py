"""What every benchmark shares: runs in turn (A B A B …), medians, a table, a line `ratio NAME VALUE`, and a JSON file to keep.

    python benchmarks/PROGRAM.py [--rounds N] [--save [FILE]]

With `--save` the numbers go to `benchmarks/results/PROGRAM.json`, or to FILE, with the command, the device, the versions and the
seeds.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import train
from gen_jax.data import Split

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jax", "flax", "optax", "torch", "zuko")


def arguments(description: str, rounds: int, what: Sequence[str] = (), **more: dict[str, Any]) -> argparse.Namespace:
    """Return the options that every benchmark has, `more` by name, each as `add_argument` takes it, and what is to be done."""
    parser = argparse.ArgumentParser(description=description)
    if what:
        parser.add_argument("what", choices=what)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each program is timed")
    for name, option in more.items():
        parser.add_argument(f"--{name}", **option)
    default = RESULTS / f"{Path(sys.argv[0]).stem}.json"
    parser.add_argument("--save", nargs="?", type=Path, const=default, help="write benchmarks/results/PROGRAM.json, or this file")
    return parser.parse_args()


def epoch_program(
    step: train.Step, state: train.TrainState, data: np.ndarray, batch: int, num_steps: int | None = None
) -> Callable[[], Any]:
    """Return a function that trains an epoch, the library's own compiled scan, and then the next one.

    The data are on the device; an epoch is a whole pass over them, or `num_steps` steps.
    """
    epoch = jax.jit(train.scan_epoch(step, batch, num_steps), donate_argnums=0)
    examples, key = Split(jnp.asarray(data)), jax.random.key(0)

    def run() -> Any:
        nonlocal state
        state, metrics = epoch(state, examples, jax.random.fold_in(key, state.step))
        return jax.block_until_ready(metrics)

    return run


def seconds_in_turn(programs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Run each program once untimed, then all of them in turn `rounds` times; a program returns when its work is done."""
    for program in programs.values():
        program()
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(
    unit: str,
    values: dict[str, list[float]],
    ratios: dict[str, float],
    args: argparse.Namespace,
    seed: int | None = None,
    **details: Any,
) -> None:
    """Print the median and the range of each program's values, then the ratios; save them where that is asked for."""
    print(f"{'':44}{'median':>12}{'least':>12}{'most':>12}  {unit}")
    for name, row in values.items():
        print(f"{name:44}{statistics.median(row):12.4g}{min(row):12.4g}{max(row):12.4g}")
    for name, ratio in ratios.items():
        print(f"ratio {name} {ratio:.2f}")
    if args.save:
        medians = {name: statistics.median(row) for name, row in values.items()}
        seeds = {} if seed is None else {"seed": seed}
        write(args.save, {**how(), **seeds, "unit": unit, **details, "values": values, "medians": medians, "ratios": ratios})


def how() -> dict[str, Any]:
    """Return what a file of results says first: the command (without where its files lie), the device and the versions."""
    device = jax.devices()[0]
    versions = {name: importlib.metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)}
    return {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *(a for a in sys.argv[1:] if "/" not in a)]),
        "device": f"{device.platform}: {device.device_kind}, {os.cpu_count()} cores, {_processor()}",
        "versions": {"python": platform.python_version(), **versions},
    }


def read(path: Path | None) -> dict[str, Any]:
    """Return what a file of results holds, nothing if there is none, or end where it was made on another device."""
    if path is None or not path.exists():
        return {}
    found, here = json.loads(path.read_text()), how()["device"]
    # of a GPU, the computer that holds it may be another
    if found["device"] != here and (not here.startswith("gpu") or found["device"].split(",")[0] != here.split(",")[0]):
        sys.exit(f"{path} has results of {found['device']}, and this is {here}: give another file.")
    return found


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    train.write_whole(path, json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
