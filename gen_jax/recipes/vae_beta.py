"""A VAE with latents on (0, 1), uniform under the prior and Beta under the posterior, on the 5,000 embedded digits.

gen-jax train vae-beta
"""

from gen_jax.recipes.experiment import Recipe
from gen_jax.recipes.vae import VaeSettings, build

RECIPE = Recipe("a VAE with Beta posteriors on (0, 1)", VaeSettings(latent="beta", latent_dim=10), build)
