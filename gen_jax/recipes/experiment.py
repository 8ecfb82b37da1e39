"""What a recipe builds, an experiment, and how settings become its optimizer and its view of the data."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from gen_jax.data import Dataset, DataView, data_view, to_unit
from gen_jax.recipes.settings import Settings
from gen_jax.train import Step, adam, learning_rate_schedule, num_devices
from gen_jax.types import InputError, Loss

LOSSES = ("train_loss", "train_generator_loss", "train_discriminator_loss")


class Experiment(NamedTuple):
    """A model and how it is trained. What is done with a trained model is a task (`gen_jax.tasks`).

    Attributes:
        model: a `VAE`, a `DensityModel`, a `GAN`, a `CycleGAN`, an `Autoencoder`; or of another type, which is trained and not
            evaluated.
        loss: a `Loss`; for a GAN, `Adversaries` of two; for one that grows, these of each stage.
        optimizer: number of steps of the run -> optax optimizer; for a GAN, `Adversaries` of two.
        view: how the model sees stored examples, and what data it refuses.
        make_step: as `train.fit` takes it.
        validate: (params, key, examples) -> metrics; by default, those of the loss.
        best_metric: the metric (larger is better) that chooses the best checkpoint; None for the latest.
        curves: figures of metrics over epochs: by name, the metrics and the label of the axis. By default, those that every loss
            has.
        tasks: names of the tasks that are run at the end of training, besides `evaluate`.
        check_steps: number of steps of the run -> None, or an InputError for a run that is too short for the model.
        evaluation: options of `tasks.evaluate` that the settings give, such as the number of importance samples.
    """

    model: Any
    loss: Loss | tuple[Any, ...]
    optimizer: Callable[[int], Any]
    view: DataView
    make_step: Callable[..., Step] | None = None
    validate: Callable[..., Any] | None = None
    best_metric: str | None = "valid_score"
    curves: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
        {"loss": (LOSSES, "loss"), "score": (("valid_score",), "validation: minus the loss")}
    )
    tasks: tuple[str, ...] = ()
    evaluation: Mapping[str, Any] = MappingProxyType({})
    check_steps: Callable[[int], None] = lambda num_steps: None

    def compared_by(self, reported: Collection[str]) -> str | None:
        """Return the metric by which runs of several settings are compared, of those that validation reports.

        It is `valid_elbo` where there is one, since a score is of its own objective; else `best_metric`.
        """
        return "valid_elbo" if "valid_elbo" in reported else self.best_metric


class Recipe(NamedTuple):
    """An experiment by name.

    Attributes:
        summary: one line that describes it.
        settings: its default settings.
        build: (settings, event shape) -> `Experiment`.
    """

    summary: str
    settings: Any
    build: Callable[[Any, tuple[int, ...]], Experiment]


def fit_options(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """Return the options of `train.fit` that an experiment and its settings give."""
    of_settings = ("epochs", "epoch_steps", "stream", "validate_every", "patience", "shard_params")
    of_experiment = ("optimizer", "make_step", "validate", "best_metric")
    return {
        "batch_size": settings.examples_per_step,
        "ema_decay": settings.average_decay,
        # of a GAN, each of its discriminator's steps takes a batch
        "devices": num_devices(settings.batch_size, settings.devices),
        **{name: getattr(settings, name) for name in of_settings},
        **{name: getattr(experiment, name) for name in of_experiment},
    }


def as_seen(stored: Dataset, settings: Settings, experiment: Experiment, train: bool = False) -> Dataset:
    """Return stored data as a model sees them, or raise an InputError for examples that it cannot take.

    Of examples that are read lazily, the reader checks the shape; values that a model gives no probability stop its training.
    """
    num_classes = getattr(experiment.model, "num_classes", None)
    for name, split in stored.splits.items():
        if isinstance(split.x, np.ndarray):
            experiment.view.check(split.x, f"The {name} examples of {stored.name}")
        if num_classes is None:
            continue
        if split.labels is None:
            raise InputError(
                f"The {name} examples of {stored.name} have no labels, and this model is conditioned on them: give some."
            )
        low, high = split.labels.min(), split.labels.max()
        if low < 0 or high >= num_classes:
            raise InputError(
                f"The {name} labels of {stored.name} range from {low} to {high}, and the model has {num_classes} classes: give "
                f"labels in 0 … {num_classes - 1}, or another --num-classes."
            )
    return stored.binarised(settings.binarise, settings.binarise_seed, train)._replace(view=experiment.view)


def adam_of(settings: Settings) -> Callable[[int], Any]:
    """Return (number of steps) -> Adam with the settings' schedule, clipping and weight decay."""

    def optimizer(num_steps: int) -> Any:
        schedule = learning_rate_schedule(settings.schedule, settings.learning_rate, num_steps)
        return adam(schedule, settings.clip_norm, settings.weight_decay)

    return optimizer


def view_of(
    settings: Settings,
    event_shape: tuple[int, ...],
    check: Callable[[np.ndarray, str], None] = lambda x, where: None,
    symmetric: bool = False,
) -> DataView:
    """Return the view of the settings' data.

    Raises:
        InputError: (from the view's `check`) examples have another shape than `event_shape`, or `check` raises for them.
    """
    view = data_view(settings.data, settings.binarise)._replace(symmetric=symmetric)

    def check_all(x: np.ndarray, where: str) -> None:
        shape = jax.eval_shape(view.read, x[0]).shape
        if shape != event_shape:
            raise InputError(f"{where} are {shape} each and the model takes {event_shape}: give data of that shape.")
        if view.read is to_unit:  # examples that are stored as values; others, such as sprites, are rendered
            check(x, where)

    return view._replace(check=check_all)


def image_shape(event_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of an image [H, W, C], or raise an InputError for an event of another rank."""
    if len(event_shape) != 3:
        raise InputError(f"An example has shape {event_shape}, and convolutions take images [H, W, C]: use --architecture mlp.")
    height, width, channels = event_shape
    return height, width, channels
