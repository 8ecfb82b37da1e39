"""Bijections built from other bijections."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from gen_jax.flows.base import Result, checked_context, promoted
from gen_jax.types import Array, Bijection, InputError, Key, Params

OFFSET_SCALE = 0.01


def chain(*bijections: Bijection) -> Bijection:
    """Return the composition of bijections in the order of application: y = f_K(… f_2(f_1(x))); the log-dets add up.

    Every bijection is given the same context. The parameters are a tuple with one entry for each bijection.

    Raises:
        InputError: there are none.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax import flows
        >>> f = flows.chain(flows.elementwise_affine(2), flows.reverse(2))
        >>> params = ({"shift": jnp.ones(2), "log_scale": jnp.log(jnp.array([2.0, 3.0]))}, ())
        >>> y, log_det = f.forward_and_log_det(params, jnp.ones(2))  # (2 + 1, 3 + 1), reversed
        >>> y.round(4).tolist(), round(log_det.item(), 4)  # log 6
        ([4.0, 3.0], 1.7918)
    """
    if not bijections:
        raise InputError("chain() was given no bijections: give one or more.")

    def init(key: Key) -> Params:
        return tuple(f.init(k) for f, k in zip(bijections, jax.random.split(key, len(bijections)), strict=True))

    def forward(params: Params, x: Array, context: Array | None = None) -> Result:
        total = jnp.zeros((), x.dtype)
        for f, p in zip(bijections, params, strict=True):
            x, log_det = f.forward_and_log_det(p, x, context)
            total += log_det
        return x, total

    def inverse(params: Params, y: Array, context: Array | None = None) -> Result:
        total = jnp.zeros((), y.dtype)
        for f, p in reversed(list(zip(bijections, params, strict=True))):
            y, log_det = f.inverse_and_log_det(p, y, context)
            total += log_det
        return y, total

    return Bijection(init, forward, inverse)


def stack(bijection: Bijection, num_layers: int) -> Bijection:
    """Return `num_layers` layers of one kind, each with its own parameters, as a single `lax.scan`.

    The same as a `chain` of equal bijections, but the layer is compiled once. Parameters have a leading axis of layers. To
    alternate two kinds of layer, stack a chain of them.

    Raises:
        InputError: `num_layers` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax import flows
        >>> f = flows.stack(flows.elementwise_affine(1), num_layers=3)
        >>> params = {"shift": jnp.zeros((3, 1)), "log_scale": jnp.full((3, 1), jnp.log(2.0))}
        >>> y, log_det = f.forward_and_log_det(params, jnp.ones(1))
        >>> y.round(4).tolist(), round(log_det.item(), 4)  # 2³, 3 log 2
        ([8.0], 2.0794)
    """
    if num_layers < 1:
        raise InputError(f"num_layers is {num_layers}: give 1 or more.")

    def init(key: Key) -> Params:
        return jax.vmap(bijection.init)(jax.random.split(key, num_layers))

    def scan(direction: Callable[..., Result], reverse: bool) -> Callable[..., Result]:
        def apply(params: Params, x: Array, context: Array | None = None) -> Result:
            layer = lambda x, p: direction(p, x, context)
            x, log_dets = jax.lax.scan(layer, promoted(x, params, context), params, length=num_layers, reverse=reverse)
            return x, jnp.sum(log_dets)

        return apply

    return Bijection(init, scan(bijection.forward_and_log_det, False), scan(bijection.inverse_and_log_det, True))


def invert(bijection: Bijection) -> Bijection:
    """Return the inverse, which has the same parameters.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax import flows
        >>> f = flows.invert(flows.standardise(mean=jnp.array([5.0]), std=jnp.array([2.0])))
        >>> y, log_det = f.forward_and_log_det((), jnp.array([3.0]))
        >>> y.tolist(), round(log_det.item(), 4)  # 5 + 2 · 3, log 2
        ([11.0], 0.6931)
    """
    return Bijection(bijection.init, bijection.inverse_and_log_det, bijection.forward_and_log_det)


def amortise(bijection: Bijection) -> Bijection:
    """Return f(x; φ + context / 100), the bijection with parameters that differ by example (Rezende & Mohamed 2015, §4).

    φ are the shared parameters, as `init` returns them; the context [`num_params(bijection)`] comes from an encoder. The factor
    makes the flow start almost the same for every example: without it a VAE starts with randomly distorted posteriors, and loses
    latent units.

    Raises:
        InputError: when called, the context is missing or has the wrong size.
    """

    def offset(direction: Callable[..., Result]) -> Callable[..., Result]:
        def apply(params: Params, x: Array, context: Array | None = None) -> Result:
            flat, unravel = ravel_pytree(params)
            return direction(unravel(flat + OFFSET_SCALE * checked_context(context, flat.size)), x)

        return apply

    return Bijection(bijection.init, offset(bijection.forward_and_log_det), offset(bijection.inverse_and_log_det))


def num_params(bijection: Bijection) -> int:
    """Return the total number of parameters of a bijection."""
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(bijection.init, jax.random.key(0))))
