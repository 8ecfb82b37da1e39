"""Checkpoints by Orbax: written to the side and renamed when whole, the two latest and the best kept.

Each holds a whole `TrainState`, so that a run goes on from it bit for bit. A checkpoint is named by the number of epochs done.
"""

import itertools
import logging
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from gen_jax.types import InputError

State = TypeVar("State")


def open_checkpoints(directory: Path, best_metric: str) -> ocp.CheckpointManager:
    """Open (or make) a folder of checkpoints that keeps the two latest and the one with the largest `best_metric`.

    Saving runs in the background; use the manager as a context manager, or close it, to wait for the last.
    """
    # its notes on sharding files and finalisation are not for the user of a training run
    logging.getLogger("absl").setLevel(logging.ERROR)

    def metric(metrics: dict[str, float]) -> float:
        return metrics.get(best_metric, float("-inf"))

    keep = checkpoint_managers.AnyPreservationPolicy(
        [checkpoint_managers.LatestN(2), checkpoint_managers.BestN(get_metric_fn=metric, n=1)]
    )
    options = ocp.CheckpointManagerOptions(preservation_policy=keep, best_fn=metric, best_mode="max")
    return ocp.CheckpointManager(directory.absolute(), options=options)


def save_checkpoint(manager: ocp.CheckpointManager, epoch: int, state: State, metrics: dict[str, float]) -> None:
    """Save the state after `epoch` epochs, with the metrics that decide which checkpoint is best."""
    manager.save(epoch, args=ocp.args.StandardSave(state), metrics=metrics)


def restore_latest(manager: ocp.CheckpointManager, like: State) -> tuple[State, int] | None:
    """Return the newest readable state and its epoch, or None where there is no checkpoint; for a run that goes on.

    A checkpoint that cannot be read is moved to `unreadable/` beside the folder, with a warning, and the one before it is used.

    Args:
        manager: from `open_checkpoints`.
        like: a state of the same structure, shapes and dtypes.

    Raises:
        InputError: there are checkpoints and none can be read.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    found = _restore_first_readable(manager, like, steps)
    broken = [step for step in steps if found is not None and step > found[1]]
    for step in broken:
        unreadable = Path(manager.directory).parent / "unreadable"
        unreadable.mkdir(exist_ok=True)
        shutil.move(Path(manager.directory) / str(step), unreadable / f"{step}-{time.time_ns()}")
    if broken:
        manager.reload()
    return found


def restore_best(manager: ocp.CheckpointManager, like: State) -> tuple[State, int] | None:
    """Return the state with the best metric and its epoch, or None where there is no checkpoint; changes nothing on disk.

    Where the best cannot be read, a warning says so and the newest readable one is used.

    Raises:
        InputError: there are checkpoints and none can be read.
    """
    best = manager.best_step()
    steps = sorted(manager.all_steps(), key=lambda step: (step == best, step), reverse=True)
    return _restore_first_readable(manager, like, steps)


def _restore_first_readable(manager: ocp.CheckpointManager, like: State, steps: Sequence[int]) -> tuple[State, int] | None:
    abstract = jax.eval_shape(lambda: like)
    for step, following in itertools.zip_longest(steps, steps[1:]):
        try:
            return manager.restore(step, args=ocp.args.StandardRestore(abstract)), step
        # Orbax and TensorStore raise many types for a damaged file; whichever it is, the file cannot be read
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            path = Path(manager.directory) / str(step)
            if following is None:
                raise InputError(
                    f"The checkpoint {path} cannot be read ({reason}), and there is no other: train into another folder."
                ) from error
            warnings.warn(
                f"The checkpoint {path} cannot be read ({reason}); going on from the one of epoch {following}.",
                stacklevel=3,
            )
    return None
