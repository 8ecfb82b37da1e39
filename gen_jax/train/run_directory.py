"""The run directory: `config.json`, `metrics.jsonl`, `checkpoints/`, `figures/*.png`, `result.json`."""

import contextlib
import json
import time
import uuid
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import jax
from filelock import BaseFileLock, FileLock, Timeout

from gen_jax.train.checkpoint import read_course, saved_epochs
from gen_jax.train.hosts import any_process, by_first, is_first, num_processes
from gen_jax.train.loop import CHECKPOINTS, out_of_patience
from gen_jax.train.metrics import METRICS_FILE, PARTIAL, read_metrics, read_object, write_json
from gen_jax.types import InputError

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
LOCK_FILE = ".lock"
MARK = ".shared-"  # begins the name of an empty file that is there for a moment, as many processes open the folder
# shown in a list of runs
VALID_METRICS = ("valid_score", "valid_log_prob", "valid_elbo", "valid_num_modes")  # the first that there is
TEST_METRICS = ("test_nll", "test_elbo", "test_frechet_distance", "test_a_to_b_l1", "test_b_to_a_l1")


@contextlib.contextmanager
def open_run(directory: Path, config: dict[str, Any], may_change: Collection[str] = ()) -> Generator[dict[str, Any]]:
    """Create a run directory, or reopen one of the same config, and lock it: no two processes train in it at once.

    The lock ends with the process, however that ends; the process that holds it may open the directory again. A new directory is
    removed where an error comes before anything was trained, such as a full memory: the call with other settings may have it.
    Of many processes, process 0 does all this, and all look whether the folder is the same for them.

    Args:
        directory: the run directory.
        config: what identifies the run, as JSON.
        may_change: names, at any depth of the config, whose values may differ from the stored ones. The stored ones stay: they
            say how the run was made, and the caller stores the new ones as it goes on (`store_config`).

    Yields:
        The stored config, of a new run the given one.

    Raises:
        InputError: the directory holds something else or has another config, cannot be written, or is locked by another
            process; or the processes do not share it.
    """
    with contextlib.ExitStack() as stack:
        stored = by_first(lambda: stack.enter_context(_open_run(directory, config, may_change)))
        _check_shared(directory)
        yield stored


def _check_shared(directory: Path) -> None:
    """Raise an InputError, in all processes, for a directory in which one of them does not find what process 0 writes there."""
    if num_processes() == 1:
        return
    # a new name: of it no network file system has cached that it is not there
    mark = directory / by_first(lambda: f"{MARK}{uuid.uuid4().hex}")
    by_first(mark.touch)
    try:
        missing = any_process(not mark.exists())
    finally:
        if is_first():
            mark.unlink(missing_ok=True)
    if missing:
        raise InputError(
            f"{directory} is not one folder for all processes of the run ({directory.absolute()} in this one): give the full "
            "path of a folder that all of them share."
        )


@contextlib.contextmanager
def _open_run(directory: Path, config: dict[str, Any], may_change: Collection[str]) -> Generator[dict[str, Any]]:
    # a kill may leave the folder without its config, or with half of it
    half_made = {LOCK_FILE, CONFIG_FILE + PARTIAL}
    is_run, was_there = (directory / CONFIG_FILE).exists(), directory.exists()
    if not is_run and directory.exists() and (not directory.is_dir() or {path.name for path in directory.iterdir()} - half_made):
        raise InputError(f"{directory} exists and is not a run folder (no {CONFIG_FILE}): choose another folder.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = folder_lock(directory)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"Another process is training in {directory}: wait for it, or choose another folder.") from error
    except OSError as error:
        raise InputError(f"The run folder {directory} cannot be written ({error.strerror}): choose another folder.") from error
    try:
        config = json.loads(json.dumps(config))  # as it is read back
        stored = read_config(directory) if (directory / CONFIG_FILE).exists() else {}
        if stored:
            _check_same(directory, stored, config, may_change)
        else:
            write_json(directory / CONFIG_FILE, config)
        try:
            yield stored or config
        except Exception:
            if not stored:
                _remove_untrained(directory)
            raise
    finally:
        if not (directory / CONFIG_FILE).exists():
            (directory / LOCK_FILE).unlink(missing_ok=True)  # while it is held: no other process has it
        lock.release()
        with contextlib.suppress(OSError):  # it holds something, as it should
            if not was_there:
                directory.rmdir()


def folder_lock(directory: Path) -> BaseFileLock:
    """Return the lock of a folder, which `acquire` takes, or raises a TimeoutError.

    It ends with the process that has it, however that ends; that process may take it again.
    """
    return FileLock((directory / LOCK_FILE).absolute(), is_singleton=True)


def _remove_untrained(directory: Path) -> None:
    if not directory.exists():  # somebody else has removed it
        return
    own = {LOCK_FILE, CONFIG_FILE, METRICS_FILE, CHECKPOINTS}
    trained = read_metrics(directory / METRICS_FILE) or any((directory / CHECKPOINTS).glob("*"))
    if trained or {path.name for path in directory.iterdir()} - own:
        return
    if (directory / CHECKPOINTS).exists():
        (directory / CHECKPOINTS).rmdir()
    for name in (METRICS_FILE, CONFIG_FILE):
        (directory / name).unlink(missing_ok=True)


def store_config(directory: Path, config: dict[str, Any]) -> None:
    """Store the config of an open run anew, if it is another than the stored one."""
    if json.loads(json.dumps(config)) != read_config(directory):
        write_json(directory / CONFIG_FILE, config)


def read_config(directory: Path) -> dict[str, Any]:
    """Return the config of a run.

    Raises:
        InputError: the directory is not a run folder, or its config is damaged.
    """
    if not (directory / CONFIG_FILE).is_file():
        raise InputError(f"{directory} is not a run folder (it has no {CONFIG_FILE}): give one that `gen-jax train` made.")
    return _read(directory / CONFIG_FILE, "restore it, or train into another folder")


def read_result(directory: Path, settings: Any) -> dict[str, Any] | None:
    """Return the result of a run, or None if there is none of these settings: a stale one is of fewer epochs, say.

    Raises:
        InputError: the file is damaged.
    """
    if not (directory / RESULT_FILE).exists():
        return None
    result = _read(directory / RESULT_FILE, "remove it, and the same command evaluates the run again")
    return result if result.get("settings") == settings else None


def list_runs(folder: Path | str = "runs") -> list[dict[str, Any]]:
    """Return a row for each run folder below a folder: its recipe, data, epochs, best validation, test numbers, age, state.

    Folders of something else are left out, and those that cannot be read.
    """
    rows = []
    for config_file in sorted(Path(folder).rglob(CONFIG_FILE)):
        with contextlib.suppress(InputError, OSError, TypeError):  # TypeError: a value of a type that is never written
            rows += _rows_of(config_file)
    return rows


def _rows_of(config_file: Path) -> list[dict[str, Any]]:
    """Return the row of a folder of `gen-jax train` or of `fit`, and none of another."""
    directory = config_file.parent
    config, metrics, result = read_config(directory), read_metrics(directory / METRICS_FILE), None
    if isinstance(config.get("recipe"), str) and isinstance(config.get("settings"), dict):
        settings = config["settings"]
        with contextlib.suppress(InputError):  # damaged: the same command makes it anew
            result = read_result(directory, settings)
        finished = result is not None
    elif {"epochs", "program"} <= config.keys():
        settings, done = {"epochs": config["epochs"]}, max(saved_epochs(directory / CHECKPOINTS), default=0)
        waited = int(read_course(directory / CHECKPOINTS, done).get("waited", 0))
        finished = done >= config["epochs"] or out_of_patience(config.get("patience"), waited)
    else:
        return []
    valid = next((name for name in VALID_METRICS if any(name in row for row in metrics)), None)
    return [
        {
            "run": str(directory),
            "recipe": config.get("recipe", ""),
            "data": settings.get("data", ""),
            "epochs": f"{metrics[-1]['epoch'] if metrics else 0} of {settings.get('epochs', '?')}",
            "best valid": max(row[valid] for row in metrics if valid in row) if valid else None,
            "test": {name: result[name] for name in TEST_METRICS if name in result} if result else {},
            "age": time.time() - config_file.stat().st_mtime,
            "finished": finished,
        }
    ]


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        return read_object(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} {error}: {remedy}.") from error


def _check_same(directory: Path, old: dict[str, Any], new: dict[str, Any], may_change: Collection[str]) -> None:
    def flat(config: dict[str, Any]) -> dict[str, Any]:
        leaves = jax.tree.leaves_with_path(config, is_leaf=lambda value: not isinstance(value, dict))
        return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}

    was, now = flat(old), flat(new)
    different = [name for name in sorted(was | now) if was.get(name) != now.get(name)]
    ends = lambda name: {".".join(name.split(".")[-num:]) for num in (1, 2)}
    if wrong := [name for name in different if not ends(name) & set(may_change)]:
        differences = ", ".join(f"{name} = {was.get(name)} (now {now.get(name)})" for name in wrong)
        raise InputError(
            f"{directory} was made by other settings: {differences}. Choose another folder, or give the same settings to resume."
        )
