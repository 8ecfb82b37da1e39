"""Coupling flows (Dinh et al. 2017, arXiv:1605.08803; Durkan et al. 2019, arXiv:1906.04032)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.flows.checks import check_dim, checked_bijection, checked_context
from gen_jax.flows.transformers import Transformer, transform_each
from gen_jax.types import Array, Bijection, Key, Net, Params

Result = tuple[Float[Array, "D"], Float[Array, ""]]


def coupling(net: Net, dim: int, transformer: Transformer, context_dim: int = 0) -> Bijection:
    """Return (a, b) ↦ (a, τ(b; net(a))): the first D // 2 dimensions choose how each of the others is transformed.

        log |det ∂y/∂x| = Σ_i log τ'(b_i; net(a)_i)

    Both directions take one pass. To transform every dimension, alternate with a permutation such as `reverse`.

    Args:
        net: (params, a [D // 2], context) -> the transformer's raw parameters, [P, D − D // 2].
        dim: D.
        transformer: τ, such as `affine()` or `rational_quadratic_spline()`.
        context_dim: the size of the context, which is handed to the net.

    Raises:
        InputError: `dim` is less than 2; or, when called, the net puts out another shape, or the context has another size.
    """
    check_dim(dim, least=2)
    split = dim // 2

    def init(key: Key) -> Params:
        return net.init(key, jnp.zeros(split), jnp.zeros(context_dim) if context_dim else None)

    def transform(tau: Callable[..., tuple[Array, Array]], params: Params, x: Array, context: Array | None) -> Result:
        a, b = x[:split], x[split:]
        raw = net.apply(params, a, checked_context(context, context_dim))
        b, log_det = transform_each(tau, transformer.num_params, raw, b)
        return jnp.concatenate([a, b]), log_det

    def forward_and_log_det(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        return transform(transformer.forward, params, x, context)

    def inverse_and_log_det(params: Params, y: Float[Array, "D"], context: Array | None = None) -> Result:
        return transform(transformer.inverse, params, y, context)

    return checked_bijection((dim,), init, forward_and_log_det, inverse_and_log_det)
