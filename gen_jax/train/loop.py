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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.train.checkpoint import restore_latest, save_checkpoint
from gen_jax.train.metrics import MetricsLog
from gen_jax.train.step import TrainState, all_finite, evaluation_params
from gen_jax.types import Array, InputError, Metrics, Params

CHECKPOINTS = "checkpoints"
STOPPED = "training stopped, and the last checkpoint is from before it. Try a lower learning rate or clip_norm."

_finite = jax.jit(all_finite)
_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class NonFiniteError(FloatingPointError):
    """Training met a NaN or an infinity; the last checkpoint is from before it."""


class Course(NamedTuple):
    """What a run of the loop leaves.

    Attributes:
        state: after the last epoch.
        rows: of metrics, one for each epoch, those before a restart among them.
        finished: False where SIGINT or SIGTERM ended it early.
        best: (score, epoch, params) of the best validation since the (re)start; None where there was none.
    """

    state: TrainState
    rows: list[dict[str, Any]]
    finished: bool
    best: tuple[float, int, Params] | None


class _Epoch(NamedTuple):
    """An epoch whose work was handed to the device."""

    done: int
    start: float
    due: bool
    state: TrainState
    finite: Array
    metrics: Metrics
    valid: Metrics


def run_epochs(
    state: TrainState,
    run_epoch: Callable[[TrainState, int], tuple[TrainState, Metrics]],
    num_epochs: int,
    directory: Path | None = None,
    *,
    validate: Callable[[Params], Metrics] = lambda params: {},
    best_metric: str | None = None,
    validate_every: int = 1,
    patience: int | None = None,
    tensorboard: bool = False,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    snapshot: Callable[[Params, int], None] = lambda params, epoch: None,
) -> Course:
    """Train for `num_epochs` epochs, or on from the latest checkpoint in `directory`; log an epoch while the next one runs.

    At SIGINT or SIGTERM it ends once what the device was given is done and saved; a second signal acts at once.

    Args:
        state: the state before the first epoch. Its buffers may be donated, so do not use it afterwards.
        run_epoch: (state, epoch) -> (state, metrics of every step), epoch = 0, 1, ….
        num_epochs: of the whole run.
        directory: of `metrics.jsonl` and `checkpoints/`; None for nowhere.
        validate: params -> metrics on validation data; called where a checkpoint is saved.
        best_metric: the metric (larger is better) whose best checkpoint is kept beside the latest; None for the latest alone.
        validate_every: so many epochs, and at the end.
        patience: validations in a row without a better `best_metric` after which training stops.
        tensorboard: write TensorBoard's event files too.
        report: called with each epoch's row of metrics; in a run that goes on, with the last one it had first.
        snapshot: called with the parameters, which are finite, and the number of epochs done, at each validation.

    Raises:
        NonFiniteError: a loss, gradient, validation metric or parameter was not finite.
        InputError: a metric is no scalar, no validation reports `best_metric`, or patience is given without it.
    """
    _check_patience(patience, best_metric)
    if directory is not None:
        (directory / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(_stop_signal())
        restored = None if directory is None else restore_latest(directory / CHECKPOINTS, state)
        state, first_epoch = (state, 0) if restored is None else restored
        log = stack.enter_context(contextlib.closing(MetricsLog(directory, first_epoch, tensorboard)))
        if log.rows:
            report(log.rows[-1])
        books = _Books(directory, log, best_metric, report, snapshot)
        running = None
        for epoch in range(first_epoch, num_epochs):
            if stopped() or _out_of_patience(log.rows, best_metric, patience):
                break
            last = epoch + 1 == num_epochs
            state, begun = _begin(state, epoch, last or (epoch + 1) % validate_every == 0, last, run_epoch, validate)
            if running is not None:
                books.enter(running)
            running = begun
            if patience is not None:  # what comes next depends on this epoch
                books.enter(running)
                running = None
        if running is not None:
            books.enter(running, last=True)
        return Course(state, log.rows, not stopped(), books.best)


def _begin(
    state: TrainState,
    epoch: int,
    due: bool,
    last: bool,
    run_epoch: Callable[[TrainState, int], tuple[TrainState, Metrics]],
    validate: Callable[[Params], Metrics],
) -> tuple[TrainState, _Epoch]:
    """Hand an epoch, and its validation where it is due, to the device, and return before they are done."""
    start = time.perf_counter()
    state, metrics = run_epoch(state, epoch)
    kept = _copy(state) if due and not last else state  # the next epoch takes the state's buffers
    valid = validate(evaluation_params(kept)) if due else {}
    return state, _Epoch(epoch + 1, start, due, kept, _finite(state.params), metrics, valid)


class _Books:
    """Waits for an epoch, checks its numbers, and writes down what is to be kept of it."""

    def __init__(
        self,
        directory: Path | None,
        log: MetricsLog,
        best_metric: str | None,
        report: Callable[[dict[str, Any]], None],
        snapshot: Callable[[Params, int], None],
    ):
        self.directory, self.log, self.best_metric, self.report, self.snapshot = directory, log, best_metric, report, snapshot
        self.best: tuple[float, int, Params] | None = None
        self.ended = 0.0

    def enter(self, epoch: _Epoch, last: bool = False) -> None:
        """Log an epoch and, where it was validated or is the last, save it."""
        metrics, finite, valid = jax.device_get((epoch.metrics, epoch.finite, epoch.valid))
        num_steps = len(next(iter(metrics.values())))
        last_step = (self.log.rows[-1]["step"] if self.log.rows else 0) + num_steps
        _check_finite(metrics, last_step - num_steps)
        if not finite:  # a finite gradient can still be one too many for a float32 parameter
            raise NonFiniteError(f"A parameter is not finite after epoch {epoch.done}: {STOPPED}")
        row: dict[str, Any] = {"epoch": epoch.done, "step": last_step}
        row |= {f"train_{name}": float(np.mean(values, dtype=np.float64)) for name, values in metrics.items()}
        scores = _finite_floats(valid, epoch.done)
        row |= scores
        if epoch.due:
            self.best = _better(self.best, epoch, scores, self.best_metric)
            self.snapshot(evaluation_params(epoch.state), epoch.done)
        row["seconds"] = time.perf_counter() - max(epoch.start, self.ended)
        self.log.append(row)
        if self.directory is not None and (epoch.due or last):
            save_checkpoint(self.directory / CHECKPOINTS, epoch.done, epoch.state, scores, self.best_metric)
        self.report(row)
        self.ended = time.perf_counter()


def _better(
    best: tuple[float, int, Params] | None, epoch: _Epoch, scores: dict[str, float], best_metric: str | None
) -> tuple[float, int, Params] | None:
    """Return the best validation so far; the latest, where nothing says what is best."""
    if best_metric is None:
        return 0.0, epoch.done, evaluation_params(epoch.state)
    if best_metric not in scores:
        known = ", ".join(scores) or "nothing"
        raise InputError(f"best_metric is {best_metric!r}, and validation reports {known}: give one of these, or None.")
    if best is not None and best[0] > scores[best_metric]:
        return best
    return scores[best_metric], epoch.done, evaluation_params(epoch.state)


def _check_patience(patience: int | None, best_metric: str | None) -> None:
    if patience is not None and best_metric is None:
        raise InputError(f"patience is {patience}, and nothing says which checkpoint is the best: leave it out.")


def _out_of_patience(rows: list[dict[str, Any]], best_metric: str | None, patience: int | None) -> bool:
    scores = [row[best_metric] for row in rows if best_metric in row]
    return patience is not None and bool(scores) and len(scores) - 1 - int(np.argmax(scores)) >= patience


def _check_finite(metrics: dict[str, np.ndarray], first_step: int) -> None:
    for name, values in metrics.items():
        if values.ndim != 1:
            raise InputError(
                f"The loss reports {name} as an array of shape {values.shape[1:]}: report scalars, such as its mean."
            )
    bad = np.stack([~np.isfinite(values) for values in metrics.values()])
    if bad.any():
        at = int(np.argmax(bad.any(axis=0)))
        found = ", ".join(f"{name} {metrics[name][at]}" for name, is_bad in zip(metrics, bad[:, at], strict=True) if is_bad)
        raise NonFiniteError(f"Step {first_step + at} has {found}: {STOPPED}")


def _finite_floats(metrics: Metrics, epoch: int) -> dict[str, float]:
    for name, value in metrics.items():
        if np.ndim(value):
            raise InputError(f"Validation reports {name} as an array of shape {np.shape(value)}: report scalars.")
        if not np.isfinite(value):
            raise NonFiniteError(f"{name} is {value} after epoch {epoch}: {STOPPED}")
    return {name: float(value) for name, value in metrics.items()}


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
