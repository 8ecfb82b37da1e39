"""The masked autoencoder for distribution estimation (Germain et al. 2015, arXiv:1502.03509).

    log p(x) = Σ_i log p(x_i | all x_j with a lower degree than x_i)

in one pass of a network whose masks follow from degrees (`nets.masked`). Degrees are arguments: a new ordering or connectivity
does not recompile a jitted function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from gen_jax.distributions import log_prob_parts
from gen_jax.made.outputs import Output
from gen_jax.made.sampling import draw_in_order
from gen_jax.nets import Degrees, MaskedMLP, check_degrees, check_hidden_sizes, draw_degrees, hidden_units, natural_degrees
from gen_jax.types import Array, DensityModel, InputError, Key, Loss, Metrics, Params, Variables

Masks = Callable[[Int[Array, ""] | int], Degrees]
"""Mask index (0, 1, 2, …) -> degrees."""


class MADE(NamedTuple):
    """The density that a masked network has for given degrees.

    Attributes:
        init: key -> params.
        log_prob: (params, degrees, x [D]) -> log p(x) in nats. For an x outside the support, such as ½ for a Bernoulli, it raises
            an InputError; under jit and vmap it is −∞.
        conditionals: (params, degrees, x [D]) -> log p(x_i | all x_j with a lower degree) [D], whose sum is log p(x).
        sample: (params, degrees, key) -> x [D], at about the cost of one pass.
        complete: (params, degrees, key, x [D], observed [D] of bool) -> x with its missing (not observed) dimensions sampled in
            the order of the degrees, each given all dimensions before it. If the observed dimensions come first, this is a sample
            from p(missing | observed).
        degrees: the degrees of the natural ordering, x_1 first.
        features: (params, degrees, x [D]) -> the units of the last hidden layer; None without hidden layers.
    """

    init: Callable[[Key], Params]
    log_prob: Callable[..., Float[Array, ""]]
    conditionals: Callable[..., Float[Array, "D"]]
    sample: Callable[..., Array]
    complete: Callable[..., Array]
    degrees: Degrees
    features: Callable[..., Float[Array, "H"]] | None = None


def made(
    dim: int,
    hidden_sizes: tuple[int, ...],
    output: Output,
    direct: bool = False,
    activation: Callable[[Array], Array] = jax.nn.relu,
) -> MADE:
    """Return a MADE; `ensemble` makes it a `DensityModel` with fixed masks (Germain et al. 2015, arXiv:1502.03509).

        log p(x) = Σ_i log p(x_i | all x_j with a lower degree than x_i), in nats

    Args:
        dim: D, the number of dimensions.
        hidden_sizes: the widths of the hidden layers.
        output: the kind of conditionals, such as `bernoulli_output()`.
        direct: add direct connections from inputs to outputs.
        activation: of the hidden layers.

    Raises:
        InputError: a hidden layer has fewer than D − 1 units, too few for every dependency, and `direct` is false.

    Examples:
        >>> import itertools, jax, jax.numpy as jnp
        >>> from gen_jax import made
        >>> model = made.made(dim=3, hidden_sizes=(8,), output=made.bernoulli_output())
        >>> params, every_x = model.init(jax.random.key(0)), jnp.array([*itertools.product([0.0, 1.0], repeat=3)])
        >>> log_probs = jax.jit(jax.vmap(lambda x: model.log_prob(params, model.degrees, x)))(every_x)
        >>> round(jnp.sum(jnp.exp(log_probs)).item(), 4)  # Σ_x p(x)
        1.0
    """
    check_hidden_sizes(dim, hidden_sizes, direct)
    net = MaskedMLP(hidden_sizes, output.num_params, direct, activation)
    apply: Callable[..., Array] = net.apply  # ty: ignore[invalid-assignment]
    natural = natural_degrees(dim, hidden_sizes)

    def init(key: Key) -> Params:
        return net.init(key, jnp.zeros((dim, output.num_features)), natural)

    def check_arguments(degrees: Degrees, x: Array) -> None:
        if x.shape != (dim,):
            raise InputError(f"x has shape {x.shape}, and the model has {dim} dimensions: give ({dim},), or vmap over more.")
        check_degrees(degrees, natural)

    def distribution_at(params: Params, degrees: Degrees, x: Array) -> tuple[Any, Array, Array]:
        """Return the conditionals at x, x with what is outside of the support replaced, and where it is inside."""
        check_arguments(degrees, x)
        if not isinstance(x, Tracer):
            output.check(x, "x")
        possible = output.contains(x)
        x = jnp.where(possible, x, 0)
        return output.distribution(apply(params, output.features(x), degrees)), x, possible

    def log_prob(params: Params, degrees: Degrees, x: Array) -> Float[Array, ""]:
        distribution, x, possible = distribution_at(params, degrees, x)
        return jnp.where(jnp.all(possible), distribution.log_prob(x), -jnp.inf)

    def conditionals(params: Params, degrees: Degrees, x: Array) -> Float[Array, "D"]:
        distribution, x, possible = distribution_at(params, degrees, x)
        return jnp.where(possible, log_prob_parts(distribution, x), -jnp.inf)

    def complete(params: Params, degrees: Degrees, key: Key, x: Array, observed: Any) -> Array:
        x, observed = jnp.asarray(x), jnp.asarray(observed)
        check_arguments(degrees, x)
        if observed.shape != (dim,) or observed.dtype != bool:
            raise InputError(f"observed is {observed.dtype}{observed.shape}: give bool({dim},), True where x is known.")
        if not isinstance(x, Tracer) and not isinstance(observed, Tracer):
            output.check(np.asarray(x)[np.asarray(observed)], "x, where it is observed,")
        return draw_in_order(net, output, params, degrees, key, x.astype(output.dtype), observed)

    def sample(params: Params, degrees: Degrees, key: Key) -> Array:
        return complete(params, degrees, key, jnp.zeros(dim, output.dtype), jnp.zeros(dim, bool))

    def features(params: Params, degrees: Degrees, x: Array) -> Float[Array, "H"]:
        check_arguments(degrees, x)
        return hidden_units(net, params, output.features(x), degrees)

    return MADE(init, log_prob, conditionals, sample, complete, natural, features if hidden_sizes else None)


def shuffled_masks(key: Key, degrees: Degrees, ordering: bool = True, connectivity: bool = True) -> Masks:
    """Return random masks: each index shuffles the ordering, the connectivity of the hidden layers, or both.

    Mask i depends on `fold_in(key, i)` alone.
    """
    return lambda index: draw_degrees(jax.random.fold_in(key, index), degrees, ordering, connectivity)


def with_ordering(degrees: Degrees, ordering: Int[np.ndarray, "D"] | list[int]) -> Degrees:
    """Return degrees with the given ordering: dimension ordering[0] comes first, ordering[1] second, and so on.

    Raises:
        InputError: `ordering` is not a permutation of 0 … D − 1.
    """
    array, dim = np.asarray(ordering), len(degrees.inputs)
    if array.shape != (dim,) or not np.array_equal(np.sort(array), np.arange(dim)):
        raise InputError(f"ordering is {np.array2string(array, threshold=12)}: give a permutation of 0 … {dim - 1}.")
    return Degrees(1 + np.argsort(array), degrees.hidden)


class Completion(NamedTuple):
    """An example whose missing dimensions were sampled.

    Attributes:
        x: [D], the observed dimensions unchanged.
        exact: whether the missing dimensions are a sample from p_m(missing | observed), with m the mask. If not, some of them
            were sampled without regard to observed dimensions later in the ordering.
        mask: m.
        unused: the number of (missing, observed) pairs with the observed dimension later in the ordering; 0 if exact.
    """

    x: Array
    exact: Bool[Array, "*batch"]
    mask: Int[Array, "*batch"]
    unused: Int[Array, "*batch"]


def ensemble(model: MADE, masks: Masks, num_masks: int = 1) -> DensityModel:
    """Return the mixture of a MADE's densities under masks 0 … M − 1, with equal weights.

    log p(x) = log (1/M) Σ_m p_m(x)

    (Averaging logits over orderings would not give a density.) `init` evaluates the masks, which are the state of its
    `Variables`, so that they are saved with the model.

    `sample` chooses a mask first. Under `vmap` it holds a copy of the weights for each sample: for many samples use `jax.lax.map`
    in batches of about 20. `complete` returns a `Completion`, under the mask whose ordering has the fewest missing dimensions
    before observed ones; `conditionals` are those of that mask. `features` are those of mask 0.

    Raises:
        InputError: `num_masks` is less than 1, or mask 0 does not fit the model.

    Examples:
        >>> import itertools, jax, jax.numpy as jnp
        >>> from gen_jax import made
        >>> model = made.made(dim=3, hidden_sizes=(8,), output=made.bernoulli_output())
        >>> mixture = made.ensemble(model, made.shuffled_masks(jax.random.key(0), model.degrees), num_masks=8)
        >>> params, every_x = mixture.init(jax.random.key(1)), jnp.array([*itertools.product([0.0, 1.0], repeat=3)])
        >>> log_probs = jax.jit(jax.vmap(lambda x: mixture.log_prob(params, x)))(every_x)
        >>> round(jnp.sum(jnp.exp(log_probs)).item(), 4)  # Σ_x p(x)
        1.0
    """
    if num_masks < 1:
        raise InputError(f"num_masks is {num_masks}: give 1 or more.")
    check_degrees(masks(0), model.degrees)

    def init(key: Key, x: Array | None = None) -> Variables:
        return Variables(model.init(key), jax.vmap(masks)(jnp.arange(num_masks)))

    def log_prob(variables: Variables, x: Array, context: Any = None) -> Float[Array, ""]:
        _no_context(context)
        log_probs = jax.lax.map(lambda degrees: model.log_prob(variables.params, degrees, x), variables.state)
        return jax.nn.logsumexp(log_probs) - jnp.log(num_masks)

    def sample(variables: Variables, key: Key, context: Any = None) -> Array:
        _no_context(context)
        params, stacked = variables
        if num_masks == 1:
            return model.sample(params, _mask(stacked, 0), key)
        index_key, sample_key = jax.random.split(key)
        return model.sample(params, _mask(stacked, jax.random.randint(index_key, (), 0, num_masks)), sample_key)

    def best_mask(stacked: Degrees, observed: Any) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """Return the mask under which the fewest pairs are unused, and their number."""

        def unused(inputs: Int[Array, "D"]) -> Int[Array, ""]:
            is_observed = jnp.atleast_1d(observed)[jnp.argsort(inputs)]  # `model.complete` checks the shape
            return jnp.sum(jnp.where(is_observed, jnp.cumsum(~is_observed), 0))

        counts = jax.lax.map(unused, jnp.asarray(stacked.inputs))
        best = jnp.argmin(counts)
        return best, counts[best]

    def complete(variables: Variables, key: Key, x: Array, observed: Any) -> Completion:
        params, stacked = variables
        mask, unused = best_mask(stacked, observed)
        return Completion(model.complete(params, _mask(stacked, mask), key, x, observed), unused == 0, mask, unused)

    def conditionals(variables: Variables, x: Array, observed: Any) -> Float[Array, "D"]:
        params, stacked = variables
        return model.conditionals(params, _mask(stacked, best_mask(stacked, observed)[0]), x)

    def features(variables: Variables, x: Array) -> Float[Array, "H"]:
        assert model.features is not None
        return model.features(variables.params, _mask(variables.state, 0), x)

    return DensityModel(init, log_prob, sample, complete, conditionals, features if model.features else None)


def _mask(stacked: Degrees, index: Int[Array, ""] | int) -> Degrees:
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def _no_context(context: Any) -> None:
    if context is not None:
        raise InputError("context is given, and a MADE takes none: leave it out.")


def made_loss(model: MADE, masks: Masks | None = None) -> Loss:
    """Return the `Loss` −E[log p_m(x)] in nats of a batch with `x`, flattened, with one mask m per step.

    Args:
        model: the MADE.
        masks: a source of a new mask for every step, with indices above those of the ensemble. By default, training cycles
            through the masks of the ensemble.
    """

    def loss(params: Params, state: Degrees, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        num_masks = len(state.inputs)
        step = jnp.where(jnp.isinf(step), 0, step).astype(jnp.int32)  # infinity is what validation asks for
        degrees = _mask(state, step % num_masks) if masks is None else masks(num_masks + step)
        log_prob = jnp.mean(jax.vmap(lambda x: model.log_prob(params, degrees, jnp.ravel(x)))(batch.x))
        return -log_prob, (state, {"log_prob": log_prob})

    return loss
