"""Bijections made of bijections."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gen_jax.types import Array, Bijection, InputError, Key, Params

Result = tuple[Array, Float[Array, ""]]


def chain(*bijections: Bijection) -> Bijection:
    """Return the composition of bijections in the order of application: y = f_K(… f_2(f_1(x))); its log-dets add up.

    Every bijection is given the same context. The parameters are a tuple, an entry a bijection.

    Raises:
        InputError: there are none.
    """
    if not bijections:
        raise InputError("chain() was given no bijections: give one or more.")

    def init(key: Key) -> Params:
        return tuple(f.init(k) for f, k in zip(bijections, jax.random.split(key, len(bijections)), strict=True))

    def forward_and_log_det(params: Params, x: Array, context: Array | None = None) -> Result:
        total = jnp.zeros(())
        for f, p in zip(bijections, params, strict=True):
            x, log_det = f.forward_and_log_det(p, x, context)
            total += log_det
        return x, total

    def inverse_and_log_det(params: Params, y: Array, context: Array | None = None) -> Result:
        total = jnp.zeros(())
        for f, p in reversed(list(zip(bijections, params, strict=True))):
            y, log_det = f.inverse_and_log_det(p, y, context)
            total += log_det
        return y, total

    return Bijection(init, forward_and_log_det, inverse_and_log_det)


def stack(bijection: Bijection, num_layers: int) -> Bijection:
    """Return K layers of one kind, each with parameters of its own, as a single `lax.scan`.

    The same as `chain` of K equal bijections, but it compiles once for all K. Parameters have the layers along their first axis.
    To alternate two kinds of layer, stack a chain of them.

    Raises:
        InputError: there is less than one layer.
    """
    if num_layers < 1:
        raise InputError(f"num_layers is {num_layers}: give 1 or more.")

    def init(key: Key) -> Params:
        return jax.vmap(bijection.init)(jax.random.split(key, num_layers))

    def forward_and_log_det(params: Params, x: Array, context: Array | None = None) -> Result:
        y, log_dets = jax.lax.scan(lambda x, p: bijection.forward_and_log_det(p, x, context), x, params, length=num_layers)
        return y, jnp.sum(log_dets)

    def inverse_and_log_det(params: Params, y: Array, context: Array | None = None) -> Result:
        x, log_dets = jax.lax.scan(
            lambda y, p: bijection.inverse_and_log_det(p, y, context), y, params, length=num_layers, reverse=True
        )
        return x, jnp.sum(log_dets)

    return Bijection(init, forward_and_log_det, inverse_and_log_det)


def invert(bijection: Bijection) -> Bijection:
    """Return the inverse: forward and inverse exchanged, on the same parameters."""
    return Bijection(bijection.init, bijection.inverse_and_log_det, bijection.forward_and_log_det)


def amortise(bijection: Bijection) -> Bijection:
    """Return a bijection whose context is an offset to its parameters, one for each example (Rezende & Mohamed 2015, §4).

    With φ the parameters that `init` gives, which all examples share, and e the context, such as an encoder puts out:
    f(x; φ + e). A context has `num_params(bijection)` numbers.
    """

    def shifted(params: Params, context: Float[Array, "P"]) -> Params:
        flat, unravel = ravel_pytree(params)
        if context.shape != flat.shape:
            raise InputError(
                f"The context of an amortised bijection has shape {context.shape}, and there are {flat.size} parameters: "
                f"give {flat.shape}."
            )
        return unravel(flat + context)

    def forward_and_log_det(params: Params, x: Array, context: Float[Array, "P"]) -> Result:
        return bijection.forward_and_log_det(shifted(params, context), x)

    def inverse_and_log_det(params: Params, y: Array, context: Float[Array, "P"]) -> Result:
        return bijection.inverse_and_log_det(shifted(params, context), y)

    return Bijection(bijection.init, forward_and_log_det, inverse_and_log_det)


def num_params(bijection: Bijection) -> int:
    """Return how many numbers the parameters of a bijection are."""
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(bijection.init, jax.random.key(0))))
