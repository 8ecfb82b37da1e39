"""The flows that recipes choose from by name."""

from typing import Literal

from gen_jax import flows
from gen_jax.nets import MLP, autoregressive_net, near_zero
from gen_jax.types import Bijection, InputError

BOUND = 5.0  # splines act on ±5

FlowName = Literal[
    "planar", "radial", "sylvester", "householder", "affine-coupling", "spline-coupling", "maf", "spline-maf", "iaf"
]


def make_flow(
    name: FlowName, dim: int, num_layers: int, hidden_sizes: tuple[int, ...], num_units: int, context_dim: int = 0
) -> Bijection:
    """Return a stack of layers of one kind; where a layer leaves dimensions out or has an order, a reversal follows it.

    Args:
        name: the kind.
        dim: D.
        num_layers: K.
        hidden_sizes: of the network in a coupling or autoregressive layer.
        num_units: of a Sylvester layer, at most D.
        context_dim: size of the context of that network.
    """
    if any(size < 1 for size in hidden_sizes):
        raise InputError(f"hidden_sizes is {hidden_sizes}: give widths of 1 or more.")
    transformer = flows.rational_quadratic_spline(num_bins=8, bound=BOUND) if name.startswith("spline") else flows.affine()
    match name:
        case "planar":
            layer = flows.planar(dim)
        case "radial":
            layer = flows.radial(dim)
        case "sylvester":
            layer = flows.orthogonal_sylvester(dim, num_units)
        case "householder":
            layer = flows.householder_sylvester(dim, num_units)
        case "affine-coupling" | "spline-coupling":
            net = MLP(hidden_sizes, (transformer.num_params, dim - dim // 2), output_init=near_zero)
            layer = flows.chain(flows.coupling(net, dim, transformer, context_dim), flows.reverse(dim))
        case "maf" | "spline-maf" | "iaf":
            net = autoregressive_net(dim, hidden_sizes, transformer.num_params)
            autoregressive = flows.inverse_autoregressive if name == "iaf" else flows.masked_autoregressive
            layer = flows.chain(autoregressive(net, dim, transformer, context_dim), flows.reverse(dim))
    return flows.stack(layer, num_layers)
