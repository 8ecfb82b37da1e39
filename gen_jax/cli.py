"""The command line: gen-jax train RECIPE | sweep RECIPE | tune RECIPE | TASK RUN | runs | recipes."""

import contextlib
import errno
import math
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Container, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import gen_jax  # its `recipes` and `runs` are imported when they are first used: a help text needs neither
from gen_jax import plots, tasks
from gen_jax.__main__ import STOPPED
from gen_jax.arguments import (
    EXIT_BAD_INPUT,
    SweepCommand,
    TaskCommand,
    TrainCommand,
    TuneCommand,
    choose,
    read,
    runs_folder,
    say_choices,
    space,
    task_command,
    train_command,
    varied,
)
from gen_jax.train import LostProcessError, connect, is_first, list_runs, num_devices, write_whole
from gen_jax.types import InputError, is_out_of_memory, unknown

EXIT_DIVERGED = 3
EXIT_LOST = 4
EXIT_STOPPED = 130  # by a signal: what a shell reports for Ctrl-C

# what is shown of an epoch: the first of these that it has
PROGRESS = (("elbo", "ELBO"), ("bound", "bound"), ("log_prob", "log p(x)"), ("discriminator_loss", "loss of D"))

out = Console()
err = Console(stderr=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 2 for bad input, 3 where training diverged, 130 where a signal stopped it.

    Of many processes, one whose peer is lost ends with 4, at once: it does not return, since JAX would wait for that peer.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings(), _sigterm_as_ctrl_c():
            warnings.showwarning = _show_warning  # ty: ignore[invalid-assignment]
            return _dispatch(arguments)
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes when it ends
        return EXIT_STOPPED
    except (InputError, FloatingPointError, OSError) as error:
        if "--debug" in arguments:
            raise
        err.print(f"[red]Error:[/] {escape(_sentence(error))}", highlight=False, soft_wrap=True)
        return EXIT_DIVERGED if isinstance(error, FloatingPointError) else EXIT_BAD_INPUT
    except LostProcessError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        err.print(f"[red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        for stream in (sys.stdout, sys.stderr):  # which os._exit does not
            stream.flush()
        os._exit(EXIT_LOST)
    except (MemoryError, RuntimeError) as error:  # JAX's are RuntimeErrors
        if "--debug" in arguments or not is_out_of_memory(error):
            raise
        err.print(
            "[red]Error:[/] Out of memory: try a smaller --batch-size or model; or, in training, --stream.", highlight=False
        )
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        err.print(STOPPED, end="", highlight=False, soft_wrap=True)
        return EXIT_STOPPED


REMEDIES = {
    errno.ENOSPC: "free disk space, and give the same command again",
    errno.EACCES: "give a path that you may read and write",
    errno.EPERM: "give a path that you may read and write",
    errno.EROFS: "give a path that can be written",
    errno.EEXIST: "something else of that name is there: move it away, or give another path",
    errno.EISDIR: "something else of that name is there: move it away, or give another path",
    errno.ENOTDIR: "a part of the path is a file: give another path",
    errno.ENOENT: "it is not there: give another path",
}


def _sentence(error: Exception) -> str:
    """Return what an error says; of the system's own, also what to do."""
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in REMEDIES):
        return str(error)
    what = "A file" if error.filename is None else f"{error.filename}"
    remedy = REMEDIES.get(error.errno, "mend that, and give the same command again")
    return f"{what} cannot be used ({error.strerror}): {remedy}."


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Generator[None]:
    """Let SIGTERM raise KeyboardInterrupt, unless it has a handler; while training, the loop saves first."""
    in_main_thread = threading.current_thread() is threading.main_thread()  # Python lets no other handle signals
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _show_warning(message: Warning | str, *where: Any) -> None:
    if is_first():
        err.print(f"[yellow]Warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True)


def _dispatch(arguments: list[str]) -> int:
    name, rest = (arguments or ["--help"])[0], arguments[1:]
    summaries = {
        "train": "Train a recipe, or go on with a run that was stopped.",
        **{name: (task.__doc__ or "").splitlines()[0] for name, task in tasks.TASKS.items()},
        "sweep": "Train a recipe under many seeds, and values of settings, at once, and measure the runs.",
        "tune": "Choose settings of a recipe on validation data, and make a run of the best.",
        "runs": "List runs: recipe, data, epochs, best validation, test numbers, age, and whether they are finished.",
        "recipes": "List the recipes.",
    }
    if name == "--version":
        _say(f"gen_jax {gen_jax.__version__}")
    elif name in ("-h", "--help"):
        _say("usage: gen-jax {" + ",".join(summaries) + "} ...\n")
        for command, summary in summaries.items():
            _say(f"  {command:16}{summary}")
        _say("\n`gen-jax COMMAND --help` says more; `gen-jax --version` the version.")
    elif name in ("train", "sweep", "tune"):
        return _of_recipe(name, summaries[name], rest)
    elif name in tasks.TASKS:
        return _perform(name, *read(task_command(tasks.TASKS[name]), rest, f"gen-jax {name}", summaries[name]))
    elif name == "runs":
        return _runs(read(runs_folder, rest, "gen-jax runs", summaries[name]))
    elif name == "recipes":
        return _recipes()
    else:
        raise unknown("command", name, summaries)
    return 0


def _of_recipe(command: str, summary: str, arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        _say(f"usage: gen-jax {command} RECIPE [--setting value ...]\n")
        _recipes()
        _say(f"\n`gen-jax {command} RECIPE --help` lists its settings.")
        return 0 if arguments else EXIT_BAD_INPUT
    name, recipe = arguments[0], gen_jax.recipes.find_recipe(arguments[0])
    settings, rest = choose(recipe.settings, arguments[1:])
    prog, description = f"gen-jax {command} {name}", f"{summary}\n\n{name}: {recipe.summary}.\n\n{say_choices(settings)}"
    if command == "sweep":
        return _sweep(recipe, read(SweepCommand, rest, prog, description, SweepCommand(settings)))
    folder = gen_jax.recipes.default_folder(name)
    if command == "tune":
        return _tune(
            name, read(TuneCommand, rest, prog, description, TuneCommand(settings, folder.with_name(f"{folder.name}-tune")))
        )
    default = TrainCommand(settings, folder)
    return _train(name, read(TrainCommand, rest, prog, description, default))


def _train(name: str, command: TrainCommand) -> int:
    settings, directory = command.settings, command.out
    _connect(name, command)
    _keep_compilations()
    _say_devices(settings.examples_per_step, settings.devices)
    with _progress() as progress:
        epochs = progress.add_task("train", total=settings.epochs, note="", visible=False)
        evaluation = progress.add_task("evaluate", start=False, total=None, note="", visible=False)

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
            progress.start_task(evaluation)
            progress.update(evaluation, completed=done, total=total, visible=True, note="test examples")

        result = gen_jax.runs.train(
            name, settings, directory, tensorboard=command.tensorboard, on_epoch=on_epoch, on_evaluation=on_evaluation
        )
    if result is None and is_first():
        err.print(f"Stopped. The state is saved: the same command goes on with {directory}.", highlight=False)
    if result is None:
        return EXIT_STOPPED
    _print_table({name: value for name, value in result.items() if name != "settings"})
    _say(f"{directory} holds {', '.join(sorted(path.name for path in directory.iterdir() if path.name[0] != '.'))}.")
    return 0


def _connect(name: str, command: TrainCommand) -> None:
    """Join the other processes of a run, if there are any; all but process 0 are quiet, unless they fail."""
    if command.coordinator is None:
        for option in ("num_processes", "process_index"):
            if (value := getattr(command, option)) is not None:
                raise InputError(f"{option} is {value}, and coordinator is missing: give HOST:PORT of process 0, or auto.")
        return
    try:
        connect(command.coordinator, command.num_processes, command.process_index)
    except InputError as error:
        if type(error.__cause__) is not RuntimeError or ".py:" not in name:  # JAX has not begun to compute
            raise
        file = name.rpartition(":")[0]
        raise InputError(
            f"{file} computes with JAX as it is imported, and processes must be connected before: compute in the functions that "
            "the recipe calls, such as `build`, or with NumPy."
        ) from error
    out.quiet = not is_first()


def _say_devices(batch_size: int, num: int | None) -> None:
    """Say how many devices share a batch, where some are left over."""
    import jax

    used, there = num_devices(batch_size, num), len(jax.devices())
    if used < there:
        remedy = "" if num else ": more can share another --batch-size"
        _say(f"{used} of {there} devices share{'s' if used == 1 else ''} a batch of {batch_size}{remedy}.")


def _sweep(recipe: Any, command: SweepCommand) -> int:
    from gen_jax.sweep import sweep

    _keep_compilations()
    if command.to is not None:
        tasks.check_path(command.to)  # before the work is done
    settings, vary = command.settings, varied(command.vary)
    with _progress() as progress:
        note = f"{command.num_seeds * math.prod(map(len, vary.values()))} runs"
        epochs = progress.add_task("sweep", total=None, note=note)
        rows = sweep(
            recipe,
            settings,
            num_seeds=command.num_seeds,
            vary=vary,
            at_once=command.at_once,
            out=command.out,
            on_epoch=lambda done, total: progress.update(epochs, completed=done, total=total),
        )
    fitting = max(1, (out.width - 32) // 24)  # columns beside the names: more are a table below
    columns = [(", ".join(f"{name} {row[name]!r}" for name in vary) or "all seeds", _means(row, vary)) for row in rows]
    for first in range(0, len(columns), fitting):
        _print_table(dict(columns[first : first + fitting]))
    if command.out is not None:
        _say(f"{command.out}")
    if command.to is not None:
        draw = plots.rate_distortion if rows[0].get("test_rate") is not None and len(vary) < 2 else plots.by_setting
        write_whole(command.to, plots.png(draw(rows, *vary)))
        _say(f"{command.to}")
    return 0


def _tune(name: str, command: TuneCommand) -> int:
    from gen_jax.tune import tune

    _keep_compilations()
    vary = space(command.vary)
    with _progress() as progress:
        epochs = progress.add_task("trial", total=None, note="")
        evaluation = progress.add_task("evaluate", start=False, total=None, note="", visible=False)

        def on_epoch(trial: int, row: dict[str, Any]) -> None:
            if progress.tasks[epochs].fields["note"] != f"trial {trial}":
                progress.reset(epochs, total=command.settings.epochs, note=f"trial {trial}")
            progress.update(epochs, completed=row["epoch"])

        def on_trial(row: dict[str, Any]) -> None:
            said = ", ".join(f"{key} {_shown(value)}" for key, value in row.items() if key not in ("trial", "epochs"))
            progress.console.print(f"trial {row['trial']}: {said}", markup=False, highlight=False, soft_wrap=True)

        def on_evaluation(done: int, total: int) -> None:
            progress.start_task(evaluation)
            progress.update(evaluation, completed=done, total=total, visible=True, note="test examples")

        tuned = tune(
            name,
            command.settings,
            vary=vary,
            out=command.out,
            trials=command.trials,
            on_epoch=on_epoch,
            on_trial=on_trial,
            on_evaluation=on_evaluation,
        )
    if tuned is None:
        err.print(f"Stopped. The state is saved: the same command goes on with {command.out}.", highlight=False)
        return EXIT_STOPPED
    columns = ["trial", "state", tuned.metric, "epochs", *vary]
    table = Table(*columns, box=None)
    for row in tuned.rows:
        table.add_row(*(_shown(row[column]) for column in columns))
    out.print(table)
    if tuned.result is None:
        _say("Other processes have the last trials: the one that ends last makes the run of the best.")
        return 0
    _print_table({key: value for key, value in tuned.result.items() if key != "settings"})
    _say(f"{command.out / 'best'} is the run of the best settings, {command.out / 'trials.png'} the figure. To train it anew:")
    out.print(train_command(name, tuned.settings), markup=False, highlight=False, soft_wrap=True)
    return 0


def _perform(name: str, command: TaskCommand, options: dict[str, Any]) -> int:
    _keep_compilations()
    run = gen_jax.runs.load_run(command.run, command.recipe)
    if name in tasks.FOLDERS:  # before the work is done
        tasks.check_folder(command.to or command.run / name)
    else:
        tasks.check_path(command.to or command.run / "figure.png")
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


def _means(row: Mapping[str, Any], varied: Container[str]) -> dict[str, Any]:
    """Return a row's numbers, each mean with its standard error, but those that were varied."""
    shown = {name: value for name, value in row.items() if name not in varied and not name.endswith("_se")}
    return {
        name: value if row.get(f"{name}_se") is None else f"{_shown(value)} ± {_shown(row[f'{name}_se'])}"
        for name, value in shown.items()
    }


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
    with Progress(*columns, console=err, transient=transient, disable=not is_first()) as progress:
        yield progress


def _print_table(summary: Mapping[str, Any]) -> None:
    """Print named numbers, or rows of them in columns."""
    columns = {name: value for name, value in summary.items() if isinstance(value, Mapping)}
    if not columns:
        table = Table(show_header=False, box=None)
        for name, value in summary.items():
            table.add_row(name, _shown(value))
    else:
        table = Table("", *columns, box=None)
        for name in dict.fromkeys(name for column in columns.values() for name in column):
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
