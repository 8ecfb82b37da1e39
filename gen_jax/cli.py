"""The command line: gen-jax train RECIPE | sweep RECIPE | evaluate RUN | sample RUN | quality RUN | traverse RUN | recipes."""

import contextlib
import dataclasses
import difflib
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TextIO, TypeVar

import jax
import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from gen_jax import recipes
from gen_jax.types import InputError

EXIT_BAD_INPUT = 2
EXIT_DIVERGED = 3
EXIT_STOPPED = 130  # by a signal: what a shell reports for Ctrl-C

# what is shown of an epoch: the first of these that it has
PROGRESS = (("elbo", "ELBO"), ("bound", "bound"), ("log_prob", "log p(x)"), ("discriminator_loss", "loss of D"))

out = Console()
err = Console(stderr=True)

SettingsType = TypeVar("SettingsType", bound=recipes.Settings)
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


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
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if "--debug" in arguments or not (isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)):
            raise
        err.print("[red]Error:[/] Out of memory: try a smaller --batch-size or model, or --stream.", highlight=False)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        err.print("Stopped. What a training run had saved stays, and `gen-jax train` goes on from there.", highlight=False)
        return EXIT_STOPPED


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Generator[None]:
    """Let SIGTERM raise KeyboardInterrupt; while training, `train.fit` saves first."""
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
    commands: dict[str, Callable[..., int]] = {
        "train": _train,
        "sweep": _sweep,
        "evaluate": _evaluate,
        "sample": _sample,
        "quality": _quality,
        "traverse": _traverse,
        "recipes": _recipes,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        out.print(f"usage: gen-jax {{{','.join(commands)}}} ...\n", markup=False, highlight=False)
        for name, command in commands.items():
            out.print(f"  {name:10}{(command.__doc__ or '').splitlines()[0]}", markup=False, highlight=False)
        out.print("\n`gen-jax COMMAND --help` says more.", highlight=False)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in commands:
        near = difflib.get_close_matches(name, commands, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise InputError(f"There is no command {name!r}. {hint}Known: {', '.join(commands)}.")
    if name in ("train", "sweep"):
        return _of_recipe(name, rest)
    return tyro.cli(commands[name], args=rest, prog=f"gen-jax {name}")


def _of_recipe(command: str, arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        out.print(f"usage: gen-jax {command} RECIPE [--setting value ...]\n", markup=False)
        _recipes()
        out.print(f"\n`gen-jax {command} RECIPE --help` lists its settings.", highlight=False)
        return 0 if arguments else EXIT_BAD_INPUT
    name, rest = arguments[0], arguments[1:]
    recipe = recipes.find_recipe(name)
    if command == "train":
        summary = f"Train {recipe.summary}, or go on with a run that was stopped."
        default: Any = _TrainOptions(recipe.settings, Path("runs") / name)
    else:
        summary = f"Train {recipe.summary} under many seeds at once, and count those that cover all modes."
        default = _SweepOptions(recipe.settings)
    parsed: Any = tyro.cli(
        _options(type(default), type(recipe.settings)),
        args=rest,
        prog=f"gen-jax {command} {name}",
        description=summary,
        default=default,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if command == "train":
        return _train(name, parsed.settings, parsed.out, parsed.tensorboard)
    return _sweep(parsed.settings, parsed.num_seeds, parsed.penalty_weights)


@dataclasses.dataclass(frozen=True)
class _TrainOptions(Generic[SettingsType]):
    settings: SettingsType
    out: Path
    """Run folder. If it holds a run of the same settings, that run goes on."""
    tensorboard: bool = False
    """Write TensorBoard's event files too."""
    debug: bool = False
    """Show the stack trace of an error."""


@dataclasses.dataclass(frozen=True)
class _SweepOptions(Generic[SettingsType]):
    settings: SettingsType
    num_seeds: int = 16
    """Games for each weight: of --seed, --seed + 1, …"""
    penalty_weights: tuple[float, ...] = ()
    """Weights of the penalty; by default --penalty-weight alone."""
    debug: bool = False
    """Show the stack trace of an error."""


def _options(options_type: Any, settings_type: Any) -> Any:  # a type made at run time, which a type checker cannot follow
    return options_type[settings_type]


def _train(name: str, settings: recipes.Settings, directory: Path, tensorboard: bool) -> int:
    """Train a recipe, or go on with a run that was stopped."""
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
            progress.update(evaluation, completed=done, total=total, visible=True, note="test images")

        result = recipes.train(name, settings, directory, tensorboard=tensorboard, on_epoch=on_epoch, on_evaluation=on_evaluation)
    if result is None:
        err.print(f"Stopped. The state is saved: the same command goes on with {directory}.", highlight=False)
        return EXIT_STOPPED
    _print_summary(result)
    out.print(f"{directory} holds result.json, metrics.jsonl, checkpoints and figures.", highlight=False)
    return 0


def _sweep(settings: Any, num_seeds: int, penalty_weights: tuple[float, ...]) -> int:
    """Play a GAN's game under many seeds at once, and count those that cover all modes."""
    weights = penalty_weights or (getattr(settings, "penalty_weight", 0.0),)
    with _progress() as progress:
        epochs = progress.add_task("sweep", total=settings.epochs, note=f"{num_seeds * len(weights)} games")
        rows = recipes.sweep(settings, num_seeds, weights, lambda done: progress.update(epochs, completed=done))
    for row in rows:
        _print_summary(row)
    return 0


def _evaluate(
    run: RunFolder,
    data: str | None = None,
    split: Literal["train", "valid", "test"] = "test",
    num_importance_samples: int | None = None,
    debug: bool = False,
) -> int:
    """Measure a trained run: its likelihood and what else its model has, and a table of every example.

    Args:
        run: Run folder that `gen-jax train` made.
        data: Data set to evaluate on; by default, the run's own.
        split: Which part of it.
        num_importance_samples: Samples an example for the NLL of a VAE; by default, the run's setting.
        debug: Show the stack trace of an error.
    """
    loaded = recipes.load_run(run)
    with _progress() as progress:
        task = progress.add_task("evaluate", total=None, note=f"{split} images", visible=False)

        def on_evaluation(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        result = recipes.evaluate(loaded, data, split, num_importance_samples, on_evaluation)
    path = recipes.save_evaluation(loaded, result)
    _print_summary(result.summary)
    out.print(f"{path} holds the numbers, the .csv beside it the table.", highlight=False)
    return 0


def _sample(run: RunFolder, num: int = 64, seed: int = 0, to: Path | None = None, debug: bool = False) -> int:
    """Draw examples from a trained run.

    Args:
        run: Run folder that `gen-jax train` made.
        num: How many.
        seed: Seed of the draw.
        to: Where the picture goes; by default RUN/samples-SEED.png. The arrays go beside it, as .npy.
        debug: Show the stack trace of an error.
    """
    path = recipes.save_samples(recipes.load_run(run), num, seed, to)
    out.print(f"{num} samples: {path} (picture), {path.with_suffix('.npy')} (array).", highlight=False)
    return 0


def _quality(run: RunFolder, num: int | None = None, seed: int = 0, debug: bool = False) -> int:
    """Measure what a trained run draws, beside training examples and noise.

    Args:
        run: Run folder that `gen-jax train` made.
        num: How many to draw; by default 2,500 points, 26,000 stacked digits, or as many images as there are test images, up to
            5,000.
        seed: Seed of the draw.
        debug: Show the stack trace of an error.
    """
    loaded = recipes.load_run(run)
    rows = recipes.quality(loaded, num, seed)
    path = recipes.save_quality(loaded, rows)
    table = Table("", *rows, box=None)
    for name in rows["model"]:
        table.add_row(name, *(f"{row[name]:.4f}" if name in row else "" for row in rows.values()))
    out.print(table)
    out.print(f"{path} holds the numbers.", highlight=False)
    return 0


def _traverse(run: RunFolder, image: int = 0, num_steps: int = 11, to: Path | None = None, debug: bool = False) -> int:
    """Move each latent of a test image over its range, and decode.

    Args:
        run: Run folder that `gen-jax train` made, of a VAE with one latent vector.
        image: Number of the test image that the other latents come from.
        num_steps: Places along each latent.
        to: Where the picture goes; by default RUN/traversal-IMAGE.png. The array goes beside it, as .npy.
        debug: Show the stack trace of an error.
    """
    path = recipes.save_traversal(recipes.load_run(run), image, num_steps, to)
    out.print(f"{path} (picture; a latent a row), {path.with_suffix('.npy')} (array).", highlight=False)
    return 0


def _recipes(debug: bool = False) -> int:
    """List the recipes."""
    for name, recipe in recipes.RECIPES.items():
        out.print(f"  {name:25}{recipe.summary}", markup=False, highlight=False, soft_wrap=True)
    return 0


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


def _print_summary(summary: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None)
    for name, value in summary.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    out.print(table)


if __name__ == "__main__":
    sys.exit(main())
