"""Checks of 2-D arrays from the user, and distances between their rows in bounded memory."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from gen_jax.types import Array, InputError

Rows = Float[Array | np.ndarray, "_ _"]
_BLOCK = 512  # rows: 40 MB of distances to 10,000 others


def float64_rows(rows: Rows, name: str, at_least: int = 1) -> Float[np.ndarray, "N D"]:
    """Return the array in float64; an InputError unless it is finite and has two axes, `at_least` rows and a column."""
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or len(rows) < at_least or rows.shape[1] < 1:
        raise InputError(f"{name} is of shape {rows.shape}: give [N, D] with N ≥ {at_least}.")
    if not np.isfinite(rows).all():
        raise InputError(f"{name} holds values that are not finite: leave out these rows, or find their cause.")
    return rows


def float64_pair(
    x: Rows, y: Rows, names: tuple[str, str], at_least: int = 1
) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "M D"]]:
    """Return both arrays in float64; an InputError as in `float64_rows`, or for different numbers of columns."""
    x, y = float64_rows(x, names[0], at_least), float64_rows(y, names[1], at_least)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"{names[0]} has {x.shape[1]} columns and {names[1]} {y.shape[1]}: give equal numbers.")
    return x, y


def row_blocks(num_rows: int) -> Iterator[slice]:
    """Return slices that divide the rows into blocks."""
    return (slice(start, min(start + _BLOCK, num_rows)) for start in range(0, num_rows, _BLOCK))


def squared_distance_blocks(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"]
) -> Iterator[tuple[slice, Float[np.ndarray, "B M"]]]:
    """Yield (rows, ‖x_i − y_j‖² for these rows i and all j) for each block of rows of x.

    Computed as ‖x‖² + ‖y‖² − 2xᵀy, with a rounding error of about 1e-15 (‖x‖² + ‖y‖²).
    """
    centre = y.mean(axis=0)  # far from the origin the squares would cancel
    x, y = x - centre, y - centre
    squares_of_x, squares_of_y = np.square(x).sum(axis=1), np.square(y).sum(axis=1)
    for rows in row_blocks(len(x)):
        squared = x[rows] @ (-2 * y.T)
        squared += squares_of_x[rows, None]
        squared += squares_of_y[None, :]
        yield rows, np.maximum(squared, 0, out=squared)
