"""Milliseconds a training step, data already in memory: the reference VAE, and a convolutional one of 64 x 64 pixels.

The first is 784-512-256-20 with batches of 128, the second the β-VAE of Burgess et al. (four convolutions of 32 channels, 10
latents) with batches of 64; both with Adam. Ours is the library's own step in the library's own epoch (with its metrics and
gradient norm), a compiled scan. The peer is the same model in PyTorch: eager, and for the first also eager with the fused Adam,
and `torch.compile`d.

The machine's own limit for the first is the time of its matrix products alone: 0.73 GFLOP a step, of every layer those for the
output, the gradient of the kernel and, but for the first layer, the gradient of the input. `train_step_vs_matmul_limit` is how
many times that limit our step takes; the other ratios are how many times our step a peer takes.

    pip install -e '.[bench]' && python benchmarks/train_speed.py --save
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_step
from common import arguments, epoch_program, report, seconds_in_turn
from torch_vae import TorchConvVAE, TorchVAE

from gen_jax import train
from gen_jax.nets import MLP, ConvDecoder, ConvEncoder
from gen_jax.types import VAE
from gen_jax.vae import bernoulli_likelihood, elbo_loss, gaussian_vae

SEED = 0
BATCH, STEPS = 128, 100
ENCODER, DECODER = (784, 512, 256, 40), (20, 256, 512, 784)
CONV_BATCH, CONV_STEPS = 64, 10


def mlp_vae() -> VAE:
    """784-512-256-20, the decoder mirrored."""
    return gaussian_vae(MLP((512, 256), (2, 20)), MLP((256, 512), (784,)), 20, bernoulli_likelihood())


def conv_vae() -> VAE:
    """Four convolutions of 32 channels and two dense layers, 10 latents, the decoder mirrored."""
    encoder = ConvEncoder((32, 32, 32, 32), (256, 256), (2, 10))
    return gaussian_vae(encoder, ConvDecoder((32, 32, 32, 32), (256, 256), (64, 64, 1)), 10, bernoulli_likelihood())


def gen_jax_program(vae: VAE, data: np.ndarray, batch: int):
    """Return a function that trains one epoch."""
    optimizer = train.adam(1e-3)
    init_key, noise_key = jax.random.split(jax.random.key(SEED))
    state = train.init_state(vae.init(init_key, jnp.zeros(data.shape[1:])), optimizer, noise_key)
    return epoch_program(train.make_step(elbo_loss(vae), optimizer), state, data, batch)


def matmul_program(data: np.ndarray):
    """Return a function that does the matrix products of an epoch of the first VAE: of its layers without anything else.

    The gradients are carried on, and a number of each goes into the next step, so that no product can be left out.
    """
    pairs = [*itertools.pairwise(ENCODER), *itertools.pairwise(DECODER)]
    keys = jax.random.split(jax.random.key(SEED), len(pairs))
    kernels = [jax.random.normal(key, pair) / pair[0] ** 0.5 for key, pair in zip(keys, pairs, strict=True)]

    def half_squared(kernels: list, x: jax.Array, shift: jax.Array) -> jax.Array:
        for kernel in kernels[:3]:
            x = x @ kernel
        x = x[:, :20] + x[:, 20:] + shift
        for kernel in kernels[3:]:
            x = x @ kernel
        return 0.5 * jnp.sum(x**2)  # whose gradient is x: it costs nothing

    @jax.jit
    def epoch(kernels: list, batches: jax.Array) -> list:
        def step(grads: list, x: jax.Array) -> tuple[list, None]:
            return jax.grad(half_squared)(kernels, x, 1e-30 * sum(grad[0, 0] for grad in grads)), None

        return jax.lax.scan(step, jax.tree.map(jnp.zeros_like, kernels), batches)[0]

    batches = jnp.asarray(data).reshape(-1, BATCH, ENCODER[0])
    return lambda: jax.block_until_ready(epoch(kernels, batches))


def torch_program(kind: type[torch.nn.Module], data: np.ndarray, batch: int, **options: bool):
    """Return a function that trains one epoch."""
    torch.manual_seed(SEED)
    device = torch_step.device()
    step = torch_step.minimise(kind().to(device), **options)
    return torch_step.epoch_of(step, torch.from_numpy(data).to(device), batch)


def main() -> None:
    """Time them in turn."""
    args = arguments(__doc__, rounds=9)
    generator = np.random.default_rng(SEED)
    data = (generator.random((BATCH * STEPS, 784)) < 0.2).astype(np.float32)
    seconds = seconds_in_turn(
        {
            "gen_jax": gen_jax_program(mlp_vae(), data, BATCH),
            "matrix products alone": matmul_program(data),
            "PyTorch eager": torch_program(TorchVAE, data, BATCH),
            "PyTorch eager, fused Adam": torch_program(TorchVAE, data, BATCH, fused=True),
            "PyTorch compiled": torch_program(TorchVAE, data, BATCH, compiled=True),
        },
        args.rounds,
    )
    images = (generator.random((CONV_BATCH * CONV_STEPS, 64, 64, 1)) < 0.2).astype(np.float32)
    conv_seconds = seconds_in_turn(
        {
            "gen_jax, 64 x 64": gen_jax_program(conv_vae(), images, CONV_BATCH),
            "PyTorch eager, 64 x 64": torch_program(TorchConvVAE, images.transpose(0, 3, 1, 2).copy(), CONV_BATCH),
        },
        args.rounds,
    )
    milliseconds = {name: [1e3 * s / STEPS for s in row] for name, row in seconds.items()}
    milliseconds |= {name: [1e3 * s / CONV_STEPS for s in row] for name, row in conv_seconds.items()}
    median = {name: float(np.median(row)) for name, row in milliseconds.items()}
    ratios = {
        f"train_step_{name}": median[peer] / median[ours]
        for name, ours, peer in (
            ("vs_torch_eager", "gen_jax", "PyTorch eager"),
            ("vs_torch_eager_fused_adam", "gen_jax", "PyTorch eager, fused Adam"),
            ("vs_torch_compiled", "gen_jax", "PyTorch compiled"),
            ("conv_vs_torch_eager", "gen_jax, 64 x 64", "PyTorch eager, 64 x 64"),
        )
    }
    ratios["train_step_vs_matmul_limit"] = median["gen_jax"] / median["matrix products alone"]
    details = {"model": "784-512-256-20", "batch": BATCH, "steps": STEPS}
    report("ms a step", milliseconds, ratios, args, SEED, **details, conv_batch=CONV_BATCH, conv_steps=CONV_STEPS)


if __name__ == "__main__":
    main()
