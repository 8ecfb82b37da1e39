"""The training step (state, batch) -> (state, metrics), pure and unjitted, and an epoch of it as one scan.

The caller compiles, donates, shards or vmaps these.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from gen_jax.types import Adversaries, Array, InputError, Key, Loss, Metrics, Number, Params, join, split

Step = Callable[["TrainState", Any], tuple["TrainState", Metrics]]
"""(state, batch) -> (state, metrics)."""
GROUP = 8
"""The most steps of a compiled call where batches come from the host: a scan of several saves the overhead of a call for each."""


class TrainState(NamedTuple):
    """Everything that training carries from one step to the next.

    Attributes:
        step: the number of steps taken.
        params: the trained parameters.
        state: the rest of the model's variables (batch statistics, a codebook's averages), or ().
        opt_state: the optimizer's state.
        key: the root key. It never advances: step t draws from `fold_in(key, t)`, so a resumed run repeats an
            uninterrupted one bit for bit.
        ema: the exponential moving average of the parameters (of a GAN, of the generator's), or None.
    """

    step: Int[Array, ""]
    params: Params
    state: Params
    opt_state: optax.OptState
    key: Key
    ema: Params


def init_state(variables: Params, optimizer: Any, key: Key, ema: bool = False) -> TrainState:
    """Return the state before the first step.

    Args:
        variables: what the model's `init` returns: parameters, or `Variables`.
        optimizer: an optax optimizer; for a GAN, `Adversaries` of two.
        key: the root key of the steps.
        ema: keep a moving average of the parameters.
    """
    params, state = split(variables)
    if isinstance(optimizer, Adversaries):
        opt_state: Any = Adversaries(*(one.init(part) for one, part in zip(optimizer, params, strict=True)))
    else:
        opt_state = optimizer.init(params)
    averaged = params.generator if isinstance(params, Adversaries) else params
    return TrainState(jnp.int32(0), params, state, opt_state, key, jax.tree.map(jnp.copy, averaged) if ema else None)


def evaluation_params(state: TrainState) -> Params:
    """Return the variables for the model's functions, with the moving average, if any, in place of the parameters.

    The model's state (batch statistics, spectral vectors, a codebook) is that of the last step.
    """
    params = state.params
    if state.ema is not None:
        params = params._replace(generator=state.ema) if isinstance(params, Adversaries) else state.ema
    return join(params, state.state)


def update_ema(ema: Params, params: Params, decay: Number, step: Int[Array, ""]) -> Params:
    """Return the average Σ_s d^(t−s) p_s / Σ_s d^(t−s) of the parameters p_1 … p_t after step t, given that after step t − 1.

    It is debiased as Adam's moments are: the initial parameters have no weight.

    Raises:
        InputError: the decay is not between 0 and 1.
    """
    if isinstance(decay, float | int) and not 0 < decay < 1:
        raise InputError(f"ema_decay is {decay}: give a number between 0 and 1, such as 0.999.")
    log_decay = math.log(decay) if isinstance(decay, float | int) else jnp.log(decay)
    weight = (1 - decay) / -jnp.expm1((step + 1) * log_decay)  # (1 − d) / (1 − d^t), without cancellation
    return optax.incremental_update(params, ema, weight)


def decay_of_half_life(half_life: Number, examples_per_step: int) -> Number:
    """Return the decay d per step of an average whose weights halve every `half_life` examples: d = 2^(−examples / half-life)."""
    return 0.5 ** (examples_per_step / half_life)


def batch_mean(objective: Callable[[Params, Key, Any], tuple[Array, Metrics]]) -> Loss:
    """Return the loss of a batch: the mean over examples of (variables, key, example) -> (objective, metrics), a key for each."""

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Float[Array, ""], tuple[Params, Metrics]]:
        keys = jax.random.split(key, jax.tree.leaves(batch)[0].shape[0])
        losses, metrics = jax.vmap(objective, in_axes=(None, 0, 0))(join(params, state), keys, batch)
        return jnp.mean(losses), (state, jax.tree.map(jnp.mean, metrics))

    return loss


def check_metrics(what: str, metrics: Any, of_steps: bool = False) -> None:
    """Raise an InputError that names what is wrong, unless metrics are scalars by name (or, of steps, a vector for each name).

    Arrays may be abstract: of these, no number is read.
    """
    if not isinstance(metrics, dict) or not all(isinstance(name, str) for name in metrics) or (of_steps and not metrics):
        raise InputError(f"{what} reports {metrics!r}: report a dict of scalars by name, such as {{'error': 0.5}}.")
    for name, value in metrics.items():
        dtype = getattr(value, "dtype", type(value))
        if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
            raise InputError(f"{what} reports {name} as {value!r}: report a real number by each name.")
        shape = np.shape(value)
        if len(shape) != of_steps:
            raise InputError(f"{what} reports {name} as an array of shape {shape[of_steps:]}: report scalars, such as its mean.")


def check_batch(batch: Any) -> None:
    """Raise an InputError for a batch without examples, of which no mean is a number."""
    if any(len(leaf) == 0 for leaf in jax.tree.leaves(batch)):
        raise InputError("The batch is empty: give one example or more.")


def make_step(loss: Loss, optimizer: optax.GradientTransformation, ema_decay: Number | None = None) -> Step:
    """Return the step that minimises a loss; it reports the loss's metrics, `loss` and `grad_norm`.

    `ema_decay` is that of the moving average of the parameters, or None for none.

    Raises:
        InputError: (at trace time) the batch is empty.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from gen_jax.train import init_state, make_step
        >>> loss = lambda w, state, key, step, batch: (jnp.mean((w - batch) ** 2), (state, {}))
        >>> state = init_state(jnp.float32(0), optax.sgd(0.5), jax.random.key(0))
        >>> state, metrics = make_step(loss, optax.sgd(0.5))(state, jnp.array([1.0, 3.0]))
        >>> state.params.item(), metrics["loss"].item()  # w = 0 − ½ · 2 (0 − 2); ½ (1² + 3²)
        (2.0, 5.0)
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        check_batch(batch)
        key = jax.random.fold_in(state.key, state.step)
        grad = jax.value_and_grad(loss, has_aux=True)
        (value, (model_state, metrics)), grads = grad(state.params, state.state, key, state.step, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        ema = None if ema_decay is None else update_ema(state.ema, params, ema_decay, state.step)
        metrics = {"loss": value, "grad_norm": optax.tree.norm(grads), **metrics}
        return TrainState(state.step + 1, params, model_state, opt_state, state.key, ema), metrics

    return step


def scan_epoch(
    step: Step, batch_size: int, num_steps: int | None = None
) -> Callable[[TrainState, Any, Key], tuple[TrainState, Metrics]]:
    """Return (state, data, key) -> (state, metrics of every step): one pass over `data` in the order of `epoch_rows`.

    `data` is a pytree of arrays with the examples along the first axis.

    Raises:
        InputError: (when called) as for `steps_per_epoch`.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from gen_jax.train import init_state, make_step, scan_epoch
        >>> loss = lambda w, state, key, step, batch: (jnp.mean((w - batch) ** 2), (state, {}))
        >>> state = init_state(jnp.float32(0), optax.sgd(0.5), jax.random.key(0))
        >>> epoch = jax.jit(scan_epoch(make_step(loss, optax.sgd(0.5)), batch_size=2))
        >>> state, metrics = epoch(state, jnp.full(6, 7.0), jax.random.key(1))
        >>> state.step.item(), state.params.item(), metrics["loss"].tolist()  # the first of three steps finds the mean
        (3, 7.0, [49.0, 0.0, 0.0])
    """

    def epoch(state: TrainState, data: Any, key: Key) -> tuple[TrainState, Metrics]:
        order = epoch_rows(key, jax.tree.leaves(data)[0].shape[0], batch_size, num_steps)

        def body(state: TrainState, rows: Int[Array, "B"]) -> tuple[TrainState, Metrics]:
            return step(state, jax.tree.map(lambda leaf: leaf[rows], data))

        return jax.lax.scan(body, state, order)

    return epoch


def epoch_rows(key: Key, num_examples: int, batch_size: int, num_steps: int | None = None) -> Int[Array, "S B"]:
    """Return the rows of each batch of an epoch, in an order drawn with `key`; the arguments are those of `steps_per_epoch`.

    No example comes twice. The examples that fill no whole batch, or come after `num_steps` batches, are left out of this epoch.

    Raises:
        InputError: as for `steps_per_epoch`.
    """
    steps = steps_per_epoch(num_examples, batch_size, num_steps)
    return jax.random.permutation(key, num_examples)[: steps * batch_size].reshape(steps, batch_size)


def scan_batches(step: Step) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Return (state, batches) -> (state, metrics of every step), of batches in one pytree of arrays [S, B, ...]."""
    return lambda state, batches: jax.lax.scan(step, state, batches)


def steps_per_call(num_steps: int) -> int:
    """Return how many steps of an epoch a call does: the largest divisor of their number from GROUP / 2 to GROUP, or else GROUP.

    Where none divides it, the last call has fewer, and is a second program to compile.
    """
    return next((num for num in range(GROUP, GROUP // 2 - 1, -1) if num_steps % num == 0), GROUP)


def stream_epoch(
    run: Callable[[TrainState, Any], tuple[TrainState, Metrics]],
    state: TrainState,
    batches: Iterable[Any],
    num: int,
    put: Callable[[Any], Any] = lambda group: group,
) -> tuple[TrainState, Metrics]:
    """Run a compiled `scan_batches` over batches from the host, `num` of them at a time, and return what `scan_epoch` returns.

    `put` places each group [num, B, ...] on the devices, on which no more than three groups are at a time.
    """
    batches, metrics = iter(batches), []  # metrics stay on the device, so that the next group is read while one runs
    while group := list(itertools.islice(batches, num)):
        state, of_group = run(state, put(jax.tree.map(lambda *leaves: np.stack(leaves), *group)))
        metrics.append(of_group)
        jax.block_until_ready(metrics[-2:-1])
    return state, jax.tree.map(lambda *leaves: np.concatenate(leaves), *jax.device_get(metrics))


def steps_per_epoch(num_examples: int, batch_size: int, num_steps: int | None = None) -> int:
    """Return the number of whole batches in an epoch, or `num_steps` if that is given.

    Raises:
        InputError: the batch size is not in 1 … `num_examples`, or there are fewer batches than `num_steps`.
    """
    if not 1 <= batch_size <= num_examples:
        raise InputError(
            f"A batch of {batch_size} cannot be drawn from {num_examples} training examples: "
            f"give a batch size between 1 and {num_examples}."
        )
    whole = num_examples // batch_size
    if num_steps is not None and not 1 <= num_steps <= whole:
        raise InputError(f"epoch_steps is {num_steps}, and {num_examples} examples make {whole} batches: give 1 to {whole}.")
    return num_steps or whole
