"""The one-layer VAE of the IWAE paper (Burda et al. 2016, arXiv:1509.00519): 784-200-200-50, tanh, dynamically binarised MNIST.

    GEN_JAX_DATA_DIR=DIR gen-jax train vae-mnist

27 min on two CPU cores, evaluation included: test NLL 87.26 ± 0.23 nats (K = 5,000), test ELBO -90.72 (seed 0). The paper has
86.76 after 3,280 epochs at batch 20.
"""

from gen_jax.recipes.experiment import Recipe
from gen_jax.recipes.vae import VaeSettings, build

RECIPE = Recipe(
    "the one-layer VAE of the IWAE paper (784-200-200-50, tanh) on dynamically binarised MNIST",
    VaeSettings(
        data="mnist",
        hidden_sizes=(200, 200),
        epochs=1000,
        latent_dim=50,
        activation="tanh",
        num_importance_samples=5000,
        validate_every=5,
    ),
    build,
)
