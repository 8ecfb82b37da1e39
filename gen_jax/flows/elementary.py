"""Bijections at the edges of a flow: elementwise affine, standardise, logit, permutation."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from gen_jax.flows.checks import check_dim, checked_bijection
from gen_jax.types import Array, Bijection, InputError, Key, Params

MAX_LOG_SCALE = 30.0  # scales from 1e-13 to 1e13: values and gradients stay finite in float32

Result = tuple[Float[Array, "*event"], Float[Array, ""]]


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

    def forward_and_log_det(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        s = log_scale(params)
        return x * jnp.exp(s) + params["shift"], jnp.sum(s)

    def inverse_and_log_det(params: Params, y: Float[Array, "D"], context: Array | None = None) -> Result:
        s = log_scale(params)
        return (y - params["shift"]) * jnp.exp(-s), -jnp.sum(s)

    return checked_bijection((dim,), init, forward_and_log_det, inverse_and_log_det)


def standardise(mean: Float[Array | np.ndarray, "*event"], std: Float[Array | np.ndarray, "*event"]) -> Bijection:
    """Return y = (x − mean) / std, with constants of the example's shape, such as the moments of training data; no parameters.

    From data to the base: at the end of a flow, which leads from the base to the data, stands `invert(standardise(...))`.

    Raises:
        InputError: the shapes differ, or a std is not positive and finite.
    """
    mean, std = np.asarray(mean), np.asarray(std)
    if mean.shape != std.shape:
        raise InputError(f"mean has shape {mean.shape} and std {std.shape}: give two of one shape.")
    if not (np.isfinite(std).all() and (std > 0).all() and np.isfinite(mean).all()):
        raise InputError(
            "mean or std holds a number that is not finite, or std one that is not positive: leave out constant data."
        )
    log_det = -np.log(std, dtype=np.float64).sum()

    def forward_and_log_det(params: Params, x: Float[Array, "*event"], context: Array | None = None) -> Result:
        return (x - mean.astype(x.dtype)) / std.astype(x.dtype), jnp.asarray(log_det, x.dtype)

    def inverse_and_log_det(params: Params, y: Float[Array, "*event"], context: Array | None = None) -> Result:
        return y * std.astype(y.dtype) + mean.astype(y.dtype), jnp.asarray(-log_det, y.dtype)

    return checked_bijection(mean.shape, lambda key: (), forward_and_log_det, inverse_and_log_det)


def logit(margin: float = 1e-6) -> Bijection:
    """Return y = log p − log(1 − p) with p = margin + (1 − 2 margin) x, for p in (0, 1); it has no parameters.

        log |det ∂y/∂x| = Σ_i [log(1 − 2 margin) − log p_i − log(1 − p_i)]

    So x may lie outside [0, 1] by less than margin / (1 − 2 margin), which keeps x = 0 and x = 1 finite; with a margin of 0 they
    are left out.

    Raises:
        InputError: the margin is not in [0, ½); or, where x is no traced value, x is outside the domain. Under `jit` and `vmap`,
            where values are not known, such an x gives NaN or an infinity.
    """
    if not 0 <= margin < 0.5:
        raise InputError(f"margin is {margin}: give a number from 0 to below 1/2.")
    stretch = 1 - 2 * margin
    beyond = margin / stretch

    def forward_and_log_det(params: Params, x: Float[Array, "*event"], context: Array | None = None) -> Result:
        if not isinstance(x, Tracer):
            low, high = np.min(x), np.max(x)
            if not (-beyond < low and high < 1 + beyond):
                domain = f"({0 - beyond:.9g}, {1 + beyond:.9g})"
                raise InputError(f"x ranges from {low:g} to {high:g}, and logit takes values in {domain}: scale them.")
        p, q = margin + stretch * x, margin + stretch * (1 - x)
        log_p, log_q = jnp.log(p), jnp.log(q)
        return log_p - log_q, jnp.sum(jnp.log(jnp.asarray(stretch, x.dtype)) - log_p - log_q)

    def inverse_and_log_det(params: Params, y: Float[Array, "*event"], context: Array | None = None) -> Result:
        x = (jax.nn.sigmoid(y) - margin) / stretch
        return x, jnp.sum(jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y) - jnp.log(jnp.asarray(stretch, y.dtype)))

    return checked_bijection(None, lambda key: (), forward_and_log_det, inverse_and_log_det)


def permutation(order: Sequence[int] | np.ndarray) -> Bijection:
    """Return y_i = x_{order[i]}; log |det| = 0, and there are no parameters.

    Raises:
        InputError: `order` is not a permutation of 0 … D − 1.
    """
    order = check_permutation("order", order)
    inverse = np.argsort(order)

    def forward_and_log_det(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        return x[jnp.asarray(order)], jnp.zeros((), x.dtype)

    def inverse_and_log_det(params: Params, y: Float[Array, "D"], context: Array | None = None) -> Result:
        return y[jnp.asarray(inverse)], jnp.zeros((), y.dtype)

    return checked_bijection((len(order),), lambda key: (), forward_and_log_det, inverse_and_log_det)


def reverse(dim: int) -> Bijection:
    """Return the permutation that reverses the order of the dimensions (without the gather of another permutation)."""
    check_dim(dim)

    def flip(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        return x[::-1], jnp.zeros((), x.dtype)

    return checked_bijection((dim,), lambda key: (), flip, flip)


def check_permutation(name: str, order: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return an ordering as an array.

    Raises:
        InputError: it is not a permutation of 0 … D − 1.
    """
    array = np.asarray(order)
    if (
        array.ndim != 1
        or array.size == 0
        or array.dtype.kind not in "iu"
        or not np.array_equal(np.sort(array), np.arange(array.size))
    ):
        shown = np.array2string(array, threshold=12).replace("\n", "")
        raise InputError(f"{name} is {shown}: give each of 0 … D − 1 once.")
    return array
