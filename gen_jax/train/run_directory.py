"""The run directory: `config.json`, `metrics.jsonl`, `checkpoints/`, `figures/*.png`, `result.json`."""

import contextlib
import json
import time
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout

from gen_jax.train.metrics import METRICS_FILE, PARTIAL, read_metrics, read_object, write_json
from gen_jax.types import InputError

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
LOCK_FILE = ".lock"
# shown in a list of runs
VALID_METRICS = ("valid_score", "valid_log_prob", "valid_elbo", "valid_num_modes")  # the first that there is
TEST_METRICS = ("test_nll", "test_elbo", "test_frechet_distance")


@contextlib.contextmanager
def open_run(directory: Path, config: dict[str, Any], may_change: Collection[str] = ()) -> Generator[set[str]]:
    """Create a run directory, or reopen one of the same config, and lock it: no two processes train in it at once.

    The lock ends with the process, however that ends; the process that holds it may open the directory again.

    Args:
        directory: the run directory.
        config: what identifies the run, as JSON.
        may_change: names, at any depth of the config, whose values may differ from the stored ones. The new ones are stored.

    Yields:
        Which of these differ.

    Raises:
        InputError: the directory holds something else or has another config, cannot be written, or is locked by another process.
    """
    # a kill may leave the folder without its config, or with half of it
    half_made = {LOCK_FILE, CONFIG_FILE + PARTIAL}
    is_run = (directory / CONFIG_FILE).exists()
    if not is_run and directory.exists() and (not directory.is_dir() or {path.name for path in directory.iterdir()} - half_made):
        raise InputError(f"{directory} exists and is not a run folder (no {CONFIG_FILE}): choose another folder.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock((directory / LOCK_FILE).absolute(), is_singleton=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"Another process is training in {directory}: wait for it, or choose another folder.") from error
    except OSError as error:
        raise InputError(f"The run folder {directory} cannot be written ({error.strerror}): choose another folder.") from error
    try:
        config = json.loads(json.dumps(config))  # as it is read back
        stored = read_config(directory) if (directory / CONFIG_FILE).exists() else {}
        changed = _changed(directory, stored, config, may_change) if stored else set()
        if changed or not stored:
            write_json(directory / CONFIG_FILE, config)
        yield changed
    finally:
        lock.release()


def read_config(directory: Path) -> dict[str, Any]:
    """Return the config of a run.

    Raises:
        InputError: the directory is not a run folder, or its config is damaged.
    """
    if not (directory / CONFIG_FILE).is_file():
        raise InputError(f"{directory} is not a run folder (it has no {CONFIG_FILE}): give one that `gen-jax train` made.")
    return _read(directory / CONFIG_FILE, "restore it, or train into another folder")


def read_result(directory: Path) -> dict[str, Any]:
    """Return the result of a finished run.

    Raises:
        InputError: the file is damaged.
    """
    return _read(directory / RESULT_FILE, "remove it, and the same command evaluates the run again")


def list_runs(folder: Path | str = "runs") -> list[dict[str, Any]]:
    """Return a row for each run folder below a folder: its recipe, data, epochs, best validation, test numbers, age, state."""
    rows = []
    for config_file in sorted(Path(folder).rglob(CONFIG_FILE)):
        directory = config_file.parent
        try:
            config = read_config(directory)
            metrics = read_metrics(directory / METRICS_FILE)
            result = read_result(directory) if (directory / RESULT_FILE).exists() else {}
        except InputError:
            continue
        settings = config.get("settings", {})
        valid = next((name for name in VALID_METRICS if any(name in row for row in metrics)), None)
        rows.append(
            {
                "run": str(directory),
                "recipe": config.get("recipe", ""),
                "data": settings.get("data", ""),
                "epochs": f"{metrics[-1]['epoch'] if metrics else 0} of {settings.get('epochs', '?')}",
                "best valid": max(row[valid] for row in metrics if valid in row) if valid else None,
                "test": {name: result[name] for name in TEST_METRICS if name in result},
                "age": time.time() - config_file.stat().st_mtime,
                "finished": bool(result),
            }
        )
    return rows


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        return read_object(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} {error}: {remedy}.") from error


def _changed(directory: Path, old: dict[str, Any], new: dict[str, Any], may_change: Collection[str]) -> set[str]:
    def flat(config: dict[str, Any]) -> dict[str, Any]:
        leaves = jax.tree.leaves_with_path(config, is_leaf=lambda value: not isinstance(value, dict))
        return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}

    was, now = flat(old), flat(new)
    different = [name for name in sorted(was | now) if was.get(name) != now.get(name)]
    if wrong := [name for name in different if name.rpartition(".")[2] not in may_change]:
        differences = ", ".join(f"{name} = {was.get(name)} (now {now.get(name)})" for name in wrong)
        raise InputError(
            f"{directory} was made by other settings: {differences}. Choose another folder, or give the same settings to resume."
        )
    return {name.rpartition(".")[2] for name in different}
