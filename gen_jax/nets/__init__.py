"""The Flax (linen) modules. Models take them by their `init` and `apply`; no other package imports Flax."""

from gen_jax.nets.masked import (
    AutoregressiveNet,
    Connectivity,
    Degrees,
    MaskedMLP,
    autoregressive_net,
    check_degrees,
    check_hidden_sizes,
    connectivity,
    draw_degrees,
    natural_degrees,
    spread_degrees,
)
from gen_jax.nets.mlp import MLP, near_zero

__all__ = [
    "MLP",
    "AutoregressiveNet",
    "Connectivity",
    "Degrees",
    "MaskedMLP",
    "autoregressive_net",
    "check_degrees",
    "check_hidden_sizes",
    "connectivity",
    "draw_degrees",
    "natural_degrees",
    "near_zero",
    "spread_degrees",
]
