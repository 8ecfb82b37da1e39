"""What is tried: the values of settings, the distributions that Optuna draws them from, and the next ones to try."""

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gen_jax.recipes import change
from gen_jax.recipes.settings import number_type, plain
from gen_jax.types import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FIXED = {
    **dict.fromkeys(("data", "binarise", "binarise_seed"), "changes what validation measures, so its values cannot be compared"),
    **dict.fromkeys(
        ("num_importance_samples", "devices", "shard_params", "stream"), "has no effect on what training comes to, up to rounding"
    ),
    "epochs": "is the same for all trials, by which they are compared and pruned",
}
"""Settings that cannot vary, and why."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, drawn uniformly or log-uniformly; whole ones for a setting that is a count."""

    low: float | int | np.number
    high: float | int | np.number
    log: bool = False

    @property
    def whole(self) -> range:
        """The whole numbers in it."""
        return range(math.ceil(self.low), math.floor(self.high) + 1)


Vary = Mapping[str, Collection[Any] | Range]
"""Settings by their flat names, and of each a `Range` or the values to choose from."""
Space = Mapping[str, dict[str, Any] | Range]
"""The same, checked: the values by the labels that a study stores."""


def checked(settings: Any, vary: Vary) -> dict[str, dict[str, Any] | Range]:
    """Return of each setting its range, or its values by the labels that a study stores.

    Raises:
        InputError: no setting, no value, or one twice; a range that is none, or of a setting that is no number; a setting that
            the choices made do not have, or that is in `FIXED`.
    """
    if not vary:
        raise InputError("vary is empty: give settings and their values, such as latent-dim=2,5,10.")
    if wrong := [name for name in vary if name in FIXED]:
        raise InputError(f"{wrong[0]} {FIXED[wrong[0]]}: leave it out of vary.")
    found: dict[str, dict[str, Any] | Range] = {}
    for name, values in vary.items():
        if isinstance(values, Range):
            found[name] = Range(plain(values.low), plain(values.high), values.log)
            continue
        choices = [plain(value) for value in values]
        found[name] = by_label = {label(value): value for value in choices}
        if not choices or len(by_label) < len(choices):
            raise InputError(f"The values of {name} are {choices}: give one or more, and each once.")
    settings = change(settings, **first({name: of for name, of in found.items() if not isinstance(of, Range)}))
    return {
        name: _checked_range(settings, name, of) if isinstance(of, Range) else _as_real(settings, name, of)
        for name, of in found.items()
    }


def _as_real(settings: Any, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a real number as such ones where whole ones are given, as on a command line."""
    real = number_type(settings, name) is float
    return {of: float(value) if real and type(value) is int else value for of, value in values.items()}


def _checked_range(settings: Any, name: str, values: Range) -> Range:
    """Return a range with ends of the setting's type, or raise an InputError."""
    kind, ends = number_type(settings, name), (values.low, values.high)
    said = f"{name} is varied in {values.low}..{values.high}"
    if kind is None:
        raise InputError(f"{said}, and it is no number: give the values to choose from, as {name.replace('_', '-')}=VALUE,VALUE.")
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends) or not values.low < values.high:
        raise InputError(f"{said}: give two finite numbers, the lower one first.")
    if kind is int and any(end != int(end) for end in ends):
        raise InputError(f"{said}, and it is a whole number: give whole ends.")
    if values.log and values.low <= 0:
        raise InputError(f"{said}:log, and 0 and below have no logarithm: give a positive lower end.")
    return Range(kind(values.low), kind(values.high), values.log)


def label(value: Any) -> str:
    """Return a value of a setting as a study stores it and a table shows it."""
    return value if isinstance(value, str) else json.dumps(value)


def first(space: Space) -> dict[str, Any]:
    """Return one value of each setting."""
    return {name: of.low if isinstance(of, Range) else next(iter(of.values())) for name, of in space.items()}


def corners(space: Space) -> list[dict[str, Any]]:
    """Return every value, and both ends of a range, each with one value of the other settings."""
    ends = {name: (of.low, of.high) if isinstance(of, Range) else tuple(of.values()) for name, of in space.items()}
    return [first(space) | {name: value} for name, values in ends.items() for value in values]


def as_json(space: Space) -> dict[str, Any]:
    """Return a space as plain JSON values, by which a study knows its own."""
    return {name: dataclasses.asdict(of) if isinstance(of, Range) else list(of) for name, of in space.items()}


def values_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of settings that the parameters of a trial are the labels of."""
    return {name: params[name] if isinstance(of, Range) else of[params[name]] for name, of in space.items()}


def distributions(space: Space) -> "dict[str, BaseDistribution]":
    """Return Optuna's distribution of each setting."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def one(of: dict[str, Any] | Range) -> "BaseDistribution":
        if not isinstance(of, Range):
            return CategoricalDistribution(list(of))
        kind: Any = IntDistribution if isinstance(of.low, int) else FloatDistribution
        return kind(of.low, of.high, log=of.log)

    return {name: one(of) for name, of in space.items()}


def propose(space: Space, trials: "Sequence[FrozenTrial]", seed: int) -> dict[str, Any] | None:
    """Return the parameters of the next trial, or None where every combination of values was tried.

    They are drawn by the tree-structured Parzen estimator (Bergstra et al. 2011) under a seed of the study's and the trial's
    number, so that they depend on the trials before alone, and not on the process that draws. Since a trial is a function of its
    settings, none of a finite number of combinations is tried twice: another one takes the place.
    """
    import optuna

    of_trial = np.random.SeedSequence((seed, len(trials)))
    sampler = optuna.samplers.TPESampler(seed=int(of_trial.generate_state(1)[0]), constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    params = study.ask(distributions(space)).params
    seen, drawn = {tuple(trial.params[name] for name in space) for trial in trials}, tuple(params[name] for name in space)
    is_real = lambda of: isinstance(of, Range) and isinstance(of.low, float)
    if drawn not in seen or any(map(is_real, space.values())):
        return params
    lists = [of.whole if isinstance(of, Range) else list(of) for of in space.values()]
    if len(seen) == math.prod(map(len, lists)):
        return None
    rng = np.random.default_rng((seed, len(trials)))
    while drawn in seen:
        drawn = tuple(values[rng.integers(len(values))] for values in lists)
    return dict(zip(space, drawn, strict=True))
