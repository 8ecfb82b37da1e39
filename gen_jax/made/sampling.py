"""Sampling from a MADE, one dimension after another in the order of the degrees.

The simple algorithm is a pass of the whole network for each of the D dimensions. But a hidden unit of degree m depends on the
first m dimensions alone: once those are drawn, its value is final. With the units sorted by degree, each is computed once, when
its inputs are known, and all D steps together cost about one pass. For speed the ordering is divided into blocks: the
contribution of all earlier blocks to a block is one matrix product, and only what happens within the block is done step by step.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gen_jax.made.outputs import Output
from gen_jax.nets import Degrees, MaskedMLP, spread_degrees
from gen_jax.types import Array, Key, Params

BLOCK = 16


def draw_by_passes(
    net: MaskedMLP, output: Output, params: Params, degrees: Degrees, key: Key, x: Array, observed: Bool[Array, "D"]
) -> Array:
    """Draw the dimensions that are not observed by D passes of the whole network: the simple algorithm, for comparison."""
    order = jnp.argsort(jnp.asarray(degrees.inputs))
    noise = output.noise(key, x.size)

    def step(i: Array, x: Array) -> Array:
        raw: Any = net.apply(params, output.features(x), degrees)
        drawn = output.draw(raw[:, order[i]], jax.tree.map(lambda leaf: leaf[i], noise)).astype(x.dtype)
        return x.at[order[i]].set(jnp.where(observed[order[i]], x[order[i]], drawn))

    return jax.lax.fori_loop(0, x.size, step, jnp.where(observed, x, 0))


def draw_in_order(
    net: MaskedMLP, output: Output, params: Params, degrees: Degrees, key: Key, x: Array, observed: Bool[Array, "D"]
) -> Array:
    """Draw the same as `draw_by_passes`, up to rounding, at about the cost of one pass.

    The degrees have to be a permutation of `natural_degrees` (`check_degrees`): the number of units of each degree determines all
    shapes.
    """
    blocks = _sorted_blocks(net, output, params, degrees)
    dim, (num_blocks, size) = x.size, blocks.bias_out.shape[:2]
    order = jnp.argsort(jnp.asarray(degrees.inputs))

    def cut(values: Array) -> Array:
        padded = jnp.pad(values, ((0, num_blocks * size - dim),) + ((0, 0),) * (values.ndim - 1))
        return padded.reshape(num_blocks, size, *values.shape[1:])

    noise = jax.tree.map(lambda leaf: leaf.reshape(num_blocks, size, *leaf.shape[1:]), output.noise(key, num_blocks * size))

    def run_block(carry: tuple[Any, ...], block: tuple[Any, ...]) -> tuple[tuple[Any, ...], Array]:
        known, start = carry  # the features, then the units of each hidden layer: [positions, width], 0 where unknown
        weights, *given = block
        raw = weights.bias_out
        for source, kernel in weights.out.items():
            raw += jnp.einsum("nw,nwsp->sp", known[source], kernel)
        hidden = [
            bias + jnp.einsum("nw,nwsc->sc", below, kernel)
            for bias, below, kernel in zip(weights.bias, known[:-1], weights.kernel, strict=True)
        ]

        def step(here: list[Array], at: tuple[Any, ...]) -> tuple[list[Array], Array]:
            i, raw, hidden, out, kernels, (value, is_observed, noise) = at
            for source, kernel in out.items():
                raw = raw + jnp.einsum("nw,nwp->p", here[source], kernel)
            value = jnp.where(is_observed, value, output.draw(raw, noise).astype(value.dtype))
            here = [here[0].at[i].set(output.features(value[None])[0]), *here[1:]]
            for layer, (before, kernel) in enumerate(zip(hidden, kernels, strict=True)):
                unit = net.activation(before + jnp.einsum("nw,nwc->c", here[layer], kernel))
                here[layer + 1] = here[layer + 1].at[i].set(unit)
            return here, value

        inside = lambda kernel: jnp.moveaxis(jax.lax.dynamic_slice_in_dim(kernel, start, size), 2, 0)
        out, kernels = jax.tree.map(inside, (weights.out, weights.kernel))
        zeros = [jnp.zeros_like(layer, shape=(size, layer.shape[1])) for layer in known]
        here, drawn = jax.lax.scan(step, zeros, (jnp.arange(size), raw, hidden, out, kernels, tuple(given)))
        known = [jax.lax.dynamic_update_slice_in_dim(k, h, start, axis=0) for k, h in zip(known, here, strict=True)]
        return (known, start + size), drawn

    widths = [output.num_features, *(bias.shape[-1] for bias in blocks.bias)]
    zeros = [_zeros((num_blocks * size, width), x, observed, noise, params) for width in widths]
    given = (cut(jnp.where(observed, x, 0)[order]), cut(observed[order]), noise)
    _, drawn = jax.lax.scan(run_block, (zeros, jnp.int32(0)), (blocks, *given))
    return jnp.zeros_like(x).at[order].set(drawn.reshape(-1)[:dim])


def _zeros(shape: tuple[int, ...], *values: Any) -> Array:
    """Return zeros to start a loop with, which vary over every axis of a `shard_map` over which any of the values does.

    JAX wants what a loop carries to be of one type from start to end, and these axes are a part of it.
    """
    each = [jnp.zeros_like(leaf, jnp.float32, shape=()) for leaf in jax.tree.leaves(values)]
    return jnp.zeros_like(sum(each, start=jnp.zeros(())), shape=shape)


class _Blocks(NamedTuple):
    """The weights sorted by degree, in blocks of S of the N positions in the ordering (padded to whole blocks).

    A position has one dimension (with E features) and, in each hidden layer, C slots for the units of its degree.
    """

    kernel: list[Array]  # of each hidden layer [blocks, N, width below, S, C]
    bias: list[Array]  # of each hidden layer [blocks, S, C]
    out: dict[int, Array]  # of the output, from −1, the last layer [blocks, N, C, S, P], and 0, the features (direct connections)
    bias_out: Array  # [blocks, S, P]


def _sorted_blocks(net: MaskedMLP, output: Output, params: Params, degrees: Degrees) -> _Blocks:
    weights, dim = params["params"], len(degrees.inputs)
    size = min(BLOCK, dim)
    num_blocks = math.ceil(dim / size)
    num_positions = num_blocks * size
    order = jnp.argsort(jnp.asarray(degrees.inputs))
    # the rows and columns of a kernel that belong to each position; the index after the last is padding, with zeros
    num_features, num_params = output.num_features, output.num_params
    inputs = jnp.pad(order, (0, num_positions - dim), constant_values=dim)[:, None]
    features = jnp.where(inputs < dim, inputs * num_features + jnp.arange(num_features)[None, :], dim * num_features)
    outputs = jnp.where(inputs < dim, inputs + dim * jnp.arange(num_params)[None, :], dim * num_params)
    layers = [_slots(dim, num_positions, layer) for layer in degrees.hidden]

    def take(kernel: Array, rows: Array, columns: Array, mask: np.ndarray) -> Array:
        padded = jnp.pad(kernel, ((0, 1), (0, 1)))[rows.reshape(-1)][:, columns.reshape(-1)]
        sorted_kernel = padded.reshape(*rows.shape, *columns.shape)  # [N, width, N, width]
        masked = jnp.where(mask[:, None, :, None], sorted_kernel, 0)
        return jnp.moveaxis(masked.reshape(*rows.shape, num_blocks, size, columns.shape[1]), 2, 0)

    def take_bias(bias: Array, columns: Array) -> Array:
        return jnp.pad(bias, (0, 1))[columns.reshape(-1)].reshape(num_blocks, size, columns.shape[1])

    position = np.arange(num_positions)
    up_to = position[None, :] >= position[:, None]  # the mask of hidden units
    before = position[None, :] > position[:, None]  # the mask of outputs
    rows = [features, *layers]
    hidden = [weights[f"hidden_{i}"] for i in range(len(layers))]
    sources = {-1: "output", 0: "direct"} if "direct" in weights else {-1: "output"}
    return _Blocks(
        [take(w["kernel"], below, layer, up_to) for w, below, layer in zip(hidden, rows[:-1], layers, strict=True)],
        [take_bias(w["bias"], layer) for w, layer in zip(hidden, layers, strict=True)],
        {source: take(weights[name]["kernel"], rows[source], outputs, before) for source, name in sources.items()},
        take_bias(weights["output"]["bias"], outputs),
    )


def _slots(dim: int, num_positions: int, layer: Any) -> Array:
    """Return [N, C]: the units of each degree, C the largest number of them, padded with the index after the last unit."""
    num_units = len(layer)
    spread = spread_degrees(dim, num_units)
    counts = np.bincount(spread - 1, minlength=num_positions)
    first = np.cumsum(counts) - counts
    slot = np.arange(max(counts))
    sorted_unit = np.where(slot[None, :] < counts[:, None], first[:, None] + slot[None, :], num_units)
    return jnp.pad(jnp.argsort(jnp.asarray(layer)), (0, 1), constant_values=num_units)[sorted_unit]
