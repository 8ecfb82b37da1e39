"""Train many runs at once, seeds × values of settings in one vmapped program, and measure them."""

import dataclasses
import itertools
import math
import time
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
from gen_jax.recipes import RECIPES, Experiment, Recipe, change, check_settings, find_recipe
from gen_jax.recipes.experiment import as_seen, fit_options
from gen_jax.recipes.gan_points import NUM_POINTS
from gen_jax.recipes.own import is_own
from gen_jax.recipes.settings import RUN, seed_key, with_number
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
    vary: Vary | None = None,
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
        at_once: the number of runs in memory at a time; by default all of them.
        on_epoch: called with the number of epochs done and in all, of runs that are trained together.

    Raises:
        InputError: no seed, no value, or one twice; a setting that the choices made do not have, or that is no number of a step;
            a recipe that builds another model for each seed.
    """
    recipe, vary = find_recipe(recipe), dict(vary or {})
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
    for name, default in (("patience", None), ("devices", None), ("shard_params", False), ("stream", False)):
        if getattr(settings, name) != default:
            raise InputError(f"{name} is {getattr(settings, name)}, which a sweep does not have: leave it out.")
    for seed in (settings.seed, settings.seed + num_seeds - 1):
        check_settings(dataclasses.replace(settings, seed=seed))


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

    of_values = lambda values: _with_values(recipe, settings, values, data)

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
    ended, at_once = [], min(at_once or num, num)
    total = settings.epochs * math.ceil(num / at_once)
    for first in range(0, num, at_once):
        part = slice(first, first + at_once)
        of_part, order, history = jax.tree.map(lambda leaf, part=part: leaf[part], flat), keys.order[part], []
        states = start_many(of_part, jnp.stack(roots[part]))
        for done in range(settings.epochs):
            states, metrics = run_epoch(of_part, states, jax.vmap(lambda key, done=done: jax.random.fold_in(key, done))(order))
            history.append(metrics)
            on_epoch(settings.epochs * (first // at_once) + done + 1, total)
        histories = jax.tree.map(lambda *of_epochs: np.stack(of_epochs, axis=1), *jax.device_get(history))
        ended.append((_host(states), histories))
        del states  # before those of the next part are made
    by_value = lambda leaf: leaf.reshape(-1, num_seeds, *leaf.shape[1:])
    states, history = jax.tree.map(lambda *parts: by_value(_joined(parts)), *ended)
    return states, history, jax.tree.map(by_value, keys)


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


def sweep(recipe: str | Recipe, settings: Any = None, *, out: Path | str | None = None, **options: Any) -> list[dict[str, Any]]:
    """Train as `train_many` does, with its options, and return a row for each value: means and standard errors over seeds.

    Of every model, the training metrics of the last epoch. Of one that minimises one loss, what the run of its value measures on
    validation data (`valid_…`), its loss's metrics on test data, and `best` for the row that is best on validation data, by
    `valid_elbo` where there is one (a score is of its own objective), else by the recipe's metric. Of a VAE of unbounded real
    latents, active units too. Of a GAN of points whose modes are known: the share of runs that cover all of them
    with its 95 % interval (Wilson), and what `evaluate.mode_coverage` measures. Runs that diverged are counted, are in no mean,
    and no row that has one is the best.

    Args:
        recipe: a `Recipe`, or its name.
        settings: by default, the recipe's own.
        out: a new folder, in which each run that did not diverge gets a run folder, as it is after the last step.
        **options: of `train_many`.

    Raises:
        InputError: as for `train_many`; or the folder exists, or the recipe is a user's own and there is a folder.
    """
    names: list[str] = []
    if out is not None:
        names = [name for name, known in RECIPES.items() if known is recipe] if isinstance(recipe, Recipe) else [recipe]
        if not names or is_own(names[0]):
            raise InputError("out is given, and run folders are written of the library's own recipes alone: leave it out.")
        try:
            Path(out).mkdir(parents=True)  # before the work is done
        except OSError as error:
            raise InputError(f"Runs of a sweep go into a new folder, and {out} cannot be made ({error.strerror}).") from error
    try:
        trained = train_many(recipe, settings, **options)
    except BaseException:
        if out is not None:
            Path(out).rmdir()
        raise
    rows = [{"num_seeds": len(trained.keys.order[0])} | row for row in _measured(find_recipe(recipe), trained, options)]
    vary = options.get("vary") or {}
    named = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    if out is not None:
        _write(names[0], trained, named, Path(out))
    return [name | row for name, row in zip(named, rows, strict=True)]


def _write(recipe: str, trained: ManyTrained, named: list[dict[str, float]], out: Path) -> None:
    """Write a run folder for each run, but those that diverged."""
    stored = load_dataset(trained.settings[0].data, "none")
    seconds = trained.seconds / len(named) / len(trained.keys.order[0])
    for i, values in enumerate(named):
        for seed in range(len(trained.keys.order[i])):
            of_run = dataclasses.replace(trained.settings[i], seed=trained.settings[i].seed + seed)
            name = "-".join([*(f"{key}={value!r}" for key, value in values.items()), f"seed={of_run.seed}"])
            state = jax.tree.map(lambda leaf, at=(i, seed): leaf[at], trained.states)
            history = {metric: of_runs[i, seed] for metric, of_runs in trained.history.items()}
            if all(np.isfinite(of_run).all() for of_run in history.values()):
                runs.write_run(out / name, recipe, of_run, stored, state, history, seconds)


def _measured(recipe: Recipe, trained: ManyTrained, options: dict[str, Any]) -> list[dict[str, Any]]:
    model, data, at_once = trained.experiment.model, trained.data, options.get("at_once")
    found = {f"train_{name}": values[..., -1] for name, values in trained.history.items()}
    if isinstance(model, GAN) and data.name in MODES:
        return [row | _means(found, i, _finite(found)[i]) for i, row in enumerate(_modes(trained, data.name))]
    if not isinstance(trained.experiment.loss, tuple):
        found |= _validated(recipe, trained, at_once)
    if isinstance(model, VAE) and model.latent is not None and model.latent.unbounded:
        found["active_units"] = _over_runs(_active_units(trained), trained, trained.keys.evaluation, at_once)
    finite = _finite(found)
    rows = [{"num_diverged": int((~of_row).sum())} | _means(found, i, of_row) for i, of_row in enumerate(finite)]
    metric = "valid_elbo" if "valid_elbo" in found else trained.experiment.best_metric
    scores = [row[metric] if metric in row and not row["num_diverged"] else -math.inf for row in rows]
    if max(scores) > -math.inf:
        rows[int(np.argmax(scores))]["best"] = True
    return rows


def _finite(numbers: dict[str, np.ndarray]) -> np.ndarray:
    """Say of each run [V, S] whether all its numbers are finite."""
    return np.all([np.isfinite(values) for values in numbers.values()], axis=0)


def _validated(recipe: Recipe, trained: ManyTrained, at_once: int | None) -> dict[str, np.ndarray]:
    """Return what each run measures on validation data, as `fit` would, and the metrics of its loss on test data [V, S]."""
    data, model = trained.data, trained.experiment.model
    valid, test = data.valid.on_device(), data.test.on_device()

    def of_run(values: dict[str, Array], variables: Params, keys: tuple[Key, Key]) -> dict[str, Any]:
        settings, experiment = _with_values(recipe, trained.settings[0], values, data)
        loss: Any = experiment.loss
        measure = validation(loss, data.view, model, settings.batch_size)
        tested = measure(variables, keys[1], test)
        found = (experiment.validate or measure)(variables, keys[0], valid)
        return found | {name.removeprefix("valid_"): value for name, value in tested.items()}

    return _over_runs(of_run, trained, (trained.keys.validation, trained.keys.evaluation), at_once)


def _with_values(recipe: Recipe, settings: Any, values: dict[str, Array], data: Dataset) -> tuple[Any, Experiment]:
    """Return settings with arrays in place of numbers, and their experiment."""
    for name, value in values.items():
        settings = with_number(settings, name, value)
    return settings, recipe.build(settings, data.event_shape)


def _over_runs(function: Callable[..., Any], trained: ManyTrained, keys: Any, at_once: int | None) -> Any:
    """Return function(values, variables, keys) of every run, `at_once` of them in one program: leaves [V, S, ...] on the host."""
    shape = trained.keys.order.shape
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (trained.values, trained.variables, keys))
    num, of_runs, parts = math.prod(shape), jax.jit(jax.vmap(function)), []
    for first in range(0, num, at_once or num):
        part = slice(first, first + (at_once or num))
        parts.append(jax.device_get(of_runs(*jax.tree.map(lambda leaf, part=part: leaf[part], rows))))
    return jax.tree.map(lambda *found: np.concatenate(found).reshape(*shape, *found[0].shape[1:]), *parts)


def _active_units(trained: ManyTrained) -> Callable[..., Array]:
    vae, view = trained.experiment.model, trained.data.view
    test = trained.data.test.on_device()

    def of_run(values: dict[str, Array], variables: Params, key: Key) -> Array:
        def one(params: Params, key: Key, example: Any) -> Array:
            return posterior_mean(vae.encode(params, view.example(example.x), context_of(vae, example.labels)), key)

        means = map_examples(one, variables, example_keys(key, len(test.x)), test, 500)
        return jnp.sum(active_units(means), dtype=jnp.float32)

    return of_run


def _means(numbers: dict[str, np.ndarray], i: int, finite: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in numbers.items():
        found |= _mean(name, np.asarray(values[i])[finite])
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
