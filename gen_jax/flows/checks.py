"""What every bijection checks."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gen_jax.types import Array, Bijection, InputError, Params


def check_dim(dim: int, least: int = 1) -> None:
    """Raise an InputError for a number of dimensions that is too small."""
    if dim < least:
        raise InputError(f"dim is {dim}: give {least} or more.")


def checked_bijection(
    shape: tuple[int, ...] | None,
    init: Callable[..., Params],
    forward_and_log_det: Callable[..., Any],
    inverse_and_log_det: Callable[..., Any],
) -> Bijection:
    """Return a bijection that refuses, in either direction, an example that is no floats of its shape (any shape for None)."""

    def checked(direction: Callable[..., Any], name: str) -> Callable[..., Any]:
        def apply(params: Params, value: Array, context: Any = None) -> Any:
            if shape is not None and value.shape != shape:
                raise InputError(
                    f"{name} has shape {value.shape}, and the bijection takes {shape}: give that, or vmap over more."
                )
            if not jnp.issubdtype(value.dtype, jnp.floating):
                raise InputError(f"{name} is of {value.dtype}, and a bijection takes real numbers: convert it to float32.")
            return direction(params, value, context)

        return apply

    return Bijection(init, checked(forward_and_log_det, "x"), checked(inverse_and_log_det, "y"))


def checked_context(context: Any, context_dim: int) -> Any:
    """Return the context that a network takes, None where it takes none (a chain hands one to all of its bijections).

    Raises:
        InputError: it is missing or of another size.
    """
    if context_dim == 0:
        return None
    if context is None or context.shape != (context_dim,):
        given = "missing" if context is None else f"of shape {context.shape}"
        raise InputError(f"context is {given}, and the bijection was made with context_dim {context_dim}: give ({context_dim},).")
    return context
