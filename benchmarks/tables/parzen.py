"""Parzen windows around samples of MNIST, in the protocol of Goodfellow et al. 2014 (arXiv:1406.2661, table 1).

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/parzen.py [--seeds 1] [--save]

10,000 samples on [0, 1], a normal of scale σ about each; σ is chosen on validation images, and so was the schedule with R1.
Published mean log-likelihoods of the test images: deep belief net 138 ± 2, stacked contractive autoencoder 121 ± 1.6, deep
generative stochastic net 214 ± 1.1, their adversarial net 225 ± 2. As many training images in place of samples stand beside. The
measure is known to rank models badly (see `gen_jax.evaluate.parzen`): it is here because those numbers are.
"""

import jax
import numpy as np
from table import arguments, drawn, load, report, run_rows

from gen_jax.data import load_dataset, to_unit
from gen_jax.evaluate import choose_parzen_scale, mean_and_standard_error, parzen_log_likelihood

NUM_SAMPLES, NUM_CHOOSING = 10_000, 1000
SCALES = np.logspace(-1, 0, 21)
ROWS = {
    "GAN of MLPs": ("gan-mnist", {"data": "mnist", "epochs": 20}),
    "the same with R1, longer": (
        "gan-mnist",
        {
            "data": "mnist",
            "epochs": 100,
            "learning_rate": 5e-4,
            "schedule": "cosine",
            "penalty": "r1",
            "penalty_weight": 3.0,
            "ema_decay": 0.999,
        },
    ),
    "VAE": ("vae", {"data": "mnist", "epochs": 20, "binarise": "none", "num_importance_samples": 1}),
}


def flat(images: np.ndarray) -> np.ndarray:
    """Images as rows of grey values."""
    return np.asarray(jax.vmap(to_unit)(images)).reshape(len(images), -1)


def measure(samples: np.ndarray) -> dict[str, float]:
    """Return the mean log-likelihood of the test images, its standard error and σ."""
    scale = choose_parzen_scale(samples, VALID, SCALES)
    mean, error = mean_and_standard_error(parzen_log_likelihood(samples, TEST, scale))
    return {"parzen": mean, "parzen_se": error, "scale": scale}


if __name__ == "__main__":
    args = arguments(__doc__, seeds=1)
    results = run_rows(ROWS, args)
    data = load_dataset("mnist", "none")
    VALID, TEST = flat(data.valid.x[:NUM_CHOOSING]), flat(data.test.x)
    for row, runs in results.items():
        for seed, run in enumerate(runs):
            run |= measure(drawn(load(args, row, seed), NUM_SAMPLES).reshape(NUM_SAMPLES, -1))
    device = next(iter(results.values()))[0]["device"]
    noise = np.random.default_rng(0).uniform(size=(NUM_SAMPLES, TEST.shape[1])).astype(np.float32)
    results["noise"] = [measure(noise) | {"device": device}]
    results["training images"] = [measure(flat(data.train.x[:NUM_SAMPLES])) | {"device": device}]
    report({row: ROWS[row] for row in results if row in ROWS}, results, ("parzen", "parzen_se", "scale", "train_seconds"), args)
