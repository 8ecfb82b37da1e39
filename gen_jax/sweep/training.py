"""Train many runs at once: seeds × values of settings, in one vmapped program."""

import dataclasses
import itertools
import math
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data import Dataset, load_dataset
from gen_jax.recipes import Experiment, Recipe, Settings, change, check_settings, find_recipe
from gen_jax.recipes.experiment import as_seen, fit_options
from gen_jax.recipes.settings import RUN, plain, seed_key, with_number
from gen_jax.train import (
    FitKeys,
    TrainState,
    evaluation_params,
    fit_keys,
    make_game_step,
    make_step,
    on_stored,
    programs,
    scan_epoch,
    start,
    steps_per_epoch,
)
from gen_jax.types import Array, InputError, Key, Params, is_out_of_memory

T = TypeVar("T")


class ManyTrained(NamedTuple):
    """Models of one recipe, trained at once.

    Attributes:
        experiment: the model, and how it sees data.
        data: as it sees them.
        settings: of each value [V], or each combination of values; the first ones vary slowest.
        values: of the settings that are varied [V, S].
        states: the `TrainState`s after the last step: leaves [V, S, ...], of S seeds. They are on the host.
        keys: of each run [V, S], as `runs.train` has them.
        history: the mean of each training metric over the steps of an epoch [V, S, epochs].
        seconds: of the whole training, with its compilation.
    """

    experiment: Experiment
    data: Dataset
    settings: list[Any]
    values: dict[str, np.ndarray]
    states: TrainState
    keys: FitKeys
    history: dict[str, np.ndarray]
    seconds: float

    @property
    def variables(self) -> Params:
        """What the model's functions take: leaves [V, S, ...]."""
        return evaluation_params(self.states)


def train_many(
    recipe: str | Recipe,
    settings: Any = None,
    *,
    num_seeds: int,
    vary: Mapping[str, Collection[float]] | None = None,
    at_once: int | None = None,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> ManyTrained:
    """Train a recipe for every seed and every value of settings, all at once; each is the run of `runs.train` up to rounding.

        trained = train_many("vae", num_seeds=4, vary={"beta": (0.5, 1.0, 2.0)})

    The parameters are those after the last step. Nothing is written to disk. A GAN that grows computes every stage at each step,
    since a `vmap` makes a choice between stages a selection.

    Args:
        recipe: a `Recipe`, or its name.
        settings: by default, the recipe's own.
        num_seeds: S: the seeds are `settings.seed`, `settings.seed` + 1, …
        vary: the values of settings that enter a step as numbers, such as `beta`, `penalty_weight` or `learning_rate`; of
            several, every combination is trained.
        at_once: the most runs that are in memory at a time; by default all of them. Where they do not fit, half as many are
            tried. (A CPU's system may end the process instead.)
        on_epoch: called with the number of epochs done and in all, added up over the runs; what did not fit is done again.

    Raises:
        InputError: no seed, no value, or one twice; a setting that the choices made do not have, or that is no number of a step;
            a recipe that builds another model for each seed.
    """
    recipe, vary = find_recipe(recipe), {name: plain(tuple(values)) for name, values in (vary or {}).items()}
    settings = recipe.settings if settings is None else settings
    _check_options(settings, num_seeds, vary, at_once)
    settings = settings.with_whole_names()
    of_values = [change(settings, **dict(zip(vary, values, strict=True))) for values in itertools.product(*vary.values())]
    stored = load_dataset(settings.data, "none")
    for of_value in of_values:
        check_settings(of_value)
        recipe.build(of_value, stored.event_shape)  # raises for what it cannot be
    experiment = recipe.build(settings, stored.event_shape)
    data = as_seen(stored, settings, experiment)
    num_steps = settings.epochs * steps_per_epoch(len(data.train.x), settings.examples_per_step, settings.epoch_steps)
    settings.check_steps(num_steps)
    experiment.check_steps(num_steps)
    if num_seeds > 1:
        _check_seeds(recipe, settings, experiment, data)
    began = time.perf_counter()
    combinations = np.array(list(itertools.product(*vary.values())), np.float32)
    values = {name: np.repeat(combinations[:, i, None], num_seeds, axis=1) for i, name in enumerate(vary)}
    states, history, keys = _train(recipe, settings, experiment, data, num_steps, num_seeds, values, at_once, on_epoch)
    return ManyTrained(experiment, data, of_values, values, states, keys, history, time.perf_counter() - began)


def _check_options(settings: Any, num_seeds: int, vary: dict[str, Sequence[float]], at_once: int | None) -> None:
    for what, num in {"num_seeds": num_seeds, "at_once": at_once, **{f"values of {k}": len(v) for k, v in vary.items()}}.items():
        if num is not None and num < 1:
            raise InputError(f"{what} is {num}: give 1 or more.")
    for name, values in vary.items():
        if len(set(values)) < len(values):
            raise InputError(f"The values of {name} are {list(values)}: give each once.")
        for value in values:
            with_number(settings, name, value)  # raises for what is no number
    if 0 in vary.get("weight_decay", ()):
        raise InputError("weight_decay is 0 among its values, which makes another optimizer: give positive ones.")
    refuse_given(settings, Settings(), ("patience", "devices", "shard_params", "stream"))
    for seed in (settings.seed, settings.seed + num_seeds - 1):
        check_settings(dataclasses.replace(settings, seed=seed))


def refuse_given(settings: Any, default: Any, names: Sequence[str]) -> None:
    """Raise an InputError for a setting that a sweep makes nothing of, and that is another than by default."""
    for name in names:
        value = getattr(settings, name, None)
        if value != getattr(default, name, None):
            raise InputError(f"{name} is {value}, which a sweep does not have: leave it out.")


def _check_seeds(recipe: Recipe, settings: Any, experiment: Experiment, data: Dataset) -> None:
    """Raise an InputError for a recipe whose model depends on the seed, as random masks do: the runs would all have the first."""
    other = dataclasses.replace(settings, seed=settings.seed + 1)
    experiments = (settings, experiment), (other, recipe.build(other, data.event_shape))
    one, two = (programs(jax.random.key(0), e.model, e.loss, data, **fit_options(e, s)) for s, e in experiments)
    if one != two:
        raise InputError(
            "This recipe draws a part of its model, such as masks or a prior, by the seed, and a sweep trains one model under "
            "many seeds: give --num-seeds 1, and another --seed to another sweep."
        )


def _train(
    recipe: Recipe,
    settings: Any,
    experiment: Experiment,
    data: Dataset,
    num_steps: int,
    num_seeds: int,
    values: dict[str, np.ndarray],
    at_once: int | None,
    on_epoch: Callable[[int, int], None],
) -> tuple[TrainState, dict[str, np.ndarray], FitKeys]:
    """Return the states [V, S, ...] of `train_many`, its history, and the keys of each run."""
    examples, model = data.train.on_device(), experiment.model

    of_values = lambda values: with_values(recipe, settings, values, data)

    def begin(values: dict[str, Array], key: Key) -> TrainState:
        of_value, found = of_values(values)
        return start(key, model, found.optimizer(num_steps), data.event_shape, of_value.average_decay is not None)

    def epoch(values: dict[str, Array], state: TrainState, key: Key) -> tuple[TrainState, dict[str, Array]]:
        of_value, found = of_values(values)
        losses = jax.tree.map(lambda loss: on_stored(data.view, model, loss), found.loss, is_leaf=callable)
        make = found.make_step or (make_game_step if isinstance(losses, tuple) else make_step)
        step = make(losses, found.optimizer(num_steps), of_value.average_decay)
        state, metrics = scan_epoch(step, settings.examples_per_step, settings.epoch_steps)(state, examples, key)
        return state, jax.tree.map(jnp.mean, metrics)

    num = num_seeds * len(next(iter(values.values()), [0]))
    roots = [seed_key(settings.seed + i % num_seeds, RUN) for i in range(num)]
    keys = FitKeys(*map(jnp.stack, zip(*map(fit_keys, roots), strict=True)))
    flat = {name: jnp.asarray(of_runs.reshape(-1)) for name, of_runs in values.items()}
    _check_varied(begin, epoch, flat, jnp.stack(roots), keys.order)
    start_many, run_epoch = jax.jit(jax.vmap(begin)), jax.jit(jax.vmap(epoch), donate_argnums=1)

    def train_part(part: slice) -> tuple[TrainState, dict[str, np.ndarray]]:
        of_part, order, history = jax.tree.map(lambda leaf: leaf[part], flat), keys.order[part], []
        states = start_many(of_part, jnp.stack(roots[part]))
        for done in range(settings.epochs):
            states, metrics = run_epoch(of_part, states, jax.vmap(lambda key, done=done: jax.random.fold_in(key, done))(order))
            history.append(metrics)
            on_epoch(settings.epochs * part.start + (done + 1) * len(order), settings.epochs * num)
        histories = jax.tree.map(lambda *of_epochs: np.stack(of_epochs, axis=1), *jax.device_get(history))
        return _host(states), histories

    ended = in_parts(train_part, num, at_once)
    by_value = lambda leaf: leaf.reshape(-1, num_seeds, *leaf.shape[1:])
    states, history = jax.tree.map(lambda *parts: by_value(_joined(parts)), *ended)
    return states, history, jax.tree.map(by_value, keys)


def in_parts(function: Callable[[slice], T], num: int, at_once: int | None) -> list[T]:
    """Return what a function returns of each part of `num` runs, `at_once` of them or, where memory runs out, half as many."""
    found, first, size = [], 0, at_once or num
    while first < num:
        size = min(size, num - first)
        try:
            found.append(function(slice(first, first + size)))
            first += size
        except (MemoryError, RuntimeError) as error:  # JAX's are RuntimeErrors
            if size == 1 or not is_out_of_memory(error):
                raise
            size = math.ceil(size / 2)
            warnings.warn(f"Out of memory: {size} runs at once are tried. Another time give at_once={size}.", stacklevel=2)
    return found


def _host(states: TrainState) -> TrainState:
    """Return states in the host's memory; keys, which NumPy has no type for, stay on the device."""
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda leaf: leaf if is_key(leaf) else np.asarray(leaf), states)


def _joined(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts)


def _check_varied(begin: Any, epoch: Any, values: dict[str, Array], roots: Array, keys: Array) -> None:
    """Raise an InputError for a setting of which a step does not depend as on a number."""
    if not values:
        return
    names = ", ".join(values)
    try:
        states = jax.eval_shape(jax.vmap(begin), values, roots)
        jaxpr = jax.make_jaxpr(jax.vmap(epoch))(values, states, keys).jaxpr
    except (jax.errors.JAXTypeError, InputError) as error:  # of a recipe, JAX's error is the cause of an InputError
        if not isinstance(error.__cause__ or error, jax.errors.JAXTypeError):
            raise
        raise InputError(
            f"{names} cannot be varied in one program: give a setting of the objective, the penalty or the optimizer."
        ) from error
    for name, variable in zip(sorted(values), jaxpr.invars, strict=False):  # a dict's leaves are in the order of their names
        if not any(variable is used for equation in jaxpr.eqns for used in equation.invars):
            raise InputError(
                f"{name} does not enter a step of this recipe: give a setting of its objective, its penalty or its optimizer."
            )


def with_values(recipe: Recipe, settings: Any, values: dict[str, Array], data: Dataset) -> tuple[Any, Experiment]:
    """Return settings with arrays in place of numbers, and their experiment."""
    for name, value in values.items():
        settings = with_number(settings, name, value)
    return settings, recipe.build(settings, data.event_shape)
