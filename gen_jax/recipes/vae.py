"""The variational autoencoder in its reference size, on the 5,000 digits that need no download.

    gen-jax train vae

38 s on two CPU cores, evaluation included: test NLL 101.82 ± 1.22 nats (K = 1,000), test ELBO -107.90 (seed 0).
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from gen_jax.nets import MLP
from gen_jax.recipes.experiment import Experiment, Recipe, Settings
from gen_jax.recipes.vae_experiment import vae_experiment
from gen_jax.types import InputError
from gen_jax.vae import Likelihood, bernoulli_likelihood, gaussian_likelihood, gaussian_vae

ActivationName = Literal["relu", "tanh"]
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


@dataclass(frozen=True, kw_only=True)
class VaeSettings(Settings):
    """A VAE of multilayer perceptrons with a Gaussian posterior and a standard normal prior."""

    latent_dim: int = 20
    """Latent dimensions."""
    hidden_sizes: tuple[int, ...] = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    likelihood: Literal["bernoulli", "gaussian", "gaussian-learned"] = "bernoulli"
    """p(x|z): Bernoulli; Gaussian with σ = --scale; or with one σ that is learned, starting from --scale."""
    scale: float = 0.1
    """σ of a Gaussian likelihood."""
    kl_warmup_steps: int = 0
    """Steps over which the weight of the KL rises from 0 to 1."""
    num_importance_samples: int = 1000
    """Samples an example for the test NLL at the end of training."""


def build(settings: VaeSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    if any(size < 1 for size in settings.hidden_sizes):
        raise InputError(f"hidden_sizes is {settings.hidden_sizes}: give widths of 1 or more.")
    activation = ACTIVATIONS[settings.activation]
    vae = gaussian_vae(
        encoder=MLP(settings.hidden_sizes, (2, settings.latent_dim), activation),
        decoder=MLP(settings.hidden_sizes[::-1], event_shape, activation),
        latent_dim=settings.latent_dim,
        likelihood=make_likelihood(settings),
    )
    return vae_experiment(
        vae,
        event_shape,
        settings.binarise,
        settings.num_importance_samples,
        unit_interval=settings.likelihood == "bernoulli",
        kl_warmup_steps=settings.kl_warmup_steps,
    )


def make_likelihood(settings: VaeSettings) -> Likelihood:
    """Return p(x|z) as the settings say."""
    if settings.likelihood == "bernoulli":
        return bernoulli_likelihood()
    return gaussian_likelihood(settings.scale, learned=settings.likelihood == "gaussian-learned")


RECIPE = Recipe("the reference VAE (512-256-20) on 5,000 embedded MNIST digits", VaeSettings(), build)
