"""The masked autoencoder for distribution estimation (Germain et al. 2015, arXiv:1502.03509).

    log p(x) = Σ_i log p(x_i | x_j of a lower degree than i)

in one pass of a network whose masks follow from degrees (`nets.masked`). Degrees are arguments: one network serves every ordering
and every connectivity, and under `jit` none of them compiles anything anew.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from gen_jax.made.outputs import Output
from gen_jax.made.sampling import draw_in_order
from gen_jax.nets import Degrees, MaskedMLP, check_degrees, check_hidden_sizes, draw_degrees, natural_degrees
from gen_jax.types import Array, DensityModel, InputError, Key, Loss, Metrics, Params, Variables

Masks = Callable[[Int[Array, ""] | int], Degrees]
"""Which degrees the mask of an index has: 0, 1, 2, … without end."""


class MADE(NamedTuple):
    """A masked network as a density, under whichever degrees it is given.

    Attributes:
        init: key -> params.
        log_prob: (params, degrees, x [D]) -> log p(x) under those degrees, in nats; −∞ for an x that cannot occur, such as a
            Bernoulli's ½ (outside of jit and vmap an InputError).
        sample: (params, degrees, key) -> x [D], at about the cost of one pass.
        complete: (params, degrees, key, x [D], observed [D] of bool) -> x with what is not observed drawn in the order of the
            degrees, each given those before it. Where the observed come first in that order, it is a draw from
            p(missing | observed).
        degrees: the natural ones, x_1 first.
    """

    init: Callable[[Key], Params]
    log_prob: Callable[..., Float[Array, ""]]
    sample: Callable[..., Array]
    complete: Callable[..., Array]
    degrees: Degrees


def made(
    dim: int,
    hidden_sizes: tuple[int, ...],
    output: Output,
    direct: bool = False,
    activation: Callable[[Array], Array] = jax.nn.relu,
) -> MADE:
    """Return the MADE of the given size; `ensemble` makes a `DensityModel` of it and a choice of masks.

    Args:
        dim: D, the number of dimensions.
        hidden_sizes: the widths of the hidden layers.
        output: the kind of conditionals, such as `bernoulli_output()`.
        direct: links from inputs to outputs too.
        activation: of the hidden layers.

    Raises:
        InputError: a hidden layer is narrower than D − 1, too narrow to carry every dependency, and there are no direct links.
    """
    check_hidden_sizes(dim, hidden_sizes, direct)
    net = MaskedMLP(hidden_sizes, output.num_params, direct, activation)
    apply: Callable[..., Array] = net.apply  # ty: ignore[invalid-assignment]
    natural = natural_degrees(dim, hidden_sizes)

    def init(key: Key) -> Params:
        return net.init(key, jnp.zeros((dim, output.num_features)), natural)

    def log_prob(params: Params, degrees: Degrees, x: Array) -> Float[Array, ""]:
        if x.shape != (dim,):
            raise InputError(f"x has shape {x.shape}, and the model has {dim} dimensions: give ({dim},), or vmap over more.")
        if not isinstance(x, Tracer):
            output.check(x, "x")
        check_degrees(degrees, natural)
        known = output.contains(x)
        x = jnp.where(known, x, 0)
        value = output.distribution(apply(params, output.features(x), degrees)).log_prob(x)
        return jnp.where(jnp.all(known), value, -jnp.inf)  # under jit and vmap no error can be raised

    def complete(params: Params, degrees: Degrees, key: Key, x: Array, observed: Any) -> Array:
        x, observed = jnp.asarray(x), _checked_observed(observed, dim)
        if x.shape != (dim,):
            raise InputError(f"x has shape {x.shape}, and the model has {dim} dimensions: give ({dim},), or vmap over more.")
        if not isinstance(x, Tracer) and not isinstance(observed, Tracer):
            output.check(np.asarray(x)[np.asarray(observed)], "x, where it is observed,")
        check_degrees(degrees, natural)
        return draw_in_order(net, output, params, degrees, key, x.astype(output.dtype), observed)

    def sample(params: Params, degrees: Degrees, key: Key) -> Array:
        return complete(params, degrees, key, jnp.zeros(dim, output.dtype), jnp.zeros(dim, bool))

    return MADE(init, log_prob, sample, complete, natural)


def shuffled_masks(key: Key, degrees: Degrees, ordering: bool = True, connectivity: bool = True) -> Masks:
    """Return masks that shuffle the ordering, the connectivity, or both, for every index anew.

    Index i draws from `fold_in(key, i)`: a cycle of M masks is the indices 0 … M − 1, and fresh masks at each step are an index
    that never comes twice.
    """
    return lambda index: draw_degrees(jax.random.fold_in(key, index), degrees, ordering, connectivity)


def with_ordering(degrees: Degrees, ordering: Int[np.ndarray, "D"] | list[int]) -> Degrees:
    """Return degrees in which dimension ordering[0] comes first, ordering[1] second, and so on.

    Raises:
        InputError: `ordering` is not a permutation of 0 … D − 1.
    """
    array, dim = np.asarray(ordering), len(degrees.inputs)
    if array.shape != (dim,) or not np.array_equal(np.sort(array), np.arange(dim)):
        raise InputError(f"ordering is {np.array2string(array, threshold=12)}: give a permutation of 0 … {dim - 1}.")
    return Degrees(1 + np.argsort(array), degrees.hidden)


def ensemble(model: MADE, masks: Masks, num_masks: int = 1) -> DensityModel:
    """Return the density of a MADE under masks 0 … M − 1, as an equal mixture of the M densities.

    log p(x) = log (1/M) Σ_m p_m(x)

    (A mean of logits over orderings is not a density.) The masks are drawn by `init` and are the state of its `Variables`, so
    that they are saved with the model. Sampling draws the mask first. Under `vmap` every draw then has sorted weights of its own:
    draw many samples by `jax.lax.map` in batches of about 20.

    Raises:
        InputError: there is less than one mask, or mask 0 is none of this model's.
    """
    _check_masks(model, masks, num_masks)

    def init(key: Key, x: Array | None = None) -> Variables:
        return Variables(model.init(key), jax.vmap(masks)(jnp.arange(num_masks)))

    def log_prob(variables: Variables, x: Array, context: Any = None) -> Float[Array, ""]:
        _no_context(context)
        params, stacked = variables
        if num_masks == 1:
            return model.log_prob(params, _mask(stacked, 0), x)
        log_probs = jax.lax.map(lambda degrees: model.log_prob(params, degrees, x), stacked)
        return jax.nn.logsumexp(log_probs) - jnp.log(num_masks)

    def sample(variables: Variables, key: Key, context: Any = None) -> Array:
        _no_context(context)
        params, stacked = variables
        if num_masks == 1:
            return model.sample(params, _mask(stacked, 0), key)
        index_key, sample_key = jax.random.split(key)
        return model.sample(params, _mask(stacked, jax.random.randint(index_key, (), 0, num_masks)), sample_key)

    def complete_one(variables: Variables, key: Key, x: Array, observed: Any) -> Completion:
        params, stacked = variables
        return complete(model, params, functools.partial(_mask, stacked), num_masks, key, x, observed)

    return DensityModel(init, log_prob, sample, complete_one)


def _mask(stacked: Degrees, index: Int[Array, ""] | int) -> Degrees:
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def made_loss(model: MADE, masks: Masks | None = None) -> Loss:
    """Return the `Loss` −E[log p_m(x)] of a batch with `x`, flattened, under one mask m at a step.

    Args:
        model: the MADE.
        masks: of which each step takes another one, beyond those of the ensemble; by default, the steps go through the masks of
            the ensemble in turn.
    """

    def loss(params: Params, state: Degrees, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        num_masks = len(state.inputs)
        step = jnp.where(jnp.isinf(step), 0, step).astype(jnp.int32)  # infinity is what validation asks for
        degrees = _mask(state, step % num_masks) if masks is None else masks(num_masks + step)
        log_prob = jnp.mean(jax.vmap(lambda x: model.log_prob(params, degrees, jnp.ravel(x)))(batch.x))
        return -log_prob, (state, {"log_prob": log_prob})

    return loss


def _check_masks(model: MADE, masks: Masks, num_masks: int) -> None:
    if num_masks < 1:
        raise InputError(f"num_masks is {num_masks}: give 1 or more.")
    check_degrees(masks(0), model.degrees)


def _checked_observed(observed: Any, dim: int) -> Bool[Array, "D"]:
    observed = jnp.asarray(observed)
    if observed.shape != (dim,) or observed.dtype != bool:
        raise InputError(f"observed is {observed.dtype}{observed.shape}: give bool({dim},), True where x is known.")
    return observed


def _no_context(context: Any) -> None:
    if context is not None:
        raise InputError("context is given, and a MADE takes none: leave it out.")


class Completion(NamedTuple):
    """An example whose missing dimensions were drawn.

    Attributes:
        x: [D], the observed dimensions as they were given.
        exact: whether the missing ones are a draw from p_m(missing | observed), with m the mask that was chosen. Otherwise some
            were drawn without regard to observed dimensions that come after them in the ordering.
        mask: m.
        unused: how many pairs (missing, observed) have the observed one later in the ordering: 0 where it is exact.
    """

    x: Array
    exact: Bool[Array, "*batch"]
    mask: Int[Array, "*batch"]
    unused: Int[Array, "*batch"]


def complete(
    model: MADE, params: Params, masks: Masks, num_masks: int, key: Key, x: Array, observed: Bool[Array | np.ndarray, "_"]
) -> Completion:
    """Draw the missing dimensions of x, under that one of M masks whose ordering has the least of the observed after them.

    Args:
        model: the MADE.
        params: its parameters.
        masks: as for `ensemble`.
        num_masks: M, how many of them to choose from.
        key: for the draw.
        x: [D]; what stands in the missing places is not looked at.
        observed: [D], True where x is known.

    Raises:
        InputError: there is less than one mask, mask 0 is none of this model's, `observed` is not of bool, a shape does not
            match, or an observed value cannot occur.
    """
    _check_masks(model, masks, num_masks)
    observed = _checked_observed(observed, len(model.degrees.inputs))

    def unused(index: Int[Array, ""]) -> Int[Array, ""]:
        order = jnp.argsort(jnp.asarray(masks(index).inputs))
        is_observed = observed[order]
        missing_before = jnp.cumsum(~is_observed)
        return jnp.sum(jnp.where(is_observed, missing_before, 0))

    counts = jax.lax.map(unused, jnp.arange(num_masks))
    best = jnp.argmin(counts)
    drawn = model.complete(params, masks(best), key, x, observed)
    return Completion(drawn, counts[best] == 0, best, counts[best])
