"""Measure runs that were trained at once: a row for each value, with means and standard errors over seeds."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import runs
from gen_jax.data import MODES, load_dataset
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
from gen_jax.recipes import RECIPES, Recipe, find_recipe
from gen_jax.recipes.gan_points import NUM_POINTS
from gen_jax.recipes.own import is_own
from gen_jax.recipes.settings import plain
from gen_jax.sweep.training import ManyTrained, in_parts, refuse_given, train_many, with_values
from gen_jax.train import validation, write_json
from gen_jax.types import GAN, VAE, Array, InputError, Key, Params, context_of, split


def sweep(recipe: str | Recipe, settings: Any = None, *, out: Path | str | None = None, **options: Any) -> list[dict[str, Any]]:
    """Train as `train_many` does, with its options, and return a row for each value: means and standard errors over seeds.

    Of every model, the training metrics of the last epoch. Of one that minimises one loss, what the run of its value measures on
    validation data (`valid_…`), its loss's metrics on test data (`test_…`), and `best` for the row that is best on validation
    data, by `valid_elbo` where there is one (a score is of its own objective), else by the recipe's metric. Of a VAE of
    unbounded real latents, active units too. Of a GAN of points whose modes are known: the share of runs that cover all of them
    with its 95 % interval (Wilson), and what `evaluate.mode_coverage` measures. Runs that diverged are counted, are in no mean,
    and no row that has one is the best.

    Args:
        recipe: a `Recipe`, or its name.
        settings: by default, the recipe's own.
        out: a new folder, in which each run that did not diverge gets a run folder, as it is after the last step, before anything
            is measured; then `sweep.json` gets the rows.
        **options: of `train_many`.

    Raises:
        InputError: as for `train_many`; or the folder exists, or the recipe is a user's own and there is a folder, or a setting
            is given that has no effect here: `validate_every`, and without a folder `num_importance_samples`.
    """
    vary = {name: plain(tuple(values)) for name, values in (options.get("vary") or {}).items()}
    options["vary"], default = vary, find_recipe(recipe).settings
    # run folders are evaluated later, with importance samples
    unused = ("validate_every",) if out is not None else ("validate_every", "num_importance_samples")
    refuse_given(default if settings is None else settings, default, unused)
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
    named = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    if out is not None:
        _write(names[0], trained, named, Path(out))  # before the runs are measured, which could fail
    num_seeds = {"num_seeds": len(trained.keys.order[0])}
    measured = _measured(find_recipe(recipe), trained, options.get("at_once"))
    rows = [values | num_seeds | row for values, row in zip(named, measured, strict=True)]
    if out is not None:
        write_json(Path(out) / "sweep.json", rows)
    return rows


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


def _measured(recipe: Recipe, trained: ManyTrained, at_once: int | None) -> list[dict[str, Any]]:
    model, data = trained.experiment.model, trained.data
    found = {f"train_{name}": values[..., -1] for name, values in trained.history.items()}
    if isinstance(model, GAN) and data.name in MODES:
        return [row | _means(found, i, _finite(found)[i]) for i, row in enumerate(_modes(trained, data.name, at_once))]
    if not isinstance(trained.experiment.loss, tuple):
        found |= _validated(recipe, trained, at_once)
    if isinstance(model, VAE) and model.latent is not None and model.latent.unbounded:
        found["active_units"] = _over_runs(_active_units(trained), trained, trained.keys.evaluation, at_once)
    finite = _finite(found)
    rows = [{"num_diverged": int((~of_row).sum())} | _means(found, i, of_row) for i, of_row in enumerate(finite)]
    metric = trained.experiment.compared_by(found)
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
        settings, experiment = with_values(recipe, trained.settings[0], values, data)
        loss: Any = experiment.loss
        measure = validation(loss, data.view, model, settings.batch_size)
        tested = measure(variables, keys[1], test)
        found = (experiment.validate or measure)(variables, keys[0], valid)
        return found | {f"test_{name.removeprefix('valid_')}": value for name, value in tested.items()}

    return _over_runs(of_run, trained, (trained.keys.validation, trained.keys.evaluation), at_once)


def _over_runs(function: Callable[..., Any], trained: ManyTrained, keys: Any, at_once: int | None) -> Any:
    """Return function(values, variables, keys) of every run, `at_once` of them in one program: leaves [V, S, ...] on the host."""
    shape = trained.keys.order.shape
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (trained.values, trained.variables, keys))
    of_runs = jax.jit(jax.vmap(function))
    of_part = lambda part: jax.device_get(of_runs(*jax.tree.map(lambda leaf: leaf[part], rows)))
    parts = in_parts(of_part, math.prod(shape), at_once)
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


def _modes(trained: ManyTrained, data: str, at_once: int | None) -> list[dict[str, Any]]:
    gan = trained.experiment.model

    @jax.default_matmul_precision("highest")
    def draw(values: dict[str, Array], variables: Params, key: Key) -> Array:
        noise_key = jax.random.fold_in(key, NUM_POINTS)  # differs from all keys of the latents
        return gan.generate(*split(variables), noise_key, draw_latents(gan.prior, key, NUM_POINTS))[0]

    drawn = _over_runs(draw, trained, trained.keys.evaluation, at_once)
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
