"""The training step: (state, batch) -> (state, metrics), pure and unjitted, and an epoch of it as one scan.

The edge (`train.fit`'s caller) compiles, donates, shards or vmaps these.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from gen_jax.types import Array, Game, InputError, Key, Metrics, Params

Objective = Callable[[Params, Key, Any], tuple[Array, Metrics]]
"""(params, key, example) -> (what to minimise, metrics), for one example."""
Loss = Callable[[Params, Key, Array, Any], tuple[Array, Metrics]]
"""(params, key, step, batch) -> (what to minimise, metrics), for a batch at a step of training, such as for annealing."""


class TrainState(NamedTuple):
    """Everything that training carries from one step to the next.

    Attributes:
        step: how many steps have been taken.
        params: the parameters.
        opt_state: the optimizer's state.
        key: the root key. It never advances: step t draws from `fold_in(key, t)`, so a resumed run repeats an
            uninterrupted one bit for bit.
        ema: the exponential moving average of the parameters, or None.
    """

    step: Int[Array, ""]
    params: Params
    opt_state: optax.OptState
    key: Key
    ema: Params


def init_state(params: Params, optimizer: optax.GradientTransformation, key: Key, ema_decay: float | None = None) -> TrainState:
    """Return the state before the first step. The moving average, if any, starts at the initial parameters."""
    ema = None if ema_decay is None else jax.tree.map(jnp.copy, params)
    return TrainState(jnp.int32(0), params, optimizer.init(params), key, ema)


def evaluation_params(state: TrainState) -> Params:
    """Return the parameters to evaluate with: the moving average where there is one, of a game that of its generator."""
    if state.ema is None:
        return state.params
    return state.params._replace(generator=state.ema) if isinstance(state.params, Game) else state.ema


def batch_mean(objective: Objective) -> Loss:
    """Lift an objective of one example to a batch: vmapped, a key of its own for each example, and the mean taken once."""

    def loss(params: Params, key: Key, step: Int[Array, ""], batch: Any) -> tuple[Float[Array, ""], Metrics]:
        keys = jax.random.split(key, jax.tree.leaves(batch)[0].shape[0])
        losses, metrics = jax.vmap(objective, in_axes=(None, 0, 0))(params, keys, batch)
        return jnp.mean(losses), jax.tree.map(jnp.mean, metrics)

    return loss


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    ema_decay: float | None = None,
    adjust: Callable[[Params, Key, Any], Params] | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Return the step that minimises a batch loss; its metrics are the loss's own, `loss` and `grad_norm`.

    The moving average follows ema ← decay · ema + (1 − decay) · params.

    Args:
        loss: what is minimised.
        optimizer: turns gradients into updates.
        ema_decay: of the moving average, or None for none.
        adjust: (params, key, batch) -> params, what is done to parameters beside the optimizer's update and after it, such as the
            averages of a codebook. The key is that of the loss, so that it can see the batch as the loss did.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.params, key, state.step, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params = adjust(params, key, batch) if adjust else params
        ema = None if ema_decay is None else optax.incremental_update(params, state.ema, 1 - ema_decay)
        metrics = {"loss": value, "grad_norm": optax.tree.norm(grads), **metrics}
        return TrainState(state.step + 1, params, opt_state, state.key, ema), metrics

    return step


def scan_epoch(
    step: Callable[[TrainState, Any], tuple[TrainState, Metrics]], batch_size: int, num_steps: int | None = None
) -> Callable[[TrainState, Any, Key], tuple[TrainState, Metrics]]:
    """Return (state, data, key) -> (state, metrics of every step): one pass over `data` in an order drawn with `key`.

    `data` is a pytree of arrays with the examples along the first axis. The N mod batch_size examples that fill no batch, and all
    that come after the first `num_steps` batches where that is given, are left out of this epoch; each epoch draws another order.

    Raises:
        InputError: (at trace time) there are fewer examples than one batch takes.
    """

    def epoch(state: TrainState, data: Any, key: Key) -> tuple[TrainState, Metrics]:
        num_examples = jax.tree.leaves(data)[0].shape[0]
        steps = steps_per_epoch(num_examples, batch_size, num_steps)
        order = jax.random.permutation(key, num_examples)[: steps * batch_size].reshape(steps, batch_size)

        def body(state: TrainState, rows: Int[Array, "B"]) -> tuple[TrainState, Metrics]:
            return step(state, jax.tree.map(lambda leaf: leaf[rows], data))

        return jax.lax.scan(body, state, order)

    return epoch


def stream_epoch(
    step: Callable[[TrainState, Any], tuple[TrainState, Metrics]], state: TrainState, batches: Iterable[Any]
) -> tuple[TrainState, Metrics]:
    """Run an already compiled step over batches from the host, and return what `scan_epoch` returns.

    The metrics stay on the device until the end of the epoch, so that the next batch is sent while a step runs.
    """
    metrics = []
    for batch in batches:
        state, step_metrics = step(state, batch)
        metrics.append(step_metrics)
    return state, jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(metrics))


def steps_per_epoch(num_examples: int, batch_size: int, num_steps: int | None = None) -> int:
    """Return how many whole batches an epoch holds: all that there are, or `num_steps` of them where that is given.

    Raises:
        InputError: the batch size is less than 1 or larger than the number of examples, or there are fewer batches than
            `num_steps`.
    """
    if not 1 <= batch_size <= num_examples:
        raise InputError(
            f"A batch of {batch_size} cannot be drawn from {num_examples} training examples: "
            f"give a batch size between 1 and {num_examples}."
        )
    whole = num_examples // batch_size
    if num_steps is not None and not 1 <= num_steps <= whole:
        raise InputError(f"epoch_steps is {num_steps}, and {num_examples} examples make {whole} batches: give 1 to as many.")
    return num_steps or whole
