"""Roots of increasing functions, with gradients by the implicit function theorem and not through the iterations."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array


def increasing_root(
    fn: Callable[[Float[Array, ""]], Float[Array, ""]], low: Float[Array, ""], high: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the root x of an increasing scalar function in [low, high].

    Newton's steps, and bisection where one would leave the bracket. For fn(x; θ) = 0 the gradient at the root is
    dx/dθ = −(∂fn/∂θ) / (∂fn/∂x).
    """
    # a simple root takes 5 steps; the triple root that tanh has in the worst case gains a factor of 1.5 a step
    steps = 60 if low.dtype == jnp.float32 else 120

    def solve(fn: Callable[[Array], Array], start: Array) -> Array:
        def narrow(_: Any, bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            low, high, x = bracket
            value, slope = jax.jvp(fn, (x,), (jnp.ones_like(x),))
            low, high = jnp.where(value <= 0, x, low), jnp.where(value >= 0, x, high)
            newton = x - value / jnp.where(slope > 0, slope, 1)
            inside = (slope > 0) & (low <= newton) & (newton <= high)
            return low, high, jnp.where(inside, newton, low + 0.5 * (high - low))

        return jax.lax.fori_loop(0, steps, narrow, (low, high, start))[2]

    return jax.lax.custom_root(fn, 0.5 * (low + high), solve, lambda slope, y: y / slope(jnp.ones_like(y)))


def triangular_root(
    fn: Callable[[Float[Array, "D"]], Float[Array, "D"]],
    start: Float[Array, "D"],
    solve: Callable[[Callable[[Array], Array], Array], Array],
) -> Float[Array, "D"]:
    """Return the root that `solve(fn, start)` finds, differentiated by solving the linear system of fn's Jacobian."""

    def solve_linear(linear: Callable[[Array], Array], y: Array) -> Array:
        jacobian = jax.vmap(linear, out_axes=1)(jnp.eye(y.size, dtype=y.dtype))
        return jnp.linalg.solve(jacobian, y)

    return jax.lax.custom_root(fn, start, solve, solve_linear)
