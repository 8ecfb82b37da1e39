"""GANs of images, by perceptrons, by convolutions (DCGAN, Radford et al. 2016, arXiv:1511.06434) or residual nets.

    gen-jax train gan-mnist
    GEN_JAX_DATA_DIR=DIR gen-jax train dcgan-mnist

`gan-mnist --epochs 60`: 95 s on two CPU cores, which did other work too. In features of a classifier of 91.0 % accuracy: Fréchet
distance 22.1, precision 0.88, recall 0.60 (seed 0).
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import Split, load_dataset, to_unit
from gen_jax.distributions import Normal
from gen_jax.gan import generative_adversarial_network
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
from gen_jax.recipes.experiment import Experiment, Recipe, image_shape
from gen_jax.recipes.gan_experiment import Medium, gan_experiment
from gen_jax.recipes.gan_settings import GanSettings
from gen_jax.recipes.image_features import sample_quality, train_classifier
from gen_jax.types import BatchNet, InputError

MOST_DRAWN = 5000


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
    channels: tuple[int, ...] = (64, 128)
    """Channels of the discriminator's convolutions, each of which halves the image; the generator mirrors them."""
    width: int = 64
    """Channels of a residual net."""
    batch_norm: bool = True
    """Normalise hidden layers of the generator by their batch, and those of the discriminator of dcgan."""
    spectral_norm: bool = False
    """Divide the discriminator's kernels by their largest singular value, in place of its batch norm."""

    def check(self) -> None:
        """Raise an InputError for a value that no such GAN can have."""
        super().check()
        if any(size < 1 for size in (*self.hidden_sizes, *self.channels, self.width)) or not self.channels:
            raise InputError(
                f"hidden_sizes is {self.hidden_sizes}, channels {self.channels}, width {self.width}: give sizes of 1 or more."
            )
        if self.penalty != "none" and self.discriminator_batch_norm:
            raise InputError(
                f"penalty is {self.penalty}, of the gradient at one example, and a batch norm makes the discriminator a function "
                "of the batch: use --no-batch-norm or --spectral-norm."
            )

    @property
    def discriminator_batch_norm(self) -> bool:
        """Whether the discriminator normalises by its batch."""
        return self.architecture == "dcgan" and self.batch_norm and not self.spectral_norm


def build(settings: ImageSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    prior = Normal(jnp.zeros(settings.latent_dim), jnp.ones(settings.latent_dim))
    generator, discriminator = _nets(settings, image_shape(event_shape))
    gan = generative_adversarial_network(generator, discriminator, prior, settings.packing)
    return gan_experiment(gan, settings, event_shape, _images(settings))


def _nets(settings: ImageSettings, image: tuple[int, int, int]) -> tuple[BatchNet, BatchNet]:
    match settings.architecture:
        case "perceptron":
            generator = MLPGenerator(settings.hidden_sizes, image, settings.batch_norm, output=jnp.tanh)
            discriminator = MLPDiscriminator(settings.hidden_sizes[::-1], spectral_norm=settings.spectral_norm)
        case "dcgan":
            halved_size(image[:2], len(settings.channels))  # raises for a size that cannot be
            generator = DCGANGenerator(settings.channels[::-1], image, settings.batch_norm)
            discriminator = DCGANDiscriminator(settings.channels, settings.discriminator_batch_norm, settings.spectral_norm)
        case "residual":
            generator = ResidualGenerator(settings.width, image)
            discriminator = ResidualDiscriminator(settings.width, settings.spectral_norm)
    return batch_net(generator), batch_net(discriminator)


def _images(settings: ImageSettings) -> Medium:
    """Grey values, on [0, 1] in the data and on [−1, 1] in the networks."""

    def check(images: np.ndarray, where: str) -> None:
        if images.dtype != np.uint8 and not (images.min() >= 0 and images.max() <= 1):
            raise InputError(f"{where} range from {images.min():g} to {images.max():g}: scale them to [0, 1].")

    def quality(drawn: np.ndarray, split: Split) -> dict[str, float]:
        data = load_dataset(settings.data)
        if data.train.labels is None:
            return {}
        classifier = train_classifier(data.train.in_memory(), data.test.in_memory())
        real = jax.vmap(to_unit)(jnp.asarray(split.images[: len(drawn)]))
        return sample_quality(classifier, real, jnp.asarray(drawn)) | {"classifier_accuracy": classifier.accuracy}

    def picture(drawn: Any) -> Any:
        return plots.image_grid(drawn, columns=min(len(drawn), 10), title="G(z)")

    return Medium(
        to_model=lambda x: 2 * x - 1,
        from_model=lambda x: (x + 1) / 2,
        check=check,
        picture=picture,
        quality=quality,
        progress=lambda drawn: {},
        num_drawn=lambda num: min(MOST_DRAWN, num),
    )


MLP = Recipe(
    "a GAN of perceptrons on 5,000 embedded MNIST digits",
    ImageSettings(architecture="perceptron", epochs=100),
    build,
)
DCGAN = Recipe("a deep convolutional GAN on MNIST", ImageSettings(data="mnist", epochs=5), build)
