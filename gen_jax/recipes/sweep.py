"""Many games at once: seeds × weights of a penalty as one vmapped program, and how many of them cover all modes."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data import load_dataset
from gen_jax.evaluate import ModeCoverage, mean_and_standard_error, mode_coverage, wilson_interval
from gen_jax.gan import draw_latents
from gen_jax.recipes.experiment import Settings, Training
from gen_jax.recipes.gan_experiment import play
from gen_jax.recipes.gan_points import PointsSettings, make_gan
from gen_jax.recipes.run import run_keys
from gen_jax.recipes.sample_quality import MODES, NUM_POINTS
from gen_jax.train import TrainState, evaluation_params, scan_epoch, steps_per_epoch
from gen_jax.types import Array, Game, InputError, Key


def sweep(
    settings: Settings,
    num_seeds: int,
    penalty_weights: Sequence[float],
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> list[dict[str, Any]]:
    """Play a game for every seed and every weight of its penalty, all at once; return a row for each weight.

    The seeds are `settings.seed`, `settings.seed` + 1, …; a game is that of `recipes.train` under its seed, but for the rounding
    of products that are computed for all games at once. Nothing is written to disk.

    Args:
        settings: of all the games, of a recipe of points.
        num_seeds: for each weight.
        penalty_weights: of the penalty.
        on_epoch: called with the number of epochs done.

    Returns:
        For each weight: how many games diverged, the share that cover all modes with its 95 % interval (Wilson's), and means over
        seeds with their standard errors of what `evaluate.mode_coverage` measures (None where there is none).

    Raises:
        InputError: the settings are not of a GAN of points, or its data's modes are not known; no seed or weight.
    """
    if not isinstance(settings, PointsSettings) or settings.data not in MODES:
        raise InputError(f"A sweep on {settings.data}: give a GAN of points, on one of {', '.join(MODES)}.")
    if num_seeds < 1 or not penalty_weights:
        raise InputError(f"{num_seeds} seeds and the penalty weights {list(penalty_weights)}: give 1 or more of each.")
    for weight in penalty_weights:
        dataclasses.replace(settings, penalty_weight=weight).check()
    dataset = load_dataset(settings.data)
    data = dataset.train.on_device()
    per_epoch = steps_per_epoch(len(dataset.train.images), settings.examples_per_step, settings.epoch_steps)

    gan = make_gan(settings, dataset.event_shape)

    def training(weight: Array) -> Training:
        return play(settings, gan, dataset.event_shape, weight)(settings.epochs * per_epoch)

    def start(weight: Array, init_key: Key, noise_key: Key) -> TrainState:
        return training(weight).init(init_key, noise_key)

    def epoch(weight: Array, state: TrainState, key: Key) -> TrainState:
        return scan_epoch(training(weight).step, settings.examples_per_step, settings.epoch_steps)(state, data, key)[0]

    @jax.default_matmul_precision("highest")
    def draw(game: Game, key: Key) -> Array:
        return gan.generate(game.generator, draw_latents(gan.prior, key, NUM_POINTS))[0]

    of_seeds = [run_keys(dataclasses.replace(settings, seed=settings.seed + i)) for i in range(num_seeds)]
    keys = jax.tree.map(lambda *leaves: jnp.stack(leaves * len(penalty_weights)), *of_seeds)
    weights = jnp.repeat(jnp.float32(jnp.array(penalty_weights)), num_seeds)
    states = jax.jit(jax.vmap(start))(weights, keys.init, keys.noise)
    run_epoch = jax.jit(jax.vmap(epoch), donate_argnums=1)
    for done in range(settings.epochs):
        states = run_epoch(weights, states, jax.vmap(lambda key, done=done: jax.random.fold_in(key, done))(keys.order))
        on_epoch(done + 1)
    drawn = np.asarray(jax.jit(jax.vmap(draw))(evaluation_params(states), keys.evaluation))
    of_weights = drawn.reshape(len(penalty_weights), num_seeds, *drawn.shape[1:])
    return [
        {"penalty_weight": w} | _row(of_games, settings.data) for w, of_games in zip(penalty_weights, of_weights, strict=True)
    ]


def _row(of_games: np.ndarray, data: str) -> dict[str, Any]:
    """What the samples of games [S, N, 2] say of them. A game that diverged covers no modes, and is in no other mean."""
    centres, scale = MODES[data]
    played = [drawn for drawn in of_games if np.isfinite(drawn).all()]
    found = [mode_coverage(drawn, centres, scale) for drawn in played]
    covering = sum(coverage.num_modes == len(centres) for coverage in found)
    low, high = wilson_interval(covering, len(of_games))
    row: dict[str, Any] = {"num_seeds": len(of_games), "num_diverged": len(of_games) - len(played)}
    row |= {"share_covering": covering / len(of_games), "low": low, "high": high}
    for name in ModeCoverage._fields:
        values = np.array([float(getattr(coverage, name)) for coverage in found])
        if name == "num_modes":
            values = np.append(values, np.zeros(row["num_diverged"]))
        values = values[np.isfinite(values)]  # of a mode without two samples there is no variance
        mean, error = mean_and_standard_error(values) if len(values) else (math.nan, math.nan)
        row[name], row[f"{name}_se"] = (value if math.isfinite(value) else None for value in (mean, error))
    return row
