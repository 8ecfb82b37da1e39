"""Samples of progressive GANs and StyleGANs, each beside what it is to be held against.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/style.py --only progressive [...] [--seeds 1] [--save]

- progressive: grown, and the same networks at full size from the start, for as many images and for about as many seconds.
- stylegan, stylegan2: on the same digits; the first in bfloat16 too.
- fashion, cifar10: a StyleGAN, and a deep convolutional GAN with R1, for about as many seconds; on CIFAR-10 a progressive
  GAN too.
- emoji: without, with differentiable and with adaptive augmentation.

Each number is of as many samples as there are test examples, up to 5,000, in features of a classifier trained here. Logits are
the discriminator's means on training, held-out and generated images: training images above held-out ones are learned by heart.
"""

from typing import Any

import jax
import jax.numpy as jnp
from table import arguments, load, quality, report, run_rows

from gen_jax import runs, tasks
from gen_jax.data import load_dataset
from gen_jax.recipes.gan_choices import held_out_logit
from gen_jax.recipes.settings import SAMPLES, seed_key

R1 = {"penalty": "r1", "penalty_weight": 0.1, "discriminator_norm": "none"}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "progressive": ("progressive-mnist", {}),
    "full size, as many images": ("progressive-mnist", {"growth": "none"}),
    "full size, as many seconds": ("progressive-mnist", {"growth": "none", "epochs": 13}),
    "stylegan": ("stylegan-mnist", {}),
    "stylegan, bfloat16": ("stylegan-mnist", {"compute": "bfloat16"}),
    "stylegan2": ("stylegan2-mnist", {}),
    "fashion": ("stylegan-fashion", {}),
    "fashion, DCGAN with R1": ("dcgan-mnist", {"data": "fashion_mnist", "epochs": 9} | R1),
    "cifar10, progressive": ("progressive-cifar10", {}),
    "cifar10": ("stylegan-cifar10", {}),
    "cifar10, DCGAN with R1": ("dcgan-cifar10", R1),
    "emoji, no augmentation": ("stylegan-emoji", {"augmentation": "none"}),
    "emoji, differentiable": ("stylegan-emoji", {"augmentation": "differentiable"}),
    "emoji, adaptive": ("stylegan-emoji", {}),
}
COLUMNS = (
    "frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "sliced_wasserstein", "train_logit",
    "valid_logit", "generated_logit", "train_seconds", "classifier_accuracy",
)  # fmt: skip


def logits(run: runs.Run) -> dict[str, float]:
    """Return the discriminator's mean logit on 1,000 training images, on held-out and on generated ones, in evaluation mode."""
    experiment, data = run.experiment, load_dataset(run.settings.data, "none")
    mean = held_out_logit(experiment.model, experiment.view)
    key = seed_key(0, SAMPLES)
    train = jax.tree.map(lambda leaf: leaf[:1000], data.train)
    drawn = tasks.sample(experiment.model, run.params, key, len(data.valid.x), view=experiment.view)
    splits = {"train": train, "valid": data.valid, "generated": data.valid._replace(x=jnp.round(255 * drawn).astype(jnp.uint8))}
    return {
        f"{name}_logit": float(mean(run.params, key, split.on_device())["valid_real_logit"]) for name, split in splits.items()
    }


if __name__ == "__main__":
    args = arguments(__doc__, seeds=1)
    results = run_rows(ROWS, args)
    measured: dict = {}
    for row, of_row in results.items():
        for seed, result in enumerate(of_row):
            run = load(args, row, seed)
            found = quality(run)
            measured.setdefault(row, []).append(result | found.pop("model") | logits(run))
            for name, numbers in found.items():  # of the data alone
                measured[f"{name}, {run.settings.data}"] = [numbers | {"device": result["device"]}]
    report({name: ROWS[name] for name in results}, measured, COLUMNS, args)
