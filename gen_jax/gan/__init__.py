"""Generative adversarial networks: the model, its two losses, penalties of the discriminator, and theory."""

from gen_jax.gan.adversarial import adversarial_losses
from gen_jax.gan.augmentation import CHANGES, Augmentation, colour, cutout, translation
from gen_jax.gan.cycle import CYCLE_LOSS, DIRECTIONS, CycleGAN, Direction, cycle_gan, cycle_losses
from gen_jax.gan.growing import GrowingGAN, Growth, growing_gan, growing_losses, stages_for
from gen_jax.gan.latents import analogy, analogy_of_styles, draw_latents
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
from gen_jax.gan.penalties import (
    PENALTIES,
    Critic,
    Penalty,
    gradient_norms_squared,
    gradient_penalty,
    r1_penalty,
    r2_penalty,
    zero_centred_penalty,
)
from gen_jax.gan.pool import Pool, draw_from_pool, empty_pool
from gen_jax.gan.style import path_lengths, path_regularised, style_gan, truncated
from gen_jax.gan.theory import (
    dirac_gan_eigenvalues,
    dirac_gan_step,
    game_value,
    generator_gradient_norm,
    jensen_shannon,
    optimal_discriminator_logit,
)
