"""MAF and spline coupling on a CPU or GPU against zuko, and the compile time of stacks of 4 and 32 layers.

    python benchmarks/flows_speed.py [--rounds N] [--save]

Five layers, D = 64, a batch of 512, two hidden layers of 128 in every network; eight bins for the splines; Adam. Both sides
compute the log-densities of ten batches, and train for an epoch of ten steps; the table has the time of one.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_step
import zuko
from common import arguments, epoch_program, report, seconds_in_turn

from gen_jax import flows, train
from gen_jax.densities import density_loss
from gen_jax.distributions import Normal
from gen_jax.nets import MLP, autoregressive_net, near_zero
from gen_jax.types import Bijection, DensityModel

DIM, BATCH, HIDDEN, LAYERS, BATCHES, SEED = 64, 512, (128, 128), 5, 10, 0


def layer(name: str) -> Bijection:
    """Return one layer of a kind, with the reversal that follows it."""
    if name == "maf":
        net = autoregressive_net(DIM, HIDDEN, 2)
        return flows.chain(flows.masked_autoregressive(net, DIM, flows.affine()), flows.reverse(DIM))
    spline = flows.rational_quadratic_spline(num_bins=8, bound=5.0)
    net = MLP(HIDDEN, (spline.num_params, DIM - DIM // 2), output_init=near_zero)
    return flows.chain(flows.coupling(net, DIM, spline), flows.reverse(DIM))


def density(name: str, num_layers: int = LAYERS) -> DensityModel:
    """Return a stack of layers on a standard normal."""
    return flows.flow_density(Normal(jnp.zeros(DIM), jnp.ones(DIM)), flows.stack(layer(name), num_layers))


def ours(name: str, data: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return the two programs of gen_jax: log-densities of all batches, and an epoch of training on them."""
    model = density(name)
    log_prob = jax.jit(lambda params, x: jax.lax.map(lambda x: model.log_prob(params, x), x, batch_size=BATCH))
    params, x = model.init(jax.random.key(SEED)), jnp.asarray(data)
    return {"log_prob": lambda: jax.block_until_ready(log_prob(params, x)), "train": training(name, data, BATCH)}


def training(name: str, data: np.ndarray, batch: int) -> Callable[[], Any]:
    """Return the program that trains an epoch."""
    model, optimizer = density(name), train.adam(1e-3)
    state = train.init_state(model.init(jax.random.key(SEED)), optimizer, jax.random.key(1))
    return epoch_program(train.make_step(density_loss(model), optimizer), state, data, batch)


class TorchFlow(torch.nn.Module):
    """The same stack in zuko; returns the negative log-density of a batch."""

    def __init__(self, name: str):
        super().__init__()
        if name == "maf":
            self.flow = zuko.flows.MAF(features=DIM, transforms=LAYERS, hidden_features=HIDDEN)
        else:  # 2 passes: coupling
            self.flow = zuko.flows.NSF(features=DIM, transforms=LAYERS, hidden_features=HIDDEN, bins=8, passes=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        return -self.flow().log_prob(x).mean()


def theirs(name: str, data: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return the same two programs of zuko."""
    torch.manual_seed(SEED)
    device = torch_step.device()
    model, x = TorchFlow(name).to(device), torch.from_numpy(data).to(device)

    def log_prob() -> None:
        with torch.no_grad():
            for batch in x.split(BATCH):
                model.flow().log_prob(batch).cpu().numpy()

    return {"log_prob": log_prob, "train": torch_step.epoch_of(torch_step.minimise(model), x, BATCH)}


def compile_seconds(name: str, num_layers: int) -> float:
    """Return the time to trace and compile the gradient of a stack's log-density."""
    model = density(name, num_layers)
    params = model.init(jax.random.key(SEED))
    jax.clear_caches()

    def loss(params: object, x: jax.Array) -> jax.Array:
        return -jnp.mean(jax.vmap(model.log_prob, in_axes=(None, 0))(params, x))

    start = time.perf_counter()
    jax.jit(jax.grad(loss)).lower(params, jnp.zeros((BATCH, DIM))).compile()
    return time.perf_counter() - start


def main() -> None:
    """Time both libraries in turn, then the compilation of shallow and deep stacks in turn."""
    args = arguments(__doc__ or "", rounds=15)
    data = np.random.default_rng(SEED).normal(size=(BATCHES * BATCH, DIM)).astype(np.float32)
    programs = {}
    for name in ("maf", "spline-coupling"):
        for library, make in (("gen_jax", ours), ("zuko", theirs)):
            programs |= {f"{library} {name} {what}": program for what, program in make(name, data).items()}
    seconds = {name: [s / BATCHES for s in row] for name, row in seconds_in_turn(programs, args.rounds).items()}
    for name in ("maf", "spline-coupling"):
        for num_layers in (4, 32):
            seconds[f"compile {name} {num_layers} layers"] = []
        for _ in range(3):
            for num_layers in (4, 32):
                seconds[f"compile {name} {num_layers} layers"].append(compile_seconds(name, num_layers))
    medians = {name: sorted(row)[len(row) // 2] for name, row in seconds.items()}
    ratios = {
        f"{name}-{what}": medians[f"zuko {name} {what}"] / medians[f"gen_jax {name} {what}"]
        for name in ("maf", "spline-coupling")
        for what in ("log_prob", "train")
    } | {
        f"{name}-compile-32-to-4": medians[f"compile {name} 32 layers"] / medians[f"compile {name} 4 layers"]
        for name in ("maf", "spline-coupling")
    }
    milliseconds = {name: [1e3 * s for s in row] for name, row in seconds.items()}
    report("ms", milliseconds, ratios, args, SEED, dim=DIM, batch=BATCH, hidden=HIDDEN, layers=LAYERS, batches=BATCHES)


if __name__ == "__main__":
    main()
