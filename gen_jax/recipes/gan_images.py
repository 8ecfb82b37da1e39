"""GANs of images: MLPs, convolutions (DCGAN, Radford et al. 2016, arXiv:1511.06434) or residual nets.

    gen-jax train gan-mnist
    GEN_JAX_DATA_DIR=DIR gen-jax train dcgan-mnist
    GEN_JAX_DATA_DIR=DIR gen-jax train dcgan-mnist --num-classes 10                       # given the digit, by projection
    GEN_JAX_DATA_DIR=DIR gen-jax train dcgan-mnist --num-classes 10 --condition classifier

`gan-mnist`: 98 s on one CPU core; in features of a classifier of 91.0 % accuracy, Fréchet distance 12.7, precision 0.89, recall
0.77 (seed 0). With `--num-classes 10`, 96.4 % of the samples are classified as their label; with `--condition classifier` 98.2 %.

`dcgan-mnist`: 3 min of training on two cores; Fréchet distance 29.2, precision 0.50, recall 0.76 by a classifier of 98.9 %. With
`--num-classes 10`, 6 min on one core: Fréchet distance 6.8, precision 0.78, recall 0.71, 99.4 % classified as their label.
`dcgan-cifar10`, on 18,000 images: 9 min on one core, Fréchet distance 3.6, but by a classifier of 51 % accuracy; colours and
outlines resemble photographs, and few of the objects are recognisable.

`lsgan`, `wgan` and `wgan-gp` are `dcgan-mnist` on Fashion-MNIST with other losses; `stacked-mnist` is on three digits at once,
whose 1,000 modes are counted. `benchmarks/tables/sample_quality.py` and `stacked.py` hold their numbers.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from gen_jax import nets
from gen_jax.data import in_unit_interval
from gen_jax.distributions import Normal
from gen_jax.gan import generative_adversarial_network
from gen_jax.recipes.experiment import Experiment, Recipe, image_shape, view_of
from gen_jax.recipes.gan_choices import GanSettings, gan_experiment
from gen_jax.recipes.settings import KIND, Choice, Count, Nothing, Positive, Sizes, change
from gen_jax.types import BatchNet, InputError


class MlpNets(Choice, kinds=("mlp",)):
    """MLPs."""

    hidden_sizes: Sizes = (256, 512)
    """Widths of the generator's hidden layers; the discriminator mirrors them."""
    generator_norm: Literal["batch", "none"] = "batch"
    """Batch norm in the generator's hidden layers."""
    discriminator_norm: Literal["spectral", "none"] = "none"
    """Spectral normalisation of the discriminator's kernels."""


class Dcgan(Choice, kinds=("dcgan",)):
    """Transposed convolutions and convolutions (DCGAN)."""

    channels: Annotated[Sizes, Field(min_length=1)] = (32, 64)
    """Channels of the discriminator's convolutions, each of which halves the image; the generator mirrors them."""
    generator_norm: Literal["batch", "none"] = "batch"
    """Batch norm in the generator's hidden layers."""
    discriminator_norm: Literal["batch", "spectral", "none"] = "batch"
    """Batch norm in the discriminator's hidden layers, or spectral normalisation of its kernels."""


class Residual(Choice, kinds=("residual",)):
    """Residual nets; the generator has batch norm."""

    width: Count = 64
    """Channels of every block."""
    discriminator_norm: Literal["spectral", "none"] = "none"
    """Spectral normalisation of the discriminator's kernels."""


@dataclass(frozen=True, kw_only=True)
class ImageSettings(GanSettings):
    """A GAN of images."""

    latent_dim: Count = 64
    batch_size: Count = 64
    epochs: Count = 20
    learning_rate: Positive = 2e-4
    architecture: Annotated[MlpNets | Dcgan | Residual, KIND] = Dcgan()
    """mlp, dcgan or residual."""
    num_classes: Count | None = None
    """Condition both networks on labels 0 … N − 1."""
    condition: Literal["projection", "classifier"] = "projection"
    """How the discriminator uses labels: as an input (projection), or as a prediction target (auxiliary classifier)."""

    def check(self) -> None:
        """Raise an InputError for values that do not go together."""
        super().check()
        if self.condition == "classifier" and self.num_classes is None:
            raise InputError("condition is classifier, and num_classes is not set: give it.")
        if self.architecture.discriminator_norm == "batch" and not isinstance(self.penalty, Nothing):
            raise InputError(
                f"penalty is {self.penalty.kind}, of the gradient at one example, and a batch norm makes the discriminator a "
                "function of the batch: use --discriminator-norm none or spectral."
            )


def build(settings: ImageSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment for events of the given shape."""
    prior = Normal(jnp.zeros(settings.latent_dim), jnp.ones(settings.latent_dim))
    generator, discriminator = _nets(settings, image_shape(event_shape))
    gan = generative_adversarial_network(generator, discriminator, prior, settings.packing, settings.num_classes)
    view = view_of(settings, event_shape, check_grey, symmetric=True)
    # arithmetic finds the latents of a class by a classifier; a conditional model is given the class
    tasks = ("sample", "interpolate", *(("arithmetic",) if settings.num_classes is None else ()), "animate")
    return gan_experiment(gan, settings, view, tasks)


def _nets(settings: ImageSettings, image: tuple[int, int, int]) -> tuple[BatchNet, BatchNet]:
    classes = settings.num_classes if settings.condition == "classifier" else None
    spectral_norm = settings.architecture.discriminator_norm == "spectral"
    match settings.architecture:
        case MlpNets(hidden_sizes=sizes, generator_norm=norm):
            generator = nets.MLPGenerator(sizes, image, norm == "batch", output=jnp.tanh)
            discriminator = nets.MLPDiscriminator(sizes[::-1], spectral_norm=spectral_norm, classes=classes)
        case Dcgan(channels=channels, generator_norm=norm, discriminator_norm=discriminator_norm):
            nets.halved_size(image[:2], len(channels))  # raises for an image that cannot be halved so often
            generator = nets.DCGANGenerator(channels[::-1], image, norm == "batch")
            discriminator = nets.DCGANDiscriminator(channels, discriminator_norm == "batch", spectral_norm, classes)
        case Residual(width=width):
            generator = nets.ResidualGenerator(width, image)
            discriminator = nets.ResidualDiscriminator(width, spectral_norm, classes)
    return nets.batch_net(generator), nets.batch_net(discriminator)


def check_grey(x: np.ndarray, where: str) -> None:
    """Raise an InputError for pixels outside of [0, 1]."""
    if not in_unit_interval(x):
        raise InputError(f"{where} range from {x.min():g} to {x.max():g}: scale them to [0, 1].")


FASHION = ImageSettings(data="fashion_mnist", epochs=10)
WGAN = change(FASHION, loss="wasserstein", num_disc_steps=5)
ROWS = {
    "gan-mnist": ("a GAN of MLPs on 5,000 embedded MNIST digits", ImageSettings(architecture=MlpNets(), epochs=100)),
    "dcgan-mnist": ("a deep convolutional GAN on MNIST", ImageSettings(data="mnist", epochs=10)),
    "dcgan-cifar10": (
        "a deep convolutional GAN on CIFAR-10",
        ImageSettings(data="cifar10", architecture=Dcgan(channels=(32, 64, 128)), latent_dim=100),
    ),
    "lsgan": ("a deep convolutional GAN with least squares, on Fashion-MNIST", change(FASHION, loss="least-squares")),
    "wgan": (
        "a Wasserstein GAN with weights clipped to ±0.01, on Fashion-MNIST",
        change(WGAN, clip_weights=0.01, learning_rate=5e-5, optimizer="rmsprop"),
    ),
    "wgan-gp": (
        "a Wasserstein GAN with a gradient penalty, on Fashion-MNIST",
        change(WGAN, penalty="gradient-penalty", discriminator_norm="none", adam_b1=0.0),
    ),
    "stacked-mnist": (
        "a deep convolutional GAN on three MNIST digits at once, whose 1,000 modes are counted (--packing 2)",
        ImageSettings(data="stacked:mnist", latent_dim=100, epochs=2),
    ),
}
RECIPES = {name: Recipe(summary, settings, build) for name, (summary, settings) in ROWS.items()}
