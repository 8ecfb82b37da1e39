"""GANs of images: perceptrons, convolutions (DCGAN, Radford et al. 2016, arXiv:1511.06434) or residual nets.

    gen-jax train gan-mnist
    GEN_JAX_DATA_DIR=DIR gen-jax train dcgan-mnist
    GEN_JAX_DATA_DIR=DIR gen-jax train dcgan-mnist --num-classes 10                       # told the digit, by projection
    GEN_JAX_DATA_DIR=DIR gen-jax train dcgan-mnist --num-classes 10 --condition classifier

`gan-mnist`: 98 s on one CPU core; in features of a classifier of 91.0 % accuracy, Fréchet distance 12.7, precision 0.89, recall
0.77 (seed 0). With `--num-classes 10`, 97.4 % of the digits are named as they were to be; with `--condition classifier` 98.0 %.

`dcgan-mnist`: 3 min of training on two cores; Fréchet distance 29.2, precision 0.50, recall 0.76 by a classifier of 98.9 %. With
`--num-classes 10`, 6 min on one core: Fréchet distance 6.8, precision 0.78, recall 0.71, 99.4 % named as they were to be.
`dcgan-cifar10`, on 18,000 images: 9 min on one core, Fréchet distance 3.6, but by a classifier of no more than 51 %; colours and
outlines are those of photographs, and few of the things can be named.

`lsgan`, `wgan` and `wgan-gp` are `dcgan-mnist` on Fashion-MNIST with another loss and what it takes to hold the discriminator
down; `stacked-mnist` is on three digits at once, whose 1,000 modes are counted. Their numbers are those of
`benchmarks/tables/sample_quality.py` and `stacked.py`.
"""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import Split
from gen_jax.distributions import Normal
from gen_jax.gan import draw_latents, generative_adversarial_network, interpolate
from gen_jax.nets import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    ResidualDiscriminator,
    ResidualGenerator,
    batch_net,
    halved_size,
)
from gen_jax.recipes.experiment import Experiment, Recipe, image_shape, in_unit_interval
from gen_jax.recipes.gan_experiment import Decode, Medium, gan_experiment
from gen_jax.recipes.gan_settings import GanSettings
from gen_jax.recipes.latent_arithmetic import latent_arithmetic
from gen_jax.recipes.sample_quality import classifier_for
from gen_jax.types import BatchNet, Distribution, InputError, Key

STEPS = 10  # images between the two ends of an interpolation, with them


@dataclass(frozen=True, kw_only=True)
class ImageSettings(GanSettings):
    """A GAN of images."""

    latent_dim: int = 64
    batch_size: int = 64
    epochs: int = 20
    learning_rate: float = 2e-4
    architecture: Literal["perceptron", "dcgan", "residual"] = "dcgan"
    """Perceptrons of --hidden-sizes; transposed convolutions and convolutions of --channels; residual nets of --width."""
    hidden_sizes: tuple[int, ...] = (256, 512)
    """Widths of the generator's hidden layers; the discriminator mirrors them."""
    channels: tuple[int, ...] = (32, 64)
    """Channels of the discriminator's convolutions, each of which halves the image; the generator mirrors them."""
    width: int = 64
    """Channels of a residual net."""
    generator_norm: Literal["batch", "none"] = "batch"
    """Normalise hidden layers of the generator by their batch (a residual one always does)."""
    discriminator_norm: Literal["batch", "spectral", "none"] = "batch"
    """Normalise hidden layers of the discriminator by their batch, or divide its kernels by their largest singular value."""
    num_classes: int | None = None
    """Condition both players on labels of so many classes."""
    condition: Literal["projection", "classifier"] = "projection"
    """How the discriminator has to do with labels: it is told them, or names them (an auxiliary classifier)."""

    def check(self) -> None:
        """Raise an InputError for a value that no such GAN can have."""
        super().check()
        if self.condition == "classifier" and self.num_classes is None:
            raise InputError("condition is classifier, and num_classes is not set: give it, for a model that is told the labels.")
        if any(size < 1 for size in (*self.hidden_sizes, *self.channels, self.width)) or not self.channels:
            raise InputError(
                f"hidden_sizes is {self.hidden_sizes}, channels {self.channels}, width {self.width}: give sizes of 1 or more."
            )
        if self.discriminator_norm == "batch" and self.architecture != "dcgan":
            raise InputError(
                f"discriminator_norm is batch, and the discriminator of architecture {self.architecture} has no batch norm: use "
                "--discriminator-norm none or spectral."
            )
        if self.discriminator_norm == "batch" and self.penalty != "none":
            raise InputError(
                f"penalty is {self.penalty}, of the gradient at one example, and a batch norm makes the discriminator a function "
                "of the batch: use --discriminator-norm none or spectral."
            )
        if self.generator_norm == "none" and self.architecture == "residual":
            raise InputError("generator_norm is none, and the residual generator normalises by its batch: use dcgan, or batch.")


def build(settings: ImageSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    prior = Normal(jnp.zeros(settings.latent_dim), jnp.ones(settings.latent_dim))
    generator, discriminator = _nets(settings, image_shape(event_shape))
    gan = generative_adversarial_network(generator, discriminator, prior, settings.packing, settings.num_classes)
    medium = Medium(
        check=_check,
        picture=functools.partial(_picture, settings.num_classes),
        num_pictured=10 * (settings.num_classes or 10),
        to_model=lambda x: 2 * x - 1,
        from_model=lambda x: (x + 1) / 2,
        figures=functools.partial(_figures, settings, prior),
    )
    return gan_experiment(gan, settings, event_shape, medium, settings.num_classes)


def _nets(settings: ImageSettings, image: tuple[int, int, int]) -> tuple[BatchNet, BatchNet]:
    batch_norm, spectral_norm = settings.generator_norm == "batch", settings.discriminator_norm == "spectral"
    classes = settings.num_classes if settings.condition == "classifier" else None
    match settings.architecture:
        case "perceptron":
            generator = MLPGenerator(settings.hidden_sizes, image, batch_norm, output=jnp.tanh)
            discriminator = MLPDiscriminator(settings.hidden_sizes[::-1], spectral_norm=spectral_norm, classes=classes)
        case "dcgan":
            halved_size(image[:2], len(settings.channels))  # raises for a size that cannot be
            generator = DCGANGenerator(settings.channels[::-1], image, batch_norm)
            normalised = settings.discriminator_norm == "batch"
            discriminator = DCGANDiscriminator(settings.channels, normalised, spectral_norm, classes)
        case "residual":
            generator = ResidualGenerator(settings.width, image)
            discriminator = ResidualDiscriminator(settings.width, spectral_norm, classes)
    return batch_net(generator), batch_net(discriminator)


def _check(images: np.ndarray, where: str) -> None:
    # grey values: on [0, 1] in the data, on [−1, 1] in the networks
    if not in_unit_interval(images):
        raise InputError(f"{where} range from {images.min():g} to {images.max():g}: scale them to [0, 1].")


def _picture(num_classes: int | None, drawn: Any) -> Any:
    columns = min(len(drawn), num_classes or 10)
    return plots.image_grid(drawn, columns, "G(z)" if num_classes is None else "G(z, y), a column a label")


def _figures(settings: ImageSettings, prior: Distribution, decode: Decode, key: Key, test: Split) -> dict[str, Any]:
    """Return rows from one latent to another and, for a model without labels on data with them, sums of latents."""
    ends_key, arithmetic_key = jax.random.split(key)
    rows, dim = settings.num_classes or 10, settings.latent_dim
    ends = draw_latents(prior, ends_key, 2 * rows).reshape(rows, 2, dim)
    z = jax.vmap(lambda pair: interpolate(*pair, STEPS))(ends).reshape(rows * STEPS, dim)
    labels = None if settings.num_classes is None else jnp.repeat(jnp.arange(rows), STEPS)
    title = "each row: from one latent to another" + ("" if labels is None else ", with one label")
    figures = {"interpolation": plots.image_grid(decode(z, labels), STEPS, title)}
    classifier = classifier_for(settings.data, test) if settings.num_classes is None else None
    return figures if classifier is None else figures | latent_arithmetic(classifier, decode, prior, arithmetic_key)


MLP = Recipe(
    "a GAN of perceptrons on 5,000 embedded MNIST digits",
    ImageSettings(architecture="perceptron", discriminator_norm="none", epochs=100),
    build,
)
DCGAN = Recipe("a deep convolutional GAN on MNIST", ImageSettings(data="mnist", epochs=10), build)
CIFAR = Recipe(
    "a deep convolutional GAN on CIFAR-10",
    ImageSettings(data="cifar10", channels=(32, 64, 128), latent_dim=100, epochs=20),
    build,
)
LEAST_SQUARES = Recipe(
    "a deep convolutional GAN with least squares, on Fashion-MNIST",
    ImageSettings(data="fashion_mnist", loss="least-squares", epochs=10),
    build,
)
# Adam without a mean of gradients is RMSProp, as in the paper, with a correction at first
WASSERSTEIN = Recipe(
    "a Wasserstein GAN with weights clipped to ±0.01, on Fashion-MNIST",
    ImageSettings(
        data="fashion_mnist", loss="wasserstein", clip_weights=0.01, num_disc_steps=5, learning_rate=5e-5, adam_b1=0.0, epochs=10
    ),
    build,
)
WASSERSTEIN_PENALTY = Recipe(
    "a Wasserstein GAN with a gradient penalty, on Fashion-MNIST",
    ImageSettings(
        data="fashion_mnist",
        loss="wasserstein",
        penalty="gradient-penalty",
        discriminator_norm="none",
        num_disc_steps=5,
        adam_b1=0.0,
        epochs=10,
    ),
    build,
)
STACKED = Recipe(
    "a deep convolutional GAN on three MNIST digits at once, whose 1,000 modes are counted (--packing 2)",
    ImageSettings(data="stacked:mnist", latent_dim=100, epochs=2),
    build,
)
