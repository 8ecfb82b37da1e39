"""What is measured on a GPU, in parts that go on where they were stopped; each is some calls of the other programs here.

    python benchmarks/gpu.py steps                       # or another part; see PARTS, and on_device.md
    python benchmarks/gpu.py steps --toy                 # the same code at toy size, on a CPU

All parts of a call end within `--budget-seconds` and 45 s of grace, by default 8 minutes: what runs then is asked to stop (it
saves a checkpoint), and what is left is said. The same call goes on. `benchmarks/results/gpu-PART-DEVICE.json` has what each call
measured; run folders are in `--out`.

- steps: milliseconds a step beside PyTorch eager, compiled and as CUDA graphs; flags: ours under flags of XLA.
- iwae: the table of the IWAE paper, the cells of a K and a depth in one program; pacgan: stacked MNIST, ten seeds.
- sylvester, sphere: VAEs with flow posteriors, and on the sphere; the three seeds of a row in one program.
- style, emoji: StyleGANs of more channels and images, and what augmentation is worth; sprites: a capacity of 25 nats at γ = 100.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
GRACE_SECONDS = 45  # for a checkpoint, once a program is asked to stop
LEAST_SECONDS = 30  # nothing is started with less
MNIST_STEPS = 550  # of an epoch at batch 100


class Piece(NamedTuple):
    """A call of a program.

    Attributes:
        command: the program and its options, as in a shell.
        toy: the same at toy size, for a CPU.
        flags: of XLA.
    """

    command: str
    toy: str
    flags: str = ""


def iwae(depth: str, num: int) -> Piece:
    """Return the cells of a depth and a K; the paper's own schedule is `epochs=3280 batch_size=20 schedule=iwae`."""
    cells = " ".join(f"{depth}-{model}-{num}" for model in (("vae",) if num == 1 else ("vae", "iwae")))
    call = f"tables/iwae.py --at-once --seeds 1 --only {cells} --set"
    toy = "data=mnist-5k epochs=1 epoch_steps=2 num_importance_samples=2"
    return Piece(f"{call} epochs=1000 batch_size=100 schedule=cosine", f"{call} {toy}")


def stacked(row: str) -> Piece:
    """Return a row of stacked MNIST, 50 epochs of 2,000 steps, with twice the channels of the table."""
    call = f"tables/stacked.py --only {row} --seeds"
    toy = "1 --set data=stacked:mnist-5k epochs=1 epoch_steps=2"
    return Piece(f"{call} 10 --set epochs=50 validate_every=10 channels=(64,128)", f"{call} {toy}")


def sylvester(row: str) -> Piece:
    """Return a row of VAEs with flow posteriors: up to 2,000 epochs, of which 100 are warm-up."""
    call = f"tables/flow_vae.py --at-once --only {row}"
    longer = f"epochs=2000 kl_warmup_steps={100 * MNIST_STEPS} num_importance_samples=5000"
    toy = "data=mnist-5k epochs=1 epoch_steps=2 kl_warmup_steps=1 num_importance_samples=2"
    return Piece(f"{call} --seeds 3 --set {longer}", f"{call} --seeds 2 --set {toy}")


def sphere(row: str) -> Piece:
    """Return a row of VAEs on the sphere, with the table's own schedule."""
    call = f"tables/sphere.py --at-once --only {row}"
    toy = "data=mnist-5k epochs=1 epoch_steps=2 num_importance_samples=2"
    return Piece(f"{call} --seeds 3", f"{call} --seeds 1 --set {toy}")


def style(row: str, settings: str) -> Piece:
    """Return a StyleGAN with four times the recipe's channels."""
    call = f"tables/style.py --seeds 1 --only '{row}' --set"
    toy = "data=mnist-5k width=2 max_width=4 epochs=1 epoch_steps=2"
    return Piece(f"{call} {settings}", f"{call} {toy}")


def sprites(architecture: str) -> Piece:
    """Return sprites under a capacity that rises to 25 nats over 100,000 steps, as in the paper, at γ = 100, rounded."""
    call = f"tables/disentanglement.py --only capacity-huber-long --set {architecture}"
    longer = "gamma=100.0 capacity=25.0 capacity_steps=100000 epochs=200 epoch_steps=500"
    return Piece(f"{call} {longer} --seeds 3", f"{call} capacity_steps=2 epochs=1 epoch_steps=2 --seeds 1")


DEPTHS, NUMS = ("one-layer", "two-layers"), (1, 5, 50)
FLOWS = ("vae", "planar", "iaf", "sylvester")
SPHERES = [f"{latent}-{dim}" for dim in (2, 5, 10) for latent in ("von-mises-fisher", "normal")]
WIDE = "width=32 max_width=256 batch_size=32"
OURS = "step_speed.py --peers --only"
BUFFERED = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,CONDITIONAL,WHILE,DYNAMIC_SLICE_FUSION"
FLAGS = {
    "as they are": "",
    "whole scans as command buffers": f"--xla_gpu_enable_command_buffer={BUFFERED} --xla_gpu_graph_min_graph_size=1",
    "unrolled scans as command buffers": "--xla_gpu_command_buffer_unroll_loops=true",
    "no command buffers": "--xla_gpu_enable_command_buffer=",
}
CONV = "architecture=conv channels=(32,32,32,32) hidden_sizes=(256,256)"
AUGMENTATIONS = ("emoji, no augmentation", "emoji, differentiable", "emoji, adaptive")
PARTS: dict[str, dict[str, Piece]] = {
    "steps": {"all": Piece("step_speed.py --variants", f"{OURS} mlp-vae wgan-gp --toy --rounds 1 --variants")},
    "flags": {
        name: Piece(f"{OURS} mlp-vae conv-vae wgan-gp maf --variants", f"{OURS} mlp-vae --toy --rounds 1", flags)
        for name, flags in FLAGS.items()
    },
    "iwae": {f"{depth}-{num}": iwae(depth, num) for depth in DEPTHS for num in NUMS},
    "pacgan": {row: stacked(row) for row in ("DCGAN", "PacDCGAN2")},
    "sylvester": {row: sylvester(row) for row in FLOWS},
    "sphere": {row: sphere(row) for row in SPHERES},
    "style": {"fashion": style("fashion", f"{WIDE} epochs=50 validate_every=10")},
    "emoji": {row: style(row, f"{WIDE} epochs=300 validate_every=50") for row in AUGMENTATIONS},
    "sprites": {"mlp": sprites("architecture=mlp"), "conv": sprites(CONV)},
}


def main() -> None:
    """Do what is left of a part, while there is time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--budget-seconds", type=float, default=435, help="of all the parts together")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="where the run folders go")
    parser.add_argument("--results", type=Path, help="where the results go; by default benchmarks/results, of a toy --out")
    parser.add_argument("--toy", action="store_true", help="the first piece of each part at toy size")
    args = parser.parse_args()
    results, end = args.results or (args.out if args.toy else HERE / "results"), time.monotonic() + args.budget_seconds
    left = [f"{part}: {name}" for part in args.parts for name in do(part, args.out, results, end, args.toy)]
    print("left:", "; ".join(left) or "nothing", flush=True)
    sys.exit(1 if left else 0)


def do(part: str, out: Path, results: Path, end: float, toy: bool) -> list[str]:
    """Run the pieces of a part that are not done, until `end`, and return the names of those that are not done then."""
    path = results / f"gpu-{part}-{device()}.json"
    found = json.loads(path.read_text()) if path.exists() else {"part": part, "device": device(), "pieces": {}}
    pieces = dict([next(iter(PARTS[part].items()))]) if toy else PARTS[part]
    found["pieces"] = {name: {"seconds": 0.0, "done": False} for name in pieces} | found["pieces"]
    for name, piece in pieces.items():
        entry = found["pieces"][name]
        if entry["done"] or end - time.monotonic() < LEAST_SECONDS:
            continue
        file = out / f"{part}-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
        if "result" in entry and not file.exists():  # on a machine that has this file alone
            write(file, entry["result"])
        began = time.monotonic()
        status = run(piece, out, file, end, toy)
        entry |= {"flags": piece.flags, "seconds": entry["seconds"] + time.monotonic() - began, "done": status == 0}
        entry["status"] = status  # negative: the signal that ended it
        if file.exists():
            entry["result"] = json.loads(file.read_text())
        write(path, found)
        print(f"{part}: {name}: {'done' if status == 0 else f'ended with {status}'}, {entry['seconds']:.0f} s in all", flush=True)
    return [name for name in pieces if not found["pieces"][name]["done"]]


def run(piece: Piece, out: Path, file: Path, end: float, toy: bool) -> int:
    """Run a piece until it ends, or is asked to at `end`, and return its exit status."""
    program, *options = shlex.split(piece.toy if toy else piece.command)
    options += ["--save", str(file)] + (["--out", str(out)] if program.startswith("tables/") else [])
    # PyTorch needs memory beside JAX, whose own way is to take most of it at once
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
    if piece.flags:
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {piece.flags}"
    process = subprocess.Popen([sys.executable, str(HERE / program), *options], env=environment)
    try:
        return process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def device() -> str:
    """Return the name of the GPU, such as `nvidia-h200`, or `cpu`; without JAX, which would hold memory of it."""
    try:
        names = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
    except FileNotFoundError:
        return "cpu"
    return "-".join(names.stdout.splitlines()[0].lower().split()) if names.returncode == 0 else "cpu"


def write(path: Path, value: dict[str, Any]) -> None:
    """Write a file of results, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
