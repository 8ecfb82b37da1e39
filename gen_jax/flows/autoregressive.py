"""Autoregressive flows: MAF (Papamakarios et al. 2017, arXiv:1705.07057) and IAF (Kingma et al. 2016, arXiv:1606.04934)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from gen_jax.flows.base import Result, check_dim, checked_bijection
from gen_jax.flows.combinators import invert
from gen_jax.flows.transformers import Transformer, transform_each
from gen_jax.types import Array, Bijection, Key, Net, Params


def masked_autoregressive(net: Net, dim: int, transformer: Transformer, context_dim: int = 0) -> Bijection:
    """Return MAF, whose inverse (data y to base u) is u_i = τ(y_i; net(y_1 … y_{i−1})), all i in one pass.

        log |det ∂u/∂y| = Σ_i log τ'(y_i; net(y)_i)

    Forward, from the base to the data, solves for y_1, y_2, … in turn, in D passes. Its gradients are implicit, by a triangular
    linear system of size D. (Papamakarios et al. 2017, arXiv:1705.07057.)

    Args:
        net: (params, y [D, 1], context) -> the transformer's raw parameters [P, D], where column i depends only on
            y_1 … y_{i−1}; see `nets.autoregressive_net`.
        dim: D.
        transformer: τ, such as `affine()` or `rational_quadratic_spline()`.
        context_dim: the size of the context that the net takes; 0 for none.

    Raises:
        InputError: `dim` is less than 1; or, when called, the net's output or the context has the wrong shape.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax import flows
        >>> from gen_jax.nets import autoregressive_net
        >>> f = flows.masked_autoregressive(autoregressive_net(3, (8,), num_outputs=2), dim=3, transformer=flows.affine())
        >>> params = f.init(jax.random.key(0))
        >>> jacobian = jax.jit(jax.jacobian(lambda y: f.inverse_and_log_det(params, y)[0]))(jnp.ones(3))
        >>> (jnp.triu(jacobian, 1) == 0).all().item()  # u_i depends on no later y
        True
    """
    check_dim(dim)

    def init(key: Key) -> Params:
        return net.init(key, jnp.zeros((dim, 1)), jnp.zeros(context_dim) if context_dim else None)

    def inverse(params: Params, y: Float[Array, "D"], context: Array | None = None) -> Result:
        raw = net.apply(params, y[:, None], context)
        return transform_each(transformer.forward, transformer.num_params, raw, y)

    @jax.custom_jvp
    def solution(params: Params, x: Float[Array, "D"], context: Array | None) -> Float[Array, "D"]:
        """Return y. JAX drops the rule below for second derivatives of a `lax.scan`, and then differentiates these passes."""

        def update(y: Float[Array, "D"], _: None) -> tuple[Float[Array, "D"], None]:
            raw = net.apply(params, y[:, None], context)
            return transform_each(transformer.inverse, transformer.num_params, raw, x)[0], None

        return jax.lax.scan(update, x, length=dim)[0]  # after pass i the first i dimensions are final

    @solution.defjvp
    def solution_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
        """From u(y; φ) = x: ∂u/∂y dy = dx − ∂u/∂φ dφ, with ∂u/∂y lower triangular."""
        (params, x, context), (params_dot, x_dot, context_dot) = primals, tangents
        y = solution(params, x, context)
        at_y = lambda params, context: inverse(params, y, context)[0]
        _, shift = jax.jvp(at_y, (params, context), (params_dot, context_dot))
        jacobian = jax.jacfwd(lambda y: inverse(params, y, context)[0])(y)
        return y, solve_triangular(jacobian, x_dot - shift, lower=True)

    def forward(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        y = solution(params, x, context)
        return y, -inverse(params, y, context)[1]

    return checked_bijection((dim,), init, forward, inverse, context_dim)


def inverse_autoregressive(net: Net, dim: int, transformer: Transformer, context_dim: int = 0) -> Bijection:
    """Return IAF, the inverse of `masked_autoregressive`: forward takes one pass, the inverse D.

    As a VAE's posterior it is only run forward, with a context from the encoder (Kingma et al. 2016, arXiv:1606.04934).
    Arguments and errors are those of `masked_autoregressive`.
    """
    return invert(masked_autoregressive(net, dim, transformer, context_dim))
