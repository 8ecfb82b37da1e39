"""Bijections made of bijections."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gen_jax.flows.checks import checked_context
from gen_jax.types import Array, Bijection, InputError, Key, Params

Result = tuple[Array, Float[Array, ""]]

OFFSET_SCALE = 0.01  # at the start, when encoders put out numbers of about 1, a flow is all but the same for every example


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
        total = jnp.zeros((), x.dtype)
        for f, p in zip(bijections, params, strict=True):
            x, log_det = f.forward_and_log_det(p, x, context)
            total += log_det
        return x, total

    def inverse_and_log_det(params: Params, y: Array, context: Array | None = None) -> Result:
        total = jnp.zeros((), y.dtype)
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
    """Return a bijection whose parameters are offset by its context, one for each example (Rezende & Mohamed 2015, §4).

    With φ the parameters that `init` gives, which all examples share, and e the context, such as an encoder puts out:
    f(x; φ + e/100). A context has `num_params(bijection)` numbers. (Without the factor a VAE begins with a posterior that is
    bent at random for every example, and loses latent units over it.)

    Raises:
        InputError: when called, the context is missing or of another size.
    """

    def shifted(params: Params, context: Array | None) -> Params:
        flat, unravel = ravel_pytree(params)
        context = checked_context(context, flat.size)
        return unravel(flat + OFFSET_SCALE * context)

    def forward_and_log_det(params: Params, x: Array, context: Array | None = None) -> Result:
        return bijection.forward_and_log_det(shifted(params, context), x)

    def inverse_and_log_det(params: Params, y: Array, context: Array | None = None) -> Result:
        return bijection.inverse_and_log_det(shifted(params, context), y)

    return Bijection(bijection.init, forward_and_log_det, inverse_and_log_det)


def num_params(bijection: Bijection) -> int:
    """Return how many numbers the parameters of a bijection are."""
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(bijection.init, jax.random.key(0))))
