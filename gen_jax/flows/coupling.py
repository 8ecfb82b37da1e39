"""Coupling flows (Dinh et al. 2017, arXiv:1605.08803; Durkan et al. 2019, arXiv:1906.04032)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.flows.base import Result, check_dim, checked_bijection
from gen_jax.flows.transformers import Transformer, transform_each
from gen_jax.types import Array, Bijection, Key, Net, Params


def coupling(net: Net, dim: int, transformer: Transformer, context_dim: int = 0) -> Bijection:
    """Return (a, b) ↦ (a, τ(b; net(a))): the first D // 2 dimensions determine the transformation of the others.

        log |det ∂y/∂x| = Σ_i log τ'(b_i; net(a)_i)

    Both directions take one pass. To transform every dimension, alternate with a permutation such as `reverse`. (Dinh et al.
    2017, arXiv:1605.08803.)

    Args:
        net: (params, a [D // 2], context) -> the transformer's raw parameters, [P, D − D // 2].
        dim: D.
        transformer: τ, such as `affine()` or `rational_quadratic_spline()`.
        context_dim: the size of the context that the net takes; 0 for none.

    Raises:
        InputError: `dim` is less than 2; or, when called, the net's output or the context has the wrong shape.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax import flows
        >>> from gen_jax.nets import MLP
        >>> f, x = flows.coupling(MLP((8,), (2, 2)), dim=4, transformer=flows.affine()), jnp.arange(4.0)
        >>> params = f.init(jax.random.key(0))
        >>> y, log_det = f.forward_and_log_det(params, x)
        >>> y[:2].tolist(), jnp.allclose(f.inverse_and_log_det(params, y)[0], x, atol=1e-4).item()
        ([0.0, 1.0], True)
    """
    check_dim(dim, least=2)
    split = dim // 2

    def init(key: Key) -> Params:
        return net.init(key, jnp.zeros(split), jnp.zeros(context_dim) if context_dim else None)

    def transform(tau: Callable[..., tuple[Array, Array]]) -> Callable[..., Result]:
        def apply(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
            a, b = x[:split], x[split:]
            b, log_det = transform_each(tau, transformer.num_params, net.apply(params, a, context), b)
            return jnp.concatenate([a, b]), log_det

        return apply

    return checked_bijection((dim,), init, transform(transformer.forward), transform(transformer.inverse), context_dim)
