"""What every benchmark shares: runs in turn (A B A B …), medians, a table, a line `ratio NAME VALUE`, and a JSON file to keep.

    python benchmarks/PROGRAM.py [--rounds N] [--save]

With `--save` the numbers go to `benchmarks/results/PROGRAM.json` with the command, the device, the versions and the seeds.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jax", "flax", "optax", "torch", "zuko")


def arguments(description: str, rounds: int, **more: dict[str, Any]) -> argparse.Namespace:
    """Return the options that every benchmark has, and `more` by name, each as `add_argument` takes it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each program is timed")
    for name, option in more.items():
        parser.add_argument(f"--{name}", **option)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/PROGRAM.json")
    return parser.parse_args()


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
    unit: str, values: dict[str, list[float]], ratios: dict[str, float], args: argparse.Namespace, seed: int, **details: Any
) -> None:
    """Print the median and the range of each program's values, then the ratios; save them where that is asked for."""
    print(f"{'':44}{'median':>12}{'least':>12}{'most':>12}  {unit}")
    for name, row in values.items():
        print(f"{name:44}{statistics.median(row):12.4g}{min(row):12.4g}{max(row):12.4g}")
    for name, ratio in ratios.items():
        print(f"ratio {name} {ratio:.2f}")
    if args.save:
        device = jax.devices()[0]
        versions = {name: importlib.metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)}
        result = {
            "command": f"python benchmarks/{Path(sys.argv[0]).name} " + " ".join(sys.argv[1:]),
            "device": f"{device.platform}: {device.device_kind}, {os.cpu_count()} cores, {_processor()}",
            "versions": {"python": platform.python_version(), **versions},
            "seed": seed,
            "unit": unit,
            **details,
            "values": values,
            "medians": {name: statistics.median(row) for name, row in values.items()},
            "ratios": ratios,
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{Path(sys.argv[0]).stem}.json").write_text(json.dumps(result, indent=2) + "\n")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
