"""Train many runs at once, seeds × values of settings in one vmapped program, and measure them."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import runs
from gen_jax.data import MODES, Dataset, load_dataset
from gen_jax.evaluate import (
    ModeCoverage,
    active_units,
    example_keys,
    map_examples,
    mean_and_standard_error,
    mode_coverage,
    posterior_mean,
    wilson_interval,
)
from gen_jax.gan import draw_latents
from gen_jax.recipes import Experiment, Recipe, change, check_settings, find_recipe
from gen_jax.recipes.experiment import as_seen
from gen_jax.recipes.gan_points import NUM_POINTS
from gen_jax.recipes.settings import RUN, seed_key, with_number
from gen_jax.train import (
    FitKeys,
    TrainState,
    evaluation_params,
    fit_keys,
    make_game_step,
    make_step,
    on_stored,
    scan_epoch,
    start,
    steps_per_epoch,
    validation,
)
from gen_jax.types import GAN, VAE, Array, InputError, Key, Params, context_of, split

Vary = Mapping[str, Sequence[float]]
"""Settings that are numbers, and the values of each."""


class ManyTrained(NamedTuple):
    """Models of one recipe, trained at once.

    Attributes:
        experiment: the model, and how it sees data.
        data: as it sees them.
        settings: of each value [V], or each combination of values; the first ones vary slowest.
        states: the `TrainState`s after the last step: leaves [V, S, ...], of S seeds. They are on the host.
        keys: of each run [V, S], as `runs.train` has them.
        history: the mean of each training metric over the steps of an epoch [V, S, epochs].
    """

    experiment: Experiment
    data: Dataset
    settings: list[Any]
    states: TrainState
    keys: FitKeys
    history: dict[str, np.ndarray]

    @property
    def variables(self) -> Params:
        """What the model's functions take: leaves [V, S, ...]."""
        return evaluation_params(self.states)


def train_many(
    recipe: str | Recipe,
    settings: Any = None,
    *,
    num_seeds: int,
    vary: Vary | None = None,
    at_once: int | None = None,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> ManyTrained:
    """Train a recipe for every seed and every value of settings, all at once; each is the run of `runs.train` up to rounding.

        trained = train_many("vae", num_seeds=4, vary={"beta": (0.5, 1.0, 2.0)})

    The parameters are those after the last step. Nothing is written to disk.

    Args:
        recipe: a `Recipe`, or its name.
        settings: by default, the recipe's own.
        num_seeds: S: the seeds are `settings.seed`, `settings.seed` + 1, …
        vary: the values of settings that enter a step as numbers, such as `beta`, `penalty_weight` or `learning_rate`; of
            several, every combination is trained.
        at_once: the number of runs in memory at a time; by default all of them.
        on_epoch: called with the number of epochs done and in all, of runs that are trained together.

    Raises:
        InputError: no seed, or no value; a setting that the choices made do not have, or that is no number of a step.
    """
    recipe, vary = find_recipe(recipe), dict(vary or {})
    settings = recipe.settings if settings is None else settings
    for what, num in {"num_seeds": num_seeds, "at_once": at_once, **{f"values of {k}": len(v) for k, v in vary.items()}}.items():
        if num is not None and num < 1:
            raise InputError(f"{what} is {num}: give 1 or more.")
    if settings.patience is not None:
        raise InputError(f"patience is {settings.patience}, and all runs of a sweep go to the end: leave it out.")
    for seed in (settings.seed, settings.seed + num_seeds - 1):
        check_settings(dataclasses.replace(settings, seed=seed))
    settings = settings.with_whole_names()
    of_values = []
    for combination in itertools.product(*vary.values()):
        for name, value in zip(vary, combination, strict=True):
            with_number(settings, name, value)  # raises for what is no number
        of_values.append(change(settings, **dict(zip(vary, combination, strict=True))))
        check_settings(of_values[-1])
    stored = load_dataset(settings.data, "none")
    experiment = recipe.build(settings, stored.event_shape)
    data = as_seen(stored, settings, experiment)
    examples, model = data.train.on_device(), experiment.model
    num_steps = settings.epochs * steps_per_epoch(len(data.train.x), settings.examples_per_step, settings.epoch_steps)
    settings.check_steps(num_steps)
    experiment.check_steps(num_steps)
    experiment.optimizer(num_steps)  # raises for what it cannot be

    def experiment_of(values: dict[str, Array]) -> Experiment:
        of_value = settings
        for name, value in values.items():
            of_value = with_number(of_value, name, value)
        return recipe.build(of_value, data.event_shape)

    def begin(values: dict[str, Array], key: Key) -> TrainState:
        optimizer = experiment_of(values).optimizer(num_steps)
        return start(key, model, optimizer, data.event_shape, settings.average_decay is not None)

    def epoch(values: dict[str, Array], state: TrainState, key: Key) -> tuple[TrainState, dict[str, Array]]:
        found = experiment_of(values)
        losses = jax.tree.map(lambda loss: on_stored(data.view, model, loss), found.loss, is_leaf=callable)
        make = found.make_step or (make_game_step if isinstance(losses, tuple) else make_step)
        step = make(losses, found.optimizer(num_steps), settings.average_decay)
        state, metrics = scan_epoch(step, settings.examples_per_step, settings.epoch_steps)(state, examples, key)
        return state, jax.tree.map(jnp.mean, metrics)

    cells = list(itertools.product(itertools.product(*vary.values()), range(num_seeds)))
    roots = [seed_key(settings.seed + seed, RUN) for _, seed in cells]
    keys = FitKeys(*map(jnp.stack, zip(*map(fit_keys, roots), strict=True)))
    values = {name: jnp.float32(jnp.array([cell[0][i] for cell in cells])) for i, name in enumerate(vary)}
    _check_varied(begin, epoch, values, jnp.stack(roots), keys.order)
    start_many, run_epoch = jax.jit(jax.vmap(begin)), jax.jit(jax.vmap(epoch), donate_argnums=1)
    ended, at_once = [], min(at_once or len(cells), len(cells))
    total = settings.epochs * math.ceil(len(cells) / at_once)
    for first in range(0, len(cells), at_once):
        part = slice(first, first + at_once)
        of_part, order, history = jax.tree.map(lambda leaf, part=part: leaf[part], values), keys.order[part], []
        states = start_many(of_part, jnp.stack(roots[part]))
        for done in range(settings.epochs):
            states, metrics = run_epoch(of_part, states, jax.vmap(lambda key, done=done: jax.random.fold_in(key, done))(order))
            history.append(metrics)
            on_epoch(settings.epochs * (first // at_once) + done + 1, total)
        histories = jax.tree.map(lambda *of_epochs: np.stack(of_epochs, axis=1), *jax.device_get(history))
        ended.append((_host(states), histories))
    whole = jax.tree.map(lambda *parts: parts[0] if len(parts) == 1 else _joined(parts), *ended)
    by_value = lambda leaf: leaf.reshape(-1, num_seeds, *leaf.shape[1:])
    states, history = jax.tree.map(by_value, whole)
    return ManyTrained(experiment, data, of_values, states, jax.tree.map(by_value, keys), history)


def _host(states: TrainState) -> TrainState:
    """Return states in the host's memory; keys, which NumPy has no type for, stay on the device."""
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda leaf: leaf if is_key(leaf) else np.asarray(leaf), states)


def _joined(parts: Sequence[Any]) -> Any:
    return (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts)


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


def sweep(recipe: str | Recipe, settings: Any = None, *, out: Path | str | None = None, **options: Any) -> list[dict[str, Any]]:
    """Train as `train_many` does, with its options, and return a row for each value: means and standard errors over seeds.

    Of every model, the training metrics of the last epoch. Of one that minimises one loss, its metrics on validation data
    (`valid_…`) and on test data, and `best` for the row with the highest validation score. Of a VAE whose latents are real
    numbers without bounds, active units too. Of a GAN of points whose modes are known: the share of runs that cover all of them
    with its 95 % interval (Wilson), and what `evaluate.mode_coverage` measures. Runs that diverged are counted, and in no mean.

    Args:
        recipe: a `Recipe`, or its name.
        settings: by default, the recipe's own.
        out: a new folder, in which each run gets a run folder, as it is after the last step.
        **options: of `train_many`.

    Raises:
        InputError: as for `train_many`; or the folder exists.
    """
    if out is not None and Path(out).exists():
        raise InputError(f"{out} exists, and runs of a sweep go into a new folder: choose another.")
    trained = train_many(recipe, settings, **options)
    rows = [{"num_seeds": len(trained.keys.order[0])} | row for row in _measured(trained)]
    vary = options.get("vary") or {}
    named = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    rows = [name | row for name, row in zip(named, rows, strict=True)]
    if out is not None:
        _write(recipe, trained, named, Path(out))
    return rows


def _write(recipe: str | Recipe, trained: ManyTrained, named: list[dict[str, float]], out: Path) -> None:
    """Write a run folder for each run."""
    stored = load_dataset(trained.settings[0].data, "none")
    for i, values in enumerate(named):
        for seed in range(len(trained.keys.order[i])):
            of_run = dataclasses.replace(trained.settings[i], seed=trained.settings[i].seed + seed)
            name = "-".join([*(f"{key}={value:g}" for key, value in values.items()), f"seed={of_run.seed}"])
            state = jax.tree.map(lambda leaf, at=(i, seed): leaf[at], trained.states)
            history = {metric: values[i, seed] for metric, values in trained.history.items()}
            runs.write_run(out / name, recipe, of_run, stored, state, history)


def _measured(trained: ManyTrained) -> list[dict[str, Any]]:
    model, data = trained.experiment.model, trained.data
    losses = {f"train_{name}": values[..., -1] for name, values in trained.history.items()}
    if isinstance(model, GAN) and data.name in MODES:
        return [row | _means(losses, i) for i, row in enumerate(_modes(trained, data.name))]
    finite = np.all([np.isfinite(values) for values in losses.values()], axis=0)
    if not isinstance(trained.experiment.loss, tuple):
        measure = validation(trained.experiment.loss, data.view, model, trained.settings[0].batch_size)
        at_once = jax.jit(jax.vmap(jax.vmap(measure, in_axes=(0, 0, None)), in_axes=(0, 0, None)))
        of = lambda split: jax.device_get(at_once(trained.variables, trained.keys.evaluation, split.on_device()))
        losses |= of(data.valid) | {name.removeprefix("valid_"): value for name, value in of(data.test).items()}
    if isinstance(model, VAE) and model.latent is not None and model.latent.unbounded:
        losses["active_units"] = _active_units(trained)
    rows = [{"num_diverged": int((~finite[i]).sum())} | _means(losses, i, finite[i]) for i in range(len(finite))]
    scores = [row["valid_score"] for row in rows if row.get("valid_score") is not None]
    return [row | ({"best": True} if scores and row["valid_score"] == max(scores) else {}) for row in rows]


def _active_units(trained: ManyTrained) -> np.ndarray:
    vae, view = trained.experiment.model, trained.data.view
    test = trained.data.test.on_device()

    def of_run(variables: Params, key: Key) -> Array:
        def one(params: Params, key: Key, example: Any) -> Array:
            return posterior_mean(vae.encode(params, view.example(example.x), context_of(vae, example.labels)), key)

        means = map_examples(one, variables, example_keys(key, len(test.x)), test, 500)
        return jnp.sum(active_units(means), dtype=jnp.float32)

    return jax.device_get(jax.jit(jax.vmap(jax.vmap(of_run)))(trained.variables, trained.keys.evaluation))


def _means(numbers: dict[str, np.ndarray], i: int, finite: Any = slice(None)) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in numbers.items():
        of_row = np.asarray(values[i])[finite]
        found |= _mean(name, of_row[np.isfinite(of_row)])
    return found


def _modes(trained: ManyTrained, data: str) -> list[dict[str, Any]]:
    gan = trained.experiment.model

    @jax.default_matmul_precision("highest")
    def draw(variables: Params, key: Key) -> Array:
        return gan.generate(*split(variables), key, draw_latents(gan.prior, key, NUM_POINTS))[0]

    drawn = np.asarray(jax.jit(jax.vmap(jax.vmap(draw)))(trained.variables, trained.keys.evaluation))
    return [_row(of_runs, data) for of_runs in drawn]


def _row(of_runs: np.ndarray, data: str) -> dict[str, Any]:
    """Return the row of runs with samples [S, N, 2]. A run that diverged covers no modes, and is left out of the other means."""
    centres, scale = MODES[data]
    finite = [drawn for drawn in of_runs if np.isfinite(drawn).all()]
    found = [mode_coverage(drawn, centres, scale) for drawn in finite]
    covering = sum(coverage.num_modes == len(centres) for coverage in found)
    low, high = wilson_interval(covering, len(of_runs))
    row: dict[str, Any] = {"num_diverged": len(of_runs) - len(finite)}
    row |= {"share_covering": covering / len(of_runs), "low": low, "high": high}
    for name in ModeCoverage._fields:
        values = np.array([float(getattr(coverage, name)) for coverage in found])
        if name == "num_modes":
            values = np.append(values, np.zeros(row["num_diverged"]))
        row |= _mean(name, values[np.isfinite(values)])  # of a mode without two samples there is no variance
    return row


def _mean(name: str, values: np.ndarray) -> dict[str, float | None]:
    mean, error = mean_and_standard_error(values) if len(values) else (math.nan, math.nan)
    return {key: value if math.isfinite(value) else None for key, value in ((name, mean), (f"{name}_se", error))}
