"""Checkpoints: a whole `TrainState` each, so that a run goes on from it bit for bit; the two latest and the best are kept.

Orbax writes the state to the side and renames it to `checkpoints/EPOCH`; `checkpoints/EPOCH.json` then commits it, with its
scores and a checksum of every file. The checksums are there because Orbax notices some damage only half-way through reading,
with stack traces from its threads, and some not at all.
"""

import json
import logging
import shutil
import time
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from gen_jax.train.metrics import write_json
from gen_jax.types import InputError


def save_checkpoint(directory: Path, epoch: int, state: Any, scores: dict[str, float], best_metric: str | None) -> None:
    """Save the state after `epoch` epochs, then remove all but the two latest and the one with the largest `best_metric`."""
    path = directory / str(epoch)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax's notes are not for the user of a training run
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), state, force=True)
    write_json(directory / f"{epoch}.json", {"scores": scores, "files": _checksums(path), "state": _structure(state)})
    epochs = saved_epochs(directory)
    keep = {*epochs[-2:], *_best_first(directory, epochs, best_metric)[:1]}
    for old in epochs:
        if old not in keep:
            (directory / f"{old}.json").unlink()
    for folder in directory.iterdir():  # what has no commit: just removed, or left by a kill
        if folder.is_dir() and not folder.with_name(f"{folder.name}.json").exists():
            shutil.rmtree(folder)


def saved_epochs(directory: Path) -> list[int]:
    """Return the epochs that have a committed checkpoint, in order."""
    return sorted(int(path.stem) for path in directory.glob("*.json") if path.stem.isdigit())


def restore_latest(directory: Path, like: Any) -> tuple[Any, int] | None:
    """Return the newest readable state and its epoch, or None where there is no checkpoint; for a run that goes on.

    A checkpoint that cannot be read is moved to `unreadable/` beside the folder, with a warning, and the one before it is used.

    Args:
        directory: the folder of checkpoints.
        like: a state of the same structure, shapes and dtypes.

    Raises:
        InputError: there are checkpoints and none can be read, or they are of another model.
    """
    epochs = saved_epochs(directory)
    found = _restore_first_readable(directory, like, epochs[::-1])
    unreadable = directory.parent / "unreadable" / str(time.time_ns())
    for epoch in epochs:
        if found is not None and epoch > found[1]:
            unreadable.mkdir(parents=True, exist_ok=True)
            for path in (directory / f"{epoch}.json", directory / str(epoch)):
                if path.exists():
                    shutil.move(path, unreadable)
    return found


def restore_best(directory: Path, like: Any, best_metric: str | None) -> tuple[Any, int] | None:
    """Return the state with the largest `best_metric` and its epoch, or None where there is none; changes nothing on disk.

    Where `best_metric` is None, it is the newest. Where the best cannot be read, a warning says so and the newest readable one
    is used.

    Raises:
        InputError: there are checkpoints and none can be read.
    """
    epochs = saved_epochs(directory)
    best = _best_first(directory, epochs, best_metric)[:1]
    return _restore_first_readable(directory, like, best + [epoch for epoch in epochs[::-1] if epoch not in best])


def _best_first(directory: Path, epochs: Sequence[int], metric: str | None) -> list[int]:
    scores = {epoch: (_commit(directory, epoch) or {"scores": {}})["scores"].get(metric) for epoch in epochs}
    scored = [epoch for epoch in epochs if scores[epoch] is not None]
    return sorted(scored, key=lambda epoch: (scores[epoch], epoch), reverse=True)


def _commit(directory: Path, epoch: int) -> dict[str, Any] | None:
    try:
        commit = json.loads((directory / f"{epoch}.json").read_text())
    except ValueError:
        return None
    whole = isinstance(commit, dict) and all(isinstance(commit.get(name), dict) for name in ("scores", "files", "state"))
    return commit if whole else None


def _structure(state: Any) -> dict[str, str]:
    """What a state consists of: a shape and a dtype for each leaf, by its path."""
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in jax.tree.leaves_with_path(state)}


def _checksums(path: Path) -> dict[str, int]:
    return {str(file.relative_to(path)): zlib.crc32(file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file()}


def _check_structure(path: Path, saved: dict[str, str], wanted: dict[str, str]) -> None:
    for name in sorted(saved | wanted):
        if saved.get(name) != wanted.get(name):
            raise InputError(
                f"The checkpoint {path} is of another model: {name} is {saved.get(name, 'missing')} there and "
                f"{wanted.get(name, 'missing')} here. Use the settings and the version it was made with."
            )


def _restore_first_readable(directory: Path, like: Any, epochs: Sequence[int]) -> tuple[Any, int] | None:
    def on_this_machine(leaf: Any) -> jax.ShapeDtypeStruct:  # whatever device the checkpoint was made on
        sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    abstract = jax.tree.map(on_this_machine, like)
    for position, epoch in enumerate(epochs):
        path = directory / str(epoch)
        commit = _commit(directory, epoch)
        if commit is not None and path.is_dir() and _checksums(path) == commit["files"]:
            _check_structure(path, commit["state"], _structure(like))
            with ocp.StandardCheckpointer() as checkpointer:
                return checkpointer.restore(path.absolute(), abstract), epoch
        damaged = f"The checkpoint {path} is damaged: its files are not the ones that were written."
        if position == len(epochs) - 1:
            raise InputError(f"{damaged} There is no other: train into another folder.")
        warnings.warn(f"{damaged} Going on from the one of epoch {epochs[position + 1]}.", stacklevel=3)
    return None
