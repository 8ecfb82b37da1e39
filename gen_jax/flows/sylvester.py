"""Sylvester flows (van den Berg et al. 2018, arXiv:1803.05649): planar flows generalised to M hidden units."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.flows.base import Result, check_dim, checked_bijection
from gen_jax.flows.planar import FLOOR
from gen_jax.flows.root import tanh_root, tanh_slope
from gen_jax.types import Array, Bijection, InputError, Key, Params


def orthogonal_sylvester(dim: int, num_units: int) -> Bijection:
    """Return the Sylvester flow f(z) = z + Q R tanh(R̃ Qᵀz + b), with Q [D, M] from the QR decomposition of a free matrix.

        log |det ∂f/∂z| = Σ_i log(1 + r_ii r̃_ii sech²a_i),    a = R̃ Qᵀz + b

    R and R̃ are upper triangular [M, M], with diagonals in (−1, 1), so that f is invertible (van den Berg et al. 2018,
    arXiv:1803.05649). The paper orthogonalises iteratively; QR is exact. For a matrix without full rank, the gradient of Q is
    NaN. See `_sylvester` for the inverse.

    Raises:
        InputError: `dim` is less than 1, or `num_units` not from 1 to `dim`.
    """

    def basis(matrix: Float[Array, "D M"]) -> Float[Array, "D M"]:
        q, r = jnp.linalg.qr(matrix)
        # a positive diagonal of R makes Q unique; LAPACK's signs may jump
        return q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0).astype(q.dtype)[None, :]

    return _sylvester(dim, num_units, lambda key: jax.random.normal(key, (dim, num_units)), basis)


def householder_sylvester(dim: int, num_units: int, num_reflections: int = 8) -> Bijection:
    """Return the Sylvester flow of `orthogonal_sylvester`, but Q is the first M columns of a product of Householder reflections.

    A reflection is I − 2 v vᵀ / ‖v‖². The paper has M = D.

    Raises:
        InputError: `dim` or `num_reflections` is less than 1, or `num_units` not from 1 to `dim`.
    """
    if num_reflections < 1:
        raise InputError(f"num_reflections is {num_reflections}: give 1 or more.")

    def reflect(q: Float[Array, "D M"], v: Float[Array, "D"]) -> tuple[Float[Array, "D M"], None]:
        zero = jnp.all(v == 0)
        v = v / jnp.where(zero, 1, jnp.max(jnp.abs(v)))  # so that no square overflows or underflows
        norm2 = jnp.where(zero, 1, jnp.sum(v**2))
        return q - (2 / norm2) * jnp.outer(v, jnp.matmul(v, q, precision="highest")), None

    def basis(vectors: Float[Array, "R D"]) -> Float[Array, "D M"]:
        eye = jnp.eye(dim, num_units, dtype=vectors.dtype) + jnp.zeros_like(vectors, shape=(dim, num_units))  # of their type
        return jax.lax.scan(reflect, eye, vectors)[0]

    return _sylvester(dim, num_units, lambda key: jax.random.normal(key, (num_reflections, dim)), basis)


def _sylvester(dim: int, num_units: int, init_basis: Callable[[Key], Array], basis: Callable[[Array], Array]) -> Bijection:
    """Return f(z) = z + Q R tanh(a), a = R̃ Qᵀ z + b, with R and R̃ upper triangular and QᵀQ = I.

        log |det ∂f/∂z| = Σ_i log(1 + r_ii r̃_ii sech²a_i) = Σ_i log(tanh²a_i + s_i sech²a_i),    s_i = 1 + r_ii r̃_ii

    The diagonals are tanh p_i and tanh p̃_i, so that s_i = cosh(p_i + p̃_i) / (cosh p_i cosh p̃_i) > 0 without cancellation, and f
    is invertible (the paper's theorem 2). For the inverse, with v = Qᵀz, v + R tanh(R̃ v + b) = Qᵀy is solved by rows, last row
    first. Row i is v_i + r_ii tanh a_i = e_i and a_i = r̃_ii v_i + c_i, with e_i and c_i known from the later rows. Eliminating
    v_i gives a_i + (s_i − 1) tanh a_i = r̃_ii e_i + c_i, the root of a planar flow. Then z = y − Q R tanh(a).
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

    def constrained(params: Params) -> tuple[Array, Array, Array, Array, Array]:
        """Return Q, R, R̃, b and s."""
        p, p_inner = jnp.diagonal(params["outer"]), jnp.diagonal(params["inner"])
        s = jnp.exp(_log_cosh(p + p_inner) - _log_cosh(p) - _log_cosh(p_inner)) + FLOOR
        return basis(params["basis"]), triangular(params["outer"]), triangular(params["inner"]), params["b"], s

    def forward(params: Params, x: Float[Array, "D"]) -> Result:
        with jax.default_matmul_precision("highest"):
            q, outer, inner, b, s = constrained(params)
            a = inner @ (q.T @ x) + b
            return x + q @ (outer @ jnp.tanh(a)), jnp.sum(jnp.log(tanh_slope(a, s)))

    def inverse(params: Params, y: Float[Array, "D"]) -> Result:
        with jax.default_matmul_precision("highest"):
            q, outer, inner, b, s = constrained(params)
            target = q.T @ y

            def row(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
                v, a = carry  # 0 in the rows not yet solved, 0 … i
                e = target[i] - outer[i] @ jnp.tanh(a)
                a_i = tanh_root(s[i], inner[i] @ v + inner[i, i] * e + b[i])
                return (v.at[i].set(e - outer[i, i] * jnp.tanh(a_i)), a.at[i].set(a_i)), None

            zeros = jnp.zeros_like(target)
            (_, a), _ = jax.lax.scan(row, (zeros, zeros), jnp.arange(num_units)[::-1])
            return y - q @ (outer @ jnp.tanh(a)), -jnp.sum(jnp.log(tanh_slope(a, s)))

    return checked_bijection((dim,), init, forward, inverse)


def _log_cosh(x: Float[Array, "M"]) -> Float[Array, "M"]:
    return jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - jnp.log(jnp.asarray(2.0, x.dtype))
