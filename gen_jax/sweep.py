"""Train many runs at once, seeds × values of one setting in one vmapped program, and measure them."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
)
from gen_jax.types import GAN, VAE, Array, InputError, Key, Params, context_of, split
from gen_jax.vae import elbo_terms


class ManyTrained(NamedTuple):
    """Models of one recipe, trained at once.

    Attributes:
        experiment: the model, and how it sees data.
        data: as it sees them.
        variables: what its functions take: leaves [V, S, ...], of V values and S seeds.
        keys: of each run [V, S], as `runs.train` has them.
    """

    experiment: Experiment
    data: Dataset
    variables: Params
    keys: FitKeys


def train_many(
    recipe: str | Recipe,
    settings: Any = None,
    *,
    num_seeds: int,
    vary: str | None = None,
    values: Sequence[float] = (),
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> ManyTrained:
    """Train a recipe for every seed and every value of a setting, all at once; each is the run of `runs.train` up to rounding.

    The parameters are those after the last step. Nothing is written to disk.

    Args:
        recipe: a `Recipe`, or its name.
        settings: by default, the recipe's own.
        num_seeds: S: the seeds are `settings.seed`, `settings.seed` + 1, …
        vary: the name of a setting that enters the loss as a number, such as `beta` or `penalty_weight`.
        values: of that setting.
        on_epoch: called with the number of epochs done.

    Raises:
        InputError: no seed, or no value; a setting that the choices made do not have, or that is no number of the loss.
    """
    recipe = find_recipe(recipe)
    settings = recipe.settings if settings is None else settings
    if num_seeds < 1 or (vary is not None and not values):
        raise InputError(f"{num_seeds} seeds, and of {vary} the values {list(values)}: give 1 or more of each.")
    if vary is None and values:
        raise InputError(f"values is {list(values)}, and vary, the name of a setting, is missing: give it.")
    if settings.patience is not None:
        raise InputError(f"patience is {settings.patience}, and all runs of a sweep go to the end: leave it out.")
    for seed in (settings.seed, settings.seed + num_seeds - 1):
        check_settings(dataclasses.replace(settings, seed=seed))
    for value in values:
        with_number(settings, str(vary), value)  # raises for what is no number
        check_settings(change(settings, **{str(vary): value}))
    settings = settings.with_whole_names()
    stored = load_dataset(settings.data, "none")
    experiment = recipe.build(settings, stored.event_shape)
    data = as_seen(stored, settings, experiment)
    examples, model = data.train.on_device(), experiment.model
    num_steps = settings.epochs * steps_per_epoch(len(data.train.x), settings.examples_per_step, settings.epoch_steps)
    settings.check_steps(num_steps)
    experiment.check_steps(num_steps)
    optimizer = experiment.optimizer(num_steps)

    def begin(key: Key) -> TrainState:
        return start(key, model, optimizer, data.event_shape, settings.average_decay is not None)

    def epoch(value: Array, state: TrainState, key: Key) -> TrainState:
        of_value = settings if vary is None else with_number(settings, vary, value)
        found = recipe.build(of_value, data.event_shape)
        losses = jax.tree.map(lambda loss: on_stored(data.view, model, loss), found.loss, is_leaf=callable)
        make = found.make_step or (make_game_step if isinstance(losses, tuple) else make_step)
        step = make(losses, optimizer, settings.average_decay)
        return scan_epoch(step, settings.examples_per_step, settings.epoch_steps)(state, examples, key)[0]

    roots = [seed_key(settings.seed + i, RUN) for i in range(num_seeds)] * max(len(values), 1)
    keys = FitKeys(*map(jnp.stack, zip(*map(fit_keys, roots), strict=True)))
    of_runs = jnp.repeat(jnp.float32(jnp.array(values or (0.0,))), num_seeds)
    states = jax.jit(jax.vmap(begin))(jnp.stack(roots))
    run_epoch = jax.jit(jax.vmap(epoch), donate_argnums=1)
    if vary is not None:
        try:
            jaxpr = jax.make_jaxpr(jax.vmap(epoch))(of_runs, states, keys.order).jaxpr
        except (jax.errors.JAXTypeError, InputError) as error:  # of a recipe, JAX's error is the cause of an InputError
            if not isinstance(error.__cause__ or error, jax.errors.JAXTypeError):
                raise
            raise InputError(f"{vary} cannot be varied in one program: give a setting of the objective or penalty.") from error
        if not any(variable is jaxpr.invars[0] for equation in jaxpr.eqns for variable in equation.invars):
            raise InputError(f"{vary} does not enter the loss of this recipe: give a setting of its objective or its penalty.")
    for done in range(settings.epochs):
        states = run_epoch(of_runs, states, jax.vmap(lambda key, done=done: jax.random.fold_in(key, done))(keys.order))
        on_epoch(done + 1)
    by_value = lambda leaf: leaf.reshape(-1, num_seeds, *leaf.shape[1:])
    return ManyTrained(experiment, data, *jax.tree.map(by_value, (evaluation_params(states), keys)))


def sweep(recipe: str | Recipe, settings: Any = None, **options: Any) -> list[dict[str, Any]]:
    """Train as `train_many` does, with its options, and return a row for each value: means and standard errors over seeds.

    Of a GAN of points: how many runs diverged, the share that cover all modes with its 95 % interval (Wilson), and what
    `evaluate.mode_coverage` measures (None where there is none). Of a VAE, on the test data: rate, distortion, ELBO, and active
    units, where latents are real numbers without bounds.

    Raises:
        InputError: as for `train_many`; or it is neither, or the modes of its data are not known.
    """
    found = find_recipe(recipe)
    settings = found.settings if settings is None else settings
    model = found.build(settings, load_dataset(settings.data, "none").event_shape).model
    if not isinstance(model, VAE) and not (isinstance(model, GAN) and settings.data in MODES):
        raise InputError(f"A sweep on {settings.data}: give a VAE, or a GAN of points, on one of {', '.join(MODES)}.")
    trained = train_many(found, settings, **options)
    rows = _rates(trained) if isinstance(model, VAE) else _modes(trained, settings.data)
    named = [{options["vary"]: value} for value in options.get("values", ())] or [{}]
    return [name | row for name, row in zip(named, rows, strict=True)]


def _modes(trained: ManyTrained, data: str) -> list[dict[str, Any]]:
    gan = trained.experiment.model

    @jax.default_matmul_precision("highest")
    def draw(variables: Params, key: Key) -> Array:
        return gan.generate(*split(variables), key, draw_latents(gan.prior, key, NUM_POINTS))[0]

    drawn = np.asarray(jax.jit(jax.vmap(jax.vmap(draw)))(trained.variables, trained.keys.evaluation))
    return [_row(of_runs, data) for of_runs in drawn]


def _rates(trained: ManyTrained) -> list[dict[str, Any]]:
    """Return a row for each value, of which a run that diverged is in no mean."""
    vae, view = trained.experiment.model, trained.data.view
    test = trained.data.test.on_device()

    def of_run(variables: Params, key: Key) -> dict[str, Array]:
        def one(params: Params, key: Key, example: Any) -> tuple[dict[str, Array], Any]:
            x, y = view.example(example.x), context_of(vae, example.labels)
            return elbo_terms(vae, params, key, x, y).metrics, posterior_mean(vae.encode(params, x, y), key)

        metrics, means = map_examples(one, variables, example_keys(key, len(test.x)), test, 500)
        found = jax.tree.map(lambda values: jnp.mean(values, axis=0), metrics)
        if vae.latent is None or not vae.latent.unbounded:  # as in an evaluation
            return found
        return found | {"active_units": jnp.sum(active_units(means), dtype=jnp.float32)}

    found = jax.device_get(jax.jit(jax.vmap(jax.vmap(of_run)))(trained.variables, trained.keys.evaluation))
    rows = []
    for i in range(len(found["elbo"])):
        finite = np.isfinite(found["elbo"][i])
        row: dict[str, Any] = {"num_seeds": len(finite), "num_diverged": int((~finite).sum())}
        for name, values in found.items():
            row |= _mean(name, values[i][finite])
        rows.append(row)
    return rows


def _row(of_runs: np.ndarray, data: str) -> dict[str, Any]:
    """Return the row of runs with samples [S, N, 2]. A run that diverged covers no modes, and is left out of the other means."""
    centres, scale = MODES[data]
    finite = [drawn for drawn in of_runs if np.isfinite(drawn).all()]
    found = [mode_coverage(drawn, centres, scale) for drawn in finite]
    covering = sum(coverage.num_modes == len(centres) for coverage in found)
    low, high = wilson_interval(covering, len(of_runs))
    row: dict[str, Any] = {"num_seeds": len(of_runs), "num_diverged": len(of_runs) - len(finite)}
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
