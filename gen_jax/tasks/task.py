"""What a task is: something that is done with a trained model, whichever family it is of."""

import csv
import functools
import io
import math
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.autoencoders import Autoencoder
from gen_jax.data import Dataset, DataView, Split
from gen_jax.gan import CycleGAN
from gen_jax.train import PARTIAL, write_json, write_whole
from gen_jax.types import GAN, VAE, Array, DensityModel, InputError, Key, Params

NAMES = {VAE: "A VAE", GAN: "A GAN", DensityModel: "A density model", Autoencoder: "An autoencoder", CycleGAN: "A CycleGAN"}
AT_ONCE = 500  # examples on the device at once
MODELS_KEPT = 16  # for which a function stays compiled
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Subject(NamedTuple):
    """A trained model, and what a task may need beside it.

    Attributes:
        model: of any family.
        params: what its functions take.
        view: how it sees stored examples.
        key: for what the task draws.
        load: (data=None, binarise=None, split="test") -> `Dataset`, checked to be what the model takes; by default the model's
            own, binarised as the model sees it. The split is the one that will be used.
        data: the name of the model's own data set.
        evaluation: options of `tasks.evaluate` that the recipe gives.
        provenance: the seed, epoch, versions and device, which are written beside the numbers of an evaluation.
        other_run: the folder of another run -> its `Subject`.
        config: what the model was made by, as `config.json` holds it.
        report: called with (examples done, examples in all) in what takes long.
    """

    model: Any
    params: Params
    view: DataView
    key: Key
    load: Callable[..., Dataset]
    data: str
    evaluation: Mapping[str, Any] = NOTHING
    provenance: Mapping[str, Any] = NOTHING
    other_run: Callable[[str], "Subject"] | None = None
    config: Mapping[str, Any] = NOTHING
    report: Callable[[int, int], None] = lambda done, total: None

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return function(model, params, key, ..., view=view)."""
        return function(self.model, self.params, self.key, *args, view=self.view, **options)


class Outcome(NamedTuple):
    """What a task returns to a run, which writes it to files.

    Attributes:
        name: of the files.
        text: one line that says what is there.
        figures: matplotlib figures by name.
        array: what the figure shows, as numbers.
        summary: named numbers, or rows of them.
        table: columns with an entry for each example.
        files: contents by name, in place of all that; they are written into a new folder.
    """

    name: str
    text: str = ""
    figures: Mapping[str, Any] = NOTHING
    array: Any = None
    summary: Mapping[str, Any] = NOTHING
    table: Mapping[str, Any] = NOTHING
    files: Mapping[str, bytes] = NOTHING


Task = Callable[..., Outcome]
"""(subject, **options) -> `Outcome`: a command of the command line, which can also be done at the end of training.

Its keyword arguments are the options of the command and its docstring is their help.
"""


class CannotError(InputError):
    """A task that this model, or this model on these data, cannot do. At the end of training it is left out."""


def refuse(model: Any, what: str, wanted: str) -> CannotError:
    """Return the error for a task that a model cannot do."""
    return CannotError(f"{NAMES.get(type(model), type(model).__name__)} cannot {what}: give {wanted}.")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile function(model, view, *arrays, **known) once for each model and view, with matrix products in float32 precision.

    Keyword arguments, such as numbers of samples, are known when it is compiled. Models are told apart by identity.
    """
    latest: dict[Any, tuple[Any, Callable[..., Any]]] = {}  # with the model, so that no other one gets its id

    @functools.wraps(function)
    def call(model: Any, view: DataView, *arrays: Any, **known: Any) -> Any:
        @jax.default_matmul_precision("highest")
        def of_model(*arrays: Any, **known: Any) -> Any:
            return function(model, view, *arrays, **known)

        if (id(model), view) not in latest:
            if len(latest) == MODELS_KEPT:
                del latest[next(iter(latest))]
            latest[id(model), view] = model, jax.jit(of_model, static_argnames=tuple(known))
        return latest[id(model), view][1](*arrays, **known)

    return call


def labels_in_turn(model: Any, num: int, labels: Any = None) -> Array | None:
    """Return the labels to draw for: those given, in turn; 0, 1, … in turn by default; None for a model without classes.

    Raises:
        InputError: labels that the model does not have.
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


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise an InputError for a number that is too small, or larger than any array."""
    if not least <= value < 2**31:
        raise InputError(f"{name} is {value}: give {least} or more{'' if value < least else ', below 2^31'}.")


def check_choice(name: str, value: Any, choices: Any, *others: str) -> None:
    """Raise an InputError for a value that is none of a `Literal`'s; `others` are named with these."""
    if value not in get_args(choices):
        raise InputError(f"{name} is {value!r}: give {' or '.join((*get_args(choices), *others))}.")


def suffix_of(subject: Subject, dataset: Dataset) -> str:
    """Return what names the files of a task on other data than the model's own: "" for its own."""
    return "" if dataset.name == subject.data else f"-{zlib.crc32(dataset.name.encode()):08x}"


def draw_examples(examples: Split, num: int, key: Key) -> tuple[np.ndarray, Split]:
    """Draw at most `num` examples without replacement, since stored ones may be sorted; return their rows, and them."""
    rows = np.asarray(jax.random.permutation(key, len(examples.x)))[:num]
    x = examples.x[rows] if isinstance(examples.x, np.ndarray) else np.stack([np.asarray(examples.x[int(row)]) for row in rows])
    return rows, Split(x, None if examples.labels is None else np.asarray(examples.labels)[rows]).on_device()


def first(examples: Split, num: int) -> Split:
    """Return the first examples, on the device."""
    return jax.tree.map(lambda leaf: leaf[:num], examples).on_device()


def check_path(path: Path) -> None:
    """Raise an InputError for a path at which no picture can be written."""
    if path.suffix != ".png":
        raise InputError(f"{path} does not end in .png: give the path of a PNG picture.")
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the path of a PNG picture.")
    _check_parent(path)


def check_folder(path: Path) -> None:
    """Raise an InputError for a path at which no new folder can be made."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} exists already: move it away, or give the path of a new folder.")
    _check_parent(path)


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} for {path.name}: make it, or give another path.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"The folder {path.parent} cannot be written: give a path in another one.")


def save_outcome(outcome: Outcome, path: Path) -> list[Path]:
    """Write what a task returned, and return the files: figures, and beside them arrays, a table and numbers; or a new folder.

    No file, and no folder, is ever left half written.

    Raises:
        InputError: the path does not end in .png, or its folder is not there or cannot be written; the new folder exists already.
    """
    if outcome.files:
        return [_write_folder(path, outcome.files)]
    check_path(path)
    written = []

    def write(file: Path, content: bytes | str) -> None:
        write_whole(file, content)
        written.append(file)

    for number, (name, figure) in enumerate(outcome.figures.items()):
        write(path if number == 0 else path.with_name(f"{path.stem}-{name}.png"), plots.png(figure))
    if outcome.array is not None:
        np.save(array := io.BytesIO(), np.asarray(outcome.array))
        write(path.with_suffix(".npy"), array.getvalue())
    if outcome.table:
        writer = csv.writer(table := io.StringIO(), lineterminator="\n")
        writer.writerow(outcome.table)
        writer.writerows(zip(*(column.tolist() for column in outcome.table.values()), strict=True))
        write(path.with_suffix(".csv"), table.getvalue())
    if outcome.summary:
        written.append(path.with_suffix(".json"))
        write_json(written[-1], json_numbers(outcome.summary))
    return written


def _write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a new folder; after a kill it is there with all its files, or not at all."""
    check_folder(path)
    partial = path.with_name(path.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        partial.mkdir()
        for name, content in files.items():
            (partial / name).write_bytes(content)
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # where the disk is full
    return path


def json_numbers(value: Any) -> Any:
    """Return numbers as JSON allows them: None in place of infinity, such as the standard error of one example, and NaN."""
    if isinstance(value, Mapping):
        return {name: json_numbers(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
