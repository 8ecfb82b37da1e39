"""Settings: frozen dataclasses whose types say which values are valid.

A choice that has settings of its own is a union of dataclasses, told apart by their `kind`, so that every setting has an effect.
The command line and `change` are flat: `--objective capacity --gamma 100`.
"""

import copy
import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, dataclass_transform, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Lt
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from tyro.conf import Suppress

from gen_jax.data import Binarisation, absolute_name
from gen_jax.train import ScheduleName, decay_of_half_life
from gen_jax.types import InputError, Key, unknown

Count = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**31)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Decay = Annotated[float, Gt(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Sizes = tuple[Count, ...]

ActivationName = Literal["relu", "tanh"]
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}

# purposes, folded into the key of a seed so that they share no random stream (1 is data.BINARISATION)
RUN, SAMPLES, MASKS, PRIOR = 0, 2, 3, 4


def seed_key(seed: int, purpose: int) -> Key:
    """Return the root key of a seed for one purpose."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", revalidate_instances="always")
KIND = Field(discriminator="kind")
"""Marks a union of choices: `Annotated[A | B, KIND]`."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
@dataclass(frozen=True, kw_only=True)
class Choice:
    """Kinds of a component that have the same settings.

    `class Iwae(Choice, kinds=("iwae", "dreg"))` is a frozen dataclass whose `kind` is one of these, by default the first. The
    command line and files choose the class by the kind. A class without kinds holds the settings that others inherit.
    """

    __pydantic_config__ = STRICT
    kinds: ClassVar[tuple[str, ...]] = ()
    kind: Suppress[str] = ""

    def __init_subclass__(cls, kinds: tuple[str, ...] = ("",)) -> None:
        own = inspect.get_annotations(cls)
        cls.__annotations__ = {"kind": Suppress[Literal[kinds]], **own}  # ty: ignore[invalid-type-form]
        cls.kinds, cls.kind = kinds, kinds[0]
        dataclass(frozen=True, kw_only=True)(cls)


class Nothing(Choice, kinds=("none",)):
    """The component is left out."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that every recipe has. A recipe's own settings extend them."""

    __pydantic_config__ = STRICT
    data: str = "mnist-5k"
    """Data set: mnist-5k, mnist, fashion_mnist, cifar10, dna, sprites, sprites-colour, emoji, stacked:, edges:,
    grey:, inverted:, pair:, toy:, tfds:, npz:, folder:."""
    binarise: Binarisation = "dynamic"
    """How grey values become what the model sees: drawn anew at each step, drawn once, by threshold, or left as they are."""
    binarise_seed: Seed = 0
    """Seed of what is drawn once: validation and test examples, and training examples under --binarise fixed."""
    seed: Seed = 0
    """Seed of initialisation, order of examples, and noise."""
    epochs: Count = 60
    """Passes over the training data."""
    epoch_steps: Count | None = None
    """Steps in an epoch that is not a whole pass over the data: each epoch draws other examples."""
    batch_size: Count = 100
    """Examples in a step."""
    learning_rate: Positive = 1e-3
    """The optimizer's (peak) learning rate."""
    schedule: ScheduleName = "cosine"
    """Learning rate over the run: constant, cosine down to 0, linear down to 0 after the first half, or the eight
    stages of the IWAE paper."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay: at each step parameters shrink by this times the learning rate."""
    clip_norm: Positive | None = None
    """Clip the gradient to this global norm."""
    ema_decay: Decay | None = None
    """Evaluate a moving average of the parameters with this decay per step, such as 0.999."""
    ema_half_life: Positive | None = None
    """The same average by its half-life, in thousands of examples seen, which suits any batch size; in place of --ema-decay."""
    validate_every: Count = 1
    """Number of epochs between validations, each of which saves a checkpoint."""
    patience: Count | None = None
    """Stop early after this number of validations in a row without improvement."""
    stream: bool = False
    """Read training batches from the host through Grain, for data that does not fit on the device."""

    devices: Count | None = None
    """Number of devices that share each batch; by default the largest number of them that divides it."""
    shard_params: bool = False
    """Share parameters and the optimizer's state among the devices too, for networks that do not fit on one."""

    @property
    def examples_per_step(self) -> int:
        """The number of examples that a step takes."""
        return self.batch_size

    @property
    def average_decay(self) -> Any:
        """The decay per step of the moving average of the parameters; None for no average."""
        if self.ema_half_life is None:
            return self.ema_decay
        return decay_of_half_life(1000 * self.ema_half_life, self.examples_per_step)

    def with_whole_names(self) -> "Settings":
        """Return the settings with a name of the data that means the same from any folder."""
        return dataclasses.replace(self, data=absolute_name(self.data))

    def check(self) -> None:
        """Raise an InputError for inconsistent values."""

    def check_steps(self, num_steps: int) -> None:
        """Raise an InputError for a value that does not suit the number of steps of the run."""


MAY_CHANGE = {"epochs", "validate_every", "patience", "num_importance_samples", "devices", "shard_params"}
"""The settings that may differ when a run is resumed: they only say what is left to do, and where."""


def check_settings(settings: Settings) -> None:
    """Raise an InputError for a value that is out of range, of the wrong type, or inconsistent with another."""
    _validated(TypeAdapter(type(settings)).validate_python, settings)
    if settings.binarise_seed and settings.binarise in ("none", "threshold"):
        raise InputError(
            f"binarise_seed is {settings.binarise_seed}, and binarise is {settings.binarise}, which draws nothing: leave it out."
        )
    if settings.ema_decay is not None and settings.ema_half_life is not None:
        raise InputError(
            f"ema_decay is {settings.ema_decay} and ema_half_life {settings.ema_half_life}, which say the same thing: give one "
            "of them, and None for the other."
        )
    if settings.ema_half_life is not None and not 0 < settings.average_decay < 1:
        raise InputError(
            f"ema_half_life is {settings.ema_half_life} thousand examples, of which a step takes "
            f"{settings.examples_per_step}: give a time between one step and some million."
        )
    settings.check()


def read_settings(settings_type: type, json_text: str) -> Any:
    """Return settings from their JSON, as `config.json` holds them, or raise an InputError."""
    return _validated(TypeAdapter(settings_type).validate_json, json_text)


def settings_json(settings: Settings) -> dict[str, Any]:
    """Return settings as plain JSON values."""
    return TypeAdapter(type(settings)).dump_python(settings, mode="json")


def _validated(validate: Callable[[Any], Any], value: Any) -> Any:
    try:
        return validate(value)
    except ValidationError as error:
        raise InputError(_sentence(error.errors(include_url=False)[0])) from error


WANTED = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "several values, such as (64, 32)",
    "dataclass": "settings by name",
    **dict.fromkeys(
        ("dict", "model_attributes", "dataclass_exact", "union_tag_not_found"), "a choice: its kind, with its settings"
    ),
}
"""What a setting should be, by the word in pydantic's type of an error."""


def _sentence(error: Any) -> str:
    """Say what a setting is and what it could be."""
    names = [str(part) for part in error["loc"] if not isinstance(part, int)]
    if error["type"] == "dataclass_exact_type":  # names the kind after the choice
        names = names[:1]
    name, context = (names or ["settings"])[-1], error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            wanted = f"give {context['ge']:.15g} or more"
        case "greater_than":
            wanted = "give a positive number" if context["gt"] == 0 else f"give more than {context['gt']:.15g}"
        case "less_than" | "less_than_equal":
            wanted = f"give less than {context['lt']:.15g}" if "lt" in context else f"give {context['le']:.15g} or less"
        case "literal_error":
            wanted = f"give {context['expected']}".replace("'", "").replace(" or ", ", ")
        case "union_tag_invalid":
            return f"{name} is {context['tag']!r}: give {context['expected_tags']}.".replace("'", "")
        case "unexpected_keyword_argument":
            return f"There is no setting {name!r} here: leave it out."
        case "finite_number":
            wanted = "give a finite number"
        case kind:
            word = kind.removesuffix("_type").removesuffix("_parsing")
            wanted = f"give {WANTED.get(word, word.replace('_', ' '))}"
    return f"{name} is {error['input']!r}: {wanted}."


def variants(settings_type: type) -> dict[str, dict[str, type[Choice]]]:
    """Return the fields that are a `Choice`: for each, its classes by kind."""
    found = {}
    for name, hint in get_type_hints(settings_type).items():
        if options := [option for option in get_args(hint) or (hint,) if dataclasses.is_dataclass(option)]:
            found[name] = {kind: option for option in options for kind in option.kinds}
    return found


def plain(value: Any) -> Any:
    """Return a value of a setting with numbers of Python in place of those of arrays, and lists as tuples."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def change(settings: Any, **changes: Any) -> Any:
    """Return settings with some changed, by the flat names of the command line.

    A choice may be given by its kind, and a tuple as a list:

        change(vae.settings, objective="capacity", gamma=100.0, epochs=20)

    Where a choice changes, the settings that both kinds have stay as they are.

    Raises:
        InputError: there is no such setting, or the choices made do not have it.

    Examples:
        >>> from gen_jax.recipes import RECIPES, change
        >>> settings = change(RECIPES["vae"].settings, hidden_sizes=[64, 32], objective="capacity", gamma=100.0)
        >>> settings.architecture.hidden_sizes, settings.objective.gamma
        ((64, 32), 100.0)
    """
    kinds = variants(type(settings))
    for name, value in sorted(changes.items(), key=lambda item: item[0] not in kinds):  # choices first
        value = plain(value)
        owner = _owner(settings, name)
        if name in kinds and isinstance(value, str):
            value = _of_kind(name, value, kinds[name], getattr(settings, name))
        elif name not in _fields(settings):
            if owner is None:
                raise _unknown(settings, name)
            name, value = owner, dataclasses.replace(getattr(settings, owner), **{name: value})
        settings = dataclasses.replace(settings, **{name: value})
    return settings


def with_number(settings: Any, name: str, value: Any) -> Any:
    """Return settings with an array in place of a number, at any depth, such as one of many under a `vmap`: it is not checked.

    Raises:
        InputError: there is no such setting, or it is no real number.
    """
    owner = _owner(settings, name)
    names = [field for of in (settings, *(getattr(settings, kind) for kind in variants(type(settings)))) for field in _fields(of)]
    if name not in names or number_type(settings, name) is not float:
        numbers = [field for field in names if number_type(settings, field) is float]
        hint = f"give one of {', '.join(numbers)}; `gen-jax tune` varies whole numbers too"
        raise InputError(f"{name} is no real number among the settings: {hint}.")
    part = copy.copy(settings if owner is None else getattr(settings, owner))
    object.__setattr__(part, name, value)  # `dataclasses.replace` would have its type checked
    if owner is None:
        return part
    settings = copy.copy(settings)
    object.__setattr__(settings, owner, part)
    return settings


def number_type(settings: Any, name: str) -> type | None:
    """Return whether a setting is a whole number (int), a real one (float), or neither (None); it may be None besides.

    Raises:
        InputError: there is no such setting, or the choices made do not have it.
    """
    owner = _owner(settings, name)
    if owner is None and name not in _fields(settings):
        raise _unknown(settings, name)
    hint = get_type_hints(type(settings if owner is None else getattr(settings, owner)))[name]
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((kind for kind in (int, float) if kind in options), None)


def _owner(settings: Any, name: str) -> str | None:
    """Return the choice that has a setting."""
    return next((field for field in variants(type(settings)) if name in _fields(getattr(settings, field))), None)


def comes_with(settings: Any, name: str) -> list[tuple[str, str]]:
    """Return the choices, field and kind, that have a setting which those made have not."""
    if name in _fields(settings) or _owner(settings, name) is not None:
        return []
    options = ((field, kind, option) for field, of in variants(type(settings)).items() for kind, option in of.items())
    return [(field, kind) for field, kind, option in options if name in _fields(option)]


def _unknown(settings: Any, name: str) -> InputError:
    if choices := comes_with(settings, name):
        described = (f"{field}={kind!r}" for field, kind in choices)
        return InputError(f"There is no setting {name!r} here: it comes with {' or '.join(described)}.")
    chosen = [field for choice in variants(type(settings)) for field in _fields(getattr(settings, choice))]
    return unknown("setting", name, [*_fields(settings), *chosen])


def _fields(settings: Any) -> dict[str, Any]:
    """The types of the settings of a dataclass, by name."""
    return {field.name: field.type for field in dataclasses.fields(settings) if field.name != "kind"}


def _of_kind(name: str, kind: str, known: dict[str, Any], now: Any) -> Any:
    if kind not in known:
        raise unknown(name, kind, known)
    types = _fields(now)
    shared = [field for field, type_ in _fields(known[kind]).items() if types.get(field) == type_]
    return known[kind](kind=kind, **{field: getattr(now, field) for field in shared})
