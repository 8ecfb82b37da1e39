"""Autoregressive flows: MAF (Papamakarios et al. 2017, arXiv:1705.07057) and IAF (Kingma et al. 2016, arXiv:1606.04934)."""

from collections.abc import Callable

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

    Forward, from the base to the data, solves for y_1, y_2, … in turn: at most D passes, fewer if y stops changing earlier. Its
    gradients are implicit, by a triangular linear system of size D.

    Args:
        net: (params, y [D, 1], context) -> the transformer's raw parameters [P, D], where column i depends only on
            y_1 … y_{i−1}; see `nets.autoregressive_net`.
        dim: D.
        transformer: τ, such as `affine()` or `rational_quadratic_spline()`.
        context_dim: the size of the context that the net takes; 0 for none.

    Raises:
        InputError: `dim` is less than 1; or, when called, the net's output or the context has the wrong shape.
    """
    check_dim(dim)

    def init(key: Key) -> Params:
        return net.init(key, jnp.zeros((dim, 1)), jnp.zeros(context_dim) if context_dim else None)

    def inverse(params: Params, y: Float[Array, "D"], context: Array | None = None) -> Result:
        raw = net.apply(params, y[:, None], context)
        return transform_each(transformer.forward, transformer.num_params, raw, y)

    def forward(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        fixed_params, fixed_x, fixed_context = jax.lax.stop_gradient((params, x, context))

        def update(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            step, y, _ = carry
            raw = net.apply(fixed_params, y[:, None], fixed_context)
            return step + 1, transform_each(transformer.inverse, transformer.num_params, raw, fixed_x)[0], y

        def changing(carry: tuple[Array, Array, Array]) -> Array:
            step, y, previous = carry
            return (step < dim) & jnp.any(y != previous)

        def solve(residual: Callable[[Array], Array], start: Array) -> Array:
            # after pass i the first i dimensions are final; a pass that changes nothing means solved
            return jax.lax.while_loop(changing, update, update((jnp.int32(0), start, start)))[1]

        def solve_linear(linear: Callable[[Array], Array], b: Array) -> Array:
            jacobian = jax.vmap(linear, out_axes=1)(jnp.eye(dim, dtype=b.dtype))
            return solve_triangular(jacobian, b, lower=True)

        y = jax.lax.custom_root(lambda y: inverse(params, y, context)[0] - x, fixed_x, solve, solve_linear)
        return y, -inverse(params, y, context)[1]

    return checked_bijection((dim,), init, forward, inverse, context_dim)


def inverse_autoregressive(net: Net, dim: int, transformer: Transformer, context_dim: int = 0) -> Bijection:
    """Return IAF, the inverse of `masked_autoregressive`: forward takes one pass, the inverse up to D.

    As a VAE's posterior it is only run forward, with a context from the encoder.
    """
    return invert(masked_autoregressive(net, dim, transformer, context_dim))
