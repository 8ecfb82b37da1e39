"""Examples × samples a second of the importance-weighted log p(x), of the reference VAE and of the IWAE paper's.

Ours is `evaluate.importance_weighted` mapped over the images. The peer is a PyTorch loop over images, as existing libraries
have it: pythae's `get_nll` sends 100 copies of one image at a time through encoder and decoder; the plainest loops draw one
sample at a time.

    pip install -e '.[bench]' && python benchmarks/likelihood_speed.py --save
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from common import arguments, report, seconds_in_turn
from torch_vae import TorchVAE

from gen_jax.evaluate import example_keys, importance_weighted, map_examples
from gen_jax.nets import MLP
from gen_jax.vae import bernoulli_likelihood, gaussian_vae, log_weight

SAMPLES, SEED = 1000, 0
MODELS = {
    "784-512-256-20": ((512, 256), 20, jax.nn.relu, torch.nn.ReLU),
    "784-200-200-50": ((200, 200), 50, jnp.tanh, torch.nn.Tanh),
}
OURS, LOOP_100, LOOP_1 = "gen_jax", "PyTorch loop, 100 at once", "PyTorch loop, 1 at once"
EXAMPLES = {OURS: 200, LOOP_100: 20, LOOP_1: 2}  # as many images as take each about a second
IMAGES = (np.random.default_rng(SEED).random((max(EXAMPLES.values()), 784)) < 0.2).astype(np.float32)


def gen_jax_program(hidden: tuple[int, ...], latent_dim: int, activation: Callable) -> Callable:
    """Return a function that estimates log p(x) of the images."""
    encoder, decoder = MLP(hidden, (2, latent_dim), activation), MLP(hidden[::-1], (784,), activation)
    vae = gaussian_vae(encoder, decoder, latent_dim, bernoulli_likelihood())
    params = vae.init(jax.random.key(SEED), jnp.zeros(784))
    keys, images = example_keys(jax.random.key(SEED), EXAMPLES[OURS]), jnp.asarray(IMAGES)

    def one(params, key, x):
        return importance_weighted(lambda k: log_weight(vae, params, k, x), key, SAMPLES)

    estimate = jax.jit(lambda params, keys, images: map_examples(one, params, keys, images, chunk_size=1))
    return lambda: jax.block_until_ready(estimate(params, keys, images))


def torch_program(model: TorchVAE, num_images: int, at_once: int) -> Callable:
    """Return a function that estimates log p(x) of some of the images."""
    images = torch.from_numpy(IMAGES[:num_images])
    return lambda: model.log_likelihood(images, SAMPLES, at_once)


def main() -> None:
    """Time them in turn."""
    args = arguments(__doc__, rounds=7)
    torch.manual_seed(SEED)
    programs = {}
    for name, (hidden, latent_dim, activation, torch_activation) in MODELS.items():
        peer = TorchVAE(hidden, latent_dim, torch_activation)
        programs[f"{name} {OURS}"] = gen_jax_program(hidden, latent_dim, activation)
        programs[f"{name} {LOOP_100}"] = torch_program(peer, EXAMPLES[LOOP_100], 100)
        programs[f"{name} {LOOP_1}"] = torch_program(peer, EXAMPLES[LOOP_1], 1)
    seconds = seconds_in_turn(programs, args.rounds)
    rates = {name: [EXAMPLES[name.split(" ", 1)[1]] * SAMPLES / s for s in row] for name, row in seconds.items()}
    median = {name: float(np.median(row)) for name, row in rates.items()}
    ratios = {
        f"likelihood_{name}_vs_torch_loop_of_{at_once}": median[f"{name} {OURS}"] / median[f"{name} {peer}"]
        for name in MODELS
        for at_once, peer in ((100, LOOP_100), (1, LOOP_1))
    }
    report("examples × samples / s", rates, ratios, args, SEED, num_samples=SAMPLES)


if __name__ == "__main__":
    main()
