"""The step of an adversarial game: k steps of the discriminator, one of the generator and its moving average, in one call."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.train.step import TrainState
from gen_jax.types import Array, Game, InputError, Key, Metrics, Params, Player

GameLoss = Callable[[Params, Game, Key, Any], tuple[Array, tuple[Params, Metrics]]]
"""(params of one player, game, key, batch) -> (what that player minimises, (its new statistics, metrics))."""


def init_game_state(game: Game, optimizers: Game, key: Key, ema_decay: float | None = None) -> TrainState:
    """Return the state before the first step: `params` is the game, `ema` a moving average of the generator, if any."""
    opt_state = Game(*(optimizer.init(player.params) for optimizer, player in zip(optimizers, game, strict=True)))
    ema = None if ema_decay is None else jax.tree.map(jnp.copy, game.generator)
    return TrainState(jnp.int32(0), game, opt_state, key, ema)


def make_game_step(
    losses: Game,
    optimizers: Game,
    num_disc_steps: int = 1,
    simultaneous: bool = False,
    ema_decay: float | None = None,
    constrain: Callable[[Params], Params] = lambda params: params,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Return the step (state, batch) -> (state, metrics) of a game; the batch holds the examples of all k discriminator steps.

    Each discriminator step takes its own k-th of the batch and its own noise. The generator's step comes after them and is taken
    against what they led to; its moving average follows ema ← decay · ema + (1 − decay) · generator, statistics included.

    Args:
        losses: a `GameLoss` of each player.
        optimizers: of each player.
        num_disc_steps: k.
        simultaneous: take the generator's gradient at the discriminator as it was before its step, for k = 1.
        ema_decay: of the moving average, or None for none.
        constrain: what is done to the discriminator's parameters after each of its steps, such as clipping.

    Raises:
        InputError: k is less than 1, or more with simultaneous steps; or (at trace time) k does not divide the batch.
    """
    if num_disc_steps < 1:
        raise InputError(f"num_disc_steps is {num_disc_steps}: give 1 or more.")
    if simultaneous and num_disc_steps > 1:
        raise InputError(f"num_disc_steps is {num_disc_steps}, and simultaneous players take a step each: give 1.")

    def discriminator_step(game: Game, opt_state: Any, key: Key, batch: Any) -> tuple[Player, Any, Metrics]:
        grad = jax.value_and_grad(losses.discriminator, has_aux=True)
        (_, (statistics, metrics)), grads = grad(game.discriminator.params, game, key, batch)
        updates, opt_state = optimizers.discriminator.update(grads, opt_state, game.discriminator.params)
        params = constrain(optax.apply_updates(game.discriminator.params, updates))
        return Player(params, statistics), opt_state, {**metrics, "discriminator_grad_norm": optax.tree.norm(grads)}

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        before: Game = state.params
        opt_states: Any = state.opt_state  # of each player
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), num_disc_steps + 1)
        batches = jax.tree.map(lambda leaf: _cut(leaf, num_disc_steps), batch)

        def body(carry: tuple[Player, Any], row: tuple[Key, Any]) -> tuple[tuple[Player, Any], Metrics]:
            discriminator, opt_state, metrics = discriminator_step(before._replace(discriminator=carry[0]), carry[1], *row)
            return (discriminator, opt_state), metrics

        start = (before.discriminator, opt_states.discriminator)
        (discriminator, disc_opt_state), disc_metrics = jax.lax.scan(body, start, (keys[1:], batches))

        seen = before if simultaneous else before._replace(discriminator=discriminator)
        last = jax.tree.map(lambda leaf: leaf[-1], batches)
        grad = jax.value_and_grad(losses.generator, has_aux=True)
        (_, (statistics, metrics)), grads = grad(before.generator.params, seen, keys[0], last)
        updates, gen_opt_state = optimizers.generator.update(grads, opt_states.generator, before.generator.params)
        generator = Player(optax.apply_updates(before.generator.params, updates), statistics)
        ema = None if ema_decay is None else optax.incremental_update(generator, state.ema, 1 - ema_decay)

        metrics = {**jax.tree.map(jnp.mean, disc_metrics), **metrics, "generator_grad_norm": optax.tree.norm(grads)}
        opt_state = Game(gen_opt_state, disc_opt_state)
        return TrainState(state.step + 1, Game(generator, discriminator), opt_state, state.key, ema), metrics

    return step


def _cut(leaf: Array, num: int) -> Array:
    if len(leaf) % num:
        raise InputError(f"A batch of {len(leaf)} cannot be cut into {num} discriminator steps: give a size that {num} divides.")
    return leaf.reshape(num, len(leaf) // num, *leaf.shape[1:])
