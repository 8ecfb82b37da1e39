"""The scalar root that inverses of planar and Sylvester flows need, with implicit gradients."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array

MAX_STEPS = 100


def tanh_slope(a: Float[Array, "*shape"], s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the slope of a + (s − 1) tanh a, written without cancellation as tanh²a + s sech²a."""
    decayed = jnp.exp(-2 * jnp.abs(a))
    return jnp.tanh(a) ** 2 + s * (4 * decayed / (1 + decayed) ** 2)  # sech² as 1 − tanh² would cancel


@jax.custom_jvp
def tanh_root(s: Float[Array, ""], t: Float[Array, ""]) -> Float[Array, ""]:
    """Return the root a of a + (s − 1) tanh a = t, for a slope s > 0 at the origin.

    The left side is odd in a; for a > 0 it is concave if s > 1 and convex if s < 1. So Newton's method converges monotonically
    from below the root or from above it, respectively. The gradients are implicit: da = (dt − tanh a ds) / slope.

    JAX drops this rule for second derivatives of a `lax.scan`. Three more steps, which leave the value as it is, have the right
    derivatives up to order 7 without it.
    """
    a = jax.lax.stop_gradient(_newton(s, t))
    for _ in range(3):
        move = (t - a - (s - 1) * jnp.tanh(a)) / tanh_slope(a, s)
        a = a + move - jax.lax.stop_gradient(move)
    return a


def _newton(s: Float[Array, ""], t: Float[Array, ""]) -> Float[Array, ""]:
    size = jnp.abs(t)
    below = jnp.maximum(size / s, size - (s - 1))  # as tanh a ≤ a and tanh a ≤ 1
    # also as a − tanh a ≥ a³ / 4.2 for a ≤ 1, for slopes near 0
    above = jnp.minimum(jnp.minimum(size / s, size + (1 - s)), jnp.where(size < 0.238, jnp.cbrt(4.2 * size), jnp.inf))
    sign = jnp.where(s > 1, 1, -1).astype(size.dtype)  # of the steps

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
