"""VAEs with one latent vector. Each recipe is a model of the literature, or shows one feature of the family.

    gen-jax train vae                                   # on the 5,000 digits that need no download
    gen-jax train vae-mixture | vae-beta
    GEN_JAX_DATA_DIR=DIR gen-jax train vae-mnist        # Burda et al. 2016 (arXiv:1509.00519), one layer
    GEN_JAX_DATA_DIR=DIR gen-jax train iwae-mnist [--objective dreg]
    GEN_JAX_DATA_DIR=DIR gen-jax train vae-fashion | vae-cifar10
    GEN_JAX_DATA_DIR=DIR gen-jax train vae-sphere       # Davidson et al. 2018 (arXiv:1804.00891)
    GEN_JAX_DATA_DIR=DIR gen-jax train cvae [--latent conditional-normal]           # Sohn et al. 2015
    GEN_JAX_DATA_DIR=DIR gen-jax train vae-planar | vae-iaf                         # van den Berg et al. 2018 (arXiv:1803.05649)
    gen-jax train beta-vae-sprites                      # Burgess et al. 2018 (arXiv:1804.03599)

Measured on two CPU cores of an AMD EPYC (seed 0, or three seeds where there is a ±; NLL in nats, with K importance samples):

| recipe | time | test NLL (K) | test ELBO | published NLL |
| --- | --- | --- | --- | --- |
| vae | 33 s of training on one core | 101.61 (1,000) | -107.64 | |
| vae-mnist | 27 min | 87.26 (5,000) | -90.72 | 86.76, after 3,280 epochs at batch 20 |
| iwae-mnist | 20 min | 91.32 (5,000), 20 epochs | | 84.78, after 3,280 |
| vae-fashion | 81 s of training on one core | -629.20 (500), a density | 616.65 | |
| vae-cifar10 | 5 min | 6.84 bits per dimension (100) | | |
| vae-mixture | 61 s | 105.01 (1,000) | -109.36 | |
| vae-beta | 145 s | 115.26 (1,000) | -120.37 | |
| vae-sphere | 3 to 4 min | 132.78 (500) | -135.53 | 132.50 |
| cvae | 3 to 4 min | 86.36 (500), given the label; 85.50 with p(z|y) | | |
| vae-planar, vae-iaf | 1 to 4 min | 92.48 ± 0.09, 90.41 ± 0.04 (500) | -97.99, -94.91 | |
| beta-vae-sprites | 25 min on one core | KL 25.0 ± 0.1 for C = 25 | -91.8 ± 1.0 | |

β-VAE: the paper raises C from 0 to 25 nats over 100,000 steps at γ = 1,000, with convolutions; here, over 50,000 of 60,000 at
γ = 100, with MLPs, and the corner of |KL − C| rounded. With its corner, 80,000 steps found x, y and size only: every step's
gradient is ±γ that of the KL, which is what Adam scales its steps by.
"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
from pydantic import Field

from gen_jax import vae as models
from gen_jax.distributions import Mixture, Normal
from gen_jax.flows import amortise, num_params
from gen_jax.nets import MLP, ConvDecoder, ConvEncoder, halved_size
from gen_jax.recipes.experiment import Experiment, Recipe, image_shape
from gen_jax.recipes.flow import Flow, NetFlow, make_flow
from gen_jax.recipes.settings import ACTIVATIONS, KIND, PRIOR, ActivationName, Choice, Count, Nothing, Sizes, change, seed_key
from gen_jax.recipes.vae_choices import ObjectiveSettings, make_likelihood, vae_experiment
from gen_jax.types import InputError, Net
from gen_jax.vae import Latent


class SimpleLatent(Choice, kinds=("normal", "conditional-normal", "von-mises-fisher", "power-spherical", "beta")):
    """p(z) = N(0, I); p(z|y) = N(μ(y), σ²(y)); uniform on the unit sphere of --latent-dim dimensions; or uniform on (0, 1)."""


class MixtureLatent(Choice, kinds=("mixture", "mixture-learned")):
    """A mixture of normals as the prior, random or learned."""

    num_components: Count = 10
    """Components of the mixture."""


class Mlp(Choice, kinds=("mlp",)):
    """An encoder MLP, mirrored by the decoder."""

    hidden_sizes: Sizes = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""


class Conv(Mlp, kinds=("conv",)):
    """Convolutions, each of which halves the image, before the dense layers; mirrored by the decoder."""

    channels: Annotated[Sizes, Field(min_length=1)] = (32, 64)
    """Channels of the convolutions."""


@dataclass(frozen=True, kw_only=True)
class VaeSettings(ObjectiveSettings):
    """A VAE with one latent vector."""

    latent: Annotated[SimpleLatent | MixtureLatent, KIND] = SimpleLatent()
    """Prior and posterior: normal, conditional-normal, mixture, mixture-learned, von-mises-fisher, power-spherical, beta."""
    latent_dim: Count = 20
    """Latent dimensions."""
    architecture: Annotated[Mlp | Conv, KIND] = Mlp()
    """mlp, or conv."""
    flow: Annotated[Nothing | Flow, KIND] = Nothing()
    """A flow between encoder and decoder: none, planar, radial, sylvester, householder, affine-coupling, …, iaf."""
    amortised: bool = True
    """The encoder returns the flow's parameters or, if it has networks, their context; otherwise its parameters are global."""
    context_dim: Count | None = None
    """Size of that context, 64 by default."""
    num_classes: Count | None = None
    """Condition encoder and decoder on labels 0 … N − 1: a conditional VAE."""

    def check(self) -> None:
        """Raise an InputError for inconsistent values."""
        super().check()
        if self.latent.kind == "conditional-normal" and self.num_classes is None:
            raise InputError("latent is conditional-normal, whose prior is p(z|y), and num_classes is not set: give it.")
        if isinstance(self.flow, Nothing) and not self.amortised:
            raise InputError("amortised is False, and there is no flow: leave it out, or give --flow.")
        if self.context_dim is not None and not (self.amortised and isinstance(self.flow, NetFlow)):
            raise InputError(
                f"context_dim is {self.context_dim}, and the flow {self.flow.kind} takes no context: leave it out, or give an "
                "amortised flow of networks, such as --flow iaf."
            )


LATENTS = {
    "normal": models.standard_normal,
    "von-mises-fisher": models.von_mises_fisher,
    "power-spherical": models.power_spherical,
    "beta": models.beta,
}


def build(settings: VaeSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment for events of the given shape."""
    latent = _with_flow(_make_latent(settings), settings)
    encoder, decoder = _make_nets(settings.architecture, latent.encoder_shape, event_shape)
    vae = models.variational_autoencoder(encoder, decoder, latent, make_likelihood(settings.likelihood))
    vae = vae if settings.num_classes is None else models.class_conditional(vae, settings.num_classes)
    return vae_experiment(vae, settings, event_shape)


def _make_latent(settings: VaeSettings) -> Latent:
    dim, latent = settings.latent_dim, settings.latent
    if isinstance(latent, MixtureLatent):
        # the components overlap a little: their means are 2 standard deviations about 0 in every dimension
        shape = (latent.num_components, dim)
        loc = 2 * jax.random.normal(seed_key(settings.seed, PRIOR), shape)
        mixture = Mixture(jnp.zeros(latent.num_components), Normal(loc, jnp.ones(shape)))
        return models.normal_mixture(mixture, learned=latent.kind == "mixture-learned")
    if latent.kind == "conditional-normal":
        return models.conditional_normal(dim, MLP((), (2, dim)))
    return LATENTS[latent.kind](dim)


def _make_nets(architecture: Mlp | Conv, encoder_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> tuple[Net, Net]:
    sizes, activation = architecture.hidden_sizes, ACTIVATIONS[architecture.activation]
    if not isinstance(architecture, Conv):
        return MLP(sizes, encoder_shape, activation), MLP(sizes[::-1], event_shape, activation)
    channels, image = architecture.channels, image_shape(event_shape)
    halved_size(image[:2], len(channels))  # raises for an image that cannot be halved so often
    encoder = ConvEncoder(channels, sizes, encoder_shape, activation)
    return encoder, ConvDecoder(channels[::-1], sizes[::-1], image, activation)


def _with_flow(latent: Latent, settings: VaeSettings) -> Latent:
    if isinstance(settings.flow, Nothing):
        return latent
    with_context = settings.amortised and isinstance(settings.flow, NetFlow)
    context_dim = (settings.context_dim or 64) if with_context else 0
    bijection = make_flow(settings.flow, settings.latent_dim, context_dim)
    if settings.amortised and not with_context:
        bijection, context_dim = amortise(bijection), num_params(bijection)
    return models.with_flow(latent, bijection, context_dim)


PLAIN = VaeSettings()
MNIST = VaeSettings(
    data="mnist",
    architecture=Mlp(hidden_sizes=(200, 200), activation="tanh"),
    epochs=1000,
    latent_dim=50,
    num_importance_samples=5000,
    validate_every=5,
)
FLOWS = change(
    PLAIN,
    data="mnist",
    latent_dim=64,
    hidden_sizes=(300, 300),
    epochs=30,
    kl_warmup_steps=4400,
    num_importance_samples=500,
    flow="planar",
)
SPRITES = change(
    PLAIN,
    data="sprites",
    binarise="none",
    latent_dim=10,
    objective="capacity",
    gamma=100.0,
    capacity=25.0,
    capacity_steps=50_000,
    huber_width=1.0,
    batch_size=64,
    learning_rate=1e-3,
    schedule="constant",
    epochs=120,
    epoch_steps=500,
    validate_every=2,
    num_importance_samples=10,
)
FASHION = {"data": "fashion_mnist", "binarise": "none", "likelihood": "gaussian-learned", "epochs": 30}
SPHERE = {"latent": "von-mises-fisher", "latent_dim": 3, "hidden_sizes": (256, 128), "batch_size": 64, "epochs": 100}
CIFAR = {"data": "cifar10", "latent_dim": 128, "architecture": Conv(channels=(32, 64, 128), hidden_sizes=(256,)), "epochs": 10}
ROWS = {
    "vae": ("the reference VAE (512-256-20) on 5,000 embedded MNIST digits", PLAIN),
    "vae-mnist": ("the one-layer VAE of the IWAE paper (784-200-200-50, tanh) on dynamically binarised MNIST", MNIST),
    "vae-fashion": (
        "a VAE with a Gaussian likelihood of learned σ on Fashion-MNIST",
        change(PLAIN, **FASHION, num_importance_samples=500),
    ),
    "vae-cifar10": (
        "a convolutional VAE with a discretised logistic likelihood (bits per dimension), on CIFAR-10",
        change(PLAIN, **CIFAR, binarise="none", likelihood="discretised-logistic", batch_size=64, num_importance_samples=100),
    ),
    "iwae-mnist": (
        "the model of vae-mnist trained by the importance-weighted bound of 50 samples",
        change(MNIST, objective="iwae", num_train_samples=50, batch_size=20, epochs=20, validate_every=1),
    ),
    "beta-vae-sprites": ("a β-VAE of controlled capacity on sprites of known factors", SPRITES),
    "vae-mixture": (
        "a VAE with a learned mixture of 50 Gaussians as the prior",
        change(PLAIN, latent="mixture-learned", num_components=50, latent_dim=10),
    ),
    "vae-sphere": (
        "a VAE whose latents lie on the unit sphere, 784-256-128 (S-VAE paper), on MNIST",
        change(PLAIN, data="mnist", **SPHERE, num_importance_samples=500),
    ),
    "vae-beta": ("a VAE with Beta posteriors on (0, 1)", change(PLAIN, latent="beta", latent_dim=10)),
    "cvae": (
        "a VAE conditioned on the digit, on MNIST (--latent conditional-normal for a prior p(z|y) too)",
        change(PLAIN, data="mnist", num_classes=10, epochs=40, num_importance_samples=500),
    ),
    "vae-planar": ("a VAE with four amortised planar flows, on dynamically binarised MNIST", FLOWS),
    "vae-iaf": ("a VAE with four inverse autoregressive flows, on dynamically binarised MNIST", change(FLOWS, flow="iaf")),
}
RECIPES = {name: Recipe(summary, settings, build) for name, (summary, settings) in ROWS.items()}
