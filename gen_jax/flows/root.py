"""The roots that inverses need, with gradients by the implicit function theorem and not through the iterations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from gen_jax.types import Array

MAX_STEPS = 100


def tanh_slope(a: Float[Array, "*shape"], s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the slope of a + (s − 1) tanh a, written as tanh²a + s sech²a: a sum of positive terms, which cannot cancel."""
    decayed = jnp.exp(-2 * jnp.abs(a))
    return jnp.tanh(a) ** 2 + s * (4 * decayed / (1 + decayed) ** 2)  # sech² as 1 − tanh² would cancel


@jax.custom_jvp
def tanh_root(s: Float[Array, ""], t: Float[Array, ""]) -> Float[Array, ""]:
    """Return the a with a + (s − 1) tanh a = t, for a slope s > 0 at the origin: the inverse along one unit of a planar flow.

    The function is odd; for t > 0 it is concave where s > 1, and convex where s < 1. Newton's method, begun on that side of the
    root where the tangents do not overshoot, then runs monotonically into it. The gradients are da = (dt − tanh a ds) / slope.
    """
    size = jnp.abs(t)
    below = jnp.maximum(size / s, size - (s - 1))  # as tanh a ≤ a and tanh a ≤ 1
    # as tanh a ≤ a and tanh a ≤ 1 again, and as a − tanh a ≥ a³ / 4.2 for a ≤ 1: there the slope may be all but 0
    above = jnp.minimum(jnp.minimum(size / s, size + (1 - s)), jnp.where(size < 0.238, jnp.cbrt(4.2 * size), jnp.inf))
    sign = jnp.where(s > 1, 1, -1).astype(size.dtype)  # which way the steps go

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, a, _ = carry
        following = a - (a + (s - 1) * jnp.tanh(a) - size) / tanh_slope(a, s)
        return count + 1, jnp.where(sign * (following - a) > 0, following, a), a

    def moving(carry: tuple[Array, Array, Array]) -> Array:
        count, a, previous = carry
        return (count < MAX_STEPS) & (a != previous)

    start = jnp.where(s > 1, below, above)
    return jnp.where(t < 0, -1, 1) * jax.lax.while_loop(moving, step, step((jnp.int32(0), start, start)))[1]


@tanh_root.defjvp
def _tanh_root_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    s, t = primals
    s_dot, t_dot = tangents
    a = tanh_root(s, t)
    return a, (t_dot - jnp.tanh(a) * s_dot) / tanh_slope(a, s)


def triangular_root(
    fn: Callable[[Float[Array, "D"]], Float[Array, "D"]],
    start: Float[Array, "D"],
    solve: Callable[[Callable[[Array], Array], Array], Array],
) -> Float[Array, "D"]:
    """Return the root that `solve(fn, start)` finds, for an fn whose Jacobian is lower triangular."""

    def solve_linear(linear: Callable[[Array], Array], y: Array) -> Array:
        jacobian = jax.vmap(linear, out_axes=1)(jnp.eye(y.size, dtype=y.dtype))
        return solve_triangular(jacobian, y, lower=True)

    return jax.lax.custom_root(fn, start, solve, solve_linear)
