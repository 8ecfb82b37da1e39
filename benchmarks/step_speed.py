"""Milliseconds a training step of every family on an accelerator, at a small and a large batch.

    pip install -e '.[bench]' && python benchmarks/step_speed.py [--only mlp-vae ...] [--peers eager ...] [--save [FILE]]

Ours is the library's own step in a compiled scan, with its metrics and gradient norms. The peers are the same model in PyTorch:
eager, `torch.compile`d, and as a CUDA graph of a whole step. A penalty of a compiled network is of the network as it is, since a
compiled one cannot be differentiated twice. Lazy penalties and image pools change from step to step, so that StyleGANs and
CycleGAN have no graph. On a CPU there are no graphs at all.

A case and a batch are measured in turn (A B A B …); one that is in the file already is not measured again, so that a program
that was stopped goes on. What cannot be compiled or captured is in the file as an error. A row that fails all the same, as one
can after a capture that was broken off, ends the program; the next call tries it without a graph, and leaves it out if it fails
again. Distributions of PyTorch do not check their arguments, for which they would wait. `--variants` adds ours with
Adam over one flat vector (MLP VAE) and with layers in bfloat16 (StyleGANs).
"""

import functools
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import flows_speed
import gan_speed
import jax
import jax.numpy as jnp
import numpy as np
import optax
import style_speed
import torch
import torch_gan
import torch_step
import train_speed
from common import arguments, epoch_program, how, read, seconds_in_turn, write
from torch_made import TorchMADE
from torch_vae import TorchConvVAE, TorchVAE

from gen_jax import train
from gen_jax.recipes import RECIPES, change
from gen_jax.types import Adversaries
from gen_jax.vae import elbo_loss

SEED = 0
STEPS = {"small": 100, "large": 40}
TOY_STEPS = 2
PEERS = ("eager", "compiled", "graph")
MAY_FAIL = ("compiled", "graph")
torch.distributions.Distribution.set_default_validate_args(False)  # checks wait for the device, which a capture forbids
Program = Callable[[], Any]


class Case(NamedTuple):
    """A model to time.

    Attributes:
        batches: by size.
        data: number of examples -> the examples, with channels last.
        ours: (examples, batch) -> a function that trains an epoch.
        peer: (device, compiled=, capturable=) -> the step of the peer; None for one that is an epoch already.
        peer_epoch: (examples, batch, compiled) -> a function that trains an epoch, of a peer without a graph.
        variants: of ours, by name.
        rows: examples of a step, in batches: more than one where a critic takes several.
    """

    batches: dict[str, int]
    data: Callable[[int], np.ndarray]
    ours: Callable[[np.ndarray, int], Program]
    peer: Callable[..., torch_step.Step] | None = None
    peer_epoch: Callable[[np.ndarray, int, bool], Program] | None = None
    variants: Mapping[str, Callable[[np.ndarray, int], Program]] = MappingProxyType({})
    rows: int = 1


def sizes(small: int, large: int) -> dict[str, int]:
    """Return the batch of each size."""
    return dict(zip(STEPS, (small, large), strict=True))


def binary(*shape: int) -> Callable[[int], np.ndarray]:
    """Return number -> so many binary examples."""
    return lambda num: (np.random.default_rng(SEED).random((num, *shape), np.float32) < 0.2).astype(np.float32)


def grey(*shape: int) -> Callable[[int], np.ndarray]:
    """Return number -> so many examples in [−1, 1]."""
    return lambda num: 2 * np.random.default_rng(SEED).random((num, *shape), np.float32) - 1


def normal(dim: int) -> Callable[[int], np.ndarray]:
    """Return number -> so many normal vectors."""
    return lambda num: np.random.default_rng(SEED).standard_normal((num, dim), np.float32)


def of_recipe(recipe: str, **changes: Any) -> Callable[[np.ndarray, int], Program]:
    """Return (examples, batch) -> the epoch of a recipe, on examples as its model sees them."""

    def program(data: np.ndarray, batch: int) -> Program:
        settings = change(RECIPES[recipe].settings, **changes)
        experiment = RECIPES[recipe].build(settings, data.shape[1:])
        make = train.make_game_step if isinstance(experiment.loss, Adversaries) else train.make_step
        state = train.start(jax.random.key(SEED), experiment.model, optimizer := experiment.optimizer(10**6), data.shape[1:])
        return epoch_program(make(experiment.loss, optimizer), state, data, batch)

    return program


def of_module(module: Callable[[], torch.nn.Module]) -> Callable[..., torch_step.Step]:
    """Return (device, …) -> the step of Adam on a model that returns its loss."""
    return lambda device, **options: torch_step.minimise(module().to(device), **options)


def wgan(data: np.ndarray, batch: int) -> Program:
    """Return our epoch of WGAN-GP on points."""
    step, start = gan_speed.gen_jax_game("WGAN-GP")
    return epoch_program(step, jax.jit(start)(jax.random.key(SEED)), data, batch)


def dcgan(channels: tuple[int, ...], size: int) -> Case:
    """Return a DCGAN of colour images."""

    def peer(device: str, compiled: bool = False, capturable: bool = False) -> torch_step.Step:
        networks = [network.to(device) for network in torch_gan.dcgan_networks(channels, size, 3, LATENT)]
        called = list(map(torch.compile, networks)) if compiled else None
        options = {"lr": 2e-4, "betas": (0.5, 0.999), "capturable": capturable}
        optimizers = [torch.optim.Adam(network.parameters(), **options) for network in networks]
        return lambda x, number: torch_gan.non_saturating_step(networks, optimizers, x, LATENT, joint=False, called=called)

    ours = of_recipe("dcgan-cifar10", channels=channels, latent_dim=LATENT)
    return Case(sizes(64, 512), grey(size, size, 3), ours, peer)


def style(name: str) -> Case:
    """Return a GAN of `style_speed`."""

    def bfloat16(data: np.ndarray, batch: int) -> Program:
        settings = change(style_speed.settings_of(name, batch), compute="bfloat16")
        return style_speed.gen_jax_program(name, settings, data)

    return Case(
        sizes(16, 128),
        lambda num: style_speed.images_of(name, num),
        lambda data, batch: style_speed.gen_jax_program(name, style_speed.settings_of(name, batch), data),
        variants={} if name == "cyclegan" else {"bfloat16": bfloat16},
        peer_epoch=lambda data, batch, compiled: style_speed.torch_program(
            name, style_speed.settings_of(name, batch), data, compiled
        ),
    )


def flat_adam(data: np.ndarray, batch: int) -> Program:
    """Return our epoch of the MLP VAE with Adam over one flat vector."""
    vae, optimizer = train_speed.mlp_vae(), optax.flatten(train.adam(1e-3))
    state = train.init_state(vae.init(jax.random.key(SEED), jnp.zeros(784)), optimizer, jax.random.key(1))
    return epoch_program(train.make_step(elbo_loss(vae), optimizer), state, data, batch)


LATENT = 100
CASES = {
    "mlp-vae": Case(
        sizes(128, 2048),
        binary(784),
        lambda data, batch: train_speed.gen_jax_program(train_speed.mlp_vae(), data, batch),
        of_module(TorchVAE),
        variants={"flat Adam": flat_adam},
    ),
    "conv-vae": Case(
        sizes(64, 512),
        binary(64, 64, 1),
        lambda data, batch: train_speed.gen_jax_program(train_speed.conv_vae(), data, batch),
        of_module(TorchConvVAE),
    ),
    "wgan-gp": Case(
        sizes(256, 2048),
        normal(2),
        wgan,
        lambda device, **options: gan_speed.torch_game("WGAN-GP", device, **options),
        rows=gan_speed.CRITIC_STEPS,
    ),
    "dcgan-32": dcgan((64, 128, 256), 32),
    "dcgan-64": dcgan((64, 128, 256, 512), 64),
    "made": Case(sizes(100, 2000), binary(784), of_recipe("made-mnist", binarise="none"), of_module(TorchMADE)),
    **{
        name: Case(
            sizes(512, 8192),
            normal(flows_speed.DIM),
            lambda data, batch, name=name: flows_speed.training(name, data, batch),
            of_module(lambda name=name: flows_speed.TorchFlow(name)),
        )
        for name in ("maf", "spline-coupling")
    },
    **{name: style(name) for name in style_speed.NAMES},
}


def programs_of(case: Case, data: np.ndarray, batch: int, variants: bool) -> dict[str, Callable[[], Program]]:
    """Return what is timed, each as a function that makes it."""
    on_gpu = jax.default_backend() == "gpu"
    makers: dict[str, Callable[[], Program]] = {"gen_jax": lambda: case.ours(data, batch)}
    if variants:
        makers |= {f"gen_jax, {name}": functools.partial(make, data, batch) for name, make in case.variants.items()}
    if case.peer_epoch is not None:
        makers["PyTorch eager"] = lambda: case.peer_epoch(data, batch, False)
        makers["PyTorch compiled"] = lambda: case.peer_epoch(data, batch, True)
        return makers

    def theirs(compiled: bool = False, graph: bool = False) -> Program:
        torch.manual_seed(SEED)
        device = torch_step.device()
        channels_first = data.transpose(0, 3, 1, 2) if data.ndim == 4 else data
        x = torch.from_numpy(np.ascontiguousarray(channels_first)).to(device)
        step = case.peer(device, compiled=compiled, capturable=graph)
        return torch_step.epoch_of(torch_step.graphed(step, x[:batch]) if graph else step, x, batch)

    makers["PyTorch eager"] = theirs
    makers["PyTorch compiled"] = lambda: theirs(compiled=True)
    if on_gpu:
        makers["PyTorch CUDA graph"] = lambda: theirs(graph=True)
    return makers


def measure(name: str, batch: int, steps: int, rounds: int, variants: bool, peers: Sequence[str]) -> dict[str, Any]:
    """Return the milliseconds of a step of each program, medians, and how many times ours the peers take."""
    case = CASES[name]
    rows, programs, errors = case.rows * batch, {}, {}
    data = case.data(steps * rows)
    for program, make in programs_of(case, data, rows, variants).items():
        if not program.startswith("gen_jax") and not program.endswith(tuple(peers)):
            continue
        try:
            programs[program] = make()
            programs[program]()  # compiles
        except Exception as error:  # of any type: PyTorch's compiler and captures raise their own
            if not program.endswith(MAY_FAIL):
                raise
            programs.pop(program, None)
            errors[program] = first_line(error)
    seconds = seconds_in_turn(programs, rounds)
    values = {program: [1e3 * s / steps for s in row] for program, row in seconds.items()}
    medians = {program: statistics.median(row) for program, row in values.items()}
    ratios = {program: median / medians["gen_jax"] for program, median in medians.items() if program != "gen_jax"}
    return {"batch": batch, "steps": steps, "values": values, "medians": medians, "ratios": ratios, "errors": errors}


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def main() -> None:
    """Measure what is not in the file yet, while there is time."""
    options = {
        "only": {"nargs": "*", "choices": tuple(CASES), "default": tuple(CASES), "help": "time these"},
        "peers": {
            "nargs": "*",
            "choices": PEERS,
            "default": PEERS,
            "help": "these programs of PyTorch; without any: ours",
        },
        "variants": {"action": "store_true", "help": "time ours with flat Adam and with bfloat16 too"},
        "toy": {"action": "store_true", "help": "batches of 4, a few steps: to see that it runs"},
    }
    args = arguments(__doc__, rounds=5, **options)
    found = read(args.save)
    if found and found["versions"] != how()["versions"]:
        raise SystemExit(f"{args.save} is of other versions ({found['versions']}): give another --save, or move it away.")
    result = {**how(), "seed": SEED, "unit": "ms a step", "rows": found.get("rows", {})}
    rows = result["rows"]
    of_sizes = ("small",) if args.toy else tuple(STEPS)  # all the small ones first
    chosen = {f"{name} {size}": (name, size) for size, name in itertools.product(of_sizes, args.only)}
    for row, (name, size) in chosen.items():
        failed = rows.get(row, {}).get("failed", [])
        if row in rows and len(failed) != 1:
            continue
        batch, steps = (4, TOY_STEPS) if args.toy else (CASES[name].batches[size], STEPS[size])
        peers = [peer for peer in args.peers if not (failed and peer == "graph")]
        try:
            found = measure(name, batch, steps, args.rounds, args.variants, peers)
            if failed:
                found["errors"]["PyTorch CUDA graph"] = f"left out, since with it: {failed[0]}"
        except Exception as error:
            found = {"failed": [*failed, first_line(error)]}
        rows[row] = found
        print(row, found.get("medians"), found.get("errors", found), flush=True)
        if args.save:
            write(args.save, result)
        if "failed" in found:
            raise SystemExit(f"{row} failed. The same call goes on.")


if __name__ == "__main__":
    main()
