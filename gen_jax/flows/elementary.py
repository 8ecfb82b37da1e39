"""Elementwise bijections and permutations."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from gen_jax.flows.base import Result, check_dim, checked_bijection
from gen_jax.types import Array, Bijection, InputError, Key, Params

MAX_LOG_SCALE = 30.0  # scales from 1e-13 to 1e13: values and gradients stay finite in float32


def elementwise_affine(dim: int) -> Bijection:
    """Return y = x ⊙ e^s + t with s and t learned, s bounded to ±30; log |det| = Σ_i s_i.

    Raises:
        InputError: `dim` is less than 1.
    """
    check_dim(dim)

    def init(key: Key) -> Params:
        return {"shift": jnp.zeros(dim), "log_scale": jnp.zeros(dim)}

    def log_scale(params: Params) -> Float[Array, "D"]:
        return jnp.clip(params["log_scale"], -MAX_LOG_SCALE, MAX_LOG_SCALE)

    def forward(params: Params, x: Float[Array, "D"]) -> Result:
        s = log_scale(params)
        return x * jnp.exp(s) + params["shift"], jnp.sum(s)

    def inverse(params: Params, y: Float[Array, "D"]) -> Result:
        s = log_scale(params)
        return (y - params["shift"]) * jnp.exp(-s), -jnp.sum(s)

    return checked_bijection((dim,), init, forward, inverse)


def standardise(mean: Float[Array | np.ndarray, "*event"], std: Float[Array | np.ndarray, "*event"]) -> Bijection:
    """Return y = (x − mean) / std with constants, such as the moments of training data; no parameters.

    It maps data to standardised data. A flow maps the base to the data, so it ends with `invert(standardise(...))`.

    Raises:
        InputError: the shapes differ, or a std is not positive and finite.
    """
    mean, std = np.asarray(mean), np.asarray(std)
    if mean.shape != std.shape:
        raise InputError(f"mean has shape {mean.shape} and std {std.shape}: give both the same shape.")
    if not (np.isfinite(std).all() and (std > 0).all() and np.isfinite(mean).all()):
        raise InputError("mean and std have to be finite, and std positive: leave out dimensions that are constant.")
    log_det = -np.log(std, dtype=np.float64).sum()

    def forward(params: Params, x: Float[Array, "*event"]) -> Result:
        return (x - mean.astype(x.dtype)) / std.astype(x.dtype), jnp.asarray(log_det, x.dtype)

    def inverse(params: Params, y: Float[Array, "*event"]) -> Result:
        return y * std.astype(y.dtype) + mean.astype(y.dtype), jnp.asarray(-log_det, y.dtype)

    return checked_bijection(mean.shape, _no_params, forward, inverse)


def logit(margin: float = 1e-6) -> Bijection:
    """Return y = log p − log(1 − p) with p = margin + (1 − 2 margin) x, elementwise; no parameters.

        log |det ∂y/∂x| = Σ_i [log(1 − 2 margin) − log p_i − log(1 − p_i)]

    The domain is 0 < p < 1: slightly more than x ∈ [0, 1] for a positive margin, without 0 and 1 for a margin of 0.

    Raises:
        InputError: the margin is not in [0, ½); or, when called outside of `jit` and `vmap`, x is outside the domain. Within
            them such an x gives NaN or ±∞.
    """
    if not 0 <= margin < 0.5:
        raise InputError(f"margin is {margin}: give a number from 0 to below 1/2.")
    stretch = 1 - 2 * margin
    beyond = margin / stretch

    def forward(params: Params, x: Float[Array, "*event"]) -> Result:
        if not isinstance(x, Tracer):
            low, high = np.min(x), np.max(x)
            if not (-beyond < low and high < 1 + beyond):
                domain = f"({0 - beyond:.9g}, {1 + beyond:.9g})"
                raise InputError(f"x ranges from {low:g} to {high:g}, and logit takes values in {domain}: scale them.")
        log_p, log_q = jnp.log(margin + stretch * x), jnp.log(margin + stretch * (1 - x))
        return log_p - log_q, jnp.sum(jnp.log(jnp.asarray(stretch, x.dtype)) - log_p - log_q)

    def inverse(params: Params, y: Float[Array, "*event"]) -> Result:
        # inside of the domain, so that x as it is rounded has a density
        edge = 4 * jnp.finfo(y.dtype).eps
        low = -beyond * (1 - edge) if margin else jnp.finfo(y.dtype).tiny
        x = jnp.clip((jax.nn.sigmoid(y) - margin) / stretch, low, 1 + beyond - edge)
        # JAX drops the derivative rule of log_sigmoid, needed at 0, for second derivatives of a loop: there, by the slope itself
        near = jnp.abs(y) < 20
        log_slope = jnp.log(jax.nn.sigmoid(jnp.where(near, y, 0)) * jax.nn.sigmoid(-jnp.where(near, y, 0)))
        log_slope = jnp.where(near, log_slope, jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y))
        return x, jnp.sum(log_slope - jnp.log(jnp.asarray(stretch, y.dtype)))

    return checked_bijection(None, _no_params, forward, inverse)


def permutation(order: Sequence[int] | np.ndarray) -> Bijection:
    """Return y_i = x_{order[i]}; log |det| = 0, no parameters.

    Raises:
        InputError: `order` is not a permutation of 0 … D − 1.
    """
    order = np.asarray(order)
    is_index = order.ndim == 1 and order.size > 0 and order.dtype.kind in "iu"
    if not (is_index and np.array_equal(np.sort(order), np.arange(order.size))):
        shown = np.array2string(order, threshold=12).replace("\n", "")
        raise InputError(f"order is {shown}: give each of 0 … D − 1 once.")

    def gather(indices: np.ndarray) -> Callable[..., Result]:
        return lambda params, x: (x[jnp.asarray(indices)], jnp.zeros((), x.dtype))

    return checked_bijection(order.shape, _no_params, gather(order), gather(np.argsort(order)))


def reverse(dim: int) -> Bijection:
    """Return the permutation that reverses the dimensions; it needs no gather, so it is faster than `permutation`.

    Raises:
        InputError: `dim` is less than 1.
    """
    check_dim(dim)

    def flip(params: Params, x: Float[Array, "D"]) -> Result:
        return x[::-1], jnp.zeros((), x.dtype)

    return checked_bijection((dim,), _no_params, flip, flip)


def _no_params(key: Key) -> Params:
    return ()
