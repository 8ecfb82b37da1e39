"""Masked networks (Germain et al. 2015, arXiv:1502.03509), shared by MADE and the autoregressive flows.

Every input and every hidden unit has a degree; the masks follow from the degrees. With m(k) the degree of unit k,

    hidden unit k sees unit j of the layer below  where m(k) ≥ m(j),
    output d sees hidden unit k (or input k, by a direct link)  where m(d) > m(k),

so output d depends only on inputs of a lower degree than its own. Degrees are arguments of the network, so new ones cause no
recompilation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from gen_jax.nets.mlp import Initializer, near_zero
from gen_jax.types import Array, InputError, Key


class Degrees(NamedTuple):
    """The degrees of a masked network.

    Attributes:
        inputs: [D], a permutation of 1 … D: input i is the inputs[i]-th in the ordering. Output i has the same degree.
        hidden: [H_l] for each hidden layer l, from 1 to D − 1.
    """

    inputs: Int[Array | np.ndarray, "D"]
    hidden: tuple[Int[Array | np.ndarray, "_"], ...]


def spread_degrees(dim: int, size: int) -> np.ndarray:
    """Return [H] ascending degrees from 1 to D − 1, each equally often (to within one)."""
    return 1 + np.arange(size) * max(dim - 1, 1) // size


def natural_degrees(dim: int, hidden_sizes: tuple[int, ...]) -> Degrees:
    """Return the degrees of the ordering x_1, x_2, …, with those of `spread_degrees` in the hidden layers."""
    return Degrees(np.arange(1, dim + 1), tuple(spread_degrees(dim, size) for size in hidden_sizes))


def draw_degrees(key: Key, degrees: Degrees, ordering: bool = True, connectivity: bool = True) -> Degrees:
    """Return degrees permuted among the inputs (`ordering`), within each hidden layer (`connectivity`), or both.

    No permutation loses a dependency, unless the given degrees do.
    """
    input_key, *hidden_keys = jax.random.split(key, 1 + len(degrees.hidden))
    inputs = jax.random.permutation(input_key, jnp.asarray(degrees.inputs)) if ordering else jnp.asarray(degrees.inputs)
    hidden = map(jnp.asarray, degrees.hidden)
    if connectivity:
        hidden = map(jax.random.permutation, hidden_keys, hidden)
    return Degrees(inputs, tuple(hidden))


class LostDependencies(NamedTuple):
    """The dependencies that the masks of a network remove.

    Attributes:
        pairs: (output, input) with the input of a lower degree and no path between them.
        dead_inputs: inputs on which no output depends, other than the last of the ordering.
    """

    pairs: list[tuple[int, int]]
    dead_inputs: list[int]


def lost_dependencies(degrees: Degrees, direct: bool = False) -> LostDependencies:
    """Return the dependencies that the masks of the given degrees remove."""
    inputs, *hidden = map(np.asarray, jax.tree.leaves(degrees))
    masks = [*map(hidden_mask, (inputs, *hidden), hidden), output_mask((inputs, *hidden)[-1], inputs)]
    wanted = output_mask(inputs, inputs)
    reached = np.eye(len(inputs), dtype=bool)  # [D, units]: which units an input reaches
    for mask in masks:
        reached = reached.astype(np.float32) @ mask.astype(np.float32) > 0
    reached |= wanted & direct
    lost = wanted & ~reached
    dead = wanted.any(axis=1) & ~reached.any(axis=1)
    return LostDependencies([(int(d), int(j)) for j, d in np.argwhere(lost)], np.flatnonzero(dead).tolist())


def check_hidden_sizes(dim: int, hidden_sizes: tuple[int, ...], direct: bool) -> None:
    """Raise an InputError for hidden layers that cannot carry every dependency.

    Without direct links, each degree from 1 to D − 1 needs a unit in each hidden layer.
    """
    if dim < 1:
        raise InputError(f"dim is {dim}: give 1 or more.")
    if any(size < 1 for size in hidden_sizes) or not (hidden_sizes or direct):
        raise InputError(f"hidden_sizes is {hidden_sizes}: give widths of 1 or more.")
    if not direct and min(hidden_sizes) < dim - 1:
        lost = lost_dependencies(natural_degrees(dim, hidden_sizes))
        raise InputError(
            f"hidden_sizes is {hidden_sizes}: for {dim} dimensions a hidden layer of fewer than {dim - 1} units loses "
            f"dependencies (here {len(lost.pairs)} of {dim * (dim - 1) // 2}; {len(lost.dead_inputs)} inputs reach no output). "
            f"Give {dim - 1} or more, or direct=True."
        )


def check_degrees(degrees: Degrees, natural: Degrees) -> None:
    """Raise an InputError for degrees that are not a permutation of the natural ones, layer by layer.

    Under tracing, only shapes are checked.
    """
    given, wanted = (tuple(map(np.shape, jax.tree.leaves(tree))) for tree in (degrees, natural))
    if given != wanted:
        raise InputError(f"degrees have shapes {given}: give {wanted}, inputs first, as from draw_degrees and with_ordering.")
    names = ("inputs", *(f"hidden[{i}]" for i in range(len(natural.hidden))))
    for name, layer, wanted in zip(names, jax.tree.leaves(degrees), jax.tree.leaves(natural), strict=True):
        if not isinstance(layer, Tracer) and not np.array_equal(np.sort(layer), wanted):
            raise InputError(
                f"degrees.{name} is {np.array2string(np.asarray(layer), threshold=12)}, not those of natural_degrees in another "
                "order: make them with draw_degrees or with_ordering."
            )


def hidden_mask(below: Int[Array | np.ndarray, "I"], degrees: Int[Array | np.ndarray, "O"]) -> Bool[Array | np.ndarray, "I O"]:
    """Return which units of the layer below each hidden unit sees."""
    return degrees[None, :] >= below[:, None]


def output_mask(below: Int[Array | np.ndarray, "I"], degrees: Int[Array | np.ndarray, "O"]) -> Bool[Array | np.ndarray, "I O"]:
    """Return which units of the layer below each output sees."""
    return degrees[None, :] > below[:, None]


class MaskedMLP(nn.Module):
    """An MLP with P = `num_outputs` outputs for each dimension of x, which depend only on inputs of a lower degree.

    `direct` adds direct links from the inputs to the outputs. `output_init` is for the kernels of the outputs.
    """

    hidden_sizes: tuple[int, ...]
    num_outputs: int
    direct: bool = False
    activation: Callable[[Array], Array] = nn.relu
    output_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "D E"], degrees: Degrees, context: Float[Array, "_"] | None = None) -> Float[Array, "P D"]:
        """Return the outputs for one x, which has E features for each dimension."""
        dim, num_features = x.shape
        features = jnp.repeat(jnp.asarray(degrees.inputs), num_features)
        h, below = jnp.ravel(x), features
        for i, (size, layer) in enumerate(zip(self.hidden_sizes, degrees.hidden, strict=True)):
            h = MaskedDense(size, name=f"hidden_{i}")(h, hidden_mask(below, layer))
            if context is not None and i == 0:
                h = h + nn.Dense(size, use_bias=False, name="context")(context)
            h, below = self.activation(h), layer
        size = self.num_outputs * dim
        degrees_out = jnp.tile(jnp.asarray(degrees.inputs), self.num_outputs)
        out = MaskedDense(size, self.output_init, name="output")(h, output_mask(below, degrees_out))
        if self.direct and self.hidden_sizes:
            out = out + MaskedDense(size, self.output_init, use_bias=False, name="direct")(
                jnp.ravel(x), output_mask(features, degrees_out)
            )
        if context is not None:  # also directly, because the first output of the ordering sees no hidden unit
            out = out + nn.Dense(size, use_bias=False, kernel_init=self.output_init, name="output_context")(context)
        return out.reshape(self.num_outputs, dim)


def hidden_units(net: MaskedMLP, params: Any, x: Float[Array, "D E"], degrees: Degrees) -> Float[Array, "H"]:
    """Return the units of the last hidden layer of a masked network that has one."""
    last = f"hidden_{len(net.hidden_sizes) - 1}"
    _, found = net.apply(params, x, degrees, capture_intermediates=lambda module, _: module.name == last)
    return net.activation(found["intermediates"][last]["__call__"][0])


class MaskedDense(nn.Module):
    """x ↦ x (W ⊙ mask) + b."""

    size: int
    kernel_init: Initializer = nn.initializers.lecun_normal()
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "I"], mask: Bool[Array | np.ndarray, "I O"]) -> Float[Array, "O"]:
        """Return the output for one example."""
        kernel = self.param("kernel", self.kernel_init, (x.size, self.size))
        out = jnp.matmul(x, jnp.where(mask, kernel, 0))
        return out + self.param("bias", nn.initializers.zeros_init(), (self.size,)) if self.use_bias else out


class AutoregressiveNet(NamedTuple):
    """A `Net`, (x [D, E], context=None) -> [P, D], where column i depends only on x_1 … x_{i−1}."""

    init: Callable[..., Any]
    apply: Callable[..., Any]


def autoregressive_net(
    dim: int,
    hidden_sizes: tuple[int, ...],
    num_outputs: int,
    direct: bool = False,
    activation: Callable[[Array], Array] = nn.relu,
    output_init: Initializer = near_zero,
) -> AutoregressiveNet:
    """Return a masked network in the natural ordering, for autoregressive flows; see `MaskedMLP` for the arguments.

    Raises:
        InputError: see `check_hidden_sizes`.
    """
    check_hidden_sizes(dim, hidden_sizes, direct)
    net = MaskedMLP(hidden_sizes, num_outputs, direct, activation, output_init)
    degrees = natural_degrees(dim, hidden_sizes)
    return AutoregressiveNet(
        lambda key, x, context=None: net.init(key, x, degrees, context),
        lambda params, x, context=None: net.apply(params, x, degrees, context),
    )
