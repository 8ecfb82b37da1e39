"""The vector-quantised VAE (van den Oord et al. 2017, arXiv:1711.00937) on Fashion-MNIST, with a MADE as the prior of its codes.

    GEN_JAX_DATA_DIR=DIR gen-jax train vq-vae

18 min on two CPU cores, shared with other work: a bound of 3.615 bits per dimension on the test images, codes of a perplexity
of 49.9 out of 64, all in use (seed 0).
"""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from gen_jax.data import Binarisation
from gen_jax.made import categorical_output, ensemble, made
from gen_jax.nets import SpatialDecoder, SpatialEncoder, halved_size
from gen_jax.recipes.experiment import Experiment, Recipe, adam_of, image_shape
from gen_jax.recipes.settings import KIND, Choice, Count, Decay, NonNegative, NonNegativeInt, Sizes
from gen_jax.recipes.vae_choices import LikelihoodChoice, LikelihoodSettings, ScaledLikelihood, make_likelihood, vae_view
from gen_jax.types import InputError
from gen_jax.vae import vector_quantised_loss, vector_quantised_vae


class AveragedCodebook(Choice, kinds=("average",)):
    """The vectors follow the encoder by moving averages."""

    codebook_decay: Decay = 0.99
    """Decay of the moving averages, at each step."""


class LearnedCodebook(Choice, kinds=("loss",)):
    """The vectors follow the encoder by the gradient of a loss."""


@dataclass(frozen=True, kw_only=True)
class VectorQuantisedSettings(LikelihoodSettings):
    """A VAE whose latents are codes on a grid."""

    data: str = "fashion_mnist"
    binarise: Binarisation = "none"
    likelihood: LikelihoodChoice = ScaledLikelihood(kind="discretised-logistic")
    num_codes: Annotated[Count, Field(ge=2)] = 64
    """Vectors in the codebook."""
    code_dim: Count = 32
    """Size of a vector of the codebook."""
    channels: Annotated[Sizes, Field(min_length=1)] = (32, 64)
    """Channels of the convolutions, each of which halves the image."""
    num_residual: NonNegativeInt = 2
    """Residual blocks after the convolutions."""
    prior_hidden_sizes: Sizes = (512,)
    """Widths of the hidden layers of the MADE over the codes."""
    codebook: Annotated[AveragedCodebook | LearnedCodebook, KIND] = AveragedCodebook()
    """How the codebook's vectors follow the encoder: average, or loss."""
    commitment: NonNegative = 0.25
    """Weight of the commitment loss, which keeps the encoder close to the codebook."""
    batch_size: Count = 128
    epochs: Count = 10


def build(settings: VectorQuantisedSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment for events of the given shape."""
    encoder = SpatialEncoder(settings.channels, settings.num_residual, settings.code_dim)
    image = image_shape(event_shape)
    grid = halved_size(image[:2], len(settings.channels))
    sizes, needed = settings.prior_hidden_sizes, max(math.prod(grid) - 1, 1)
    if min(sizes, default=0) < needed:
        raise InputError(
            f"prior_hidden_sizes is {sizes}: the masks of the MADE over {math.prod(grid)} codes need one layer or more, each of "
            f"{needed} units or more."
        )
    decoder = SpatialDecoder(settings.channels[::-1], settings.num_residual, image)
    prior = made(math.prod(grid), sizes, categorical_output(settings.num_codes))
    density, likelihood = ensemble(prior, lambda index: prior.degrees), make_likelihood(settings.likelihood)
    averages = {} if isinstance(settings.codebook, LearnedCodebook) else {"decay": settings.codebook.codebook_decay}
    vae = vector_quantised_vae(encoder, decoder, settings.num_codes, grid, likelihood, density, learned=not averages)
    return Experiment(
        model=vae,
        loss=vector_quantised_loss(vae, settings.commitment, **averages),
        optimizer=adam_of(settings),
        view=vae_view(settings, event_shape),
        best_metric="valid_elbo",  # the loss has terms that are not part of the bound
        curves={"curves": (("train_elbo", "valid_elbo"), "nats")},
        tasks=("reconstruct", "sample", "latents"),
    )


RECIPES = {
    "vq-vae": Recipe("a vector-quantised VAE with a prior over its codes, on Fashion-MNIST", VectorQuantisedSettings(), build)
}
