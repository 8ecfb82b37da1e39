"""The variational autoencoder in its reference size, on the 5,000 digits that need no download.

    gen-jax train vae

36 s on two CPU cores, evaluation included: test NLL 101.75 ± 1.21 nats (K = 1,000), test ELBO -107.72 (seed 0).
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from gen_jax.distributions import Mixture, Normal
from gen_jax.nets import MLP, ConvDecoder, ConvEncoder, halved_size
from gen_jax.recipes.experiment import PRIOR, Experiment, Recipe, image_shape, seed_key
from gen_jax.recipes.vae_experiment import vae_experiment
from gen_jax.recipes.vae_settings import AnyVaeSettings, make_likelihood, make_loss
from gen_jax.types import InputError, Net
from gen_jax.vae import (
    Latent,
    beta,
    conditional_normal,
    normal_mixture,
    on_labels,
    power_spherical,
    standard_normal,
    variational_autoencoder,
    von_mises_fisher,
)

ActivationName = Literal["relu", "tanh"]
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


@dataclass(frozen=True, kw_only=True)
class VaeSettings(AnyVaeSettings):
    """A VAE with one vector of latents."""

    latent: Literal[
        "normal", "conditional-normal", "mixture", "mixture-learned", "von-mises-fisher", "power-spherical", "beta"
    ] = "normal"
    """Prior and posterior: standard normal; p(z|y), for a conditional VAE; a mixture of --num-components normals as prior, drawn
    once or learned; on the unit sphere of --latent-dim dimensions; Beta on (0, 1)."""
    latent_dim: int = 20
    """Latent dimensions."""
    num_components: int = 10
    """Components of a mixture."""
    hidden_sizes: tuple[int, ...] = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    channels: tuple[int, ...] = ()
    """Channels of convolutions before them, each of which halves the image; none for a perceptron."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    num_classes: int | None = None
    """Condition encoder and decoder on labels 0 … N − 1: a conditional VAE."""

    def check(self) -> None:
        """Raise an InputError for a value that no such VAE can have."""
        super().check()
        for name in ("hidden_sizes", "channels"):
            if any(size < 1 for size in getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}: give sizes of 1 or more.")
        for name in ("latent_dim", "num_components"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more.")
        if self.latent == "conditional-normal" and self.num_classes is None:
            raise InputError("latent is conditional-normal, whose prior is p(z|y), and num_classes is not set: give it.")


def build(settings: VaeSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    latent = make_latent(settings)
    encoder, decoder = make_nets(settings, latent.encoder_shape, event_shape)
    return single_vector_experiment(settings, latent, encoder, decoder, event_shape)


def single_vector_experiment(
    settings: VaeSettings, latent: Latent, encoder: Net, decoder: Net, event_shape: tuple[int, ...]
) -> Experiment:
    """Return the experiment of a VAE put together from its parts."""
    vae = variational_autoencoder(encoder, decoder, latent, make_likelihood(settings))
    if settings.num_classes is not None:
        vae = on_labels(vae, settings.num_classes)
    return vae_experiment(
        vae, make_loss(vae, settings), settings, event_shape, settings.num_importance_samples, latent, settings.num_classes
    )


def make_latent(settings: VaeSettings) -> Latent:
    """Return z as the settings say."""
    dim = settings.latent_dim
    match settings.latent:
        case "normal":
            return standard_normal(dim)
        case "conditional-normal":
            return conditional_normal(dim, MLP((), (2, dim)))
        case "von-mises-fisher":
            return von_mises_fisher(dim)
        case "power-spherical":
            return power_spherical(dim)
        case "beta":
            return beta(dim)
        case mixture:
            # components that overlap a little: 2 standard deviations about 0 in every dimension
            shape = (settings.num_components, dim)
            loc = 2 * jax.random.normal(seed_key(settings.seed, PRIOR), shape)
            components = Mixture(jnp.zeros(settings.num_components), Normal(loc, jnp.ones(shape)))
            return normal_mixture(components, learned=mixture == "mixture-learned")


def make_nets(settings: VaeSettings, encoder_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> tuple[Net, Net]:
    """Return encoder and decoder, perceptrons or convolutional nets."""
    sizes, activation = settings.hidden_sizes, ACTIVATIONS[settings.activation]
    if not settings.channels:
        return MLP(sizes, encoder_shape, activation), MLP(sizes[::-1], event_shape, activation)
    image = image_shape(event_shape)
    halved_size(image[:2], len(settings.channels))  # raises for a size that cannot be
    return (
        ConvEncoder(settings.channels, sizes, encoder_shape, activation),
        ConvDecoder(settings.channels[::-1], sizes[::-1], image, activation),
    )


RECIPE = Recipe("the reference VAE (512-256-20) on 5,000 embedded MNIST digits", VaeSettings(), build)
