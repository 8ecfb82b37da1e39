"""The training loop: epochs, checkpoints, `metrics.jsonl`, signals and the check for non-finite numbers.

A run that is killed at any instant and started again ends with the same bits as one that was not: the state holds everything
that a step depends on, each epoch's order is drawn from the epoch's number, and a checkpoint is there whole or not at all.
(That is tested on CPU. A GPU may choose other kernels in another process, which round differently.)
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.train.checkpoint import restore_latest, save_checkpoint
from gen_jax.train.metrics import MetricsLog
from gen_jax.train.step import TrainState, evaluation_params
from gen_jax.types import InputError, Metrics, Params

STOPPED = "training stopped, and the last checkpoint is from before it. Try a lower learning rate or clip_norm."


class NonFiniteError(FloatingPointError):
    """Training met a NaN or an infinity; the last checkpoint is from before it."""


def fit(
    state: TrainState,
    run_epoch: Callable[[TrainState, int], tuple[TrainState, Metrics]],
    num_epochs: int,
    directory: Path,
    *,
    validate: Callable[[Params], Metrics],
    best_metric: str | None,
    validate_every: int = 1,
    patience: int | None = None,
    tensorboard: bool = False,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    snapshot: Callable[[Params, int], None] = lambda params, epoch: None,
) -> tuple[TrainState, bool]:
    """Train for `num_epochs` epochs, or on from the latest checkpoint in `directory`, and return (state, finished).

    Training may end earlier, by `patience`. `finished` is False where SIGINT or SIGTERM came: the epoch in flight is completed
    and saved first (a second signal acts at once).

    Args:
        state: the state before the first epoch. Its buffers may be donated, so do not use it afterwards.
        run_epoch: (state, epoch) -> (state, metrics of every step), epoch = 0, 1, ….
        num_epochs: how many epochs the whole run has.
        directory: the run directory; `metrics.jsonl` and `checkpoints/` are written there.
        validate: params -> metrics on validation data; called after every `validate_every` epochs and after the last, when a
            checkpoint is saved too.
        best_metric: the metric (larger is better) whose best checkpoint is kept beside the latest; None where the latest is what
            counts.
        validate_every: in epochs.
        patience: stop early after so many validations in a row without a better `best_metric`.
        tensorboard: write TensorBoard's event files too.
        report: called with each epoch's row of metrics; in a run that goes on, with the last one it had first.
        snapshot: called where `validate` is, with the number of epochs done, once their numbers are known to be finite.

    Raises:
        NonFiniteError: a loss or gradient was not finite (names the step), or a validation metric or parameter.
    """
    checkpoints = directory / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(_stop_signal())
        restored = restore_latest(checkpoints, state)
        first_epoch = 0
        if restored is not None:
            state, first_epoch = restored
        log = stack.enter_context(contextlib.closing(MetricsLog(directory, first_epoch, tensorboard)))
        if log.rows:
            report(log.rows[-1])
        for epoch in range(first_epoch, num_epochs):
            if _out_of_patience(log.rows, best_metric, patience):
                break
            start = time.perf_counter()
            first_step = int(state.step)
            state, metrics = run_epoch(state, epoch)
            done = epoch + 1
            due = done % validate_every == 0 or done == num_epochs
            metrics = jax.device_get(metrics)
            _check_finite(metrics, first_step)  # before anything is made of the parameters
            _check_finite_params(state.params, done)
            valid = validate(evaluation_params(state)) if due else {}
            row: dict[str, Any] = {"epoch": done, "step": int(state.step)}
            row |= {f"train_{name}": float(np.mean(values, dtype=np.float64)) for name, values in metrics.items()}
            scores = _finite_floats(valid, done)
            row |= scores
            if due:
                snapshot(evaluation_params(state), done)
            row["seconds"] = time.perf_counter() - start
            log.append(row)
            stopping = stopped()  # read once: what is returned as saved was saved
            if due or stopping:
                save_checkpoint(checkpoints, done, state, scores, best_metric)
            report(row)
            if stopping:
                return state, False
        return state, not stopped()


def _out_of_patience(rows: list[dict[str, Any]], best_metric: str | None, patience: int | None) -> bool:
    if patience is not None and best_metric is None:
        raise InputError(f"patience is {patience}, and nothing says which checkpoint is the best: leave it out.")
    scores = [row[best_metric] for row in rows if best_metric in row]
    return patience is not None and bool(scores) and len(scores) - 1 - int(np.argmax(scores)) >= patience


def _check_finite(metrics: Metrics, first_step: int) -> None:
    bad = np.stack([~np.isfinite(values) for values in metrics.values()])
    if bad.any():
        at = int(np.argmax(bad.any(axis=0)))
        found = ", ".join(f"{name} {metrics[name][at]}" for name, is_bad in zip(metrics, bad[:, at], strict=True) if is_bad)
        raise NonFiniteError(f"Step {first_step + at} has {found}: {STOPPED}")


def _finite_floats(metrics: Metrics, epoch: int) -> dict[str, float]:
    values = {name: float(value) for name, value in metrics.items()}
    for name, value in values.items():
        if not np.isfinite(value):
            raise NonFiniteError(f"{name} is {value} after epoch {epoch}: {STOPPED}")
    return values


def _check_finite_params(params: Params, epoch: int) -> None:
    # a finite gradient can still be one too many for a float32 parameter
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params)):
        raise NonFiniteError(f"A parameter is not finite after epoch {epoch}: {STOPPED}")


@contextlib.contextmanager
def _stop_signal() -> Generator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag; the second one acts as it would have."""
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread handle signals
        yield received.is_set
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # a signal that is ignored stays so: a script's background jobs are not meant by Ctrl-C
    previous = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: Any) -> None:
        received.set()
        restore()

    for number in previous:
        signal.signal(number, handle)
    try:
        yield received.is_set
    finally:
        restore()
