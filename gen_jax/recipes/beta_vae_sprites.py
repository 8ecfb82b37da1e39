"""The β-VAE of controlled capacity (Burgess et al. 2018, arXiv:1804.03599) on sprites: E[log p(x|z)] − γ |KL − C|, C rising.

    gen-jax train beta-vae-sprites
    gen-jax traverse runs/beta-vae-sprites

The paper raises C from 0 to 25 nats over 100,000 steps at γ = 1,000; here, over 8,000 of 10,000 steps at γ = 100. At this pace
γ = 1,000 buys nats where they come fastest, not where they help: two latents take all of them, at a test ELBO of -209.52.

20 min on two CPU cores, which did other work too: test KL 25.18 nats for C = 25, ELBO -140.74 (seed 0). Three latents are in use:
two axes of the position, and the size.
"""

from gen_jax.recipes.experiment import Recipe
from gen_jax.recipes.vae import VaeSettings, build

RECIPE = Recipe(
    "a convolutional β-VAE of controlled capacity on sprites of known factors",
    VaeSettings(
        data="sprites",
        binarise="none",
        latent_dim=10,
        channels=(32, 32, 32, 32),
        hidden_sizes=(256, 256),
        objective="capacity",
        gamma=100.0,
        capacity_steps=8000,
        batch_size=64,
        learning_rate=5e-4,
        schedule="constant",
        epochs=20,
        epoch_steps=500,
        num_importance_samples=10,
    ),
    build,
)
