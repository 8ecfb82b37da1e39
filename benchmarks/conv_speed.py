"""Milliseconds of each convolution of the 64 x 64 β-VAE, in a scan, as a training step has them.

The four layers (kernels of 4 x 4, stride 2, 32 channels, batches of 64), and of each the three maps of a training step: the
convolution, the gradient of its input and that of its kernel. Ours in a compiled scan over batches; the peer is PyTorch's own,
called in a loop. Beside them the matrix product alone, by XLA, on random columns of the size that unfolding the image gives;
making those is not counted.

    pip install -e '.[bench]' && python benchmarks/conv_speed.py --save
    taskset -c 0 python benchmarks/conv_speed.py --save benchmarks/results/conv_speed_one_core.json
"""

import itertools
import os
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from common import arguments, report, seconds_in_turn

from gen_jax.nets.conv import conv, conv_transpose

SEED, BATCH, STEPS, KERNEL, CHANNELS = 0, 64, 10, 4, 32
LAYERS = {"1 channel, 64 x 64": (1, 64), **{f"32 channels, {size} x {size}": (32, size) for size in (32, 16, 8)}}
MAPS = ("forward", "gradient of the input", "gradient of the kernel")
PROGRAMS = ("gen_jax", "PyTorch", "matrix product alone")


def scanned(function: Callable[..., jax.Array], *stacked: np.ndarray) -> Callable[[], Any]:
    """Return a program that applies a function to each row of stacked arrays, and carries its results: none is left out."""
    arrays = tuple(map(jnp.asarray, stacked))
    zeros = jnp.zeros_like(function(*(array[0] for array in arrays)))

    @jax.jit
    def run(zeros: jax.Array, arrays: tuple[jax.Array, ...]) -> jax.Array:
        return jax.lax.scan(lambda _, rows: (function(*rows), None), zeros, arrays)[0]

    return lambda: jax.block_until_ready(run(zeros, arrays))


def looped(function: Callable[..., torch.Tensor], *stacked: np.ndarray) -> Callable[[], Any]:
    """Return a program that applies a function of PyTorch to each row of stacked images, whose channels come first there."""
    tensors = [torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 2))) for array in stacked]

    def run() -> None:
        with torch.no_grad():
            for rows in zip(*tensors, strict=True):
                function(*rows)

    return run


def programs(channels: int, size: int) -> dict[tuple[str, str], Callable[[], Any]]:
    """Return the programs of a layer, by map and name."""
    draw = lambda *shape: np.random.default_rng(SEED).standard_normal(shape, np.float32)
    x, y = draw(STEPS, BATCH, size, size, channels), draw(STEPS, BATCH, size // 2, size // 2, CHANNELS)
    kernel = draw(KERNEL, KERNEL, channels, CHANNELS) / KERNEL
    rows, inner = BATCH * (size // 2) ** 2, KERNEL**2 * channels
    columns, flat = draw(STEPS, rows, inner), y.reshape(STEPS, rows, CHANNELS)
    k, matrix = jnp.asarray(kernel), jnp.asarray(kernel.reshape(inner, CHANNELS))
    their_kernel = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    options: Any = {"stride": 2, "padding": 1}
    ours = {
        "forward": scanned(lambda x: conv(x, k, 2, 1), x),
        "gradient of the input": scanned(lambda y: conv_transpose(y, k, 2, 1), y),
        "gradient of the kernel": scanned(lambda x, y: jax.vjp(lambda k: conv(x, k, 2, 1), k)[1](y)[0], x, y),
    }
    theirs = {
        "forward": looped(lambda x: torch.conv2d(x, their_kernel, **options), x),
        "gradient of the input": looped(lambda y: torch.conv_transpose2d(y, their_kernel, **options), y),
        "gradient of the kernel": looped(lambda x, y: torch.nn.grad.conv2d_weight(x, their_kernel.shape, y, **options), x, y),
    }
    products = {
        "forward": scanned(lambda c: c @ matrix, columns),
        "gradient of the input": scanned(lambda y: y @ matrix.T, flat),
        "gradient of the kernel": scanned(lambda c, y: c.T @ y, columns, flat),
    }
    return {(of, name): row[of] for of in MAPS for name, row in zip(PROGRAMS, (ours, theirs, products), strict=True)}


def main() -> None:
    """Time them in turn, layer by layer, and add up each map over the layers."""
    args = arguments(__doc__, rounds=9)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    values: dict[str, list[float]] = {}
    for layer, (channels, size) in LAYERS.items():
        of_layer = {f"{layer}, {of}: {name}": program for (of, name), program in programs(channels, size).items()}
        values |= {name: [1e3 * s / STEPS for s in row] for name, row in seconds_in_turn(of_layer, args.rounds).items()}
    for of, name in itertools.product(MAPS, PROGRAMS):
        values[f"{of}: {name}"] = [
            sum(of_round) for of_round in zip(*(values[f"{layer}, {of}: {name}"] for layer in LAYERS), strict=True)
        ]
    median = {name: statistics.median(row) for name, row in values.items()}
    ratios = {f"{of}, {name} to ours": median[f"{of}: {name}"] / median[f"{of}: gen_jax"] for of in MAPS for name in PROGRAMS[1:]}
    report("ms", values, ratios, args, SEED, batch=BATCH, cores=len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    main()
