"""What tests of runs share."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from gen_jax import recipes, runs
from gen_jax.tasks import Outcome


def settings(recipe: str, **changes: Any) -> Any:
    """The settings of a recipe, some of them changed by their flat names."""
    return recipes.change(recipes.RECIPES[recipe].settings, **changes)


def fast_first(rows: Iterable[Any], num: int = 1) -> list[Any]:
    """Rows of one parameter (tuples: of several), the first `num` for the fast suite; `pytest -m slow` runs the others."""
    row_of = lambda row, marks: pytest.param(*(row if type(row) is tuple else (row,)), marks=marks)
    return [row_of(row, () if index < num else pytest.mark.slow) for index, row in enumerate(rows)]


def counting(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[None]]:
    """The function, and a list that grows whenever it is traced (the cache of jit forgets what it evicts)."""
    traces: list[None] = []

    def counted(*args: Any) -> Any:
        traces.append(None)
        return function(*args)

    return counted, traces


def done(run: runs.Run, task: str, **options: Any) -> Outcome:
    """What a task finds of a run."""
    return runs.perform(run, task, **options)


def drawn_from(run: runs.Run, num: int, **options: Any) -> np.ndarray:
    """Samples of a run, under seed 0."""
    return done(run, "sample", num=num, **options).array
