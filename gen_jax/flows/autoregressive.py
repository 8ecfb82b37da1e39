"""Autoregressive flows: MAF (Papamakarios et al. 2017, arXiv:1705.07057) and IAF (Kingma et al. 2016, arXiv:1606.04934)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.flows.checks import check_dim, checked_bijection, checked_context
from gen_jax.flows.combinators import invert
from gen_jax.flows.root import triangular_root
from gen_jax.flows.transformers import Transformer, transform_each
from gen_jax.types import Array, Bijection, Key, Net, Params

Result = tuple[Float[Array, "D"], Float[Array, ""]]


def masked_autoregressive(net: Net, dim: int, transformer: Transformer, context_dim: int = 0) -> Bijection:
    """Return MAF: from data y to the base, u_i = τ(y_i; net(y_1 … y_{i−1})), all i in one pass.

        log |det ∂u/∂y| = Σ_i log τ'(y_i; net(y)_i)

    That is the inverse; forward, from the base to data, solves for y_1, y_2, … in turn: at most D passes, fewer where the y no
    longer change. Its gradients are implicit, by a linear system of size D.

    Args:
        net: (params, y [D, 1], context) -> the transformer's raw parameters [P, D], of which column i depends on y_1 … y_{i−1}
            alone; see `nets.autoregressive_net`.
        dim: D.
        transformer: τ, such as `affine()` or `rational_quadratic_spline()`.
        context_dim: the size of the context, which is handed to the net.

    Raises:
        InputError: `dim` is less than 1; or, when called, the net puts out another shape, or the context has another size.
    """
    check_dim(dim)

    def init(key: Key) -> Params:
        return net.init(key, jnp.zeros((dim, 1)), jnp.zeros(context_dim) if context_dim else None)

    def inverse_and_log_det(params: Params, y: Float[Array, "D"], context: Array | None = None) -> Result:
        raw = net.apply(params, y[:, None], checked_context(context, context_dim))
        return transform_each(transformer.forward, transformer.num_params, raw, y)

    def forward_and_log_det(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        def solve(residual: Callable[[Array], Array], start: Array) -> Array:
            def update(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
                step, y, _ = carry
                raw = net.apply(frozen_params, y[:, None], checked_context(frozen_context, context_dim))
                return step + 1, transform_each(transformer.inverse, transformer.num_params, raw, frozen_x)[0], y

            def changing(carry: tuple[Array, Array, Array]) -> Array:
                step, y, previous = carry
                return (step < dim) & jnp.any(y != previous)

            frozen_params, frozen_x, frozen_context = jax.lax.stop_gradient((params, x, context))
            # after pass i the first i dimensions are final; unchanged by a pass means solved
            return jax.lax.while_loop(changing, update, update((jnp.int32(0), start, start)))[1]

        y = triangular_root(lambda y: inverse_and_log_det(params, y, context)[0] - x, jax.lax.stop_gradient(x), solve)
        return y, -inverse_and_log_det(params, y, context)[1]

    return checked_bijection((dim,), init, forward_and_log_det, inverse_and_log_det)


def inverse_autoregressive(net: Net, dim: int, transformer: Transformer, context_dim: int = 0) -> Bijection:
    """Return IAF, the inverse of `masked_autoregressive`: forward, which draws samples, takes one pass.

    As a VAE's posterior it is only ever run forward; the context is what the encoder puts out.
    """
    return invert(masked_autoregressive(net, dim, transformer, context_dim))
