"""Train many GANs at once, seeds × penalty weights in one vmapped program, and count how many cover all modes."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data import MODES, load_dataset
from gen_jax.evaluate import ModeCoverage, mean_and_standard_error, mode_coverage, wilson_interval
from gen_jax.gan import draw_latents
from gen_jax.recipes import Settings, change, check_settings
from gen_jax.recipes.gan_choices import make_losses, optimizers_of, step_of
from gen_jax.recipes.gan_points import NUM_POINTS, PointsSettings, make_gan
from gen_jax.recipes.settings import RUN, seed_key
from gen_jax.train import FitKeys, TrainState, evaluation_params, fit_keys, on_stored, scan_epoch, start, steps_per_epoch
from gen_jax.types import Adversaries, Array, InputError, Key, Params, split


def sweep(
    settings: Settings,
    num_seeds: int,
    penalty_weights: Sequence[float],
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> list[dict[str, Any]]:
    """Train a GAN for every seed and every weight of its penalty, all at once; return a row for each weight.

    The seeds are `settings.seed`, `settings.seed` + 1, …; up to rounding, each run is that of `runs.train`. Nothing is written to
    disk.

    Args:
        settings: of all the runs, of a recipe of points.
        num_seeds: for each weight.
        penalty_weights: of the penalty.
        on_epoch: called with the number of epochs done.

    Returns:
        For each weight: how many runs diverged, the share that cover all modes with its 95 % interval (Wilson), and the means and
        standard errors over seeds of what `evaluate.mode_coverage` measures (None where there is none).

    Raises:
        InputError: the settings are not of a GAN of points, or its data's modes are not known; no seed or weight; weights of
            no penalty.
    """
    if not isinstance(settings, PointsSettings) or settings.data not in MODES:
        raise InputError(f"A sweep on {settings.data}: give a GAN of points, on one of {', '.join(MODES)}.")
    if num_seeds < 1 or not penalty_weights:
        raise InputError(f"{num_seeds} seeds and the penalty weights {list(penalty_weights)}: give 1 or more of each.")
    if not hasattr(settings.penalty, "penalty_weight") and any(penalty_weights):
        raise InputError(
            f"The penalty weights are {list(penalty_weights)}, and the penalty is {settings.penalty.kind}: leave them out, or "
            "give a --penalty."
        )
    for seed in (settings.seed, settings.seed + num_seeds - 1):
        check_settings(dataclasses.replace(settings, seed=seed))
    for weight in penalty_weights if hasattr(settings.penalty, "penalty_weight") else ():
        check_settings(change(settings, penalty_weight=weight))
    dataset = load_dataset(settings.data, settings.binarise)
    data = dataset.train.on_device()
    num_steps = settings.epochs * steps_per_epoch(len(dataset.train.x), settings.examples_per_step, settings.epoch_steps)
    gan, optimizers = make_gan(settings, dataset.event_shape), optimizers_of(settings)(num_steps)

    def begin(key: Key) -> TrainState:
        return start(key, gan, optimizers, dataset.event_shape, settings.ema_decay is not None)

    def epoch(weight: Array, state: TrainState, key: Key) -> TrainState:
        losses = Adversaries(*(on_stored(dataset.view, gan, loss) for loss in make_losses(gan, settings, weight)))
        step = step_of(settings)(losses, optimizers, settings.ema_decay)
        return scan_epoch(step, settings.examples_per_step, settings.epoch_steps)(state, data, key)[0]

    @jax.default_matmul_precision("highest")
    def draw(variables: Params, key: Key) -> Array:
        return gan.generate(*split(variables), key, draw_latents(gan.prior, key, NUM_POINTS))[0]

    roots = [seed_key(settings.seed + i, RUN) for i in range(num_seeds)] * len(penalty_weights)
    keys = FitKeys(*map(jnp.stack, zip(*map(fit_keys, roots), strict=True)))
    weights = jnp.repeat(jnp.float32(jnp.array(penalty_weights)), num_seeds)
    states = jax.jit(jax.vmap(begin))(jnp.stack(roots))
    run_epoch = jax.jit(jax.vmap(epoch), donate_argnums=1)
    for done in range(settings.epochs):
        states = run_epoch(weights, states, jax.vmap(lambda key, done=done: jax.random.fold_in(key, done))(keys.order))
        on_epoch(done + 1)
    drawn = np.asarray(jax.jit(jax.vmap(draw))(evaluation_params(states), keys.evaluation))
    of_weights = drawn.reshape(len(penalty_weights), num_seeds, *drawn.shape[1:])
    return [{"penalty_weight": w} | _row(of_runs, settings.data) for w, of_runs in zip(penalty_weights, of_weights, strict=True)]


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
        values = values[np.isfinite(values)]  # of a mode without two samples there is no variance
        mean, error = mean_and_standard_error(values) if len(values) else (math.nan, math.nan)
        row[name], row[f"{name}_se"] = (value if math.isfinite(value) else None for value in (mean, error))
    return row
