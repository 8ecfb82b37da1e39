"""Sylvester flows (van den Berg et al. 2018, arXiv:1803.05649): planar flows with M hidden units that act together."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.flows.planar import FLOOR
from gen_jax.flows.root import increasing_root, triangular_root
from gen_jax.flows.vector import check_dim, vector_bijection
from gen_jax.types import Array, Bijection, InputError, Key, Params

Result = tuple[Float[Array, "D"], Float[Array, ""]]


def orthogonal_sylvester(dim: int, num_units: int) -> Bijection:
    """Return the Sylvester flow whose Q [D, M] is the orthogonal factor of a free matrix, by QR with a positive diagonal of R.

    The paper iterates towards an orthogonal matrix; QR reaches it exactly. See `_sylvester` for the flow.

    Raises:
        InputError: `dim` is less than 1, or `num_units` not from 1 to `dim`.
    """

    def basis(matrix: Float[Array, "D M"]) -> Float[Array, "D M"]:
        q, r = jnp.linalg.qr(matrix)
        # without the signs, Q would jump where LAPACK turns one round
        return q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0).astype(q.dtype)[None, :]

    return _sylvester(dim, num_units, lambda key: jax.random.normal(key, (dim, num_units)), basis)


def householder_sylvester(dim: int, num_units: int, num_reflections: int = 8) -> Bijection:
    """Return the Sylvester flow with Q [D, M] the first columns of a product of Householder reflections I − 2 v vᵀ / ‖v‖².

    The paper has M = D. See `_sylvester` for the flow.

    Raises:
        InputError: `dim` or `num_reflections` is less than 1, or `num_units` not from 1 to `dim`.
    """
    check_dim(dim)
    if num_reflections < 1:
        raise InputError(f"num_reflections is {num_reflections}: give 1 or more.")

    def reflect(q: Float[Array, "D M"], v: Float[Array, "D"]) -> tuple[Float[Array, "D M"], None]:
        zero = jnp.all(v == 0)
        v = v / jnp.where(zero, 1, jnp.max(jnp.abs(v)))  # so that no square overflows or underflows
        norm2 = jnp.where(zero, 1, jnp.sum(v**2))
        return q - (2 / norm2) * jnp.outer(v, jnp.matmul(v, q, precision="highest")), None

    def basis(vectors: Float[Array, "R D"]) -> Float[Array, "D M"]:
        return jax.lax.scan(reflect, jnp.eye(dim, num_units, dtype=vectors.dtype), vectors)[0]

    return _sylvester(dim, num_units, lambda key: jax.random.normal(key, (num_reflections, dim)), basis)


def _sylvester(dim: int, num_units: int, init_basis: Callable[[Key], Array], basis: Callable[[Array], Array]) -> Bijection:
    """Return f(z) = z + Q R tanh(a), a = R̃ Qᵀ z + b, with R and R̃ upper triangular and QᵀQ = I.

        log |det ∂f/∂z| = Σ_i log(1 + r_ii r̃_ii sech²a_i) = Σ_i log(tanh²a_i + s_i sech²a_i),    s_i = 1 + r_ii r̃_ii

    The diagonals are tanh p_i and tanh p̃_i, so that s_i = cosh(p_i + p̃_i) / (cosh p_i cosh p̃_i) > 0 without cancellation, and f
    is invertible (the paper's theorem 2). Its inverse: with v = Qᵀz, v + R tanh(R̃ v + b) = Qᵀy is solved from the last row
    upwards, a scalar root each; then z = y − Q R tanh(a).
    """
    check_dim(dim)
    if not 1 <= num_units <= dim:
        raise InputError(f"num_units is {num_units}: give a number from 1 to dim, {dim}.")
    shape = (num_units, num_units)

    def init(key: Key) -> Params:
        basis_key, outer_key, inner_key = jax.random.split(key, 3)
        return {
            "basis": init_basis(basis_key),
            "outer": 0.1 * jax.random.normal(outer_key, shape),
            "inner": 0.1 * jax.random.normal(inner_key, shape),
            "b": jnp.zeros(num_units),
        }

    def triangular(matrix: Float[Array, "M M"]) -> Float[Array, "M M"]:
        return jnp.triu(matrix, 1) + jnp.diag(jnp.tanh(jnp.diagonal(matrix)))

    def log_det(params: Params, a: Float[Array, "M"]) -> Float[Array, ""]:
        p, p_inner = jnp.diagonal(params["outer"]), jnp.diagonal(params["inner"])
        s = jnp.exp(_log_cosh(p + p_inner) - _log_cosh(p) - _log_cosh(p_inner)) + FLOOR
        return jnp.sum(jnp.log(jnp.tanh(a) ** 2 + s * jnp.exp(-2 * _log_cosh(a))))

    def forward_and_log_det(params: Params, x: Float[Array, "D"], context: Array | None = None) -> Result:
        with jax.default_matmul_precision("highest"):
            q, outer, inner = basis(params["basis"]), triangular(params["outer"]), triangular(params["inner"])
            a = inner @ (q.T @ x) + params["b"]
            return x + q @ (outer @ jnp.tanh(a)), log_det(params, a)

    def inverse_and_log_det(params: Params, y: Float[Array, "D"], context: Array | None = None) -> Result:
        with jax.default_matmul_precision("highest"):
            q, outer, inner = basis(params["basis"]), triangular(params["outer"]), triangular(params["inner"])
            b, target = params["b"], q.T @ y
            v = triangular_root(
                lambda v: v + outer @ jnp.tanh(inner @ v + b) - target,
                jax.lax.stop_gradient(target),
                lambda fn, start: _solve_upwards(*jax.lax.stop_gradient((outer, inner, b, target))),
            )
            a = inner @ v + b
            return y - q @ (outer @ jnp.tanh(a)), -log_det(params, a)

    return vector_bijection(dim, init, forward_and_log_det, inverse_and_log_det)


def _solve_upwards(
    outer: Float[Array, "M M"], inner: Float[Array, "M M"], b: Float[Array, "M"], target: Float[Array, "M"]
) -> Float[Array, "M"]:
    """Solve v + R tanh(R̃ v + b) = target, the last row first: each row adds one unknown to those below it."""

    def row(i: Array, v: Float[Array, "M"]) -> Float[Array, "M"]:
        i = len(b) - 1 - i
        known = inner[i] @ v + b[i]  # v_i is still 0
        rest = target[i] - outer[i] @ jnp.where(jnp.arange(len(b)) > i, jnp.tanh(inner @ v + b), 0)
        slack = jnp.abs(outer[i, i])

        def residual(root: Float[Array, ""]) -> Float[Array, ""]:
            return root + outer[i, i] * jnp.tanh(inner[i, i] * root + known) - rest

        return v.at[i].set(increasing_root(residual, rest - slack, rest + slack))

    return jax.lax.fori_loop(0, len(b), row, jnp.zeros_like(b))


def _log_cosh(x: Float[Array, "M"]) -> Float[Array, "M"]:
    return jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - jnp.log(jnp.asarray(2.0, x.dtype))
