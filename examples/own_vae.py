"""A recipe of one's own: a VAE with an encoder and an objective that the library does not have.

gen-jax train examples/own_vae.py:RECIPE --epochs 20
gen-jax sample runs/own_vae --recipe examples/own_vae.py:RECIPE
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gen_jax.nets import MLP
from gen_jax.recipes import Experiment, Positive, Recipe, Settings, Sizes, view_of
from gen_jax.vae import ElboTerms, bernoulli_likelihood, elbo_loss, gaussian_vae


class GatedEncoder(nn.Module):
    """Gated linear units, then μ and log σ², [2, Z]."""

    hidden_sizes: tuple[int, ...]
    latent_dim: int

    @nn.compact
    def __call__(self, x, context=None):
        """Return [2, Z] for one example."""
        h = jnp.ravel(x)
        for size in self.hidden_sizes:
            h = nn.Dense(size)(h) * jax.nn.sigmoid(nn.Dense(size)(h))
        return nn.Dense(2 * self.latent_dim)(h).reshape(2, self.latent_dim)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnSettings(Settings):
    """Settings of my own, beside those that every recipe has."""

    latent_dim: int = 10
    """Latent dimensions."""
    hidden_sizes: Sizes = (256, 128)
    """Widths of the encoder's hidden layers."""
    rate: Positive = 20.0
    """R in −log p(x|z) + ½ (KL − R)²: the nats that the latents are to carry."""


def build(settings: OwnSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the model with its loss, its optimizer and its view of the data."""
    encoder, decoder = GatedEncoder(settings.hidden_sizes, settings.latent_dim), MLP((256,), event_shape)
    vae = gaussian_vae(encoder, decoder, settings.latent_dim, bernoulli_likelihood())

    def at_a_rate(terms: ElboTerms, step: jax.Array) -> jax.Array:
        return terms.distortion + 0.5 * (terms.kl - settings.rate) ** 2

    optimizer = lambda num_steps: optax.adamw(optax.cosine_decay_schedule(settings.learning_rate, num_steps))
    tasks = ("reconstruct", "sample", "latents")
    return Experiment(vae, elbo_loss(vae, at_a_rate), optimizer, view_of(settings, event_shape), tasks=tasks)


RECIPE = Recipe("a VAE with gated units, held at a rate", OwnSettings(), build)
