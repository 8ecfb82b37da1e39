"""Milliseconds a training step: the reference VAE (784-512-256-20, batch 128, Adam), data already in memory.

Ours is the library's own step in the library's own epoch (with its metrics and gradient norm), a compiled scan. The peer is the
same model in PyTorch: eager, eager with the fused Adam, and `torch.compile`d.

    pip install -e '.[bench]' && python benchmarks/train_speed.py --save
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch
from common import arguments, report, seconds_in_turn
from torch_vae import TorchVAE

from gen_jax import train
from gen_jax.nets import MLP
from gen_jax.vae import bernoulli_likelihood, gaussian_vae, negative_elbo

BATCH, STEPS, SEED = 128, 100, 0


def gen_jax_program(data: np.ndarray):
    """Return a function that trains one epoch."""
    vae = gaussian_vae(MLP((512, 256), (2, 20)), MLP((256, 512), (784,)), 20, bernoulli_likelihood())
    optimizer = train.adam(1e-3)
    step = train.make_step(train.batch_mean(functools.partial(negative_elbo, vae)), optimizer)
    epoch = jax.jit(train.scan_epoch(step, BATCH), donate_argnums=0)
    init_key, noise_key, order_key = jax.random.split(jax.random.key(SEED), 3)
    state = train.init_state(vae.init(init_key, jnp.zeros(784)), optimizer, noise_key)
    images = jnp.asarray(data)

    def run():
        nonlocal state
        state, metrics = epoch(state, images, jax.random.fold_in(order_key, state.step))
        return jax.block_until_ready(metrics)

    return run


def torch_program(data: np.ndarray, fused: bool = False, compiled: bool = False):
    """Return a function that trains one epoch."""
    torch.manual_seed(SEED)
    model = TorchVAE()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=fused or None)
    loss_of = torch.compile(model) if compiled else model
    images = torch.from_numpy(data)

    def run():
        for rows in torch.randperm(len(images)).view(-1, BATCH):
            optimizer.zero_grad()
            loss = loss_of(images[rows])
            loss.backward()
            optimizer.step()
        return loss.item()

    return run


def main() -> None:
    """Time them in turn."""
    args = arguments(__doc__, rounds=9)
    data = (np.random.default_rng(SEED).random((BATCH * STEPS, 784)) < 0.2).astype(np.float32)
    seconds = seconds_in_turn(
        {
            "gen_jax": gen_jax_program(data),
            "PyTorch eager": torch_program(data),
            "PyTorch eager, fused Adam": torch_program(data, fused=True),
            "PyTorch compiled": torch_program(data, compiled=True),
        },
        args.rounds,
    )
    milliseconds = {name: [1e3 * s / STEPS for s in row] for name, row in seconds.items()}
    median = {name: float(np.median(row)) for name, row in milliseconds.items()}
    ratios = {
        f"train_step_vs_{name}": median[peer] / median["gen_jax"]
        for name, peer in (
            ("torch_eager", "PyTorch eager"),
            ("torch_eager_fused_adam", "PyTorch eager, fused Adam"),
            ("torch_compiled", "PyTorch compiled"),
        )
    }
    report("ms a step", milliseconds, ratios, args, SEED, model="784-512-256-20", batch=BATCH, steps=STEPS)


if __name__ == "__main__":
    main()
