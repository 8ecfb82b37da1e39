"""GANs on points of the plane: the ring and the grid of Gaussians on which mode collapse is measured (Lin et al. 2018).

    gen-jax train gan-ring
    gen-jax train gan-grid
    gen-jax train gan-ring --penalty none --packing 4 --architecture reference

32 and 59 s on one CPU core: 8 of 8 modes with 93.6 % of the samples within 3σ of one, and 25 of 25 with 85.0 % (seed 0; of true
data, 98.9 %).
"""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import load_dataset
from gen_jax.distributions import Normal
from gen_jax.gan import generative_adversarial_network
from gen_jax.nets import MaxoutDiscriminator, MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.recipes.experiment import Experiment, Recipe
from gen_jax.recipes.gan_experiment import Medium, gan_experiment
from gen_jax.recipes.gan_settings import GanSettings
from gen_jax.recipes.sample_quality import NUM_POINTS, modes_covered
from gen_jax.types import GAN, BatchNet, InputError


@dataclass(frozen=True, kw_only=True)
class PointsSettings(GanSettings):
    """A GAN on points of the plane."""

    data: str = "toy:gaussian-ring"
    architecture: Literal["small", "reference"] = "small"
    """Perceptrons of --hidden-sizes; or those of the mode-collapse literature: 4 x 400 with batch norm, 3 x 200 of maxout-5."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of both networks, of the small architecture."""
    disc_activation: Literal["leaky-relu", "relu"] = "leaky-relu"
    """Of the small architecture's discriminator; the generator's is ReLU."""

    def check(self) -> None:
        """Raise an InputError for a value that no such GAN can have."""
        super().check()
        if any(size < 1 for size in self.hidden_sizes):
            raise InputError(f"hidden_sizes is {self.hidden_sizes}: give sizes of 1 or more.")


def build(settings: PointsSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    return gan_experiment(make_gan(settings, event_shape), settings, event_shape, _points(settings.data))


def make_gan(settings: PointsSettings, event_shape: tuple[int, ...]) -> GAN:
    """Return the model that the settings describe."""
    prior = Normal(jnp.zeros(settings.latent_dim), jnp.ones(settings.latent_dim))
    generator, discriminator = _nets(settings, event_shape)
    return generative_adversarial_network(generator, discriminator, prior, settings.packing)


def _nets(settings: PointsSettings, event_shape: tuple[int, ...]) -> tuple[BatchNet, BatchNet]:
    if settings.architecture == "reference":
        return batch_net(MLPGenerator((400,) * 4, event_shape, batch_norm=True)), batch_net(MaxoutDiscriminator((200,) * 3))
    sizes = settings.hidden_sizes
    discriminator = MLPDiscriminator(sizes) if settings.disc_activation == "leaky-relu" else MLPDiscriminator(sizes, jax.nn.relu)
    return batch_net(MLPGenerator(sizes, event_shape)), batch_net(discriminator)


def _points(data: str) -> Medium:
    def check(points: np.ndarray, where: str) -> None:
        if points.dtype != np.float32 or points.shape[1:] != (2,):
            raise InputError(
                f"{where} are {points.dtype}{points.shape[1:]}, and this GAN is of points of the plane: float32(2,)."
            )

    @functools.cache
    def real() -> list[tuple[str, np.ndarray]]:
        # a file of data may be elsewhere by the time that a run is sampled from; toys are always there
        return [("test data", load_dataset(data).test.images[:NUM_POINTS])] if data.startswith("toy:") else []

    def picture(drawn: Any) -> Any:
        panels = [*real(), ("samples", np.asarray(drawn))]
        # a power of two, which the frames of an animation share
        return plots.plane(panels, float(2 ** np.ceil(np.log2(1.05 * np.abs(panels[0][1]).max()))))

    return Medium(check, picture, NUM_POINTS, functools.partial(modes_covered, data))


RING = Recipe(
    "a GAN with R1 on a ring of eight Gaussians",
    PointsSettings(learning_rate=1e-3, penalty="r1", penalty_weight=0.003, epochs=40, schedule="cosine"),
    build,
)
GRID = Recipe(
    "a GAN with R1 on a grid of twenty-five Gaussians",
    PointsSettings(
        data="toy:gaussian-grid",
        hidden_sizes=(256, 256, 256),
        learning_rate=1e-3,
        penalty="r1",
        penalty_weight=0.1,
        epochs=20,
        schedule="cosine",
    ),
    build,
)
