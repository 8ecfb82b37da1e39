"""What all bijections share: the type of their result, and the checks of their arguments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Bijection, InputError, Params

Result = tuple[Float[Array, "*event"], Float[Array, ""]]
"""(value, log |det Jacobian|), in either direction."""


def check_dim(dim: int, least: int = 1) -> None:
    """Raise an InputError for a number of dimensions that is too small."""
    if dim < least:
        raise InputError(f"dim is {dim}: give {least} or more.")


def checked_context(context: Any, context_dim: int) -> Array:
    """Return the context, or raise an InputError if it is missing or not of shape [context_dim]."""
    if context is None or context.shape != (context_dim,):
        given = "missing" if context is None else f"of shape {context.shape}"
        raise InputError(f"context is {given}, and the bijection was made with context_dim {context_dim}: give ({context_dim},).")
    return context


def promoted(x: Any, *trees: Any) -> Array:
    """Return x in the widest type of real numbers among it and the trees, in which it also comes out: they may differ in x64."""
    x = jnp.asarray(x)
    types = [jnp.result_type(leaf) for leaf in jax.tree.leaves(trees)]
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return x.astype(jnp.result_type(x, *(dtype for dtype in types if jnp.issubdtype(dtype, jnp.floating))))


def checked_bijection(
    shape: tuple[int, ...] | None,
    init: Callable[..., Params],
    forward: Callable[..., Result],
    inverse: Callable[..., Result],
    context_dim: int = 0,
) -> Bijection:
    """Return a bijection that checks shape (None: any) and dtype of the example, and the context, in both directions.

    With a `context_dim` of 0, the context (which `chain` passes to all of its bijections) is dropped.
    """

    def checked(direction: Callable[..., Result], name: str) -> Callable[..., Result]:
        def apply(params: Params, value: Array, context: Any = None) -> Result:
            params, value = jax.tree.map(jnp.asarray, (params, value))  # NumPy's are not indexed by what is traced
            if shape is not None and value.shape != shape:
                raise InputError(
                    f"{name} has shape {value.shape}, and the bijection takes {shape}: give that, or vmap over more."
                )
            if value.dtype not in (jnp.float32, jnp.float64):
                raise InputError(f"{name} is of {value.dtype}, and a bijection takes float32 or float64: convert it.")
            if context_dim == 0:
                return direction(params, promoted(value, params))
            context = checked_context(context, context_dim)
            return direction(params, promoted(value, params, context), context)

        return apply

    return Bijection(init, checked(forward, "x"), checked(inverse, "y"))
