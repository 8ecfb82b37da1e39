"""Drawing from a MADE, one dimension after another in the order of the degrees.

The plain way is a pass of the whole network for each of the D dimensions. But a hidden unit of degree m sees only the first m
dimensions: once those are drawn its value is final. With the units sorted by degree, each is computed once, when its inputs are
known, and all D steps together cost about one pass. For speed the work is cut into blocks of the ordering: what a block gets from
all that came before is one matrix product, and only what happens within the block goes step by step.
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
    """Draw what is not observed by D passes of the whole network: the plain way, for comparison."""
    order = jnp.argsort(jnp.asarray(degrees.inputs))
    noise = output.noise(key, x.size)

    def step(i: Array, x: Array) -> Array:
        raw: Any = net.apply(params, output.features(x), degrees)
        drawn = output.draw(raw[:, order[i]], jax.tree.map(lambda leaf: leaf[i], noise))
        return x.at[order[i]].set(jnp.where(observed[order[i]], x[order[i]], drawn))

    return jax.lax.fori_loop(0, x.size, step, jnp.where(observed, x, 0))


def draw_in_order(
    net: MaskedMLP, output: Output, params: Params, degrees: Degrees, key: Key, x: Array, observed: Bool[Array, "D"]
) -> Array:
    """Draw what is not observed at about the cost of one pass; the same draws as `draw_by_passes`, but for rounding.

    The degrees are taken to be those of `natural_degrees` in another order (`check_degrees`), which fixes how many units each
    degree has, and with it all shapes.
    """
    blocks = _sorted_blocks(net, output, params, degrees)
    dim, (num_blocks, size) = x.size, blocks.bias_out.shape[:2]
    order = jnp.argsort(jnp.asarray(degrees.inputs))

    def cut(values: Array) -> Array:
        padded = jnp.pad(values, ((0, num_blocks * size - dim),) + ((0, 0),) * (values.ndim - 1))
        return padded.reshape(num_blocks, size, *values.shape[1:])

    noise = jax.tree.map(lambda leaf: leaf.reshape(num_blocks, size, *leaf.shape[1:]), output.noise(key, num_blocks * size))
    num_layers = len(blocks.bias)

    def run_block(carry: tuple[Any, ...], block: tuple[Any, ...]) -> tuple[tuple[Any, ...], Array]:
        known, start = carry  # features of the dimensions, then units of each hidden layer: [positions, width], 0 where unknown
        weights, values, is_observed, noise = block
        raw_before = weights.bias_out + jnp.einsum("nw,nwsp->sp", known[-1], weights.out)
        if weights.direct is not None:
            raw_before += jnp.einsum("nw,nwsp->sp", known[0], weights.direct)
        before = [
            bias + jnp.einsum("nw,nwsc->sc", below, kernel)
            for bias, below, kernel in zip(weights.bias, known[:-1], weights.kernel, strict=True)
        ]
        inside = lambda kernel: jax.lax.dynamic_slice_in_dim(kernel, start, size)
        out, kernels = inside(weights.out), [inside(kernel) for kernel in weights.kernel]
        direct = None if weights.direct is None else inside(weights.direct)

        def step(here: list[Array], at: tuple[Any, ...]) -> tuple[list[Array], Array]:
            i, raw, pre, value, is_observed, noise, out, kernels, direct = at
            raw = raw + jnp.einsum("nw,nwp->p", here[-1], out)
            if direct is not None:
                raw = raw + jnp.einsum("nw,nwp->p", here[0], direct)
            value = jnp.where(is_observed, value, output.draw(raw, noise))
            here = list(here)
            here[0] = here[0].at[i].set(output.features(value[None])[0])
            for layer in range(num_layers):
                unit = net.activation(pre[layer] + jnp.einsum("nw,nwc->c", here[layer], kernels[layer]))
                here[layer + 1] = here[layer + 1].at[i].set(unit)
            return here, value

        columns = lambda kernel: jnp.moveaxis(kernel, 2, 0)
        at = (jnp.arange(size), raw_before, before, values, is_observed, noise, columns(out), [columns(k) for k in kernels])
        empty = [jnp.zeros((size, layer.shape[1])) for layer in known]
        here, drawn = jax.lax.scan(step, empty, (*at, None if direct is None else columns(direct)))
        known = [jax.lax.dynamic_update_slice_in_dim(k, h, start, axis=0) for k, h in zip(known, here, strict=True)]
        return (known, start + size), drawn

    widths = [output.num_features, *(bias.shape[-1] for bias in blocks.bias)]
    nothing = [jnp.zeros((num_blocks * size, width)) for width in widths]
    values = (cut(jnp.where(observed, x, 0)[order]), cut(observed[order]), noise)
    _, drawn = jax.lax.scan(run_block, (nothing, jnp.int32(0)), (blocks, *values))
    return jnp.zeros_like(x).at[order].set(drawn.reshape(-1)[:dim])


class _Blocks(NamedTuple):
    """The weights sorted by degree and cut into blocks of S positions of the ordering, N in all, the last block filled up.

    A position holds one dimension (with E features) and, in each hidden layer, C slots for the units of its degree.

    Attributes:
        kernel: of each hidden layer [blocks, N, width below, S, C].
        bias: of each hidden layer [blocks, S, C].
        out: [blocks, N, C, S, P].
        bias_out: [blocks, S, P].
        direct: [blocks, N, E, S, P], or None.
    """

    kernel: list[Array]
    bias: list[Array]
    out: Array
    bias_out: Array
    direct: Array | None


def _sorted_blocks(net: MaskedMLP, output: Output, params: Params, degrees: Degrees) -> _Blocks:
    weights, dim = params["params"], len(degrees.inputs)
    size = min(BLOCK, dim)
    num_blocks = math.ceil(dim / size)
    num_positions = num_blocks * size
    order = jnp.argsort(jnp.asarray(degrees.inputs))
    # which rows and columns of a kernel belong to each position; one behind the last is padding and holds zeros
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
    sees = position[None, :] >= position[:, None]  # hidden units see what has a degree up to their own
    sees_before = position[None, :] > position[:, None]  # outputs see what has a lower one
    rows = [features, *layers]
    hidden = [weights[f"hidden_{i}"] for i in range(len(layers))]
    return _Blocks(
        [take(w["kernel"], below, layer, sees) for w, below, layer in zip(hidden, rows[:-1], layers, strict=True)],
        [take_bias(w["bias"], layer) for w, layer in zip(hidden, layers, strict=True)],
        take(weights["output"]["kernel"], rows[-1], outputs, sees_before),
        take_bias(weights["output"]["bias"], outputs),
        take(weights["direct"]["kernel"], features, outputs, sees_before) if "direct" in weights else None,
    )


def _slots(dim: int, num_positions: int, layer: Any) -> Array:
    """Return [N, C]: the units of each degree, C the most that one degree has, filled up with the number behind the last unit."""
    num_units = len(layer)
    spread = spread_degrees(dim, num_units)
    counts = np.bincount(spread - 1, minlength=num_positions)
    first = np.cumsum(counts) - counts
    slot = np.arange(max(counts))
    sorted_unit = np.where(slot[None, :] < counts[:, None], first[:, None] + slot[None, :], num_units)
    return jnp.pad(jnp.argsort(jnp.asarray(layer)), (0, 1), constant_values=num_units)[sorted_unit]
