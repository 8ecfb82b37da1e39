"""The step of a GAN: k steps of the discriminator, one of the generator and its moving average, in one call."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.train.step import Step, TrainState, check_batch, update_ema
from gen_jax.types import Adversaries, Array, InputError, Key, Metrics, Number, Params


def make_game_step(
    losses: Adversaries,
    optimizers: Adversaries,
    ema_decay: Number | None = None,
    num_disc_steps: int = 1,
    simultaneous: bool = False,
) -> Step:
    """Return the step (state, batch) -> (state, metrics) of a GAN.

    Each of the k discriminator steps takes its own k-th of the batch and its own noise. Then the generator takes a step, on the
    last of these parts, against the updated discriminator.

    Args:
        losses: each a `Loss` whose `params` and `state` are those of both networks; only its own network is differentiated and
            updated.
        optimizers: of both.
        ema_decay: of the moving average of the generator's parameters, or None for none.
        num_disc_steps: k.
        simultaneous: take the generator's gradient at the discriminator before its step, for k = 1.

    Raises:
        InputError: k is less than 1, or more with simultaneous steps; or (at trace time) k does not divide the batch.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from gen_jax.train import init_state, make_game_step
        >>> from gen_jax.types import Adversaries, Variables
        >>> g_loss = lambda params, state, key, step, x: (params.generator * params.discriminator, (state, {}))
        >>> d_loss = lambda params, state, key, step, x: (-params.generator * params.discriminator, (state, {}))
        >>> sgd, ones, none = optax.sgd(0.5), Adversaries(jnp.ones(()), jnp.ones(())), Adversaries((), ())
        >>> state = init_state(Variables(ones, none), Adversaries(sgd, sgd), jax.random.key(0))  # min over g, max over d of g d
        >>> state, _ = make_game_step(Adversaries(g_loss, d_loss), Adversaries(sgd, sgd))(state, jnp.zeros(4))
        >>> state.params.discriminator.item(), state.params.generator.item()  # d = 1 + ½ · 1, then g = 1 − ½ · 1.5
        (1.5, 0.25)
    """
    if num_disc_steps < 1:
        raise InputError(f"num_disc_steps is {num_disc_steps}: give 1 or more.")
    if simultaneous and num_disc_steps > 1:
        raise InputError(f"num_disc_steps is {num_disc_steps}, and in simultaneous steps each network takes one: give 1.")

    def descend(
        name: str, params: Adversaries, model_state: Adversaries, opt_state: Any, key: Key, step: Array, batch: Any
    ) -> tuple[Params, Params, Any, Metrics]:
        """Return the new parameters, state and optimizer state of one network, and metrics."""
        own = getattr(params, name)

        def loss(own: Params) -> tuple[Array, tuple[Adversaries, Metrics]]:
            return getattr(losses, name)(params._replace(**{name: own}), model_state, key, step, batch)

        (_, (new_state, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(own)
        updates, opt_state = getattr(optimizers, name).update(grads, opt_state, own)
        metrics = {**metrics, f"{name}_grad_norm": optax.tree.norm(grads)}
        return optax.apply_updates(own, updates), getattr(new_state, name), opt_state, metrics

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        check_batch(batch)
        params: Adversaries = state.params
        model_state: Adversaries = state.state
        opt_states: Any = state.opt_state  # `Adversaries`
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), num_disc_steps + 1)
        batches = jax.tree.map(lambda leaf: _cut(leaf, num_disc_steps), batch)

        def body(carry: tuple[Params, Params, Any], row: tuple[Key, Any]) -> tuple[tuple[Params, Params, Any], Metrics]:
            disc, disc_state, opt_state = carry
            at = (params._replace(discriminator=disc), model_state._replace(discriminator=disc_state))
            *after, metrics = descend("discriminator", *at, opt_state, row[0], state.step, row[1])
            return tuple(after), metrics

        start = (params.discriminator, model_state.discriminator, opt_states.discriminator)
        (disc, disc_state, disc_opt_state), disc_metrics = jax.lax.scan(body, start, (keys[1:], batches))

        after = (params._replace(discriminator=disc), model_state._replace(discriminator=disc_state))
        at = (params, model_state) if simultaneous else after
        last = jax.tree.map(lambda leaf: leaf[-1], batches)
        gen, gen_state, gen_opt_state, metrics = descend("generator", *at, opt_states.generator, keys[0], state.step, last)
        return TrainState(
            step=state.step + 1,
            params=Adversaries(gen, disc),
            state=Adversaries(gen_state, disc_state),
            opt_state=Adversaries(gen_opt_state, disc_opt_state),
            key=state.key,
            ema=None if ema_decay is None else update_ema(state.ema, gen, ema_decay, state.step),
        ), {**jax.tree.map(jnp.mean, disc_metrics), **metrics}

    return step


def staged_step(
    make_step: Callable[..., Step],
    stage_of: Callable[[Array], Array],
    starts: Callable[[Array], Array] | None = None,
) -> Callable[[tuple[Adversaries, ...], Adversaries, Number | None], Step]:
    """Return (losses of each stage, optimizers, EMA's decay) -> the step, which is that of `make_step` for the stage it is in.

    The program has a branch for each stage, of which a step runs one.

    Args:
        make_step: (losses, optimizers, EMA's decay) -> the step of one stage.
        stage_of: step -> the number of its stage.
        starts: step -> whether optimizers start anew before it; by default they never do.
    """

    def make(losses: tuple[Adversaries, ...], optimizers: Adversaries, ema_decay: Number | None) -> Step:
        steps = [make_step(of_stage, optimizers, ema_decay) for of_stage in losses]

        def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
            if starts is not None:
                new = Adversaries(*(one.init(part) for one, part in zip(optimizers, state.params, strict=True)))
                fresh = starts(state.step)
                old = state.opt_state
                state = state._replace(opt_state=jax.tree.map(lambda a, b: jnp.where(fresh, a, b), new, old))
            return jax.lax.switch(stage_of(state.step), steps, state, batch)

        return step

    return make


def _cut(leaf: Array, num: int) -> Array:
    if len(leaf) % num:
        raise InputError(f"A batch of {len(leaf)} cannot be cut into {num} discriminator steps: give a size that {num} divides.")
    return leaf.reshape(num, len(leaf) // num, *leaf.shape[1:])
