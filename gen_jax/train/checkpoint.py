"""Checkpoints of a whole `TrainState`, from which a run resumes bit for bit; the two latest and the best are kept.

Orbax writes the state to a temporary folder and renames it to `checkpoints/EPOCH`. Then `checkpoints/EPOCH.json` commits it, with
its scores and a checksum of every file: Orbax itself does not notice a flipped bit, and restores wrong parameters. (Its
`CheckpointManager` does none of this; it would only choose what to keep.)
"""

import contextlib
import json
import logging
import shutil
import tempfile
import time
import warnings
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax

from gen_jax.train.hosts import by_first, is_first
from gen_jax.train.metrics import read_object, write_json
from gen_jax.types import InputError, is_out_of_memory


def save_checkpoint(
    directory: Path,
    epoch: int,
    state: Any,
    scores: dict[str, float],
    best_metric: str | None,
    course: dict[str, float] | None = None,
) -> None:
    """Save the state after `epoch` epochs, then remove all but the two latest and the one with the largest `best_metric`.

    `course` is what else the rest of the run depends on, which `read_course` returns.

    Raises:
        OSError: it cannot be written. Earlier checkpoints are unchanged.
    """
    path = directory / str(epoch)
    content = {"scores": scores, "course": course or {}, "state": _structure(state)}
    committed = lambda: {**content, "checksum": _checksum(content), "files": _checksums(path)}
    try:
        with _plain_path(directory) as folder, _orbax().StandardCheckpointer() as checkpointer:
            checkpointer.save(folder / path.name, state, force=True)
        by_first(lambda: write_json(directory / f"{epoch}.json", committed()))
    except (OSError, ValueError) as error:  # Orbax raises ValueError where the disk is full
        if is_first():
            _remove_uncommitted(directory)
        reason = str(error).partition("\n")[0]
        raise OSError(f"The checkpoint {path} cannot be written ({reason}): free disk space, and resume.") from error
    by_first(lambda: _remove_old(directory, best_metric))


def _remove_old(directory: Path, best_metric: str | None) -> None:
    epochs = saved_epochs(directory)
    keep = {*epochs[-2:], _best(_commits(directory), best_metric)}
    for old in epochs:
        if old not in keep:
            (directory / f"{old}.json").unlink()  # the commit first: a kill in between leaves a folder that does not count
    _remove_uncommitted(directory)


def _remove_uncommitted(directory: Path) -> None:
    for folder in directory.iterdir():
        if folder.is_dir() and not folder.with_name(f"{folder.name}.json").exists():
            shutil.rmtree(folder)


def read_course(directory: Path, epoch: int) -> dict[str, float]:
    """Return the course that was saved with a checkpoint, and nothing if that is damaged."""
    return _commits(directory).get(epoch, {}).get("course", {})


def saved_epochs(directory: Path) -> list[int]:
    """Return the epochs that have a committed checkpoint, in order."""
    return sorted(int(path.stem) for path in directory.glob("*.json") if path.stem.isdecimal())


def restore_latest(directory: Path, like: Any) -> tuple[Any, int] | None:
    """Return the latest undamaged state and its epoch, to resume from, or None if there is no checkpoint.

    Damaged checkpoints are moved to `unreadable/` beside the folder, each with a warning.

    Args:
        directory: the folder of checkpoints.
        like: a state of the same structure, shapes and dtypes.

    Raises:
        InputError: every checkpoint is damaged, or they are of another model.
    """
    found, damaged = _restore(directory, like, None)
    if damaged:
        by_first(lambda: _move_away(directory, damaged))
    return found


def _move_away(directory: Path, damaged: list[int]) -> None:
    unreadable = directory.parent / "unreadable" / str(time.time_ns())
    for epoch in damaged:
        unreadable.mkdir(parents=True, exist_ok=True)
        for path in (directory / str(epoch), directory / f"{epoch}.json"):  # a folder without its commit would be removed
            if path.exists():
                shutil.move(path, unreadable)


def restore_best(directory: Path, like: Any, best_metric: str | None) -> tuple[Any, int] | None:
    """Return the undamaged state with the largest `best_metric` (else the latest) and its epoch, or None if there is none.

    Nothing on disk changes; a warning names each damaged checkpoint. Arguments and errors are those of `restore_latest`.
    """
    return _restore(directory, like, best_metric)[0]


def _restore(directory: Path, like: Any, metric: str | None) -> tuple[tuple[Any, int] | None, list[int]]:
    """Return the best undamaged state and its epoch, and the epochs of the damaged ones."""
    chosen, damaged = by_first(lambda: _choose(directory, _structure(like), metric))
    if chosen is None:
        return None, []

    def on_this_machine(leaf: Any) -> jax.ShapeDtypeStruct:  # whatever device the checkpoint was made on
        sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    with _plain_path(directory) as folder, _orbax().StandardCheckpointer() as checkpointer:
        try:
            return (checkpointer.restore(folder / str(chosen), jax.tree.map(on_this_machine, like)), chosen), damaged
        except Exception as error:  # of whatever type, for files that were changed together with their checksums
            if isinstance(error, OSError) or is_out_of_memory(error):
                raise
            raise InputError(
                f"The checkpoint {directory / str(chosen)} cannot be read ({type(error).__name__}): use the library "
                f"versions that wrote it, or move it and {chosen}.json away to go on from one before, if there is one."
            ) from error


def _choose(directory: Path, wanted: dict[str, str], metric: str | None) -> tuple[int | None, list[int]]:
    """Return the epoch of the best undamaged checkpoint, and those of the damaged ones; or raise an InputError."""
    whole = {
        epoch: commit
        for epoch, commit in _commits(directory).items()
        if _checksums(directory / str(epoch)) == commit.get("files")
    }
    chosen = _best(whole, metric)
    damaged = [epoch for epoch in saved_epochs(directory)[::-1] if epoch not in whole]
    for epoch in damaged:
        sentence = f"The checkpoint {directory / str(epoch)} is damaged: its checksums do not match."
        if chosen is None and epoch == damaged[-1]:
            raise InputError(f"{sentence} There is no other: train into another folder.")
        warnings.warn(sentence if chosen is None else f"{sentence} Using the one of epoch {chosen}.", stacklevel=6)
    if chosen is None:
        return None, []
    saved = whole[chosen]["state"]
    for name in sorted(saved | wanted):
        if saved.get(name) != wanted.get(name):
            raise InputError(
                f"The checkpoint {directory / str(chosen)} is of another model: {name} is {saved.get(name, 'missing')} there and "
                f"{wanted.get(name, 'missing')} here. Use the settings and the version it was made with."
            )
    return chosen, damaged


def _best(commits: dict[int, dict[str, Any]], metric: str | None) -> int | None:
    """Return the epoch with the largest metric, the latest of equals; the latest of all if none has the metric."""
    scored = {epoch: commit["scores"][metric] for epoch, commit in commits.items() if metric in commit["scores"]}
    return max(scored or commits, key=lambda epoch: (scored.get(epoch), epoch), default=None)


def _commits(directory: Path) -> dict[int, dict[str, Any]]:
    """Return the content of each undamaged `EPOCH.json`; the caller checks its `files`."""
    commits = {}
    for epoch in saved_epochs(directory):
        with contextlib.suppress(ValueError, KeyError, AttributeError):  # AttributeError: no dict
            commit = read_object((directory / f"{epoch}.json").read_bytes())
            content = {name: value for name, value in commit.items() if name not in ("checksum", "files")}
            numbers = (*commit["scores"].values(), *commit.get("course", {}).values())
            if _checksum(content) == commit["checksum"] and all(isinstance(number, int | float) for number in numbers):
                commits[epoch] = commit
    return commits


def _checksum(value: Any) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def _checksums(path: Path) -> dict[str, int]:
    return {str(file.relative_to(path)): zlib.crc32(file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file()}


def _structure(state: Any) -> dict[str, str]:
    """Return the dtype and shape of each leaf, by its path."""
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in jax.tree.leaves_with_path(state)}


def _orbax() -> Any:
    import orbax.checkpoint  # takes a second, which commands that train nothing need not wait for

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs what it also raises
    return orbax.checkpoint


@contextlib.contextmanager
def _plain_path(directory: Path) -> Generator[Path]:
    """Give a path to the folder without the characters that are patterns to `glob`, with which Orbax searches it."""
    directory = directory.absolute()
    if not set(str(directory)) & set(r"[]\*?"):
        yield directory
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "checkpoints"
        link.symlink_to(directory)
        yield link
