"""What tests of runs share."""

from typing import Any

import numpy as np

from gen_jax import recipes, runs
from gen_jax.tasks import Outcome


def settings(recipe: str, **changes: Any) -> Any:
    """The settings of a recipe, some of them changed by their flat names."""
    return recipes.change(recipes.RECIPES[recipe].settings, **changes)


def done(run: runs.Run, task: str, **options: Any) -> Outcome:
    """What a task finds of a run."""
    return runs.perform(run, task, **options)


def drawn_from(run: runs.Run, num: int, **options: Any) -> np.ndarray:
    """Samples of a run, under seed 0."""
    return done(run, "sample", num=num, **options).array
