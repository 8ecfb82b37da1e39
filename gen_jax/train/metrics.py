"""Files of a run: JSON written atomically, `metrics.jsonl` with one line per epoch, and TensorBoard's event files."""

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from gen_jax.types import InputError

METRICS_FILE = "metrics.jsonl"
PARTIAL = ".partial"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: after a kill it has the old content or the new."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)  # where the disk is full


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_whole(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: the text is something else; the message continues "PATH ...".
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: deeply nested brackets
        raise ValueError(f"is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError("holds no JSON object")
    return value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a `metrics.jsonl`; a last line cut by a kill is left out, any other damaged line with a warning."""
    return _read_rows(path)[0]


def _read_rows(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the readable rows, and whether a line before the last is damaged."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    rows, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            row = read_object(line)
        except ValueError:
            row = {}
        if isinstance(row.get("epoch"), int) and "seconds" in row and all(isinstance(v, int | float) for v in row.values()):
            rows.append(row)
        elif number < len(lines):
            damaged.append(str(number))
    if damaged:
        warnings.warn(f"{path} is damaged in line {', '.join(damaged)}, which is left out.", stacklevel=3)
    return rows, bool(damaged)


def summary_writer() -> Any:
    """Return TensorBoard's writer class.

    Raises:
        InputError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError("TensorBoard needs tensorboardX: pip install '.[tensorboard]', in gen_jax's source folder.") from error
    return SummaryWriter


class MetricsLog:
    """Appends rows to `metrics.jsonl` and, if asked, to TensorBoard's event files; without a directory, to `rows` alone.

    Opening it drops the rows after the first `num_epochs` epochs, which a killed run wrote after its last checkpoint, and all but
    the first of an epoch; rows that are missing are told by a warning. A damaged file is also kept as `metrics.jsonl.damaged`.

    Raises:
        InputError: TensorBoard was asked for and tensorboardX is not installed.
    """

    def __init__(self, directory: Path | None, num_epochs: int = 0, tensorboard: bool = False):
        self.rows: list[dict[str, Any]] = []
        self.num_read = 0  # epochs that the file was of
        self.path = self._tensorboard = None
        if directory is None:
            return
        self.path = directory / METRICS_FILE
        rows, damaged = _read_rows(self.path)
        if damaged:
            write_whole(self.path.with_name(METRICS_FILE + ".damaged"), self.path.read_bytes())
        self.num_read = max((row["epoch"] for row in rows), default=0)
        by_epoch = {row["epoch"]: row for row in rows[::-1] if 1 <= row["epoch"] <= num_epochs}
        self.rows = [by_epoch[epoch] for epoch in sorted(by_epoch)]
        if missing := [str(epoch) for epoch in range(1, num_epochs + 1) if epoch not in by_epoch]:
            shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
            warnings.warn(f"{self.path} lacks the rows of epochs {shown}: the curves of the run leave them out.", stacklevel=2)
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        if tensorboard:
            # made anew from the rows: a kill loses what its writer still buffers
            if (directory / "tensorboard").exists():
                shutil.rmtree(directory / "tensorboard")
            self._tensorboard = summary_writer()(str(directory / "tensorboard"))
            for row in self.rows:
                self._add_scalars(row)

    def append(self, row: dict[str, Any]) -> None:
        """Write one row. A kill during the call can cut the line, which reading leaves out; after it the row is safe."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        self._add_scalars(row)

    def _add_scalars(self, row: dict[str, Any]) -> None:
        if self._tensorboard is not None:
            for name, value in row.items():
                self._tensorboard.add_scalar(name, value, row["epoch"])

    def close(self) -> None:
        """Flush TensorBoard's writer."""
        if self._tensorboard is not None:
            self._tensorboard.close()
