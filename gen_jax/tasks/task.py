"""What a task is: something that is done with a trained model, whichever family it is of."""

import csv
import functools
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.autoencoders import Autoencoder
from gen_jax.data import Dataset, DataView, Split
from gen_jax.train import write_json, write_whole
from gen_jax.types import GAN, VAE, Array, DensityModel, InputError, Key, Params

NAMES = {VAE: "A VAE", GAN: "A GAN", DensityModel: "A density model", Autoencoder: "An autoencoder"}
AT_ONCE = 500  # examples on the device at once


class Subject(NamedTuple):
    """A trained model, with what a task asks for beside it.

    Attributes:
        model: of any family.
        params: what its functions take.
        view: how it sees stored examples.
        key: for what the task draws.
        load: (data=None, binarise=None, split="test") -> `Dataset`, all of whose examples the model can take: the model's own by
            default, binarised as the model sees it; the split is the one that is asked for.
        data: the name of the model's own data set.
        evaluation: options of `tasks.evaluate` that the recipe gives.
        report: called with (examples done, examples in all) in what takes long.
    """

    model: Any
    params: Params
    view: DataView
    key: Key
    load: Callable[..., Dataset]
    data: str
    evaluation: dict[str, Any] = {}
    report: Callable[[int, int], None] = lambda done, total: None


class Outcome(NamedTuple):
    """What a task returns to a run, which writes it down.

    Attributes:
        name: of the files.
        text: what is there, in a line.
        figures: matplotlib figures by name.
        array: what the figure shows, as numbers.
        summary: named numbers, or rows of them.
        table: columns with an entry for each example.
    """

    name: str
    text: str = ""
    figures: dict[str, Any] = {}
    array: Any = None
    summary: dict[str, Any] = {}
    table: dict[str, Any] = {}


class Task(NamedTuple):
    """A command of the command line, and what can be done at the end of training.

    Attributes:
        options: a dataclass: its docstring is the command's help, its fields the options.
        perform: (subject, options) -> `Outcome`.
    """

    options: Any
    perform: Callable[[Subject, Any], Outcome]


def refuse(model: Any, what: str, wanted: str) -> InputError:
    """Return the error for a task that a model cannot do."""
    return InputError(f"{NAMES.get(type(model), type(model).__name__)} cannot {what}: give {wanted}.")


class _ByIdentity:
    """A model as a key of a cache: itself, and no copy of it."""

    def __init__(self, model: Any):
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.model is other.model


def once_for_each_model(build: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what `build(model, view)` returns, functions that are compiled when they are first called, for the latest models."""
    cached = functools.lru_cache(maxsize=16)(lambda by_identity, view: build(by_identity.model, view))
    return lambda model, view: cached(_ByIdentity(model), view)


def labels_in_turn(model: Any, num: int, labels: Any = None) -> Array | None:
    """Return the labels to draw for: those given, in turn; 0, 1, … in turn by default; None for a model without classes.

    Raises:
        InputError: labels that the model has not.
    """
    num_classes = getattr(model, "num_classes", None)
    if labels is None:
        return None if num_classes is None else jnp.arange(num) % num_classes
    chosen = np.asarray(labels).reshape(-1)
    if num_classes is None:
        raise InputError(f"labels is {chosen.tolist()}, and the model is not conditional: leave it out.")
    if not len(chosen) or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= num_classes:
        raise InputError(f"labels is {chosen.tolist()}, and the model has {num_classes} classes: give 0 to {num_classes - 1}.")
    return jnp.asarray(np.resize(chosen, num), jnp.int32)


def check_count(name: str, value: int, least: int = 1, most: int | None = None) -> None:
    """Raise an InputError for a number that is too small or too large."""
    if value < least or (most is not None and value > most):
        raise InputError(f"{name} is {value}: give {least} {'or more' if most is None else f'to {most}'}.")


def first(examples: Split, num: int) -> Split:
    """Return the first examples, on the device."""
    return jax.tree.map(lambda leaf: leaf[:num], examples).on_device()


def save_outcome(outcome: Outcome, path: Path) -> list[Path]:
    """Write what a task returned, and return the files: pictures, and beside them arrays, a table and numbers.

    Every file is there whole or not at all.

    Raises:
        InputError: the path does not end in .png.
    """
    if path.suffix != ".png":
        raise InputError(f"{path} does not end in .png: give the path of a PNG picture.")
    written = []
    for number, (name, figure) in enumerate(outcome.figures.items()):
        written.append(path if number == 0 else path.with_name(f"{path.stem}-{name}.png"))
        save_figure(figure, written[-1])
    if outcome.array is not None:
        file = io.BytesIO()
        np.save(file, np.asarray(outcome.array))
        written.append(path.with_suffix(".npy"))
        write_whole(written[-1], file.getvalue())
    if outcome.table:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(outcome.table)
        writer.writerows(zip(*(column.tolist() for column in outcome.table.values()), strict=True))
        written.append(path.with_suffix(".csv"))
        write_whole(written[-1], table.getvalue())
    if outcome.summary:
        written.append(path.with_suffix(".json"))
        write_json(written[-1], json_numbers(outcome.summary))
    return written


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as a PNG picture."""
    write_whole(path, plots.png(figure))


def json_numbers(value: Any) -> Any:
    """Return numbers as JSON can have them: without infinities, such as the standard error of one example, and NaN."""
    if isinstance(value, dict):
        return {name: json_numbers(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
