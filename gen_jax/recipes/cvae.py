"""The conditional VAE (Sohn et al. 2015, NeurIPS) on MNIST: encoder and decoder are told the digit.

GEN_JAX_DATA_DIR=DIR gen-jax train cvae
"""

from gen_jax.recipes.experiment import Recipe
from gen_jax.recipes.vae import VaeSettings, build

RECIPE = Recipe(
    "a VAE conditioned on the digit, on MNIST (--latent conditional-normal for a prior p(z|y) too)",
    VaeSettings(data="mnist", num_classes=10, epochs=40, num_importance_samples=500),
    build,
)
