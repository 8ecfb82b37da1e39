"""What a recipe is: settings, and an experiment built from them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax
import numpy as np

from gen_jax.data import Binarisation, binarise, to_unit
from gen_jax.train import Loss, ScheduleName, TrainState, adam, init_state, learning_rate_schedule, make_step
from gen_jax.types import Array, InputError, Key, Metrics, Params


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that every recipe has. A recipe's own settings extend them."""

    data: str = "mnist-5k"
    """Data set: mnist-5k, mnist, fashion_mnist, cifar10, dna, sprites, stacked:, toy:, tfds:NAME, npz: or folder:PATH."""
    binarise: Binarisation = "dynamic"
    """How pixels become what the model sees: drawn anew at each step, drawn once, by threshold, or left as they are."""
    binarise_seed: int = 0
    """Seed of what is drawn once: validation and test images, and training images under --binarise fixed."""
    seed: int = 0
    """Seed of initialisation, order of examples, and noise."""
    epochs: int = 60
    """Passes over the training data."""
    epoch_steps: int | None = None
    """Steps in an epoch, where it is not a whole pass: each one draws other examples."""
    batch_size: int = 100
    """Examples in a step."""
    learning_rate: float = 1e-3
    """Adam's (peak) learning rate."""
    schedule: ScheduleName = "cosine"
    """Learning rate over the run: constant, cosine down to 0, or the eight stages of the IWAE paper."""
    weight_decay: float = 0.0
    """Decoupled weight decay: at each step parameters shrink by this times the learning rate."""
    clip_norm: float | None = None
    """Clip the gradient to this global norm."""
    ema_decay: float | None = None
    """Evaluate a moving average of the parameters with this decay per step, such as 0.999."""
    validate_every: int = 1
    """Validate and save a checkpoint after every so many epochs."""
    patience: int | None = None
    """Stop early after so many validations in a row without a better one."""
    stream: bool = False
    """Read training batches from the host through Grain, for data that does not fit on the device."""

    def check(self) -> None:
        """Raise an InputError for a value that no experiment can have."""
        for name, hint in get_type_hints(type(self)).items():
            if not _fits(getattr(self, name), hint):
                wanted = ", ".join(get_args(hint)) if get_origin(hint) is Literal else getattr(hint, "__name__", hint)
                raise InputError(f"{name} is {getattr(self, name)!r}: give {wanted}.")
        for name in ("epochs", "validate_every", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more.")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience is {self.patience}: give 1 or more, or none at all.")
        for name in ("seed", "binarise_seed"):
            check_seed(name, getattr(self, name))
        if self.stream and self.epoch_steps is not None:
            raise InputError(f"epoch_steps is {self.epoch_steps}, and a streamed epoch is a whole pass: leave one of them out.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(f"ema_decay is {self.ema_decay}: give a number between 0 and 1, or none at all.")
        if self.stream and self.binarise == "fixed":
            raise InputError("Streamed images cannot be binarised once and kept: use --binarise dynamic, threshold or none.")

    @property
    def examples_per_step(self) -> int:
        """How many examples a step takes."""
        return self.batch_size

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for a value that does not go with the number of steps that the run has."""


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of one of the types that settings have."""
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return value in arguments
    if get_origin(hint) is tuple:  # tuple[T, ...]
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if arguments:  # a union
        return any(_fits(value, argument) for argument in arguments)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


# what a seed is for, folded into its key, so that equal seeds of different things share no stream
RUN, BINARISATION, SAMPLES, MASKS, PRIOR = range(5)


def seed_key(seed: int, purpose: int) -> Key:
    """Return the root key of a seed for one purpose."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


def check_seed(name: str, seed: int) -> None:
    """Raise an InputError for a seed that a key would cut short."""
    if not 0 <= seed < 2**32:
        raise InputError(f"{name} is {seed}: give an integer from 0 to 2^32 − 1.")


def image_shape(event_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of an image [H, W, C], or raise an InputError for an event that is none: convolutions take images."""
    match event_shape:
        case (height, width, channels):
            return height, width, channels
        case _:
            raise InputError(f"An example has shape {event_shape}, and convolutions take images [H, W, C]: use a perceptron.")


def prepare(binarisation: Binarisation, key: Key, image: Array) -> Array:
    """Return an image of the training data, as it is stored, as the model sees it in a step.

    Under `fixed` it was binarised before training, and what is left to do is to scale it.
    """
    return binarise("none" if binarisation == "fixed" else binarisation, key, image)


def check_events(images: np.ndarray, event_shape: tuple[int, ...], binarisation: Binarisation, where: str) -> None:
    """Raise an InputError for images of another shape than the model's, or that cannot be binarised as the settings say."""
    shape = jax.eval_shape(to_unit, images[0]).shape
    if shape != event_shape:
        raise InputError(f"{where} are {shape} each and the model takes {event_shape}: give data of that shape.")
    if binarisation != "none" and not in_unit_interval(images):
        raise InputError(
            f"{where} range from {images.min():g} to {images.max():g}, which are no intensities to binarise: "
            "scale them to [0, 1], or use --binarise none."
        )


def in_unit_interval(images: np.ndarray) -> bool:
    """Whether images, as they are stored, are in [0, 1] once they are scaled: of integers, all are."""
    return images.dtype.kind in "ui" or bool(images.min() >= 0 and images.max() <= 1)


class Evaluation(NamedTuple):
    """What an evaluation found.

    Attributes:
        summary: named numbers.
        table: named columns, an entry an example.
    """

    summary: dict[str, Any]
    table: dict[str, np.ndarray]


class Experiment(NamedTuple):
    """A model with all that is done to it. Images come in as they are stored (`data.Split`), a batch as a `Split` of them.

    Attributes:
        training: number of steps in the run -> `Training`.
        validate: (params, key, split) -> metrics.
        best_metric: which of them (larger is better) chooses the best checkpoint; None for the latest.
        check: (images, where) -> None; raises an InputError for images that the model cannot take.
        evaluate: (params, key, split, split's name, num_importance_samples or None, on_progress) -> Evaluation.
        sample: (params, key, num) -> images.
        picture: images that were sampled -> a matplotlib figure of them.
        figures: (params, key, test split, rows of metrics.jsonl) -> matplotlib figures by name.
        traverse: (params, key, split, index of an image, number of steps) -> (figure, images [Z, steps, ...]); None for a model
            without a latent vector to move along.
        num_classes: of a model that is conditioned on labels 0 … num_classes − 1; else None.
        num_frames_drawn: examples of a frame, drawn from the same noise at validations, of the animation of training; 0 for none.
        measures_samples: whether an evaluation is of what is drawn (`sample_quality.measure`), for want of a likelihood.
    """

    training: Callable[[int], "Training"]
    validate: Callable[..., Any]
    best_metric: str | None
    check: Callable[..., None]
    evaluate: Callable[..., Evaluation]
    sample: Callable[..., Any]
    picture: Callable[[Any], Any]
    figures: Callable[..., dict[str, Any]]
    traverse: Callable[..., tuple[Any, Any]] | None = None
    num_classes: int | None = None
    num_frames_drawn: int = 0
    measures_samples: bool = False


class Training(NamedTuple):
    """How an experiment is trained.

    Attributes:
        init: (key of the parameters, root key of the noise) -> the state before the first step.
        step: (state, batch) -> (state, metrics).
    """

    init: Callable[[Key, Key], TrainState]
    step: Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def minimise(
    settings: Settings,
    init: Callable[[Key], Params],
    loss: Loss,
    adjust: Callable[[Params, Key, Any], Params] | None = None,
) -> Callable[[int], Training]:
    """Return the training of a model by a batch loss, and what is done to its parameters after each step, if anything is."""

    def training(num_steps: int) -> Training:
        schedule = learning_rate_schedule(settings.schedule, settings.learning_rate, num_steps)
        optimizer = adam(schedule, settings.clip_norm, settings.weight_decay)
        return Training(
            init=lambda key, noise_key: init_state(init(key), optimizer, noise_key, settings.ema_decay),
            step=make_step(loss, optimizer, settings.ema_decay, adjust),
        )

    return training


class Recipe(NamedTuple):
    """An experiment by name.

    Attributes:
        summary: a line that says what it is.
        settings: its default settings.
        build: (settings, event shape) -> Experiment.
    """

    summary: str
    settings: Any
    build: Callable[[Any, tuple[int, ...]], Experiment]
