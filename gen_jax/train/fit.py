"""Training any model on a data set: `fit`."""

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.train.checkpoint import saved_epochs
from gen_jax.train.devices import Devices, devices_for
from gen_jax.train.game_step import make_game_step
from gen_jax.train.hosts import by_first, check_alike, is_first, local, lost_processes_told, num_processes
from gen_jax.train.loop import CHECKPOINTS, Fitted, check_best_metric, check_count, check_patience, run_epochs
from gen_jax.train.optimizer import ScheduleName, adam, learning_rate_schedule
from gen_jax.train.run_directory import CONFIG_FILE, open_run, read_config, store_config
from gen_jax.train.step import (
    Step,
    TrainState,
    check_metrics,
    epoch_rows,
    evaluation_params,
    init_state,
    make_step,
    scan_batches,
    scan_epoch,
    steps_per_call,
    steps_per_epoch,
    stream_epoch,
)
from gen_jax.types import GAN, Adversaries, Array, Key, Loss, Metrics, Params, as_batch, context_of, split

SOME_STEPS = 1_000_000
"""Steps of a run where their number has no effect: enough for any warm-up of a learning rate."""
PROGRAMS = ("program.init", "program.step", "program.validate")  # where a config holds their checksums
"""What a run computes, of which its directory holds checksums."""


class FitKeys(NamedTuple):
    """The keys of a run, one for each purpose."""

    init: Key
    noise: Key
    order: Key
    validation: Key
    evaluation: Key
    figures: Key


def fit_keys(key: Key) -> FitKeys:
    """Split the root key of a run."""
    return FitKeys(*jax.random.split(key, len(FitKeys._fields)))


class Options(NamedTuple):
    """The options of `fit`.

    Attributes:
        epochs: passes over the training examples.
        batch_size: examples per step; for a GAN, of all its discriminator steps together.
        learning_rate: of Adam, if no optimizer is given.
        schedule: of that learning rate.
        optimizer: an optax optimizer, or `Adversaries` of two, in place of Adam; or a function (number of steps) -> these.
        make_step: (loss, optimizer, ema_decay) -> `Step`; by default `train.make_step`, for a GAN `train.make_game_step`.
        ema_decay: evaluate a moving average of the parameters with this decay.
        epoch_steps: steps per epoch, fewer than a whole pass.
        stream: read batches from the host through Grain, for data that does not fit on the device.
        devices: how many devices share a batch; by default the largest number of them that divides it.
        shard_params: share the parameters too, for networks that do not fit on one device.
        validate: (params, key, validation examples) -> metrics; by default those of `validation` (for a GAN, none).
        best_metric: the validation metric whose largest value selects the returned parameters; None for the last ones.
        validate_every: epochs between validations.
        patience: stop early after this many validations in a row without a better `best_metric`.
        directory: for checkpoints and `metrics.jsonl`.
        config: what identifies the run in its directory, instead of what `fit` compares.
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
    devices: int | None = None
    shard_params: bool = False
    validate: Callable[[Params, Key, Any], Metrics] | None = None
    best_metric: str | None = "valid_score"
    validate_every: int = 1
    patience: int | None = None
    directory: Path | str | None = None
    config: dict[str, Any] | None = None
    tensorboard: bool = False
    report: Callable[[dict[str, Any]], None] = lambda row: None
    snapshot: Callable[[Params, int], None] | None = None


def fit(key: Key, model: Any, loss: Loss | tuple[Any, ...], data: Any, **options: Any) -> Fitted:
    """Train a model on a data set.

        fitted = fit(key, vae, elbo_loss(vae), load_dataset("mnist-5k"), epochs=20)

    With a directory, the same call resumes a stopped run bit for bit, and a call with more epochs continues a finished one. Any
    other call is refused: `fit` compares the key, the data, the options, and the compiled programs of `model.init`, a training
    step and `validate`. (A `validate` that is not the result of `jax.jit` has no program, and is not compared.)

    Args:
        key: of the initialisation, the order of examples and the noise.
        model: anything with `init(key, x[, label])`, such as a `VAE`, a `DensityModel`, a `GAN`. JAX must be able to trace `init`
            if there is a directory or there are many processes.
        loss: a `Loss`; for a GAN, `Adversaries` of two; or a tuple of these, as a `make_step` of one's own takes it.
        data: a `data.Dataset`.
        **options: the attributes of `Options`, of which `epochs` is required.

    Returns:
        What was trained: the parameters of the best epoch, and a row of metrics for each.

    Raises:
        InputError: the directory was made by another call or for more epochs, an option cannot be used, or a metric is no scalar.
        NonFiniteError: training diverged; the last checkpoint is from before.

    Examples:
        >>> import gen_jax, jax, jax.numpy as jnp, numpy as np
        >>> from gen_jax import data, densities, distributions, flows
        >>> x = 3 + np.random.default_rng(0).normal(size=(400, 1)).astype(np.float32)
        >>> own = data.Dataset(data.Split(x), data.Split(x), data.Split(x))
        >>> model = flows.flow_density(distributions.Normal(jnp.zeros(1), jnp.ones(1)), flows.elementwise_affine(1))
        >>> loss = densities.density_loss(model)
        >>> fitted = gen_jax.fit(jax.random.key(0), model, loss, own, epochs=50, learning_rate=0.1)
        >>> abs(fitted.params["shift"][0].item() - x.mean().item()) < 0.02  # maximum likelihood: the mean of the data
        True
    """
    with lost_processes_told():
        return _fit(key, model, loss, data, _options(model, loss, data, options))


def _fit(key: Key, model: Any, loss: Loss | tuple[Any, ...], data: Any, chosen: Options) -> Fitted:
    keys = fit_keys(key)
    check_patience(chosen.patience, chosen.best_metric)
    devices = devices_for(chosen.batch_size, chosen.devices, chosen.shard_params)
    num_steps = chosen.epochs * steps_per_epoch(len(data.train.x), chosen.batch_size, chosen.epoch_steps)
    begin, step = _start_and_step(model, loss, data, chosen, num_steps)
    epoch = scan_batches(step) if chosen.stream else scan_epoch(step, chosen.batch_size, chosen.epoch_steps)
    compiled, validate, valid = jax.jit(epoch, donate_argnums=0), chosen.validate, data.valid.on_device()
    initial = [begin(key)]  # popped below: this frame must not keep its arrays through the run
    if devices is not None:
        shardings = devices.state_shardings(initial[0])
        _check_processes(key, model, loss, data, chosen)
        initial, valid = [devices.put(initial.pop(), shardings)], devices.put(valid, devices.replicated)
        compiled = jax.jit(epoch, donate_argnums=0, out_shardings=(shardings, devices.replicated))
    run_epoch, inputs = _epochs(data, chosen, keys.order, devices)
    _check_reports(chosen, compiled, initial[0], inputs(), (keys.validation, valid))
    opened, directory, record = contextlib.nullcontext(), None, lambda: None
    if chosen.directory is not None:
        directory = Path(chosen.directory)
        config, may_change = by_first(lambda: _config(directory, key, model, loss, data, chosen))
        opened = open_run(directory, config, may_change)
        if is_first():
            record = functools.cache(functools.partial(store_config, directory, config))

    on_devices = contextlib.nullcontext if devices is None else devices.use  # what process 0 does alone is not on all of them

    def train_epoch(state: TrainState, epoch: int) -> tuple[TrainState, Metrics]:
        record()  # now, and once: where nothing is left to train, the folder goes on saying what trained it
        with on_devices():
            return run_epoch(compiled, state, epoch)

    def validate_epoch(params: Params) -> Any:  # which the loop checks
        with on_devices():
            return validate(params, keys.validation, valid) if validate else {}

    with opened:
        fitted = run_epochs(
            initial.pop(),
            train_epoch,
            chosen.epochs,
            directory,
            validate=validate_epoch,
            **{name: getattr(chosen, name) for name in LOOP_OPTIONS},
        )
        return fitted._replace(params=jax.tree.map(jnp.asarray, local(fitted.params)))


def _check_processes(key: Key, model: Any, loss: Loss | tuple[Any, ...], data: Any, chosen: Options) -> None:
    """Raise an InputError where processes would not compute the same, or not wait for each other at the same places."""
    if num_processes() == 1:
        return
    differ = ("make_step", "optimizer", "validate", "tensorboard", "report", "snapshot", "directory")  # or are in the programs
    values = {name: value for name, value in chosen._asdict().items() if name not in differ}
    values |= {name: getattr(chosen, name) is not None for name in ("optimizer", "validate", "snapshot", "directory")}
    values |= {"key": np.asarray(jax.random.key_data(key)).tolist(), "data": data.fingerprints(), "jax": jax.__version__}
    computed = _programs(key, model, loss, data, chosen)
    check_alike(values | {name: computed.get(name.partition(".")[2]) for name in PROGRAMS})


def programs(key: Key, model: Any, loss: Loss | tuple[Any, ...], data: Any, **options: Any) -> dict[str, str]:
    """Return the checksums of what `fit` of these arguments computes: initial state, a step, and a validation that is compiled.

    They are of a run of `SOME_STEPS`, so that they do not depend on the number of epochs, and lowered for CPUs wherever it runs.
    """
    return _programs(key, model, loss, data, _options(model, loss, data, options))


def _programs(key: Key, model: Any, loss: Loss | tuple[Any, ...], data: Any, chosen: Options) -> dict[str, str]:
    def shapes(examples: Any, num: int) -> Any:
        """Return the shapes of `num` examples, of which not all need be in memory."""
        of = lambda one: jax.ShapeDtypeStruct((num, *np.shape(one)), np.asarray(one).dtype)
        return jax.tree.map(lambda leaf: of(leaf[0]), examples)

    begin, step = _start_and_step(model, loss, data, chosen, SOME_STEPS)
    state = jax.eval_shape(begin, key)
    validate: Any = chosen.validate
    traced = {"init": jax.jit(begin).trace(key), "step": jax.jit(step).trace(state, shapes(data.train, chosen.batch_size))}
    if hasattr(validate, "trace"):
        traced["validate"] = validate.trace(evaluation_params(state), key, shapes(data.valid, len(data.valid.x)))
    lowered = {name: _lowered(program) for name, program in traced.items()}
    return {name: f"{zlib.crc32(text.encode()):08x}" for name, text in lowered.items()}


def _lowered(traced: Any) -> str:
    """Return the text of a program for CPUs, or for the backend in use if CPUs cannot run it, as a kernel of a GPU."""
    try:
        return traced.lower(lowering_platforms=("cpu",)).as_text()
    except Exception:  # of any type, by the operation; one that is not of the platform is raised again below
        return traced.lower(lowering_platforms=(jax.default_backend(),)).as_text()


LOOP_OPTIONS = ("best_metric", "validate_every", "patience", "tensorboard", "report", "snapshot")


def _options(model: Any, loss: Loss | tuple[Any, ...], data: Any, options: dict[str, Any]) -> Options:
    """Return the options with counts that JSON can hold and a validation, or raise an InputError for a count that is none."""
    chosen = Options(**options)
    counts: dict[str, Any] = {}
    for name in ("epochs", "batch_size", "validate_every", "epoch_steps", "patience"):
        value = getattr(chosen, name)
        if value is not None or name not in ("epoch_steps", "patience"):
            check_count(name, value)
            counts[name] = int(value)
    chosen = chosen._replace(**counts)
    if chosen.validate is not None:
        return chosen
    if isinstance(loss, tuple):
        return chosen._replace(best_metric=None)
    return chosen._replace(validate=validation(loss, data.view, model, chosen.batch_size))


def _start_and_step(
    model: Any, loss: Loss | tuple[Any, ...], data: Any, chosen: Options, num_steps: int
) -> tuple[Callable[[Key], TrainState], Step]:
    """Return key -> the initial state, and the step, of a run of so many steps."""
    adversarial = isinstance(loss, tuple)  # `Adversaries`, or a tuple of them
    optimizer = _optimizer(chosen, num_steps, adversarial)
    losses = jax.tree.map(functools.partial(on_stored, data.view, model), loss, is_leaf=callable)
    make: Any = chosen.make_step or (make_game_step if adversarial else make_step)
    begin = lambda key: start(key, model, optimizer, data.event_shape, chosen.ema_decay is not None)
    return begin, make(losses, optimizer, chosen.ema_decay)


def _check_reports(chosen: Options, compiled: Any, state: TrainState, inputs: tuple[Any, ...], valid: tuple[Key, Any]) -> None:
    """Raise an InputError for metrics that cannot be logged, before anything is computed or written.

    Of a `validate` that is not compiled, nothing is known before it is called.
    """
    check_metrics("The loss", jax.eval_shape(compiled, state, *inputs)[1], of_steps=True)
    if hasattr(chosen.validate, "lower"):
        metrics = jax.eval_shape(chosen.validate, evaluation_params(state), *valid)
        check_metrics("Validation", metrics)
        check_best_metric(chosen.best_metric, metrics)


def _optimizer(chosen: Options, num_steps: int, adversarial: bool) -> Any:
    if chosen.optimizer is None:
        optimizer = adam(learning_rate_schedule(chosen.schedule, chosen.learning_rate, num_steps))
        return Adversaries(optimizer, optimizer) if adversarial else optimizer
    if isinstance(chosen.optimizer, optax.GradientTransformation | Adversaries):
        return chosen.optimizer
    return chosen.optimizer(num_steps)


def _epochs(
    data: Any, chosen: Options, order_key: Key, devices: Devices | None
) -> tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]:
    """Return (compiled, state, epoch) -> (state, metrics of every step), and () -> what `compiled` takes besides the state."""
    if not chosen.stream:
        examples = data.train.on_device()
        if devices is not None:
            examples = devices.put(examples, devices.replicated)
        run_epoch = lambda compiled, state, epoch: compiled(state, examples, jax.random.fold_in(order_key, epoch))
        return run_epoch, lambda: (examples, order_key)

    own = slice(None) if devices is None else devices.rows(chosen.batch_size)
    put = (lambda group: group) if devices is None else devices.put_rows

    def batches(epoch: int) -> Iterator[Any]:
        rows = epoch_rows(jax.random.fold_in(order_key, epoch), len(data.train.x), chosen.batch_size, chosen.epoch_steps)
        return data.batches(np.asarray(rows)[:, own])

    num = steps_per_call(steps_per_epoch(len(data.train.x), chosen.batch_size, chosen.epoch_steps))
    run_epoch = lambda compiled, state, epoch: stream_epoch(compiled, state, batches(epoch), num, put)
    one = lambda: put(jax.tree.map(lambda leaf: np.asarray(leaf)[None], next(batches(0))))  # a call's shapes, but for the steps
    return run_epoch, lambda: (one(),)


def _config(
    directory: Path, key: Key, model: Any, loss: Loss | tuple[Any, ...], data: Any, chosen: Options
) -> tuple[dict[str, Any], list[str]]:
    """Return what identifies a run in its directory, and which parts of it may differ when it is reopened."""
    may_change = {"epochs", "validate_every", "patience", "jax", "gen_jax"}
    if chosen.config is not None:
        return chosen.config, [*may_change, *PROGRAMS]  # which are compared before
    counts = ("epochs", "batch_size", "epoch_steps", "stream", "validate_every", "patience", "best_metric")
    config = {name: getattr(chosen, name) for name in counts}
    if chosen.optimizer is None:
        config |= {"learning_rate": chosen.learning_rate, "schedule": chosen.schedule}
    config |= {
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "program": _programs(key, model, loss, data, chosen),
        "data": data.fingerprints(),
        "jax": jax.__version__,
    }
    stored = read_config(directory) if (directory / CONFIG_FILE).is_file() else config
    if stored.get("jax") != jax.__version__:  # which may lower the same operations differently
        may_change |= {*PROGRAMS}
    if not saved_epochs(directory / CHECKPOINTS):  # nothing was trained yet
        may_change |= {*config, *config["data"], *PROGRAMS}
    return config, [*may_change]


def start(key: Key, model: Any, optimizer: Any, event_shape: tuple[int, ...], ema: bool = False) -> TrainState:
    """Return the initial state of a run by its root key."""
    keys = fit_keys(key)
    label = () if isinstance(model, GAN) or getattr(model, "num_classes", None) is None else (jnp.int32(0),)
    return init_state(model.init(keys.init, jnp.zeros(event_shape), *label), optimizer, keys.noise, ema)


def on_stored(view: Any, model: Any, loss: Loss) -> Loss:
    """Return the loss of a batch of stored examples, which the view turns into what the model sees in training."""

    def of_stored(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        view_key, loss_key = jax.random.split(key)
        seen = view.training_examples(view_key, as_batch(batch))
        value, (state, metrics) = loss(params, state, loss_key, step, seen._replace(labels=context_of(model, seen.labels)))
        check_metrics("The loss", metrics)
        return value, (state, metrics)

    return of_stored


def validation(loss: Loss, view: Any, model: Any, batch_size: int) -> Callable[[Params, Key, Any], Metrics]:
    """Return (params, key, examples) -> the loss's metrics as `valid_NAME`, and minus the loss as `valid_score`.

    Means over examples, in float32 precision. The loss gets a step of infinity, at which what is annealed has its final value.
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
            batch = view.examples(as_batch(batch))._replace(labels=context_of(model, batch.labels))
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
