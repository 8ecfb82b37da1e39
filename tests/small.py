"""What tests of runs share."""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import chex
import numpy as np
import pytest

from gen_jax import recipes, runs
from gen_jax.tasks import Outcome
from gen_jax.train import read_metrics


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


def whole_and_stopped(recipe: str, chosen: Any, folder: Path) -> tuple[runs.Run, runs.Run]:
    """Train a run; and again, stopped by a signal and gone on with, which has to have the same bits. Nothing is evaluated.

    Returns the whole run, and the other as it was when it was stopped.
    """

    def stop(row: dict[str, Any]) -> None:
        if row["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    assert runs.fit(recipe, chosen, folder / "whole").finished
    assert not runs.fit(recipe, chosen, folder / "stopped", on_epoch=stop).finished
    stopped, before = runs.load_run(folder / "stopped"), read_metrics(folder / "stopped" / "metrics.jsonl")
    assert runs.fit(recipe, chosen, folder / "stopped").finished
    whole, resumed = (runs.load_run(folder / name) for name in ("whole", "stopped"))
    chex.assert_trees_all_equal(whole.params, resumed.params)
    of_whole, of_resumed = (read_metrics(folder / name / "metrics.jsonl") for name in ("whole", "stopped"))
    assert 0 < len(before) < len(of_resumed)
    assert of_resumed[: len(before)] == before  # with their seconds: it did not begin anew
    assert [row | {"seconds": 0} for row in of_whole] == [row | {"seconds": 0} for row in of_resumed]
    return whole, stopped


def done(run: runs.Run, task: str, **options: Any) -> Outcome:
    """What a task finds of a run."""
    return runs.perform(run, task, **options)


def drawn_from(run: runs.Run, num: int, **options: Any) -> np.ndarray:
    """Samples of a run, under seed 0."""
    return done(run, "sample", num=num, **options).array
