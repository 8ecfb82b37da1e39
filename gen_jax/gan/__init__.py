"""Generative adversarial networks: the losses of both players, penalties on the discriminator, and the theory of the game."""

from gen_jax.gan.latents import analogy, draw_latents, interpolate
from gen_jax.gan.losses import (
    HINGE,
    LEAST_SQUARES,
    LOSSES,
    MINIMAX,
    NON_SATURATING,
    WASSERSTEIN,
    AdversarialLoss,
    class_loss,
    discriminator_loss,
    generator_loss,
)
from gen_jax.gan.model import generative_adversarial_network, pack
from gen_jax.gan.objectives import discriminator_objective, generator_objective
from gen_jax.gan.penalties import (
    PENALTIES,
    Critic,
    Penalty,
    clip_weights,
    gradient_norm_squared,
    gradient_penalty,
    r1_penalty,
    r2_penalty,
    zero_centred_penalty,
)
from gen_jax.gan.theory import (
    dirac_gan_eigenvalues,
    dirac_gan_step,
    game_value,
    generator_gradient_norm,
    jensen_shannon,
    optimal_discriminator_logit,
)

__all__ = [
    "HINGE",
    "LEAST_SQUARES",
    "LOSSES",
    "MINIMAX",
    "NON_SATURATING",
    "PENALTIES",
    "WASSERSTEIN",
    "AdversarialLoss",
    "Critic",
    "Penalty",
    "analogy",
    "class_loss",
    "clip_weights",
    "dirac_gan_eigenvalues",
    "dirac_gan_step",
    "discriminator_loss",
    "discriminator_objective",
    "draw_latents",
    "game_value",
    "generative_adversarial_network",
    "generator_gradient_norm",
    "generator_loss",
    "generator_objective",
    "gradient_norm_squared",
    "gradient_penalty",
    "interpolate",
    "jensen_shannon",
    "optimal_discriminator_logit",
    "pack",
    "r1_penalty",
    "r2_penalty",
    "zero_centred_penalty",
]
