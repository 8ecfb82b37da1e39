"""What every bijection of vectors checks."""

from collections.abc import Callable
from typing import Any

from gen_jax.types import Array, Bijection, InputError, Params


def check_dim(dim: int, least: int = 1) -> None:
    """Raise an InputError for a number of dimensions that is too small."""
    if dim < least:
        raise InputError(f"dim is {dim}: give {least} or more.")


def vector_bijection(
    dim: int, init: Callable[..., Params], forward_and_log_det: Callable[..., Any], inverse_and_log_det: Callable[..., Any]
) -> Bijection:
    """Return a bijection that refuses what is no vector of D numbers, in either direction, with an InputError."""

    def checked(direction: Callable[..., Any], name: str) -> Callable[..., Any]:
        def apply(params: Params, value: Array, context: Any = None) -> Any:
            if value.shape != (dim,):
                raise InputError(
                    f"{name} has shape {value.shape}, and the bijection has {dim} dimensions: give ({dim},), or vmap over more."
                )
            return direction(params, value, context)

        return apply

    return Bijection(init, checked(forward_and_log_det, "x"), checked(inverse_and_log_det, "y"))
