"""The run folder: train a recipe into it, load what was trained, do tasks with it."""

import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import gen_jax
from gen_jax import plots, recipes, tasks
from gen_jax import train as training
from gen_jax.data import RENDERED, Dataset, absolute_name, load_dataset
from gen_jax.recipes import Experiment, Recipe, Settings, check_settings
from gen_jax.recipes.experiment import as_seen, fit_options
from gen_jax.recipes.own import UNNAMED, blame, checked_programs, default_folder, full_name, is_own
from gen_jax.recipes.settings import MAY_CHANGE, RUN, SAMPLES, read_settings, seed_key, settings_json
from gen_jax.tasks.animation import frame_epochs, save_frame, write_animation
from gen_jax.tasks.sampling import num_shown, picture, sample
from gen_jax.tasks.task import NAMES, save_outcome
from gen_jax.types import InputError, Key, Params, unknown


class Run(NamedTuple):
    """A trained model, read back from its run directory.

    Attributes:
        directory: where it was read from.
        settings: what it was made with.
        experiment: the model, and how it sees data.
        params: of its best checkpoint.
        epoch: how many epochs they were trained for.
        config: what `config.json` holds.
    """

    directory: Path
    settings: Any
    experiment: Experiment
    params: Params
    epoch: int
    config: dict[str, Any]


def train(
    recipe: str | Recipe,
    settings: Settings | None = None,
    out: Path | str | None = None,
    *,
    tensorboard: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    on_evaluation: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any] | None:
    """Train a recipe, evaluate it on the test data and draw its figures; return what `result.json` holds (None: a signal came).

    Where `out` holds an unfinished run of the same settings, training goes on from its latest checkpoint; a finished one is
    returned as it is. Settings that only say what is left to do, such as more epochs, may differ: the run goes on with them.
    Where processes are connected (`train.connect`), call it in each of them; process 0 evaluates.

    Args:
        recipe: a `Recipe`, or the name of one; see `recipes.find_recipe`.
        settings: by default, the recipe's own.
        out: the run directory; by default `runs/NAME`, or `runs/FILE` of a recipe in a user's file.
        tensorboard: write TensorBoard's event files too.
        on_epoch: called with each epoch's row of metrics.
        on_evaluation: called with (examples done, examples in all) during the test evaluation.

    Raises:
        InputError: a setting, the data or the run directory cannot be used; nothing that was there is changed.
        NonFiniteError: training diverged; the last good checkpoint stays.
    """
    if tensorboard:
        training.summary_writer()  # raises where it is not installed
    job = _job(recipe, settings, out)
    with _opened(job) as before:
        directory = job.directory
        if (result := training.by_first(lambda: training.read_result(directory, job.config["settings"]))) is not None:
            return result
        if training.is_first():
            (directory / training.RESULT_FILE).unlink(missing_ok=True)
        fitted = _fit(job, before, tensorboard, on_epoch)
        if not fitted.finished:
            return None
        run = Run(directory, job.settings, job.experiment, fitted.params, fitted.epoch, job.config)
        return training.by_first(lambda: _finish(run, job.data, fitted.history, on_evaluation))


def fit(
    recipe: str | Recipe,
    settings: Settings | None = None,
    out: Path | str | None = None,
    *,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
) -> training.Fitted:
    """Train a recipe as `train` does, and evaluate nothing: no test example is looked at.

    The run folder is that of an unfinished run: `train` evaluates it, with nothing left to train. Arguments and errors are those
    of `train`.
    """
    job = _job(recipe, settings, out)
    with _opened(job) as before:
        return _fit(job, before, False, on_epoch)


class _Job(NamedTuple):
    """A run that is to be trained, or to be gone on with."""

    directory: Path
    settings: Settings
    experiment: Experiment
    data: Dataset
    config: dict[str, Any]


def _job(recipe: str | Recipe, settings: Settings | None, out: Path | str | None) -> _Job:
    """Return the run of a recipe, or raise an InputError for settings or data that it cannot have."""
    name = full_name(recipe) if isinstance(recipe, str) else UNNAMED
    found = recipes.find_recipe(recipe)
    settings = found.settings if settings is None else settings
    if out is None and name == UNNAMED:
        raise InputError("out is missing, and a Recipe object has no name to make a folder of: give out.")
    directory = Path(out) if out is not None else default_folder(name)
    check_settings(settings)
    settings = settings.with_whole_names()
    stored = load_dataset(settings.data, "none", stream=settings.stream)
    experiment, data = _built(found, settings, stored)
    config = _config(name, settings, stored)
    if is_own(name):
        config["versions"]["program"] = checked_programs(directory, config, found, settings, data)
    return _Job(directory, settings, experiment, data, config)


def _built(recipe: Recipe, settings: Settings, stored: Dataset) -> tuple[Experiment, Dataset]:
    """Return what a recipe builds, and the data as it sees them, or raise an InputError."""
    experiment = recipe.build(settings, stored.event_shape)
    data = as_seen(stored, settings, experiment)
    _check_steps(settings, experiment, data)
    for task in experiment.tasks:
        if task not in (*tasks.TASKS, "animate"):
            raise unknown("task", task, (*tasks.TASKS, "animate"))
    return experiment, data


def check(recipe: str | Recipe, settings: Settings, stored: Dataset) -> None:
    """Raise an InputError for settings that no run of a recipe can have, wherever its folder is; nothing is trained.

    Args:
        recipe: a `Recipe`, or its name.
        settings: of the run.
        stored: the data set of the settings, as `load_dataset` returns it.
    """
    found = recipes.find_recipe(recipe)
    check_settings(settings)
    experiment, data = _built(found, settings, stored)
    options = fit_options(experiment, settings)
    training.devices_for(settings.examples_per_step, options["devices"], settings.shard_params)
    name = full_name(recipe) if isinstance(recipe, str) else UNNAMED
    with blame(f"What {name} builds") if is_own(name) else contextlib.nullcontext():
        training.programs(seed_key(settings.seed, RUN), experiment.model, experiment.loss, data, **options)  # traces them
        names = validation_names(experiment, settings, data, call=True)
    if names is not None:
        training.check_best_metric(experiment.best_metric, dict.fromkeys(names))


def validation_names(experiment: Experiment, settings: Settings, data: Dataset, call: bool = False) -> set[str] | None:
    """Return the names of what validation reports; None if there is none. One that is not compiled has to be called to know."""
    model, loss = experiment.model, experiment.loss
    validate: Any = experiment.validate
    if validate is None and not isinstance(loss, tuple):
        validate = training.validation(loss, data.view, model, settings.batch_size)
    compiled = hasattr(validate, "lower")
    if validate is None or not (compiled or call):
        return None
    optimizer, average = experiment.optimizer(training.SOME_STEPS), settings.average_decay is not None
    begin = lambda key: training.evaluation_params(training.start(key, model, optimizer, data.event_shape, average))
    key, valid = jax.random.key(0), data.valid.on_device()
    return {*(jax.eval_shape(validate, jax.eval_shape(begin, key), key, valid) if compiled else validate(begin(key), key, valid))}


@contextlib.contextmanager
def _opened(job: _Job) -> Generator[dict[str, Any]]:
    """Open the folder of a run, whose stored config this yields, or raise an InputError for one of another run."""
    may_change = MAY_CHANGE | {"gen_jax", "jax", *training.PROGRAMS}
    with training.lost_processes_told(), training.open_run(job.directory, job.config, may_change) as before:
        training.by_first(lambda: training.check_epochs(job.directory, job.settings.epochs))
        yield before


def _config(name: str, settings: Settings, data: Dataset) -> dict[str, Any]:
    return {
        "recipe": name,
        "event_shape": data.event_shape,
        "settings": settings_json(settings),
        "data": data.fingerprints(),
        "versions": {"gen_jax": gen_jax.__version__, "jax": jax.__version__},
    }


def write_run(
    directory: Path,
    recipe: str,
    settings: Settings,
    data: Dataset,
    state: training.TrainState,
    history: Mapping[str, np.ndarray],
    seconds: float,
) -> None:
    """Write a run folder of a state that was trained elsewhere, as by a sweep: its config, its metrics and one checkpoint.

    Args:
        directory: a new folder.
        recipe: the name of one of the library's.
        settings: of the run.
        data: stored, that it was trained on.
        state: after the last step.
        history: training metrics [epochs] by name.
        seconds: that its training took; of runs that were trained together, its share.
    """
    steps = int(state.step) // settings.epochs
    rows = [
        {"epoch": epoch + 1, "step": steps * (epoch + 1)} | {f"train_{name}": float(v[epoch]) for name, v in history.items()}
        for epoch in range(settings.epochs)
    ]
    lines = [json.dumps(row | {"seconds": seconds / settings.epochs}) for row in rows]
    with training.open_run(directory, _config(recipe, settings, data)):
        training.write_whole(directory / training.METRICS_FILE, "".join(f"{line}\n" for line in lines))
        (directory / training.CHECKPOINTS).mkdir()
        training.save_checkpoint(directory / training.CHECKPOINTS, settings.epochs, state, {}, None)


def _check_steps(settings: Settings, experiment: Experiment, data: Dataset) -> None:
    """Raise an InputError for settings that do not go with the number of steps that they make."""
    num_steps = settings.epochs * training.steps_per_epoch(len(data.train.x), settings.examples_per_step, settings.epoch_steps)
    settings.check_steps(num_steps)
    experiment.check_steps(num_steps)
    experiment.optimizer(num_steps)


def _fit(job: _Job, before: dict[str, Any], tensorboard: bool, on_epoch: Callable[..., None]) -> training.Fitted:
    """Train in an open run directory, or go on with what was trained there."""
    directory, settings, experiment, data, config = job
    if training.is_first():  # `fit` writes the versions as it trains: an evaluation alone leaves those of the training
        training.store_config(directory, config | {"versions": before.get("versions", config["versions"])})
    key, model = seed_key(settings.seed, RUN), experiment.model
    frames = frame_epochs(settings.epochs, settings.validate_every) if "animate" in experiment.tasks else ()

    def snapshot(params: Params, epoch: int) -> None:
        if epoch in frames:
            num = num_shown(model, data.event_shape == (2,))
            save_frame(directory, epoch, sample(model, params, training.fit_keys(key).figures, num, view=experiment.view))

    return training.fit(
        key,
        model,
        experiment.loss,
        data,
        directory=directory,
        config=config,
        tensorboard=tensorboard,
        report=on_epoch,
        snapshot=snapshot if frames else None,
        **fit_options(experiment, settings),
    )


def _finish(run: Run, data: Dataset, rows: list[dict[str, Any]], on_evaluation: Callable[[int, int], None]) -> dict[str, Any]:
    """Evaluate a trained run on its test data, do its tasks, and write the result."""
    keys, experiment, folder = training.fit_keys(seed_key(run.settings.seed, RUN)), run.experiment, run.directory / "figures"
    subject = _subject(run, keys.evaluation, on_evaluation, {run.settings.data: data})
    if isinstance(experiment.model, tuple(NAMES)):
        found = tasks.TASKS["evaluate"](subject).summary
    else:  # a user's own type of model, which has its validation
        row = next((row for row in rows if row["epoch"] == run.epoch), {})
        found = {**subject.provenance} | {name: value for name, value in row.items() if name.startswith("valid_")}
    figures = {
        name: plots.loss_curves(rows, list(metrics), label)
        for name, (metrics, label) in experiment.curves.items()
        if any(metric in row for metric in metrics for row in rows)
    }
    for name in experiment.tasks:
        if name != "animate":
            with contextlib.suppress(tasks.CannotError):  # such as a figure of twenty latents
                figures |= tasks.TASKS[name](subject._replace(key=keys.figures)).figures
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        training.write_whole(folder / f"{name}.png", plots.png(figure))
    if "animate" in experiment.tasks:
        shown = data if run.settings.data.startswith("toy:") else None
        draw = functools.partial(picture, model=experiment.model, data=shown)
        write_animation(run.directory, draw, folder / "training.gif")
    # the epochs' own time: steps, validation and compilation, without what comes before, between and after them
    whole = [row["epoch"] for row in rows] == list(range(1, len(rows) + 1)) and len(rows) >= run.epoch
    seconds = sum(row["seconds"] for row in rows) if whole else None  # where rows were lost, nobody knows
    # with the settings, by which a stale result is known
    result = {**found, "train_seconds": seconds, "settings": settings_json(run.settings)}
    training.write_json(run.directory / training.RESULT_FILE, result)
    return result


def load_run(directory: Path | str, recipe: str | Recipe | None = None) -> Run:
    """Rebuild the model of a run directory from its `config.json`, with the parameters of its best checkpoint.

    Args:
        directory: the run directory.
        recipe: of a run whose recipe is a user's own: the `Recipe`, or `FILE.py:NAME`. A run folder never makes code be loaded.

    Raises:
        InputError: it is not a run folder, its config is damaged or of another version, it holds no readable checkpoint, or its
            recipe is a user's own and not given.
    """
    directory = Path(directory)
    config = training.read_config(directory)
    if "recipe" not in config:
        raise InputError(
            f"{directory} names no recipe to rebuild its model by, as a folder of `fit` does not: give one that `gen-jax train` "
            "made, or give the model and the parameters that `fit` returned to the functions of `gen_jax.tasks`."
        )
    try:
        name = config["recipe"]
        own = is_own(name)
        if own and (recipe is None or (isinstance(recipe, str) and name != UNNAMED and not is_own(recipe))):
            given = "" if recipe is None else f", and not by {recipe}"
            raise InputError(
                f"{directory} was trained by a recipe of a user's own, {name}{given}: give it as --recipe FILE.py:NAME."
            )
        if not own and recipe is not None:
            raise InputError(f"{directory} was trained by the library's recipe {name}: leave --recipe out.")
        found = recipes.find_recipe(recipe or name)
        settings = _read_settings(directory, found, json.dumps(config["settings"]))
        event_shape = tuple(int(size) for size in config["event_shape"])
        experiment = found.build(settings, event_shape)
        config["data"] = {split: str(config["data"][split]) for split in ("train", "valid", "test")}
        with blame(f"What {name} builds") if own else contextlib.nullcontext():
            optimizer, has_average = experiment.optimizer(training.SOME_STEPS), settings.average_decay is not None
            start = lambda key: training.start(key, experiment.model, optimizer, event_shape, has_average)
            like = jax.eval_shape(start, seed_key(settings.seed, RUN))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The config of {directory} is damaged or of another version of gen_jax ({type(error).__name__}: {error}): "
            "use that version, or train anew."
        ) from error
    restored = training.restore_best(directory / training.CHECKPOINTS, like, experiment.best_metric)
    if restored is None:
        raise InputError(f"{directory} holds no checkpoint yet: train it first.")
    state, epoch = restored
    return Run(directory, settings, experiment, training.evaluation_params(state), epoch, config)


def _read_settings(directory: Path, recipe: Recipe, json_text: str) -> Settings:
    """Return the settings of a run, or raise an InputError for those that its recipe does not have."""
    try:
        settings = read_settings(type(recipe.settings), json_text)
        check_settings(settings)
    except InputError as error:
        raise InputError(
            f"The settings of {directory} do not suit the recipe of {recipe.summary} ({str(error).rstrip('.')}): give the recipe "
            "that it was trained by, and leave its config.json as it was written."
        ) from error
    return settings


def _subject(run: Run, key: Key, report: Callable[[int, int], None], loaded: dict[str, Dataset] | None = None) -> tasks.Subject:
    """Return a run as tasks take it; data sets that are `loaded` already, as the run sees them, are not read again."""
    settings, experiment, device = run.settings, run.experiment, jax.devices()[0]

    def load(data: str | None = None, binarise: Any = None, split: str = "test") -> Dataset:
        name = absolute_name(data or settings.data)
        if binarise is None and split != "train" and loaded and name in loaded:
            return loaded[name]
        if name != settings.data and {name, settings.data} & set(RENDERED):
            raise InputError(
                f"Examples of {', '.join(RENDERED)} are numbers that their view renders, and the model of {run.directory} is of "
                f"{settings.data}, and not of {name}: give {settings.data}."
            )
        stored = load_dataset(name, "none")
        if name == settings.data:
            _check_same_data(run, stored)
        return stored if binarise == "none" else as_seen(stored, settings, experiment, split == "train")

    provenance = {
        "seed": settings.seed,
        "epoch": run.epoch,
        "gen_jax_version": gen_jax.__version__,
        "jax_version": jax.__version__,
        "device": f"{device.platform}: {device.device_kind}",
    }
    return tasks.Subject(
        experiment.model,
        run.params,
        experiment.view,
        key,
        load,
        settings.data,
        dict(experiment.evaluation),
        provenance,
        lambda folder: _subject(load_run(folder), key, report),
        run.config,
        report,
    )


def perform(
    run: Run, task: str, *, report: Callable[[int, int], None] = lambda done, total: None, **options: Any
) -> tasks.Outcome:
    """Do a task with a run.

        runs.perform(run, "sample", num=25).figures["samples"]

    Args:
        run: what `load_run` returned.
        task: its name in `tasks.TASKS`.
        report: called with (examples done, examples in all) in what takes long.
        **options: those of the task's command.

    Raises:
        InputError: the model cannot do it, an option cannot be used, or the run's data are not the same any more.
    """
    if task not in tasks.TASKS:
        raise InputError(f"There is no task {task!r}: the tasks are {', '.join(tasks.TASKS)}.")
    known = inspect.signature(tasks.TASKS[task]).parameters
    seed = options.get("seed", known["seed"].default if "seed" in known else run.settings.seed)
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}: give an integer from 0 to 2^32 − 1.")
    key = training.fit_keys(seed_key(run.settings.seed, RUN)).evaluation if task == "evaluate" else seed_key(seed, SAMPLES)
    return tasks.TASKS[task](_subject(run, key, report), **options)


def save(run: Run, outcome: tasks.Outcome, to: Path | None = None) -> list[Path]:
    """Write what `perform` returned, by default under its name into the run folder, and return the files."""
    name = outcome.name if outcome.files else f"{outcome.name}.png"
    return save_outcome(outcome, run.directory / name if to is None else to)


def _check_same_data(run: Run, stored: Dataset) -> None:
    for name, found in stored.fingerprints().items():
        if found != run.config["data"][name] and not (name == "train" and run.settings.stream):
            raise InputError(
                f"The {name} examples of {stored.name} are not those that {run.directory} was made with: bring those back, or "
                "give other data another name."
            )
