"""The importance-weighted autoencoder (Burda et al. 2016, arXiv:1509.00519), one layer, K = 50, on dynamically binarised MNIST.

    GEN_JAX_DATA_DIR=DIR gen-jax train iwae-mnist [--objective dreg]

20 min on two CPU cores, which did other work too: test NLL 91.32 ± 0.24 nats (K = 5,000; seed 0). The paper has 84.78 after 3,280
epochs, where this has 20.
"""

import dataclasses

from gen_jax.recipes import vae_mnist
from gen_jax.recipes.experiment import Recipe
from gen_jax.recipes.vae import build

RECIPE = Recipe(
    "the model of vae-mnist trained by the importance-weighted bound of 50 samples",
    dataclasses.replace(
        vae_mnist.RECIPE.settings, objective="iwae", num_train_samples=50, batch_size=20, epochs=20, validate_every=1
    ),
    build,
)
