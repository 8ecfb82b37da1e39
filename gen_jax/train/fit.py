"""Training any model on a data set: `fit`."""

import functools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.train.checkpoint import restore_best, saved_epochs
from gen_jax.train.game_step import make_game_step
from gen_jax.train.loop import CHECKPOINTS, run_epochs
from gen_jax.train.optimizer import ScheduleName, adam, learning_rate_schedule
from gen_jax.train.run_directory import CONFIG_FILE, open_run, read_config
from gen_jax.train.step import (
    Step,
    TrainState,
    epoch_rows,
    evaluation_params,
    init_state,
    make_step,
    scan_epoch,
    steps_per_epoch,
    stream_epoch,
)
from gen_jax.types import Adversaries, Array, InputError, Key, Loss, Metrics, Params, context_of, split


class Fitted(NamedTuple):
    """A trained model.

    Attributes:
        params: what the model's functions take: of the best validation, or the latest where nothing says what is best.
        epoch: after how many epochs they were so.
        history: a row of metrics for each epoch.
        finished: False where a signal ended training early; with a directory, the same call goes on.
        state: the `TrainState` after the last epoch.
    """

    params: Params
    epoch: int
    history: list[dict[str, Any]]
    finished: bool
    state: TrainState


class FitKeys(NamedTuple):
    """The keys that a run draws from, one for each purpose."""

    init: Key
    noise: Key
    order: Key
    validation: Key
    evaluation: Key
    figures: Key


def fit_keys(key: Key) -> FitKeys:
    """Return the keys of a run by its root key."""
    return FitKeys(*jax.random.split(key, len(FitKeys._fields)))


class Options(NamedTuple):
    """What `fit` can be told.

    Attributes:
        epochs: passes over the training examples.
        batch_size: examples of a step; of a GAN, of all its discriminator steps together.
        learning_rate: of Adam, where no optimizer is given.
        schedule: of that learning rate.
        optimizer: an optax optimizer, or `Adversaries` of two, in place of Adam; or a function (number of steps) -> these.
        make_step: (loss, optimizer, ema_decay) -> `Step`; by default `train.make_step`, and of a GAN `train.make_game_step`.
        ema_decay: evaluate a moving average of the parameters with this decay.
        epoch_steps: steps of an epoch, where it is not a whole pass.
        stream: read batches from the host through Grain, for data that does not fit on the device.
        validate: (params, key, validation examples) -> metrics; by default those of `validation` (nothing, of a GAN).
        best_metric: the one whose largest value says which parameters are returned; None for the latest.
        validate_every: in epochs.
        patience: stop early after so many validations in a row without a better `best_metric`.
        directory: for checkpoints and `metrics.jsonl`.
        config: what tells this run from others in the directory; by default, the options and the compiled program.
        tensorboard: write TensorBoard's event files there too.
        report: called with each epoch's row of metrics.
        snapshot: called with the parameters and the number of epochs done, at every validation.
    """

    epochs: int
    batch_size: int = 100
    learning_rate: float = 1e-3
    schedule: ScheduleName = "cosine"
    optimizer: Any = None
    make_step: Callable[..., Step] | None = None
    ema_decay: float | None = None
    epoch_steps: int | None = None
    stream: bool = False
    validate: Callable[[Params, Key, Any], Metrics] | None = None
    best_metric: str | None = "valid_score"
    validate_every: int = 1
    patience: int | None = None
    directory: Path | str | None = None
    config: dict[str, Any] | None = None
    tensorboard: bool = False
    report: Callable[[dict[str, Any]], None] = lambda row: None
    snapshot: Callable[[Params, int], None] = lambda params, epoch: None


def fit(key: Key, model: Any, loss: Loss | Adversaries, data: Any, **options: Any) -> Fitted:
    """Train a model on a data set.

        fitted = fit(key, vae, elbo_loss(vae), load_dataset("mnist-5k"), epochs=20)

    With a directory it is checkpointed, and the same call goes on with a run that was stopped, bit for bit; with more epochs it
    goes on with one that was finished.

    Args:
        key: of the initialisation, the order of examples and the noise.
        model: anything with `init(key, x[, label])`, such as a `VAE`, a `DensityModel`, a `GAN`.
        loss: a `Loss`; of a GAN, `Adversaries` of two.
        data: a `data.Dataset`.
        **options: the attributes of `Options`, of which `epochs` is required.

    Raises:
        InputError: the directory was made by another call, or an option cannot be used.
        NonFiniteError: training diverged; the last good checkpoint stays.
    """
    chosen, keys = _checked(Options(**options), loss, data, model), fit_keys(key)

    def prepare(epochs: int) -> tuple[TrainState, Any, Any]:
        """Return the state before the first step of a run of so many epochs, an epoch, and its program."""
        then = chosen._replace(epochs=epochs)
        optimizer = _optimizer(then, data, isinstance(loss, Adversaries))
        state = start(key, model, optimizer, data.event_shape, then.ema_decay is not None)
        return state, *_epochs(_step(then, loss, optimizer, data, model), state, data, then, keys.order)

    state, run_epoch, _ = prepare(chosen.epochs)
    valid = data.valid.on_device()
    train = functools.partial(
        run_epochs,
        state,
        run_epoch,
        chosen.epochs,
        validate=lambda params: chosen.validate(params, keys.validation, valid) if chosen.validate else {},
        **{name: getattr(chosen, name) for name in LOOP_OPTIONS},
    )
    if chosen.directory is None:
        found = train()
        latest = (0.0, len(found.rows), evaluation_params(found.state))
        _, epoch, params = found.best if chosen.best_metric and found.best else latest
        return Fitted(params, epoch, found.rows, found.finished, found.state)
    directory = Path(chosen.directory)
    config, may_change = _config(directory, key, chosen, data, lambda epochs: prepare(epochs)[2]())
    with open_run(directory, config, may_change):
        found = train(directory)
        best = restore_best(directory / CHECKPOINTS, found.state, chosen.best_metric)
        assert best is not None  # training ends with a checkpoint
        return Fitted(evaluation_params(best[0]), best[1], found.rows, found.finished, found.state)


LOOP_OPTIONS = ("best_metric", "validate_every", "patience", "tensorboard", "report", "snapshot")


def _checked(chosen: Options, loss: Any, data: Any, model: Any) -> Options:
    """Return the options with their defaults, or raise an InputError for one that cannot be used."""
    for name in ("epochs", "validate_every"):
        if getattr(chosen, name) < 1:
            raise InputError(f"{name} is {getattr(chosen, name)}: give 1 or more.")
    if chosen.validate is None and isinstance(loss, Adversaries):
        chosen = chosen._replace(best_metric=None)
    elif chosen.validate is None:
        chosen = chosen._replace(validate=validation(loss, data.view, model, chosen.batch_size))
    if chosen.patience is not None and chosen.best_metric is None:
        raise InputError(f"patience is {chosen.patience}, and nothing says which checkpoint is the best: leave it out.")
    return chosen


def _step(chosen: Options, loss: Any, optimizer: Any, data: Any, model: Any) -> Step:
    on_view = functools.partial(on_stored, data.view, model)
    if isinstance(loss, Adversaries):
        make: Any = chosen.make_step or make_game_step
        return make(Adversaries(*map(on_view, loss)), optimizer, chosen.ema_decay)
    return (chosen.make_step or make_step)(on_view(loss), optimizer, chosen.ema_decay)


def _optimizer(chosen: Options, data: Any, adversarial: bool) -> Any:
    num_steps = chosen.epochs * steps_per_epoch(len(data.train.x), chosen.batch_size, chosen.epoch_steps)
    if chosen.optimizer is None:
        optimizer = adam(learning_rate_schedule(chosen.schedule, chosen.learning_rate, num_steps))
        return Adversaries(optimizer, optimizer) if adversarial else optimizer
    if isinstance(chosen.optimizer, optax.GradientTransformation | Adversaries):
        return chosen.optimizer
    return chosen.optimizer(num_steps)


def _epochs(step: Step, state: TrainState, data: Any, chosen: Options, order_key: Key) -> tuple[Any, Any]:
    """Return (state, epoch) -> (state, metrics of every step), and () -> the program that it runs, lowered."""
    if not chosen.stream:
        compiled = jax.jit(scan_epoch(step, chosen.batch_size, chosen.epoch_steps), donate_argnums=0)
        examples = data.train.on_device()
        run_epoch = lambda state, epoch: compiled(state, examples, jax.random.fold_in(order_key, epoch))
        return run_epoch, lambda: compiled.lower(state, examples, order_key)
    compiled, num = jax.jit(step, donate_argnums=0), len(data.train.x)

    def batches(epoch: int) -> Iterator[Any]:
        rows = epoch_rows(jax.random.fold_in(order_key, epoch), num, chosen.batch_size, chosen.epoch_steps)
        return data.batches(np.asarray(rows))

    return lambda state, epoch: stream_epoch(compiled, state, batches(epoch)), lambda: compiled.lower(state, next(batches(0)))


def _config(
    directory: Path, key: Key, chosen: Options, data: Any, lower: Callable[[int], Any]
) -> tuple[dict[str, Any], set[str]]:
    """Return what a directory says that it was made by, and what of it may differ when it is opened again.

    `lower` is (epochs) -> the program of a run of so many epochs: more of them may change the schedule, and nothing else.
    """
    may_change = {"epochs", "validate_every", "patience"}
    if chosen.config is not None:
        return chosen.config, may_change
    program = lambda epochs: f"{zlib.crc32(lower(epochs).as_text().encode()):08x}"
    config = {name: getattr(chosen, name) for name in ("epochs", "batch_size", "validate_every", "patience", "best_metric")}
    if chosen.optimizer is None:
        config |= {"learning_rate": chosen.learning_rate, "schedule": chosen.schedule}
    config |= {
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "program": program(chosen.epochs),
        "data": data.fingerprints(),
        "jax": jax.__version__,
    }
    made_by = read_config(directory) if (directory / CONFIG_FILE).is_file() else config
    other_jax, other_epochs = (made_by.get(name) != config[name] for name in ("jax", "epochs"))
    # another version of JAX may write the same operations otherwise
    if other_jax or (other_epochs and program(made_by["epochs"]) == made_by.get("program")):
        may_change |= {"program", "jax"}
    if not saved_epochs(directory / CHECKPOINTS):  # nothing was trained yet
        may_change |= {*config, *config["data"]}
    return config, may_change


def start(key: Key, model: Any, optimizer: Any, event_shape: tuple[int, ...], ema: bool = False) -> TrainState:
    """Return the state of a run before its first step, for examples of a shape."""
    keys = fit_keys(key)
    label = () if isinstance(optimizer, Adversaries) or getattr(model, "num_classes", None) is None else (jnp.int32(0),)
    return init_state(model.init(keys.init, jnp.zeros(event_shape), *label), optimizer, keys.noise, ema)


def on_stored(view: Any, model: Any, loss: Loss) -> Loss:
    """Return the loss of a batch of stored examples: of what a model sees of them in training."""

    def of_stored(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        view_key, loss_key = jax.random.split(key)
        seen = view.training_examples(view_key, batch)
        return loss(params, state, loss_key, step, seen._replace(labels=context_of(model, seen.labels)))

    return of_stored


def validation(loss: Loss, view: Any, model: Any, batch_size: int) -> Callable[[Params, Key, Any], Metrics]:
    """Return (params, key, examples) -> what the loss reports of them as `valid_NAME`, and minus the loss as `valid_score`.

    The mean over batches, in proportion to their size, in float32 precision; what is annealed has its final value.
    """

    @jax.jit
    @jax.default_matmul_precision("highest")
    def validate(variables: Params, key: Key, examples: Any) -> Metrics:
        params, state = split(variables)
        num = len(examples.x)
        num_whole, rest = divmod(num, batch_size)
        keys = jax.random.split(key, num_whole + 1)

        def of_batch(row: tuple[Key, Any]) -> Metrics:
            key, batch = row
            batch = view.examples(batch)._replace(labels=context_of(model, batch.labels))
            value, (_, metrics) = loss(params, state, key, jnp.float32(jnp.inf), batch)
            return metrics | {"score": -value}

        means = []  # (share of the examples, metrics)
        if num_whole:
            whole = jax.tree.map(lambda leaf: leaf[: num - rest].reshape(num_whole, batch_size, *leaf.shape[1:]), examples)
            each = jax.lax.map(of_batch, (keys[1:], whole))
            means.append((1 - rest / num, jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), each)))
        if rest:
            last = jax.tree.map(lambda leaf: leaf[num - rest :], examples)
            means.append((rest / num, of_batch((keys[0], last))))
        return {f"valid_{name}": sum(share * mean[name] for share, mean in means) for name in means[0][1]}

    return validate
