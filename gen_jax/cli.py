"""The command line: gen-jax train RECIPE | sweep RECIPE | TASK RUN | runs | recipes."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import gen_jax
from gen_jax import recipes, runs, tasks
from gen_jax.recipes.settings import Settings, change, variants
from gen_jax.types import InputError, unknown

EXIT_BAD_INPUT = 2
EXIT_DIVERGED = 3
EXIT_STOPPED = 130  # by a signal: what a shell reports for Ctrl-C

# what is shown of an epoch: the first of these that it has
PROGRESS = (("elbo", "ELBO"), ("bound", "bound"), ("log_prob", "log p(x)"), ("discriminator_loss", "loss of D"))

out = Console()
err = Console(stderr=True)

To = Annotated[
    Path | None, tyro.conf.arg(help="Where the picture goes, a .png; by default into the run folder. Arrays go beside it.")
]
Debug = Annotated[bool, tyro.conf.arg(help="Show the stack trace of an error.")]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help="Run folder that `gen-jax train` made.")]
OwnRecipe = Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME", help="The recipe of a run whose recipe is your own.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 2 for bad input, 3 where training diverged, 130 where a signal stopped it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings(), _sigterm_as_ctrl_c():
            warnings.showwarning = _show_warning  # ty: ignore[invalid-assignment]
            return _dispatch(arguments)
    except (InputError, FloatingPointError, OSError) as error:
        if "--debug" in arguments:
            raise
        err.print(f"[red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return EXIT_DIVERGED if isinstance(error, FloatingPointError) else EXIT_BAD_INPUT
    except (MemoryError, RuntimeError) as error:  # JAX's are RuntimeErrors
        if "--debug" in arguments or not (isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)):
            raise
        err.print("[red]Error:[/] Out of memory: try a smaller --batch-size or model, or --stream.", highlight=False)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        err.print("Stopped. What a training run had saved stays, and `gen-jax train` goes on from there.", highlight=False)
        return EXIT_STOPPED


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Generator[None]:
    """Let SIGTERM raise KeyboardInterrupt; while training, the loop saves first."""
    if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread handle signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    err.print(f"[yellow]Warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True)


def _dispatch(arguments: list[str]) -> int:
    """Let tyro read the command line as a function without arguments, and run that: errors of a command are not tyro's."""
    if arguments[:1] == ["--version"]:
        out.print(f"gen_jax {gen_jax.__version__}", highlight=False)
        return 0
    commands = {"train": _of_recipe(_train, _TrainOptions), "sweep": _of_recipe(_sweep, _SweepOptions)}
    commands |= {name: _of_run(name, task) for name, task in tasks.TASKS.items()}
    commands |= {"runs": lambda arguments: (_runs, arguments), "recipes": lambda arguments: (_recipes, arguments)}
    name, rest = (arguments or ["--help"])[0], arguments[1:]
    if name in ("-h", "--help"):
        _print_commands(commands)
        return 0
    if name not in commands:
        raise unknown("command", name, commands)
    read, rest = commands[name](rest)
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands)
    return tyro.cli(read, args=rest, prog=f"gen-jax {' '.join(arguments[: len(arguments) - len(rest)])}", config=config)()


def _print_commands(commands: dict[str, Any]) -> None:
    out.print("usage: gen-jax {" + ",".join(commands) + "} ...\n", markup=False, highlight=False)
    says = {name: task.options.__doc__ or "" for name, task in tasks.TASKS.items()}
    says |= {
        "train": _train.__doc__ or "",
        "sweep": _sweep.__doc__ or "",
        "runs": _runs.__doc__ or "",
        "recipes": _recipes.__doc__ or "",
    }
    for name in commands:
        out.print(f"  {name:13}{says[name].splitlines()[0]}", markup=False, highlight=False)
    out.print("\n`gen-jax COMMAND --help` says more; `gen-jax --version` the version.", markup=False, highlight=False)


@dataclasses.dataclass(frozen=True)
class _TrainOptions:
    out: Path
    """Run folder. If it holds a run of the same settings, that run goes on; epochs, and what else is left to do, may differ."""
    tensorboard: bool = False
    """Write TensorBoard's event files too."""


@dataclasses.dataclass(frozen=True)
class _SweepOptions:
    num_seeds: int = 16
    """Runs for each weight: of --seed, --seed + 1, …"""
    penalty_weights: tuple[float, ...] = ()
    """Weights of the penalty; by default --penalty-weight alone."""


def _of_recipe(run: Callable[..., int], options_type: Any) -> Callable[[list[str]], tuple[Callable[..., Any], list[str]]]:
    """Return (arguments) -> (what tyro reads the settings of a recipe and the options of a command with, the arguments left)."""

    def command(arguments: list[str]) -> tuple[Callable[..., Any], list[str]]:
        if not arguments or arguments[0] in ("-h", "--help"):
            out.print("Give a recipe, and its settings; `--help` after a recipe lists them.\n", highlight=False)
            return _recipes, []
        name, rest = arguments[0], arguments[1:]
        recipe = runs.find_recipe(name)
        settings, rest = _choose(recipe.settings, rest)
        default = _TrainOptions(Path("runs") / name.rpartition(":")[2]) if options_type is _TrainOptions else options_type()

        def read(settings: Any, options: Any, debug: Debug = False) -> Callable[[], int]:
            return functools.partial(run, name, settings, options)

        read.__annotations__ |= {"settings": type(settings), "options": options_type}
        read.__defaults__ = (settings, default, False)
        read.__doc__ = f"{(run.__doc__ or '').splitlines()[0]} {name}: {recipe.summary}.\n\n{_say_choices(settings)}"
        return read, [name, *rest][1:]

    return command


def _choose(settings: Settings, arguments: list[str]) -> tuple[Settings, list[str]]:
    """Make the choices that bring settings of their own, such as `--objective capacity`, and return the arguments left."""
    left, remaining = [], list(arguments)
    while remaining:
        word = remaining.pop(0)
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in variants(type(settings)):
            if not equals and not remaining:
                raise InputError(f"{flag} needs a value: give {', '.join(variants(type(settings))[name])}.")
            settings = change(settings, **{name: value if equals else remaining.pop(0)})
        else:
            left.append(word)
    return settings, left


def _say_choices(settings: Settings) -> str:
    lines = [
        f"--{name.replace('_', '-')} {{{','.join(kinds)}}} (now {getattr(settings, name).kind})"
        for name, kinds in variants(type(settings)).items()
    ]
    return (
        "Choices that bring settings of their own, listed here for those that are made: " + "; ".join(lines) + "."
        if lines
        else ""
    )


def _of_run(name: str, task: tasks.Task) -> Callable[[list[str]], tuple[Callable[..., Any], list[str]]]:
    """Return (arguments) -> (what tyro reads the options of a task with, the arguments)."""

    def read(run: RunFolder, options: Any, to: To = None, recipe: OwnRecipe = None, debug: Debug = False) -> Callable[[], int]:
        return functools.partial(_perform, name, run, options, to, recipe)

    read.__annotations__["options"] = task.options
    read.__defaults__ = (None, None, False)
    read.__doc__ = task.options.__doc__
    return lambda arguments: (read, arguments)


def _train(name: str, settings: Settings, options: _TrainOptions) -> int:
    """Train a recipe, or go on with a run that was stopped:"""
    _keep_compilations()
    with _progress() as progress:
        epochs = progress.add_task("train", total=settings.epochs, note="", visible=False)
        evaluation = progress.add_task("evaluate", total=None, note="", visible=False)

        def on_epoch(row: dict[str, Any]) -> None:
            name, label = next((pair for pair in PROGRESS if f"train_{pair[0]}" in row), ("loss", "loss"))
            note = f"{label} {row[f'train_{name}']:.2f}"
            valid = next((row[key] for key in (f"valid_{name}", "valid_score") if key in row), None)
            note += "" if valid is None else f", valid {valid:.2f}"
            if progress.tasks[epochs].visible:
                progress.update(epochs, completed=row["epoch"], note=note)
            else:  # the first epoch, or how far a run that goes on had come: the time left is counted from here
                progress.reset(epochs, completed=row["epoch"], note=note, visible=True)

        def on_evaluation(done: int, total: int) -> None:
            progress.update(evaluation, completed=done, total=total, visible=True, note="test examples")

        result = runs.train(
            name, settings, options.out, tensorboard=options.tensorboard, on_epoch=on_epoch, on_evaluation=on_evaluation
        )
    if result is None:
        err.print(f"Stopped. The state is saved: the same command goes on with {options.out}.", highlight=False)
        return EXIT_STOPPED
    _print_table(result)
    out.print(f"{options.out} holds result.json, metrics.jsonl, checkpoints and figures.", markup=False, highlight=False)
    return 0


def _sweep(name: str, settings: Any, options: _SweepOptions) -> int:
    """Train under many seeds at once, and count how many cover all modes:"""
    from gen_jax.sweep import sweep

    _keep_compilations()
    weights = options.penalty_weights or (getattr(getattr(settings, "penalty", None), "penalty_weight", 0.0),)
    with _progress() as progress:
        epochs = progress.add_task("sweep", total=settings.epochs, note=f"{options.num_seeds * len(weights)} runs")
        rows = sweep(settings, options.num_seeds, weights, lambda done: progress.update(epochs, completed=done))
    for row in rows:
        _print_table(row)
    return 0


def _perform(name: str, directory: Path, options: Any, to: Path | None, recipe: str | None) -> int:
    _keep_compilations()
    run = runs.load_run(directory, recipe)
    with _progress() as progress:
        task = progress.add_task(name, total=None, note="", visible=False)
        report = lambda done, total: progress.update(task, completed=done, total=total, visible=True)
        outcome = runs.perform(run, name, options, report)
        written = runs.save(run, outcome, to)
    _print_table(outcome.summary)
    out.print(f"{outcome.text}{': ' if outcome.text else ''}{', '.join(map(str, written))}", markup=False, highlight=False)
    return 0


def _recipes() -> Callable[[], int]:
    """List the recipes."""

    def run() -> int:
        for name, recipe in recipes.RECIPES.items():
            out.print(f"  {name:25}{recipe.summary}", markup=False, highlight=False, soft_wrap=True)
        return 0

    return run


def _runs(folder: Annotated[Path, tyro.conf.Positional] = Path("runs")) -> Callable[[], int]:
    """List the runs in a folder: recipe, data, epochs, best validation, test numbers, age, and whether they are finished."""

    def run() -> int:
        rows = runs.list_runs(folder)
        if not rows:
            raise InputError(f"There is no run in {folder}: give a folder that holds run folders.")
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*(_shown(value) for value in row.values()))
        out.print(table)
        return 0

    return run


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.removeprefix('test_')} {_shown(number)}" for name, number in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)


@contextlib.contextmanager
def _progress() -> Generator[Progress]:
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as progress:
        yield progress


def _print_table(summary: dict[str, Any]) -> None:
    """Print named numbers, or rows of them in columns."""
    columns = {name: value for name, value in summary.items() if isinstance(value, dict)}
    if not columns:
        table = Table(show_header=False, box=None)
        for name, value in summary.items():
            table.add_row(name, _shown(value))
    else:
        table = Table("", *columns, box=None)
        for name in next(iter(columns.values())):
            table.add_row(name, *(_shown(column.get(name)) for column in columns.values()))
    if summary:
        out.print(table)


def _keep_compilations() -> None:
    """Keep compiled programs in the user's cache folder, unless JAX's own settings name another place, or none."""
    import jax

    if jax.config.jax_compilation_cache_dir is None and jax.config.jax_enable_compilation_cache:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gen_jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


if __name__ == "__main__":
    sys.exit(main())
