"""What a recipe is: settings that check themselves, and an experiment built from them.

Settings are frozen dataclasses whose types say which values they can have. A choice that brings settings of its own is a union of
dataclasses, told apart by their `kind`: there is no setting without effect. On the command line, and in `change`, all are flat:
`--objective capacity --gamma 100`.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, dataclass_transform, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Lt
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from tyro.conf import Suppress

from gen_jax.data import Binarisation, DataView, data_view, to_unit
from gen_jax.train import ScheduleName, Step, adam, learning_rate_schedule
from gen_jax.types import Adversaries, InputError, Key, Loss, unknown

Count = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Decay = Annotated[float, Gt(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Sizes = tuple[Count, ...]
NumClasses = Annotated[int, Ge(2)]

ActivationName = Literal["relu", "tanh"]
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}

# what a seed is for, folded into its key, so that equal seeds of different things share no stream (1 is data.BINARISATION)
RUN, SAMPLES, MASKS, PRIOR = 0, 2, 3, 4


def seed_key(seed: int, purpose: int) -> Key:
    """Return the root key of a seed for one purpose."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


Any_ = TypeVar("Any_")
STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", revalidate_instances="always")
KIND = Field(discriminator="kind")
"""Marks a union of choices: `Annotated[A | B, KIND]`."""


class Choice:
    """One of several kinds of a thing, with the settings that it alone has; `choice` makes one."""

    kind: str
    __pydantic_config__ = STRICT


@dataclass_transform(kw_only_default=True, frozen_default=True)
def choice(kind: str) -> Callable[[type[Any_]], type[Any_]]:
    """Make a class a frozen dataclass of settings whose `kind` is this word, by which the command line and files name it."""

    def decorate(cls: type[Any_]) -> type[Any_]:
        made: Any = cls
        made.__annotations__ = {"kind": Suppress[Literal[kind]], **inspect.get_annotations(cls)}  # ty: ignore[invalid-type-form]
        made.kind = kind
        return dataclass(frozen=True, kw_only=True)(made)

    return decorate


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that every recipe has. A recipe's own settings extend them."""

    __pydantic_config__ = STRICT
    data: str = "mnist-5k"
    """Data set: mnist-5k, mnist, fashion_mnist, cifar10, dna, sprites, stacked:, toy:, tfds:NAME, npz: or folder:PATH."""
    binarise: Binarisation = "dynamic"
    """How grey values become what the model sees: drawn anew at each step, drawn once, by threshold, or left as they are."""
    binarise_seed: Seed = 0
    """Seed of what is drawn once: validation and test examples, and training examples under --binarise fixed."""
    seed: Seed = 0
    """Seed of initialisation, order of examples, and noise."""
    epochs: Count = 60
    """Passes over the training data."""
    epoch_steps: Count | None = None
    """Steps in an epoch, where it is not a whole pass: each one draws other examples."""
    batch_size: Count = 100
    """Examples in a step."""
    learning_rate: Positive = 1e-3
    """The optimizer's (peak) learning rate."""
    schedule: ScheduleName = "cosine"
    """Learning rate over the run: constant, cosine down to 0, or the eight stages of the IWAE paper."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay: at each step parameters shrink by this times the learning rate."""
    clip_norm: Positive | None = None
    """Clip the gradient to this global norm."""
    ema_decay: Decay | None = None
    """Evaluate a moving average of the parameters with this decay per step, such as 0.999."""
    validate_every: Count = 1
    """Validate and save a checkpoint after every so many epochs."""
    patience: Count | None = None
    """Stop early after so many validations in a row without a better one."""
    stream: bool = False
    """Read training batches from the host through Grain, for data that does not fit on the device."""

    @property
    def examples_per_step(self) -> int:
        """How many examples a step takes."""
        return self.batch_size

    def check(self) -> None:
        """Raise an InputError for values that do not go together."""

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for a value that does not go with the number of steps that the run has."""


MAY_CHANGE = {"epochs", "validate_every", "patience", "num_importance_samples"}
"""The settings of a run that may change while it goes on: they only say what is left to do."""


def check_settings(settings: Settings) -> None:
    """Raise an InputError for the first value that is out of range, of another type, or does not go with another."""
    _validated(lambda: TypeAdapter(type(settings)).validate_python(settings))
    settings.check()


def read_settings(settings_type: type[Any_], json_text: str) -> Any_:
    """Return settings from their JSON, as `config.json` holds them, or raise an InputError."""
    return _validated(lambda: TypeAdapter(settings_type).validate_json(json_text))


def settings_json(settings: Settings) -> dict[str, Any]:
    """Return settings as plain JSON values."""
    return TypeAdapter(type(settings)).dump_python(settings, mode="json")


def _validated(validate: Callable[[], Any]) -> Any:
    try:
        return validate()
    except ValidationError as error:
        raise InputError(_sentence(error.errors(include_url=False)[0])) from error


def _sentence(error: Any) -> str:
    """Say what a setting is and what it could be."""
    names = [str(part) for part in error["loc"] if not isinstance(part, int)]
    name, context = (names or ["settings"])[-1], error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            wanted = f"give {context['ge']:g} or more"
        case "greater_than":
            wanted = "give a positive number" if context["gt"] == 0 else f"give more than {context['gt']:g}"
        case "less_than" | "less_than_equal":
            wanted = f"give less than {context['lt']:g}" if "lt" in context else f"give {context['le']:g} or less"
        case "literal_error":
            wanted = f"give {context['expected']}".replace("'", "").replace(" or ", ", ")
        case "union_tag_invalid":
            return f"{name} is {context['tag']!r}: give {context['expected_tags']}.".replace("'", "")
        case "unexpected_keyword_argument":
            return f"There is no setting {name!r} here: leave it out."
        case "finite_number":
            wanted = "give a finite number"
        case kind:
            wanted = f"give {kind.removesuffix('_type').removesuffix('_parsing')}"
    return f"{name} is {error['input']!r}: {wanted}."


def variants(settings_type: type) -> dict[str, dict[str, Any]]:
    """Return the choices of a type of settings that bring their own: for each, its variants by kind."""
    found = {}
    for name, hint in get_type_hints(settings_type).items():
        options = [option for option in get_args(hint) if dataclasses.is_dataclass(option)]
        if options:
            found[name] = {option.kind: option for option in options}
    return found


def change(settings: Any, **changes: Any) -> Any:
    """Return settings with some changed, by the flat names of the command line; a choice may be given by its kind.

        change(vae.settings, objective="capacity", gamma=100.0, epochs=20)

    Where a choice changes, the settings that both variants have stay as they are.

    Raises:
        InputError: there is no such setting, with the choices that are made.
    """
    kinds = variants(type(settings))
    for name in sorted(changes, key=lambda name: name not in kinds):  # choices first
        value = changes[name]
        if name in kinds and isinstance(value, str):
            value = _of_kind(name, value, kinds[name], getattr(settings, name))
        if hasattr(settings, name):
            settings = dataclasses.replace(settings, **{name: value})
            continue
        owner = next((field for field in kinds if hasattr(getattr(settings, field), name)), None)
        if owner is None:
            raise unknown("setting", name, flat_names(settings))
        settings = dataclasses.replace(settings, **{owner: dataclasses.replace(getattr(settings, owner), **{name: value})})
    return settings


def flat_names(settings: Any) -> list[str]:
    """Return the names of all settings, those of the choices that are made among them."""
    own = [field.name for field in dataclasses.fields(settings)]
    chosen = [dataclasses.fields(getattr(settings, name)) for name in variants(type(settings))]
    return own + [field.name for fields in chosen for field in fields if field.name != "kind"]


def _of_kind(name: str, kind: str, known: dict[str, Any], now: Any) -> Any:
    if kind not in known:
        raise unknown(name, kind, known)
    types = {field.name: field.type for field in dataclasses.fields(now)}
    shared = [f.name for f in dataclasses.fields(known[kind]) if f.name != "kind" and types.get(f.name) == f.type]
    return known[kind](**{field: getattr(now, field) for field in shared})


class Experiment(NamedTuple):
    """What a recipe builds: what is trained, and how. What is done with a trained model is a task (`gen_jax.tasks`).

    Attributes:
        model: a `VAE`, a `DensityModel`, a `GAN`, an `Autoencoder`, or any model of one's own.
        loss: a `Loss`; of a GAN, `Adversaries` of two.
        optimizer: number of steps of the run -> optax optimizer; of a GAN, `Adversaries` of two.
        view: how the model sees stored examples, and what data it refuses.
        make_step: as `train.fit` takes it.
        validate: (params, key, examples) -> metrics; by default, those of the loss.
        best_metric: which of them (larger is better) chooses the parameters; None for the latest.
        curves: figures of metrics over epochs: by name, the metrics and the label of the axis.
        tasks: names of the tasks that are done at the end of training, beside `evaluate`.
        evaluation: options of `tasks.evaluate` that the settings give, such as how many importance samples.
    """

    model: Any
    loss: Loss | Adversaries
    optimizer: Callable[[int], Any]
    view: DataView
    make_step: Callable[..., Step] | None = None
    validate: Callable[..., Any] | None = None
    best_metric: str | None = "valid_score"
    curves: Mapping[str, tuple[tuple[str, ...], str]] = {}
    tasks: tuple[str, ...] = ()
    evaluation: dict[str, Any] = {}


class Recipe(NamedTuple):
    """An experiment by name.

    Attributes:
        summary: a line that says what it is.
        settings: its default settings.
        build: (settings, event shape) -> `Experiment`.
    """

    summary: str
    settings: Any
    build: Callable[[Any, tuple[int, ...]], Experiment]


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
    """Return how a model of events of a shape sees the settings' data; other shapes, and what `check` refuses, are refused."""
    view = data_view(settings.data, settings.binarise)._replace(symmetric=symmetric)

    def check_all(x: np.ndarray, where: str) -> None:
        shape = jax.eval_shape(view.read, x[0]).shape
        if shape != event_shape:
            raise InputError(f"{where} are {shape} each and the model takes {event_shape}: give data of that shape.")
        if view.read is to_unit:  # values as they are stored; others are read from their numbers
            check(x, where)

    return view._replace(check=check_all)


def image_shape(event_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of an image [H, W, C], or raise an InputError for an event that is none: convolutions take images."""
    match event_shape:
        case (height, width, channels):
            return height, width, channels
        case _:
            raise InputError(
                f"An example has shape {event_shape}, and convolutions take images [H, W, C]: use --architecture mlp."
            )
