"""What each command of the command line takes: read by tyro, and said in a sentence where it cannot be read."""

import ast
import contextlib
import dataclasses
import inspect
import io
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro
from rich.text import Text

import gen_jax  # its `recipes` is imported when it is first used
from gen_jax import tasks
from gen_jax.types import InputError

EXIT_BAD_INPUT = 2


@dataclasses.dataclass(frozen=True)
class TrainCommand:
    """What `gen-jax train` takes."""

    settings: Any
    out: Path
    """Run folder. A run of the same settings in it goes on; epochs, patience and how it is evaluated may differ."""
    tensorboard: bool = False
    """Write TensorBoard's event files too."""
    coordinator: str | None = None
    """Train in many processes, as on many hosts, each started by this same command: HOST:PORT of process 0, or auto for
    those of a cluster (SLURM, Open MPI, Kubernetes, Cloud TPUs)."""
    num_processes: int | None = None
    """How many they are; unless the coordinator is auto."""
    process_index: int | None = None
    """Which of them this one is, from 0; unless the coordinator is auto."""
    debug: bool = False
    """Show the stack trace of an error."""


@dataclasses.dataclass(frozen=True)
class SweepCommand:
    """What `gen-jax sweep` takes."""

    settings: Any
    num_seeds: int = 4
    """Runs for each value: of --seed, --seed + 1, …"""
    vary: tuple[str, ...] = ()
    """NAME=VALUE,VALUE,… of settings that are numbers, such as beta=1,4 learning-rate=1e-3,3e-4: every combination is trained."""
    at_once: int | None = None
    """The most runs in memory at a time; by default all of them, and half as many as often as memory runs out."""
    out: Path | None = None
    """A new folder, in which each run gets its run folder, and sweep.json the table; by default none is written."""
    to: Path | None = None
    """Where the figure goes, a path that ends in .png; by default there is none. Of a VAE and one setting, rate and
    distortion of each value; else the ELBO, log p(x) or score on validation data, the share of runs that cover all modes, or
    the loss."""
    debug: bool = False
    """Show the stack trace of an error."""


@dataclasses.dataclass(frozen=True)
class TuneCommand:
    """What `gen-jax tune` takes."""

    settings: Any
    out: Path
    """Folder of the study. The same command goes on with it, in several processes at once if you like."""
    vary: tuple[str, ...] = ()
    """NAME=VALUE,VALUE,… of any settings, or NAME=LOW..HIGH of numbers, with :log for log-uniform ones, such as
    hidden-sizes=[64],[128,64] latent-dim=2..50:log."""
    trials: int = 20
    """Trials in all."""
    debug: bool = False
    """Show the stack trace of an error."""


@dataclasses.dataclass(frozen=True)
class TaskCommand:
    """What the command of every task takes."""

    run: tyro.conf.Positional[Path]
    """Run folder that `gen-jax train` made."""
    to: Path | None = None
    """Where the figure goes, a path that ends in .png, or for export a new folder; by default into the run folder. Arrays and
    numbers go beside a figure."""
    recipe: str | None = None
    """FILE.py:NAME, of a run whose recipe is your own."""
    debug: bool = False
    """Show the stack trace of an error."""


def runs_folder(folder: tyro.conf.Positional[Path] = Path("runs")) -> Path:
    """List runs.

    Args:
        folder: A folder that holds run folders.
    """
    return folder


def task_command(task: tasks.Task) -> Any:
    """Return a function that returns a `TaskCommand` and a task's options, with the signature that tyro reads."""
    command: Any = lambda subject, **options: (subject, options)
    command.__name__, command.__doc__, command.__signature__ = "command", task.__doc__, inspect.signature(task)
    command.__annotations__ = task.__annotations__ | {"subject": TaskCommand}
    return command


def read(command: Any, arguments: list[str], prog: str, description: str, default: Any = None) -> Any:
    """Let tyro read what a command takes.

    Raises:
        InputError: arguments that the command does not take.
    """
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands)
    given = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(command, **given, args=arguments, prog=prog, description=description, config=config)
    except SystemExit as exit_:
        if exit_.code != EXIT_BAD_INPUT:  # after --help
            raise
        sentence = _sentence(said.getvalue())
        if hasattr(default, "settings") and sentence.startswith("Unrecognized options: --"):
            option = re.split("[,.= ]", sentence)[2]
            if choices := gen_jax.recipes.settings.comes_with(default.settings, option[2:].replace("-", "_")):
                flags = (f"--{field.replace('_', '-')} {kind}" for field, kind in choices)
                sentence = f"{option} comes with {' or '.join(flags)}."
        raise InputError(f"{sentence} `{prog} --help` lists what it takes.") from None


def _sentence(box: str) -> str:
    """Return what tyro prints in a box for an error, its text and the options that it suggests, as a sentence or two."""
    plain = re.sub("[╭╮╰╯│]", " ", Text.from_ansi(box).plain)
    _, text, more, *_ = [*re.split("[─-]{4,}", plain), "", ""]  # a title, the text, what could have been meant
    said = re.split(r"Got errors:|\(required\)", " ".join(text.split()))[0].strip(" .").removeprefix("Error parsing ")
    suggested = re.findall(r"^ {3,7}(--[\w-]+)", more, re.MULTILINE) if "Perhaps you meant:" in more else []
    return f"{said}." + (f" Did you mean {' or '.join(suggested)}?" if suggested else "")


def _by_name(texts: Sequence[str]) -> dict[str, str]:
    """Return what `--vary` gives for each setting, or raise an InputError for a setting that it gives twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if name.replace("-", "_") in found:
            raise InputError(f"--vary is given {name} twice: give all its values at once, NAME=VALUE,VALUE,….")
        found[name.replace("-", "_")] = values
    return found


def varied(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return the settings and values of `NAME=VALUE,VALUE,…`, or raise an InputError."""
    found = {}
    for text, (name, values) in zip(texts, _by_name(texts).items(), strict=True):
        try:
            found[name] = tuple(float(value) for value in values.split(","))
        except ValueError:
            raise InputError(f"--vary is given {text!r}: give NAME=VALUE,VALUE,… of numbers, such as beta=1,4.") from None
    return found


def space(texts: Sequence[str]) -> dict[str, Any]:
    """Return the settings of `NAME=VALUE,VALUE,…` and `NAME=LOW..HIGH[:log]`, as `gen_jax.tune.tune` takes them.

    A value is written as in Python, [128,64] too; one that cannot be read so is a word, such as relu.

    Raises:
        InputError: neither values nor a range are given.
    """
    return {name: _values(text, values) for text, (name, values) in zip(texts, _by_name(texts).items(), strict=True)}


ITEM = r"[^,\[\]\s]+"
VALUE = rf"\[{ITEM}(?:, *{ITEM})*\]|{ITEM}"


def _values(text: str, values: str) -> Any:
    if matched := re.fullmatch(rf"({ITEM})\.\.([^,:\[\]\s]+)(:log)?", values):
        low, high = (_literal(end) for end in matched.groups()[:2])
        return gen_jax.tune.Range(low, high, matched[3] is not None)
    if ".." in values or not re.fullmatch(f"(?:{VALUE})(?:,(?:{VALUE}))*", values):
        raise InputError(
            f"--vary is given {text!r}: give NAME=VALUE,VALUE,… or NAME=LOW..HIGH or NAME=LOW..HIGH:log, such as "
            "latent-dim=2,5,10 or hidden-sizes=[64],[128,64]."
        )
    return tuple(_literal(value) for value in re.findall(VALUE, values))


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def train_command(name: str, settings: Any) -> str:
    """Return the `gen-jax train` command that trains a recipe with these settings."""
    now, words = gen_jax.recipes.find_recipe(name).settings, ["gen-jax", "train", name]
    kinds = gen_jax.recipes.settings.variants(type(settings))
    for choice in kinds:
        kind = getattr(settings, choice).kind
        if kind != getattr(now, choice).kind:
            now = gen_jax.recipes.change(now, **{choice: kind})
            words += [f"--{choice.replace('_', '-')}", kind]
    for was, of in ((now, settings), *((getattr(now, choice), getattr(settings, choice)) for choice in kinds)):
        for field in dataclasses.fields(of):
            value, flag = getattr(of, field.name), field.name.replace("_", "-")
            if field.name in (*kinds, "kind") or value == getattr(was, field.name):
                continue
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def choose(settings: Any, arguments: list[str]) -> tuple[Any, list[str]]:
    """Make the choices that bring settings of their own, such as `--objective capacity`, and return the arguments left."""
    left, remaining, kinds = [], list(arguments), gen_jax.recipes.settings.variants(type(settings))
    while remaining:
        word = remaining.pop(0)
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in kinds:
            if not equals and not remaining:
                raise InputError(f"{flag} needs a value: give {', '.join(kinds[name])}.")
            settings = gen_jax.recipes.change(settings, **{name: value if equals else remaining.pop(0)})
        else:
            left.append(word)
    return settings, left


def say_choices(settings: Any) -> str:
    """Return a line of help: the choices that bring settings of their own."""
    choices = [
        f"--{name.replace('_', '-')} {{{','.join(kinds)}}} (now {getattr(settings, name).kind})"
        for name, kinds in gen_jax.recipes.settings.variants(type(settings)).items()
    ]
    what = "Choices that bring settings of their own, listed here for those that are made: "
    return f"{what}{'; '.join(choices)}." if choices else ""
