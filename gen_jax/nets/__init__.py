"""The Flax (linen) modules. Models take them by their `init` and `apply`; no other package imports Flax."""

from gen_jax.nets.conv_nets import (
    Conv,
    ConvDecoder,
    ConvEncoder,
    ConvTranspose,
    ResidualBlock,
    SpatialDecoder,
    SpatialEncoder,
    halved_size,
)
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
    "Conv",
    "ConvDecoder",
    "ConvEncoder",
    "ConvTranspose",
    "Degrees",
    "MaskedMLP",
    "ResidualBlock",
    "SpatialDecoder",
    "SpatialEncoder",
    "autoregressive_net",
    "check_degrees",
    "check_hidden_sizes",
    "connectivity",
    "draw_degrees",
    "halved_size",
    "natural_degrees",
    "near_zero",
    "spread_degrees",
]
