"""From a recipe to a run directory and back: train, evaluate, sample."""

import csv
import dataclasses
import io
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import gen_jax
from gen_jax import train as training
from gen_jax.data import Dataset, Split, absolute_name, binarise_split, epoch_batches, load_dataset
from gen_jax.recipes.animation import frame_epochs, save_frame, write_animation
from gen_jax.recipes.catalogue import find_recipe
from gen_jax.recipes.experiment import BINARISATION, RUN, SAMPLES, Evaluation, Experiment, Settings, check_seed, seed_key
from gen_jax.recipes.sample_quality import measure_drawn, num_measured
from gen_jax.types import Array, InputError, Key, Metrics, Params


class Run(NamedTuple):
    """A trained model, read back from its run directory.

    Attributes:
        directory: where it was read from.
        settings: what it was made with.
        fingerprints: of the splits of its data.
        experiment: the model and what can be done with it.
        params: the parameters of its best checkpoint.
        epoch: how many epochs they were trained for.
    """

    directory: Path
    settings: Any
    fingerprints: dict[str, str]
    experiment: Experiment
    params: Params
    epoch: int


def train(
    name: str,
    settings: Settings | None = None,
    out: Path | str | None = None,
    *,
    tensorboard: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    on_evaluation: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any] | None:
    """Train a recipe, evaluate it on the test data and draw its figures; return what `result.json` holds.

    Where `out` holds an unfinished run of the same settings, training goes on from its latest checkpoint; a finished one is
    returned as it is.

    Args:
        name: of the recipe.
        settings: by default, the recipe's own.
        out: the run directory; by default `runs/NAME`.
        tensorboard: write TensorBoard's event files too.
        on_epoch: called with each epoch's row of metrics.
        on_evaluation: called with (examples done, examples in all) during the test evaluation.

    Returns:
        The result, or None where a signal ended training early (its state is saved).

    Raises:
        InputError: a setting, the data or the run directory cannot be used; nothing that was there is changed.
        NonFiniteError: training diverged; the last good checkpoint stays.
    """
    recipe = find_recipe(name)
    settings = recipe.settings if settings is None else settings
    directory = Path(out) if out is not None else Path("runs") / name
    settings.check()
    if tensorboard:
        training.summary_writer()  # raises where it is not installed
    settings = dataclasses.replace(settings, data=absolute_name(settings.data))
    dataset = load_dataset(settings.data)
    experiment = recipe.build(settings, dataset.event_shape)
    splits = {
        name: _checked(split if settings.stream and name == "train" else split.in_memory(), name, settings.data, experiment)
        for name, split in dataset._asdict().items()
    }
    fingerprints = {name: _fingerprint(split) for name, split in splits.items()}
    # what is not drawn here is drawn anew at each step, by the experiment's loss
    once = dataset._fields if settings.binarise == "fixed" else ("valid", "test")
    dataset = Dataset(**splits | {name: _drawn(splits[name], name, settings) for name in once})
    num_steps = settings.epochs * _epoch_steps(settings, dataset)
    settings.check_steps(num_steps)
    experiment.training(num_steps)  # raises for a setting that it cannot have

    config = {
        "recipe": name,
        "event_shape": dataset.event_shape,
        "settings": dataclasses.asdict(settings),
        "data": fingerprints,
    }
    with training.open_run(directory, config):
        return _train(directory, experiment, settings, dataset, tensorboard, on_epoch, on_evaluation)


def _train(
    directory: Path,
    experiment: Experiment,
    settings: Settings,
    dataset: Dataset,
    tensorboard: bool,
    on_epoch: Callable[[dict[str, Any]], None],
    on_evaluation: Callable[[int, int], None],
) -> dict[str, Any] | None:
    """Train in a run directory, or go on there, as far as it is not done."""
    if (directory / training.RESULT_FILE).exists():
        return training.read_result(directory)

    keys = run_keys(settings)
    init, step = experiment.training(settings.epochs * _epoch_steps(settings, dataset))
    valid = dataset.valid.on_device()
    frames = frame_epochs(settings.epochs, settings.validate_every) if experiment.num_frames_drawn else ()

    def snapshot(params: Params, epoch: int) -> None:
        if epoch in frames:
            save_frame(directory, epoch, experiment.sample(params, keys.figures, experiment.num_frames_drawn))

    _, finished = training.fit(
        init(keys.init, keys.noise),
        _epoch_runner(step, dataset.train, settings, keys.order),
        settings.epochs,
        directory,
        validate=lambda params: experiment.validate(params, keys.validation, valid),
        best_metric=experiment.best_metric,
        validate_every=settings.validate_every,
        patience=settings.patience,
        tensorboard=tensorboard,
        report=on_epoch,
        snapshot=snapshot,
    )
    if not finished:
        return None

    run = load_run(directory)
    rows = training.read_metrics(directory / training.METRICS_FILE)
    # the epochs' own time: steps, validation and compilation, without what comes before, between and after them
    train_seconds = sum(row["seconds"] for row in rows)
    evaluation = _evaluate(run, dataset.test, settings.data, "test", None, on_evaluation)
    figures = experiment.figures(run.params, keys.figures, dataset.test, rows)
    (directory / "figures").mkdir(exist_ok=True)
    for figure_name, figure in figures.items():
        figure.savefig(directory / "figures" / f"{figure_name}.png", dpi=150)
    if frames:
        write_animation(directory, experiment.picture, directory / "figures" / "training.gif")
    result = evaluation.summary | {"train_seconds": train_seconds}
    training.write_json(directory / training.RESULT_FILE, result)
    return result


def load_run(directory: Path | str) -> Run:
    """Rebuild the model of a run directory from its `config.json`, with the parameters of its best checkpoint.

    Raises:
        InputError: it is not a run folder, its config is of another version, or it holds no readable checkpoint.
    """
    directory = Path(directory)
    config = training.read_config(directory)
    try:
        recipe = find_recipe(config["recipe"])
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["settings"].items()}
        settings = type(recipe.settings)(**values)
        settings.check()
        experiment, keys = recipe.build(settings, tuple(config["event_shape"])), run_keys(settings)
        # the state's structure does not depend on how long the run is
        like = jax.eval_shape(experiment.training(1).init, keys.init, keys.noise)
        fingerprints = dict(config["data"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The config of {directory} is damaged or of another version of gen_jax ({type(error).__name__}: {error}): "
            "use that version, or train anew."
        ) from error
    restored = training.restore_best(directory / "checkpoints", like, experiment.best_metric)
    if restored is None:
        raise InputError(f"{directory} holds no checkpoint yet: train it first.")
    state, epoch = restored
    return Run(directory, settings, fingerprints, experiment, training.evaluation_params(state), epoch)


def evaluate(
    run: Run,
    data: str | None = None,
    split: str = "test",
    num_importance_samples: int | None = None,
    on_evaluation: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluate a run on one split of a data set (by default, its own test data).

    Raises:
        InputError: the data cannot be used, are of another shape than the model's, or have the name of the run's own data and
            are not the same any more.
    """
    data = absolute_name(data or run.settings.data)
    examples = run_examples(run, load_dataset(data), data, split)
    return _evaluate(run, _drawn(examples, split, run.settings), data, split, num_importance_samples, on_evaluation)


def sample(run: Run, num: int, seed: int = 0) -> Array:
    """Return `num` draws: of a VAE the means of p(x|z) at z drawn from the prior, of other models examples.

    A model that is conditioned on labels is handed them in turn: 0, 1, …, 0, 1, ….
    """
    if num < 1:
        raise InputError(f"num is {num}: give 1 or more.")
    check_seed("seed", seed)
    return run.experiment.sample(run.params, seed_key(seed, SAMPLES), num)


def save_evaluation(run: Run, evaluation: Evaluation) -> Path:
    """Write the summary to `evaluation-SPLIT.json` in the run folder and the table, a line an example, to the `.csv` beside it.

    Where the data are not the run's own, a hash of their name stands behind the split's. Returns the path of the summary.
    """
    data, split = evaluation.summary["data"], evaluation.summary["split"]
    name = split if data == run.settings.data else f"{split}-{zlib.crc32(data.encode()):08x}"
    path = run.directory / f"evaluation-{name}.json"
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(evaluation.table)
    writer.writerows(zip(*(column.tolist() for column in evaluation.table.values()), strict=True))
    training.write_whole(path.with_suffix(".csv"), table.getvalue())
    training.write_json(path, evaluation.summary)
    return path


def save_samples(run: Run, num: int, seed: int = 0, path: Path | None = None) -> Path:
    """Draw samples, write them as a picture and, beside it, as an array; return the picture's path."""
    path = _png(path or run.directory / f"samples-{seed}.png")
    images = sample(run, num, seed)
    run.experiment.picture(images).savefig(path, dpi=150)
    np.save(path.with_suffix(".npy"), images)
    return path


def save_traversal(run: Run, image: int = 0, num_steps: int = 11, path: Path | None = None) -> Path:
    """Move each latent of one test image over its range; write the picture, and beside it the array [Z, steps, *event].

    Raises:
        InputError: the model has no latent vector, there is no such image, or there are fewer than 2 steps.
    """
    if run.experiment.traverse is None:
        raise InputError(
            f"The model of {run.directory} has no single latent vector to move along: give a run of a VAE that has one."
        )
    if num_steps < 2:
        raise InputError(f"num_steps is {num_steps}: give 2 or more.")
    path = _png(path or run.directory / f"traversal-{image}.png")
    data = run.settings.data
    test = _drawn(_checked(load_dataset(data).test.in_memory(), "test", data, run.experiment), "test", run.settings)
    if not 0 <= image < len(test.images):
        raise InputError(f"image is {image}, and {data} has {len(test.images)} test images: give 0 to {len(test.images) - 1}.")
    key = seed_key(run.settings.seed, SAMPLES)
    figure, images = run.experiment.traverse(run.params, key, test, image, num_steps)
    figure.savefig(path, dpi=150)
    np.save(path.with_suffix(".npy"), images)
    return path


def run_examples(run: Run, dataset: Dataset, data: str, split: str) -> Split:
    """Return a split that the model can take and, where the data set has the name of the run's own, that is still the same."""
    examples = _checked(getattr(dataset, split).in_memory(), split, data, run.experiment)
    known = run.fingerprints[split]
    if data == run.settings.data and known not in (_fingerprint(examples), str(len(examples.images))):
        raise InputError(
            f"The {split} images of {data} are not those that {run.directory} was made with: bring those back, or give "
            "other data another name."
        )
    return examples


def json_number(value: Any) -> Any:
    """Return a number as JSON can have it: without infinities, such as the standard error of one example, and NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _png(path: Path) -> Path:
    if path.suffix != ".png":
        raise InputError(f"{path} does not end in .png: give the path of a PNG picture.")
    return path


class RunKeys(NamedTuple):
    """The root keys of a run, one for each thing that draws."""

    init: Key
    noise: Key
    order: Key
    validation: Key
    evaluation: Key
    figures: Key


def run_keys(settings: Settings) -> RunKeys:
    """Return the root keys of a run with these settings."""
    return RunKeys(*jax.random.split(seed_key(settings.seed, RUN), len(RunKeys._fields)))


def _checked(split: Split, name: str, data: str, experiment: Experiment) -> Split:
    """Check that the model can take a split that is in memory.

    Of one that is read lazily, the reader checks the shape; values that a model gives no probability stop its training.
    """
    if isinstance(split.images, np.ndarray):
        experiment.check(split.images, f"The {name} images of {data}")
    if (num_classes := experiment.num_classes) is not None:
        if split.labels is None:
            raise InputError(f"The {name} images of {data} have no labels, and this model is conditioned on them: give some.")
        low, high = split.labels.min(), split.labels.max()
        if low < 0 or high >= num_classes:
            raise InputError(
                f"The {name} labels of {data} range from {low} to {high}, and the model has {num_classes} classes: give labels "
                f"in 0 … {num_classes - 1}, or another --num-classes."
            )
    return split


def _epoch_steps(settings: Settings, dataset: Dataset) -> int:
    return training.steps_per_epoch(len(dataset.train.images), settings.examples_per_step, settings.epoch_steps)


def _fingerprint(split: Split) -> str:
    """What tells a split from another: its length, and the CRC-32 of its images where they are in memory."""
    if not isinstance(split.images, np.ndarray):
        return str(len(split.images))
    return f"{len(split.images)}, crc32 {zlib.crc32(split.images.tobytes()):08x}"


def _drawn(split: Split, name: str, settings: Settings) -> Split:
    """Draw the binarisation of a split once, as the settings say."""
    key = jax.random.fold_in(seed_key(settings.binarise_seed, BINARISATION), Dataset._fields.index(name))
    return Split(binarise_split(settings.binarise, key, split.images), split.labels)


def _epoch_runner(
    step: Callable[..., Any], train: Split, settings: Settings, order_key: Key
) -> Callable[[training.TrainState, int], tuple[training.TrainState, Metrics]]:
    if settings.stream:
        compiled_step = jax.jit(step, donate_argnums=0)
        return lambda state, epoch: training.stream_epoch(
            compiled_step, state, epoch_batches(train, settings.examples_per_step, settings.seed, epoch)
        )
    compiled = jax.jit(training.scan_epoch(step, settings.examples_per_step, settings.epoch_steps), donate_argnums=0)
    data = train.on_device()
    return lambda state, epoch: compiled(state, data, jax.random.fold_in(order_key, epoch))


def _evaluate(
    run: Run, split: Split, data: str, name: str, num_samples: int | None, on_evaluation: Callable[[int, int], None]
) -> Evaluation:
    key = run_keys(run.settings).evaluation
    summary, table = run.experiment.evaluate(run.params, key, split, name, num_samples, on_evaluation)
    if run.experiment.measures_samples:
        num = num_measured(data, split)
        found = measure_drawn(run.experiment.sample(run.params, key, num), data, split, run.experiment.num_classes)
        summary = summary | {f"{name}_{quantity}": value for quantity, value in found.items()} | {"num_samples": num}
    device = jax.devices()[0]
    summary = {key: json_number(value) for key, value in summary.items()}
    measured = {"data": data, "split": name, "seed": run.settings.seed, "epoch": run.epoch}
    summary = (
        measured
        | summary
        | {
            "gen_jax_version": gen_jax.__version__,
            "jax_version": jax.__version__,
            "device": f"{device.platform}: {device.device_kind}",
        }
    )
    return Evaluation(summary, table)
