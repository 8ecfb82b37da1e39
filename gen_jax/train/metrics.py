"""What a run writes down: `metrics.jsonl`, one line an epoch, and TensorBoard where it is asked for."""

import json
import os
from pathlib import Path
from typing import Any

from gen_jax.types import InputError

PARTIAL = ".partial"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(path.name + PARTIAL)
    partial.write_text(text)
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class MetricsLog:
    """Appends rows to `metrics.jsonl`, and to TensorBoard's event files beside it where `tensorboard` is set.

    Opening it keeps the rows of the first `num_epochs` epochs and drops what a killed run wrote after its last checkpoint.

    Raises:
        InputError: TensorBoard was asked for and tensorboardX is not installed.
    """

    def __init__(self, directory: Path, num_epochs: int = 0, tensorboard: bool = False):
        self.path = directory / "metrics.jsonl"
        self.rows = [row for row in read_metrics(self.path) if row["epoch"] <= num_epochs]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._tensorboard = None
        if tensorboard:
            try:
                from tensorboardX import SummaryWriter
            except ImportError as error:
                raise InputError("TensorBoard needs an extra: pip install 'gen_jax[tensorboard]'.") from error
            self._tensorboard = SummaryWriter(str(directory / "tensorboard"), purge_step=num_epochs + 1)

    def append(self, row: dict[str, Any]) -> None:
        """Write one row. A kill after this call does not lose it; one during it cuts the line, which reading leaves out."""
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._tensorboard is not None:
            for name, value in row.items():
                self._tensorboard.add_scalar(name, value, row["epoch"])

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds; `metrics.jsonl` needs no closing."""
        if self._tensorboard is not None:
            self._tensorboard.close()
