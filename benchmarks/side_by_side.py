"""Seconds of per-example inference by `vmap` beside a loop over examples: annealed likelihoods, and gaps of inference.

The VAE of the IWAE paper, 784-200-200-50, as it is initialised; 20 images. Both are the tasks' own compiled programs, of pieces
of ten or twenty images and of one; to compile them is not timed.

    python benchmarks/side_by_side.py [--rounds 5] [--save]
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, report, seconds_in_turn

from gen_jax import tasks
from gen_jax.data import DataView, Split
from gen_jax.evaluate import temperatures
from gen_jax.nets import MLP
from gen_jax.tasks import bound, likelihood
from gen_jax.vae import bernoulli_likelihood, gaussian_vae

SEED, NUM = 0, 20
VAE = gaussian_vae(MLP((200, 200), (2, 50), jnp.tanh), MLP((200, 200), (784,), jnp.tanh), 50, bernoulli_likelihood())
KEY, VIEW = jax.random.key(SEED), DataView()
IMAGES = Split((np.random.default_rng(SEED).random((NUM, 784)) < 0.2).astype(np.float32))


def in_pieces(module: ModuleType, size: int, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that calls a task with so many examples side by side."""

    def run() -> Any:
        with mock.patch.object(module, "PIECE", size):
            return call()

    return run


def main() -> None:
    """Time them in turn."""
    args, params, betas = arguments(__doc__, rounds=5), VAE.init(KEY, IMAGES.x[0]), temperatures(50)
    what = {
        "annealed": (likelihood, lambda: tasks.annealed_likelihood(VAE, params, KEY, IMAGES, betas, num_chains=4, view=VIEW)),
        "gaps": (bound, lambda: tasks.inference_gaps(VAE, params, KEY, IMAGES, num_steps=100, view=VIEW)),
    }
    programs = {
        f"{name}, {size} at once": in_pieces(module, size, call)
        for name, (module, call) in what.items()
        for size in (1, module.PIECE)
    }
    seconds = seconds_in_turn(programs, args.rounds)
    median = {name: float(np.median(row)) for name, row in seconds.items()}
    ratios = {
        f"{name}_loop_vs_vmap": median[f"{name}, 1 at once"] / median[f"{name}, {module.PIECE} at once"]
        for name, (module, _) in what.items()
    }
    report("s", seconds, ratios, args, SEED, num_images=NUM)


if __name__ == "__main__":
    main()
