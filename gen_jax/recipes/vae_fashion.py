"""A VAE with a Gaussian likelihood, whose one σ is learned, on the grey values of Fashion-MNIST.

    GEN_JAX_DATA_DIR=DIR gen-jax train vae-fashion

97 s on two CPU cores, evaluation included: test NLL -629.38 ± 3.00 nats (K = 500), test ELBO 616.99 (seed 0).
"""

from gen_jax.recipes.experiment import Recipe
from gen_jax.recipes.vae import VaeSettings, build

RECIPE = Recipe(
    "a VAE with a Gaussian likelihood of learned σ on Fashion-MNIST",
    VaeSettings(data="fashion_mnist", binarise="none", likelihood="gaussian-learned", epochs=30, num_importance_samples=500),
    build,
)
