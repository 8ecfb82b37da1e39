"""Autoencoders, plain, denoising and contractive, on the 5,000 embedded digits as grey values.

    gen-jax train autoencoder
    gen-jax train autoencoder-denoising
    gen-jax train autoencoder-contractive

23, 26 and 108 s of training on a CPU core, shared with other work. Squared error of a test image: 11.97 ± 0.26, 13.12 ± 0.26 (of
the clean image, from one with 30 % of its values masked), 13.03 ± 0.26; squared norm of the encoder's
Jacobian: 7.5, 8.7, 1.6 (seed 0).
"""

import functools
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le

from gen_jax.autoencoders import autoencoder, autoencoder_loss, corrupt
from gen_jax.data import Binarisation
from gen_jax.nets import MLP
from gen_jax.recipes.experiment import Experiment, Recipe, adam_of, view_of
from gen_jax.recipes.settings import ACTIVATIONS, KIND, ActivationName, Choice, Count, NonNegative, Nothing, Settings, Sizes


class Masking(Choice, kinds=("masking",)):
    """A share of the values is set to 0 before x is encoded."""

    amount: Annotated[float, Ge(0), Le(1)] = 0.3
    """Share of the values that are masked."""


class GaussianNoise(Choice, kinds=("gaussian",)):
    """Noise is added before x is encoded."""

    amount: NonNegative = 0.3
    """Standard deviation of the noise."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(Settings):
    """An autoencoder of MLPs."""

    binarise: Binarisation = "none"
    latent_dim: Count = 20
    """Size of the code."""
    hidden_sizes: Sizes = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    corruption: Annotated[Nothing | Masking | GaussianNoise, KIND] = Nothing()
    """What is done to an example before it is encoded: none, masking or gaussian."""
    contraction: NonNegative = 0.0
    """Weight λ of the squared Frobenius norm of the encoder's Jacobian."""


def build(settings: AutoencoderSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment for events of the given shape."""
    activation, sizes, corruption = ACTIVATIONS[settings.activation], settings.hidden_sizes, settings.corruption
    kind: Any = corruption.kind
    noise = None if isinstance(corruption, Nothing) else functools.partial(corrupt, kind, corruption.amount)
    encoder, decoder = MLP(sizes, (settings.latent_dim,), activation), MLP(sizes[::-1], event_shape, activation)
    model = autoencoder(encoder, decoder, noise)
    return Experiment(
        model=model,
        loss=autoencoder_loss(model, settings.contraction),
        optimizer=adam_of(settings),
        view=view_of(settings, event_shape),
        curves={"curves": (("train_squared_error", "valid_squared_error"), "squared error")},
        tasks=("reconstruct", "latents"),
    )


RECIPES = {
    "autoencoder": Recipe("an autoencoder, 512-256-20, on 5,000 embedded MNIST digits", AutoencoderSettings(), build),
    "autoencoder-denoising": Recipe(
        "a denoising autoencoder, 30 % of its input masked", AutoencoderSettings(corruption=Masking()), build
    ),
    "autoencoder-contractive": Recipe("a contractive autoencoder", AutoencoderSettings(contraction=0.1, epochs=30), build),
}
