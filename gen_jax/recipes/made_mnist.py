"""MADE with one hidden layer on dynamically binarised MNIST.

    GEN_JAX_DATA_DIR=DIR gen-jax train made-mnist

Training takes about two minutes on two CPU cores: test NLL 87.14 ± 0.02 nats (3 seeds).
"""

from gen_jax.recipes.experiment import Recipe
from gen_jax.recipes.made import MadeSettings, build

RECIPE = Recipe(
    "MADE, one hidden layer of 1,000, on dynamically binarised MNIST",
    MadeSettings(direct=True, epochs=40),
    build,
)
