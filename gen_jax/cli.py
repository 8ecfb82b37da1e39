"""The command line: gen-jax train RECIPE | sweep RECIPE | TASK RUN | runs | recipes."""

import contextlib
import dataclasses
import inspect
import io
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import gen_jax  # its `recipes` and `runs` are imported when they are first used: a help text needs neither
from gen_jax import tasks
from gen_jax.train import list_runs
from gen_jax.types import InputError, unknown

EXIT_BAD_INPUT = 2
EXIT_DIVERGED = 3
EXIT_STOPPED = 130  # by a signal: what a shell reports for Ctrl-C

# what is shown of an epoch: the first of these that it has
PROGRESS = (("elbo", "ELBO"), ("bound", "bound"), ("log_prob", "log p(x)"), ("discriminator_loss", "loss of D"))

out = Console()
err = Console(stderr=True)


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


def _show_warning(message: Warning | str, *where: Any) -> None:
    err.print(f"[yellow]Warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True)


@dataclasses.dataclass(frozen=True)
class TrainCommand:
    """What `gen-jax train` takes."""

    settings: Any
    out: Path
    """Run folder. A run of the same settings in it goes on; epochs, patience and how it is evaluated may differ."""
    tensorboard: bool = False
    """Write TensorBoard's event files too."""
    debug: bool = False
    """Show the stack trace of an error."""


@dataclasses.dataclass(frozen=True)
class SweepCommand:
    """What `gen-jax sweep` takes."""

    settings: Any
    num_seeds: int = 16
    """Runs for each weight: of --seed, --seed + 1, …"""
    penalty_weights: tuple[float, ...] = ()
    """Weights of the penalty; by default --penalty-weight alone."""
    debug: bool = False
    """Show the stack trace of an error."""


@dataclasses.dataclass(frozen=True)
class TaskCommand:
    """What the command of every task takes."""

    run: tyro.conf.Positional[Path]
    """Run folder that `gen-jax train` made."""
    to: Path | None = None
    """Where the figure goes, a path that ends in .png; by default into the run folder. Arrays and numbers go beside it."""
    recipe: str | None = None
    """FILE.py:NAME, of a run whose recipe is your own."""
    debug: bool = False
    """Show the stack trace of an error."""


@dataclasses.dataclass(frozen=True)
class RunsCommand:
    """What `gen-jax runs` takes."""

    folder: tyro.conf.Positional[Path] = Path("runs")
    """A folder that holds run folders."""


def _dispatch(arguments: list[str]) -> int:
    name, rest = (arguments or ["--help"])[0], arguments[1:]
    summaries = {
        "train": "Train a recipe, or go on with a run that was stopped.",
        **{name: (task.__doc__ or "").splitlines()[0] for name, task in tasks.TASKS.items()},
        "sweep": "Train a GAN of points under many seeds at once, and count how many cover all modes.",
        "runs": "List runs: recipe, data, epochs, best validation, test numbers, age, and whether they are finished.",
        "recipes": "List the recipes.",
    }
    if name == "--version":
        _say(f"gen_jax {gen_jax.__version__}")
    elif name in ("-h", "--help"):
        _say("usage: gen-jax {" + ",".join(summaries) + "} ...\n")
        for command, summary in summaries.items():
            _say(f"  {command:13}{summary}")
        _say("\n`gen-jax COMMAND --help` says more; `gen-jax --version` the version.")
    elif name in ("train", "sweep"):
        return _of_recipe(name, summaries[name], rest)
    elif name in tasks.TASKS:
        return _perform(name, *_read(_task_command(tasks.TASKS[name]), rest, f"gen-jax {name}", summaries[name]))
    elif name == "runs":
        return _runs(_read(RunsCommand, rest, "gen-jax runs", summaries[name]).folder)
    elif name == "recipes":
        return _recipes()
    else:
        raise unknown("command", name, summaries)
    return 0


def _task_command(task: tasks.Task) -> Any:
    """Return a function that returns a `TaskCommand` and a task's options, with the signature that tyro reads."""
    command: Any = lambda subject, **options: (subject, options)
    command.__name__, command.__doc__, command.__signature__ = "command", task.__doc__, inspect.signature(task)
    command.__annotations__ = task.__annotations__ | {"subject": TaskCommand}
    return command


def _read(command: Any, arguments: list[str], prog: str, description: str, default: Any = None) -> Any:
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
        raise InputError(f"{_sentence(said.getvalue())} `{prog} --help` lists what it takes.") from None


def _sentence(box: str) -> str:
    """Return what tyro prints in a box for an error, its text and the options that it suggests, as a sentence or two."""
    plain = re.sub("[╭╮╰╯│]", " ", Text.from_ansi(box).plain)
    _, text, more, *_ = [*re.split("[─-]{4,}", plain), "", ""]  # a title, the text, what could have been meant
    said = re.split(r"Got errors:|\(required\)", " ".join(text.split()))[0].strip(" .").removeprefix("Error parsing ")
    suggested = re.findall(r"^ {3,7}(--[\w-]+)", more, re.MULTILINE) if "Perhaps you meant:" in more else []
    return f"{said}." + (f" Did you mean {' or '.join(suggested)}?" if suggested else "")


def _of_recipe(command: str, summary: str, arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        _say(f"usage: gen-jax {command} RECIPE [--setting value ...]\n")
        _recipes()
        _say(f"\n`gen-jax {command} RECIPE --help` lists its settings.")
        return 0 if arguments else EXIT_BAD_INPUT
    name, recipe = arguments[0], gen_jax.recipes.find_recipe(arguments[0])
    settings, rest = _choose(recipe.settings, arguments[1:])
    prog, description = f"gen-jax {command} {name}", f"{summary}\n\n{name}: {recipe.summary}.\n\n{_say_choices(settings)}"
    if command == "sweep":
        return _sweep(_read(SweepCommand, rest, prog, description, SweepCommand(settings)))
    default = TrainCommand(settings, Path("runs") / name.rpartition(":")[2])
    return _train(name, _read(TrainCommand, rest, prog, description, default))


def _choose(settings: Any, arguments: list[str]) -> tuple[Any, list[str]]:
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


def _say_choices(settings: Any) -> str:
    choices = [
        f"--{name.replace('_', '-')} {{{','.join(kinds)}}} (now {getattr(settings, name).kind})"
        for name, kinds in gen_jax.recipes.settings.variants(type(settings)).items()
    ]
    what = "Choices that bring settings of their own, listed here for those that are made: "
    return f"{what}{'; '.join(choices)}." if choices else ""


def _train(name: str, command: TrainCommand) -> int:
    settings, directory = command.settings, command.out
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

        result = gen_jax.runs.train(
            name, settings, directory, tensorboard=command.tensorboard, on_epoch=on_epoch, on_evaluation=on_evaluation
        )
    if result is None:
        err.print(f"Stopped. The state is saved: the same command goes on with {directory}.", highlight=False)
        return EXIT_STOPPED
    _print_table(result)
    _say(f"{directory} holds result.json, metrics.jsonl, checkpoints and figures.")
    return 0


def _sweep(command: SweepCommand) -> int:
    from gen_jax.sweep import sweep

    _keep_compilations()
    settings = command.settings
    weights = command.penalty_weights or (getattr(getattr(settings, "penalty", None), "penalty_weight", 0.0),)
    with _progress() as progress:
        epochs = progress.add_task("sweep", total=settings.epochs, note=f"{command.num_seeds * len(weights)} runs")
        rows = sweep(settings, command.num_seeds, weights, lambda done: progress.update(epochs, completed=done))
    for row in rows:
        _print_table(row)
    return 0


def _perform(name: str, command: TaskCommand, options: dict[str, Any]) -> int:
    _keep_compilations()
    run = gen_jax.runs.load_run(command.run, command.recipe)
    with _progress(transient=True) as progress:
        task = progress.add_task(name, total=None, note="", visible=False)
        report = lambda done, total: progress.update(task, completed=done, total=total, visible=True)
        outcome = gen_jax.runs.perform(run, name, report=report, **options)
        written = gen_jax.runs.save(run, outcome, command.to)
    _print_table(outcome.summary)
    _say(f"{outcome.text}{': ' if outcome.text else ''}{', '.join(map(str, written))}")
    return 0


def _recipes() -> int:
    for name, recipe in gen_jax.recipes.RECIPES.items():
        out.print(f"  {name:25}{recipe.summary}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _runs(folder: Path) -> int:
    rows = list_runs(folder)
    if not rows:
        raise InputError(f"There is no run in {folder}: give a folder that holds run folders.")
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(_shown(value) for value in (row | {"age": _duration(row["age"])}).values()))
    out.print(table)
    return 0


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.removeprefix('test_')} {_shown(number)}" for name, number in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)


@contextlib.contextmanager
def _progress(transient: bool = False) -> Generator[Progress]:
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, transient=transient) as progress:
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

    config: Any = jax.config
    if config.jax_compilation_cache_dir is None and config.jax_enable_compilation_cache:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gen_jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


if __name__ == "__main__":
    sys.exit(main())
