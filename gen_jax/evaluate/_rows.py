"""Rows of numbers that a user hands in: checks, and the distances between them in bounded memory."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from gen_jax.types import Array, InputError

# shapes are checked where they come in, so that a wrong one raises an InputError that says what to do
Rows = Float[Array | np.ndarray, "_ _"]
_BLOCK = 512  # rows at once: 40 MB of distances to 10,000 others


def float64_rows(rows: Rows, name: str, at_least: int = 1) -> Float[np.ndarray, "N D"]:
    """Return the array in float64.

    Raises:
        InputError: it is not of two axes, has fewer rows than asked for, no columns, or values that are not finite.
    """
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or len(rows) < at_least or rows.shape[1] < 1:
        raise InputError(f"{name} is of shape {rows.shape}: give [N, D] with N of {at_least} or more.")
    if not np.isfinite(rows).all():
        raise InputError(f"{name} holds values that are not finite: leave those rows out, or find where they come from.")
    return rows


def float64_pair(
    x: Rows, y: Rows, names: tuple[str, str], at_least: int = 1
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "M D"]]:
    """Return both arrays in float64.

    Raises:
        InputError: as in `float64_rows`, or they have not as many columns as one another.
    """
    x, y = float64_rows(x, names[0], at_least), float64_rows(y, names[1], at_least)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"{names[0]} has {x.shape[1]} columns and {names[1]} {y.shape[1]}: give as many of each.")
    return x, y


def row_blocks(num_rows: int) -> Iterator[slice]:
    """Return slices that cover the rows, a block at a time."""
    return (slice(start, min(start + _BLOCK, num_rows)) for start in range(0, num_rows, _BLOCK))


def squared_distance_blocks(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"]
) -> Iterator[tuple[slice, Float[np.ndarray, "B M"]]]:
    """Yield (rows, ‖x_i − y_j‖² for these rows i and all j), a block of rows of x at a time.

    By ‖x‖² + ‖y‖² − 2xᵀy, a matrix product; rounding leaves an error of about 1e-15 (‖x‖² + ‖y‖²).
    """
    centre = y.mean(axis=0)  # far from the origin the squares would cancel
    x, y = x - centre, y - centre
    squares_of_x, squares_of_y = np.square(x).sum(axis=1), np.square(y).sum(axis=1)
    for rows in row_blocks(len(x)):
        squared = x[rows] @ (-2 * y.T)
        squared += squares_of_x[rows, None]
        squared += squares_of_y[None, :]
        yield rows, np.maximum(squared, 0, out=squared)
