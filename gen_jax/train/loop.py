"""The training loop: epochs, checkpoints, `metrics.jsonl`, signals and the check for non-finite numbers.

A run that is killed at any instant and started again ends with the same bits as one that was not: the state holds everything
that a step depends on, each epoch's order is drawn from the epoch's number, and checkpoints are atomic. (That is tested on CPU.
A GPU may choose other kernels in another process, which round differently.)
"""

import contextlib
import dataclasses
import numbers
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.train.checkpoint import read_course, restore_best, restore_latest, save_checkpoint, saved_epochs
from gen_jax.train.hosts import any_process, by_first, is_first, local
from gen_jax.train.metrics import MetricsLog
from gen_jax.train.step import TrainState, check_metrics, evaluation_params
from gen_jax.types import Array, InputError, Metrics, Params

CHECKPOINTS = "checkpoints"

_finite = jax.jit(lambda tree: jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)])))
_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class NonFiniteError(FloatingPointError):
    """Training met a NaN or an infinity; the last checkpoint is from before it."""


class Fitted(NamedTuple):
    """A trained model.

    Attributes:
        params: what the model's functions take, of the epoch with the largest `best_metric`; without one, of the last epoch.
        epoch: the number of epochs after which they were taken.
        history: a row of metrics for each epoch, from the first of the run.
        finished: False if SIGINT or SIGTERM ended training early; with a directory, the same call resumes it.
        state: the `TrainState` after the last epoch.
    """

    params: Params
    epoch: int
    history: list[dict[str, Any]]
    finished: bool
    state: TrainState


class _Epoch(NamedTuple):
    """An epoch that the device computes, or has computed."""

    done: int  # epochs, this one included
    start: float
    validated: bool
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
    snapshot: Callable[[Params, int], None] | None = None,
) -> Fitted:
    """Train for `num_epochs` epochs in all, from the latest checkpoint in `directory` if there is one.

    An epoch is logged while the next one runs. At SIGINT or SIGTERM training ends after the epochs that were already dispatched,
    and saves; a second signal acts at once. Of many processes, one that gets a signal ends training in all, after the same epoch.

    Args:
        state: the state before the first epoch. Its buffers may be donated, so do not use it afterwards.
        run_epoch: (state, epoch) -> (state, metrics of every step), epoch = 0, 1, ….
        num_epochs: of the whole run.
        directory: of `metrics.jsonl` and `checkpoints/`; None to write nothing.
        validate: params -> metrics on validation data, called before each checkpoint.
        best_metric: the metric (larger is better) whose best checkpoint is kept besides the latest.
        validate_every: epochs between validations; there is one after the last epoch too.
        patience: stop after this many validations in a row without a better `best_metric`.
        tensorboard: write TensorBoard's event files too.
        report: called with each epoch's row of metrics, and on resuming with the last row from before; of many processes, in
            process 0 alone.
        snapshot: called with the parameters and the number of epochs done, at each validation; likewise.

    Raises:
        NonFiniteError: a loss, gradient, validation metric or parameter was not finite.
        InputError: a metric is not a scalar, no validation reports `best_metric`, patience is given without it, or the directory
            holds more epochs.
    """
    check_patience(patience, best_metric)
    if directory is not None:
        by_first(lambda: check_epochs(directory, num_epochs))
        (directory / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(_stop_signal())
        restored = None if directory is None else restore_latest(directory / CHECKPOINTS, state)
        state, done = (state, 0) if restored is None else restored
        log = stack.enter_context(contextlib.closing(MetricsLog(directory if is_first() else None, done, tensorboard)))
        log.rows = by_first(lambda: log.rows)
        if restored is None and log.num_read > validate_every:
            warnings.warn(
                f"{directory} has metrics of {log.num_read} epochs and no checkpoint: training starts anew.", stacklevel=2
            )
        if log.rows and is_first():
            report(log.rows[-1])
        course = {} if directory is None else by_first(lambda: read_course(directory / CHECKPOINTS, done))
        recorder = _Recorder(directory, log, best_metric, report, snapshot, int(state.step))
        recorder.best_score, recorder.waited = course.get("best_score"), int(course.get("waited", 0))
        pending: list[_Epoch] = []  # dispatched, not yet recorded
        while done < num_epochs and not any_process(stopped() or out_of_patience(patience, recorder.waited)):
            start, done = time.perf_counter(), done + 1
            validated = done == num_epochs or done % validate_every == 0
            state, metrics = run_epoch(state, done - 1)
            kept = _copy(state) if validated and done < num_epochs else state  # the next epoch takes the state's buffers
            valid = validate(evaluation_params(kept)) if validated else {}
            pending.append(_Epoch(done, start, validated, kept, _finite(state.params), metrics, valid))
            if patience is not None or len(pending) > 1:  # with patience, whether another epoch follows depends on this one
                recorder.record(pending.pop(0))
        for dispatched in pending:
            recorder.record(dispatched)
        if directory is not None and done not in {0, *by_first(lambda: saved_epochs(directory / CHECKPOINTS))}:
            # a signal came between two validations
            save_checkpoint(directory / CHECKPOINTS, done, state, {}, best_metric, recorder.course())
        best = recorder.best
        if directory is not None and (found := restore_best(directory / CHECKPOINTS, state, best_metric)):
            best = evaluation_params(found[0]), found[1]  # it may be from before a restart
        params, epoch = best or (evaluation_params(state), done)
        return Fitted(params, epoch, log.rows, not any_process(stopped()), state)


@dataclasses.dataclass
class _Recorder:
    """Waits for an epoch, checks its numbers, and logs and saves it."""

    directory: Path | None
    log: MetricsLog
    best_metric: str | None
    report: Callable[[dict[str, Any]], None]
    snapshot: Callable[[Params, int], None] | None
    step: int  # steps done
    best_score: float | None = None
    waited: int = 0  # validations in a row without a better score
    best: tuple[Params, int] | None = None  # of a run without checkpoints, the best parameters and their epoch
    ended: float = 0.0

    def course(self) -> dict[str, float]:
        """Return what patience depends on: a metrics file that was cut does not change when training stops."""
        return {} if self.best_score is None else {"best_score": self.best_score, "waited": self.waited}

    def record(self, epoch: _Epoch) -> None:
        metrics, finite, valid = jax.device_get((epoch.metrics, epoch.finite, epoch.valid))
        check_metrics("The loss", metrics, of_steps=True)
        check_metrics("Validation", valid)
        if found := _not_finite(metrics, self.step):
            self._stop(found)
        self.step += len(next(iter(metrics.values())))
        where = f"after epoch {epoch.done}, step {self.step}"
        if not finite:  # a finite gradient can still be one too many for a float32 parameter
            self._stop(f"A parameter is not finite {where}")
        scores = {name: float(value) for name, value in valid.items()}
        for name, score in scores.items():
            if not np.isfinite(score):
                self._stop(f"{name} is {score} {where}")
        row: dict[str, Any] = {"epoch": epoch.done, "step": self.step}
        row |= {f"train_{name}": float(np.mean(values, dtype=np.float64)) for name, values in metrics.items()}
        row |= scores
        if epoch.validated:
            self._keep_best(epoch, scores)
        if epoch.validated and self.snapshot is not None:
            params = local(evaluation_params(epoch.state))  # by all processes
            if is_first():
                self.snapshot(params, epoch.done)
        row["seconds"] = time.perf_counter() - max(epoch.start, self.ended)
        self.log.append(row)
        if self.directory is not None and epoch.validated:
            save_checkpoint(self.directory / CHECKPOINTS, epoch.done, epoch.state, scores, self.best_metric, self.course())
        if is_first():
            self.report(row)
        self.ended = time.perf_counter()

    def _stop(self, found: str) -> NoReturn:
        epochs = [] if self.directory is None else saved_epochs(self.directory / CHECKPOINTS)
        saved = f", and the checkpoint of epoch {epochs[-1]} is from before it" if epochs else ""
        raise NonFiniteError(f"{found}: training stopped{saved}. Try a lower learning rate or clip_norm.")

    def _keep_best(self, epoch: _Epoch, scores: dict[str, float]) -> None:
        check_best_metric(self.best_metric, scores)
        if self.best_metric is None:
            return
        score, before = scores[self.best_metric], self.best_score
        if self.directory is None and (before is None or score >= before):
            self.best = evaluation_params(epoch.state), epoch.done
        self.waited = 0 if before is None or score > before else self.waited + 1
        self.best_score = score if before is None else max(score, before)


def check_count(name: str, value: Any) -> None:
    """Raise an InputError for an option that is no positive integer."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}: give an integer, 1 or more.")


def check_epochs(directory: Path, epochs: int) -> None:
    """Raise an InputError for a run directory that holds a longer run than one of so many epochs."""
    done = max(saved_epochs(directory / CHECKPOINTS), default=0)
    if done > epochs:
        raise InputError(f"epochs is {epochs}, and {directory} has been trained for {done}: give {done} or more.")


def check_patience(patience: int | None, best_metric: str | None) -> None:
    """Raise an InputError for patience that is no positive integer, or has no metric."""
    if patience is None:
        return
    check_count("patience", patience)
    if best_metric is None:
        raise InputError(f"patience is {patience}, and there is no best_metric to wait for: leave it out.")


def check_best_metric(best_metric: str | None, metrics: Metrics) -> None:
    """Raise an InputError for a metric that a validation does not report."""
    if best_metric is not None and best_metric not in metrics:
        known = ", ".join(metrics) or "nothing"
        raise InputError(f"best_metric is {best_metric!r}, and validation reports {known}: give one of these, or None.")


def out_of_patience(patience: int | None, waited: int) -> bool:
    """Say whether so many validations in a row without a better score are as many as patience allows."""
    return patience is not None and waited >= patience


def _not_finite(metrics: dict[str, np.ndarray], first_step: int) -> str:
    """Return what the first step that is not finite has."""
    bad = np.stack([~np.isfinite(values) for values in metrics.values()])
    if not bad.any():
        return ""
    at = int(np.argmax(bad.any(axis=0)))
    found = ", ".join(f"{name} {metrics[name][at]}" for name, is_bad in zip(metrics, bad[:, at], strict=True) if is_bad)
    return f"Step {first_step + at} has {found}"


@contextlib.contextmanager
def _stop_signal() -> Generator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag; the second one acts as it would have."""
    received = False
    if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread handle signals
        yield lambda: received
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # an ignored signal stays ignored: Ctrl-C is not meant for a script's background jobs
    previous = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: Any) -> None:
        nonlocal received  # not an Event: a second signal may come inside of its lock
        second, received = received, True
        restore()
        if second:  # it came before the handlers were restored
            signal.raise_signal(number)

    for number in previous:
        signal.signal(number, handle)
    try:
        yield lambda: received
    finally:
        restore()
