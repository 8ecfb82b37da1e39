"""Single runs that the pages of the site tell of: what their commands measure is kept, and the pages show it.

    python benchmarks/trials.py [--only TRIAL ...] [--save [FILE]]

A trial is commands of `gen-jax`, done one after the other in an empty folder, under one seed: it has no error over seeds. What a
run (`result.json`) and a task (its numbers) write is kept by the names of the run and of the file. With `--save` it goes into
`benchmarks/results/trials.json` as soon as a trial ends; the other trials of that file stay there.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import RESULTS, how, write


def translation(settings: str) -> list[str]:
    """Return the commands of a CycleGAN that is measured on validation pairs, both ways."""
    both = [f"translate runs/cyclegan --direction {way} --against valid" for way in ("a-to-b", "b-to-a")]
    return [f"train cyclegan {settings}", *both]


WEIGHTS = {  # of the cycle loss and of the identity loss
    "10 and 5": "--cycle-weight 10 --identity-weight 5",
    "2 and 5": "--cycle-weight 2 --identity-weight 5",
    "2 and 0": "--cycle-weight 2 --identity-weight 0",
}
TRIALS: dict[str, list[str]] = {
    "vae": ["train vae"],
    "vae-fashion": ["train vae-fashion"],
    "vae-cifar10": ["train vae-cifar10"],
    "vae-mnist-100": [
        "train vae-mnist --epochs 100",
        "likelihood runs/vae-mnist --num 40 --num-temperatures 1000 --num-chains 8",
        "bound runs/vae-mnist",
    ],
    "ladder": ["train ladder-mnist --latent-dims 100 50 --hidden-sizes 200 200 --kl-warmup-steps 0 --epochs 5"],
    "one-layer": ["train vae-mnist --activation relu --batch-size 20 --epochs 5"],
    "tune": ["tune vae --vary hidden-sizes=[64],[200],[200,100] latent-dim=2..32:log --trials 10 --epochs 9"],
    "checkerboard": ["train flow-2d --data toy:checkerboard"],
    "autoencoder": ["train autoencoder"],
    "autoencoder-denoising": ["train autoencoder-denoising"],
    "autoencoder-contractive": ["train autoencoder-contractive"],
    "gan-ring": ["train gan-ring"],
    "gan-grid": ["train gan-grid"],
    "gan-grid-packs": ["train gan-grid --penalty none --packing 4 --batch-size 400 --epochs 320"],
    "gan-labels": ["train gan-mnist --num-classes 10", "quality runs/gan-mnist"],
    "gan-classifier": ["train gan-mnist --num-classes 10 --condition classifier", "quality runs/gan-mnist"],
    **{
        f"{data}, {weights}, seed {seed}": translation(f"--data {data}:mnist-5k {given} --epochs {epochs} --seed {seed}")
        for data, epochs in (("edges", 6), ("inverted", 2))
        for weights, given in WEIGHTS.items()
        for seed in (0, 1)
    },
}


def run(commands: list[str], folder: Path) -> dict[str, Any]:
    """Do the commands of a trial in an empty folder, and return them, their seconds and what they measured."""
    seconds = []
    for command in commands:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gen_jax", *shlex.split(command)], cwd=folder, check=True)
        seconds.append(time.perf_counter() - start)
    return {"commands": [f"gen-jax {command}" for command in commands], "seconds": seconds, "found": measured(folder)}


def measured(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what runs and tasks wrote, run by run; without settings, and without where the data lie."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / "runs").rglob("*.json")):
        if path.name != "config.json" and path.parent.name != "checkpoints":
            read = json.loads(path.read_text())
            kept = {name: value for name, value in read.items() if name not in ("settings", "data")}
            found.setdefault(path.parent.name, {})[path.stem] = kept
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(TRIALS), default=list(TRIALS), metavar="TRIAL")
    parser.add_argument("--save", nargs="?", type=Path, const=RESULTS / "trials.json", metavar="FILE")
    args = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            trial = run(TRIALS[name], Path(folder))
        cores = len(os.sched_getaffinity(0))
        made = {**how(), "cores": cores, "command": shlex.join(["python", "benchmarks/trials.py", "--only", name, "--save"])}
        print(name, json.dumps(trial["found"], indent=2, ensure_ascii=False), flush=True)
        if args.save:
            kept = json.loads(args.save.read_text()) if args.save.exists() else {}
            write(args.save, {**kept, name: {**made, **trial}})
