"""`fit` against trajectories that are known in closed form; stopped, resumed, refused; with user-defined models and losses."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import train
from gen_jax.data import Dataset, DataView, Split, to_unit
from gen_jax.distributions import Normal
from gen_jax.gan import LOSSES, adversarial_losses, generative_adversarial_network
from gen_jax.nets import MLP, MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.types import Adversaries, InputError, Variables
from gen_jax.vae import bernoulli_likelihood, elbo_loss, gaussian_vae

RNG = np.random.default_rng(0)
POINTS = RNG.normal(2.0, 1.0, (24, 3)).astype(np.float32)
DATA = Dataset(Split(POINTS), Split(POINTS[:7] + 1), Split(POINTS[:2]), name="points")
KEY = jax.random.key(5)


class Located(NamedTuple):
    """p(x) = N(m, I) with a trained m: a user-defined model with no more than an init."""

    init: Any


def init(key, x):
    return {"m": jnp.zeros_like(x)}


MODEL = Located(init)


def half_square(params, state, key, step, batch):
    value = jnp.mean(jnp.sum((batch.x - params["m"][None]) ** 2, axis=1)) / 2
    return value, (state, {"first": params["m"][0]})


def noisy(params, state, key, step, batch, scale=0.1):
    """As above at points that are moved by noise: every bit depends on every key."""
    noise = scale * jax.random.normal(key, batch.x.shape)
    return half_square(params, state, key, step, batch._replace(x=batch.x + noise))


def bits(tree) -> list[bytes]:
    leaves = [
        jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in jax.tree.leaves(tree)
    ]
    return [np.asarray(leaf).tobytes() for leaf in leaves]


def without_time(history) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class StoppedError(Exception):
    pass


def stop_after(epoch: int):
    def report(row):
        if row["epoch"] == epoch:
            raise StoppedError

    return report


# what it does


def test_whole_batches_of_gradient_descent_are_the_closed_form():
    """m ← m − h (m − x̄) from 0, so that m_t = x̄ (1 − (1 − h)^t), whatever the order of the examples."""
    fitted = train.fit(KEY, MODEL, half_square, DATA, epochs=9, batch_size=24, optimizer=optax.sgd(0.3), best_metric=None)
    mean = POINTS.mean(0)
    np.testing.assert_allclose(fitted.params["m"], mean * (1 - 0.7**9), rtol=1e-5)
    # a step reports what was before it, the loss of a validation what is after
    means = mean * (1 - 0.7 ** np.arange(10))[:, None]
    np.testing.assert_allclose([row["train_first"] for row in fitted.history], means[:-1, 0], rtol=1e-5)
    losses = [((DATA.valid.x - m) ** 2).sum(1).mean() / 2 for m in means[1:]]
    np.testing.assert_allclose([row["valid_score"] for row in fitted.history], np.negative(losses), rtol=1e-5)
    np.testing.assert_allclose([row["valid_first"] for row in fitted.history], means[1:, 0], rtol=1e-5)
    assert (fitted.epoch, fitted.finished, int(fitted.state.step)) == (9, True, 9)
    chex.assert_trees_all_equal(fitted.params, fitted.state.params)


def test_the_moving_average_is_evaluated_and_returned():
    fitted = train.fit(
        KEY, MODEL, half_square, DATA, epochs=5, batch_size=24, optimizer=optax.sgd(0.3), best_metric=None, ema_decay=0.8
    )
    means = POINTS.mean(0) * (1 - 0.7 ** np.arange(1, 6))[:, None]
    wanted = np.average(means, axis=0, weights=0.8 ** np.arange(5)[::-1])
    np.testing.assert_allclose(fitted.params["m"], wanted, rtol=1e-5)
    np.testing.assert_allclose(fitted.history[-1]["valid_first"], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(fitted.state.params["m"], means[-1], rtol=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", pytest.param("constant", marks=pytest.mark.slow)])
def test_the_optimizer_is_adam_by_its_schedule_over_all_steps_if_none_is_given(schedule):
    found = train.fit(KEY, MODEL, noisy, DATA, epochs=3, batch_size=5, learning_rate=0.1, schedule=schedule)
    num_steps = 3 * 4  # of 24 examples, four whole batches of 5
    rate = optax.cosine_decay_schedule(0.1, num_steps) if schedule == "cosine" else 0.1
    for given in (
        optax.adam(rate),
        lambda steps: optax.adam(optax.cosine_decay_schedule(0.1, steps) if schedule == "cosine" else rate),
    ):
        wanted = train.fit(KEY, MODEL, noisy, DATA, epochs=3, batch_size=5, optimizer=given)
        assert int(found.state.step) == num_steps
        chex.assert_trees_all_close(found.params, wanted.params, rtol=1e-6)


def test_a_user_defined_step_is_taken():
    def make_step(loss, optimizer, ema_decay):
        step = train.make_step(loss, optimizer, ema_decay)

        def twice(state, batch):
            state, _ = step(state, batch)
            return step(state, batch)

        return twice

    options = {"epochs": 3, "batch_size": 24, "optimizer": optax.sgd(0.3), "best_metric": None}
    fitted = train.fit(KEY, MODEL, half_square, DATA, make_step=make_step, **options)
    np.testing.assert_allclose(fitted.params["m"], POINTS.mean(0) * (1 - 0.7**6), rtol=1e-5)


def test_a_state_is_carried_and_returned():
    """Of the epoch whose parameters are returned."""

    def loss(params, state, key, step, batch):
        value, (_, metrics) = half_square(params, (), key, step, batch)
        return value, ({"steps": state["steps"] + 1}, metrics)

    model = Located(lambda key, x: Variables(init(key, x), {"steps": jnp.int32(0)}))
    scores = iter([1.0, 3.0, 2.0])
    fitted = train.fit(
        KEY,
        model,
        loss,
        DATA,
        epochs=3,
        batch_size=6,
        optimizer=optax.sgd(0.1),
        validate=lambda *_: {"valid_score": next(scores)},
    )
    assert isinstance(fitted.params, Variables)
    assert (int(fitted.params.state["steps"]), int(fitted.state.state["steps"])) == (8, 12)


@pytest.mark.parametrize("kept", [False, True], ids=["without a directory", "with one"])
@pytest.mark.parametrize(("metric", "best"), [("valid_score", 2), ("other", 4), (None, 4)])
def test_what_is_returned_is_what_the_best_validation_saw(tmp_path, kept, metric, best):
    scores, seen = iter([1.0, 5.0, 2.0, 3.0]), []

    def validate(params, key, examples):
        np.testing.assert_array_equal(examples.x, DATA.valid.x)
        seen.append((jax.tree.map(np.asarray, params), jax.random.key_data(key)))
        return {"valid_score": next(scores), "other": float(len(seen))}

    directory = {"directory": tmp_path / "run"} if kept else {}
    fitted = train.fit(
        KEY, MODEL, noisy, DATA, epochs=4, batch_size=6, validate=validate, best_metric=metric, learning_rate=0.1, **directory
    )
    assert fitted.epoch == best
    chex.assert_trees_all_equal(fitted.params, seen[best - 1][0])
    assert fitted.params["m"].tolist() != seen[best - 2][0]["m"].tolist()
    assert all((key == seen[0][1]).all() for _, key in seen)  # validations differ by the parameters alone
    assert [row["valid_score"] for row in fitted.history] == [1.0, 5.0, 2.0, 3.0]
    assert list(tmp_path.iterdir()) == ([tmp_path / "run"] if kept else [])


def test_models_are_trained_on_what_the_view_shows_of_the_data():
    """Pixels are divided by 255 and binarised at each step; in validation they are not drawn."""
    pixels = np.full((40, 6), 51, np.uint8)
    seen = jax.jit(lambda params, state, key, step, batch: (0 * params["m"].sum(), (state, {
        "mean": batch.x.mean(), "values": (batch.x * (1 - batch.x)).sum(),
    })))  # fmt: skip
    data = Dataset(*[Split(pixels)] * 3, view=DataView(binarise="dynamic", symmetric=False))
    fitted = train.fit(KEY, MODEL, seen, data, epochs=40, batch_size=40)
    means = np.array([row["train_mean"] for row in fitted.history])
    assert len(set(means.tolist())) > 10  # drawn anew
    assert abs(means.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / (40 * 240))
    assert all(row["train_values"] == 0 for row in fitted.history)
    np.testing.assert_allclose([row["valid_mean"] for row in fitted.history], 0.2, rtol=1e-5)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_labels_are_given_to_a_model_that_has_classes_and_only_to_it(num_classes):
    class Model(NamedTuple):
        init: Any
        num_classes: Any

    inits, given = [], []

    def own_init(key, *inputs):
        inits.append([np.asarray(value) for value in inputs])
        return init(key, inputs[0])

    def loss(params, state, key, step, batch):
        given.append(batch.labels)
        return half_square(params, state, key, step, batch)

    labelled = DATA._replace(
        **{name: split._replace(labels=np.zeros(len(split.x), np.int32)) for name, split in DATA.splits.items()}
    )
    train.fit(KEY, Model(own_init, num_classes), loss, labelled, epochs=1, batch_size=6)
    assert [value.shape for value in inits[0]] == ([(3,)] if num_classes is None else [(3,), ()])
    assert len(given) >= 2
    assert all((labels is None) == (num_classes is None) for labels in given)


@pytest.mark.slow
def test_a_vae_learns(key):
    """Binary images of a bright left or right half: the bound on held-out ones rises far above independent pixels' −12 log 2."""
    sides = np.zeros((200, 3, 4, 1), np.uint8)
    sides[::2, :, :2], sides[1::2, :, 2:] = 255, 255
    data = Dataset(Split(sides[:160]), Split(sides[160:180]), Split(sides[180:]))
    vae = gaussian_vae(MLP((16,), (2, 2)), MLP((16,), (3, 4, 1)), 2, bernoulli_likelihood())
    fitted = train.fit(key, vae, elbo_loss(vae), data, epochs=60, batch_size=20, learning_rate=1e-2)
    assert fitted.history[0]["valid_score"] < -6
    assert fitted.history[-1]["valid_score"] > -2.5
    x = to_unit(sides[180:])
    z = jax.vmap(lambda x: vae.encode(fitted.params, x).sample(key))(x)
    decoded = jax.vmap(lambda z: vae.decode(fitted.params, z).mean)(z)
    np.testing.assert_array_equal(jnp.round(decoded), x)


def small_gan():
    generator, discriminator = batch_net(MLPGenerator((6,), (3,), batch_norm=True)), batch_net(MLPDiscriminator((6,)))
    return generative_adversarial_network(generator, discriminator, Normal(jnp.zeros(2), jnp.ones(2)))


@pytest.mark.slow
def test_a_gan_is_trained_by_two_losses(tmp_path):
    gan = small_gan()
    losses = adversarial_losses(gan, LOSSES["non-saturating"])
    options = {"epochs": 2, "batch_size": 12, "make_step": functools.partial(train.make_game_step, num_disc_steps=2)}
    optimizers = Adversaries(optax.sgd(0.1), optax.adam(0.01))
    fitted = train.fit(KEY, gan, losses, DATA, optimizer=optimizers, ema_decay=0.5, **options)
    assert (fitted.epoch, int(fitted.state.step)) == (2, 4)  # without a best_metric, the last
    assert {"train_generator_loss", "train_discriminator_loss"} <= set(fitted.history[0])
    chex.assert_trees_all_equal(fitted.params, train.evaluation_params(fitted.state))
    assert bits(fitted.params.params.generator) != bits(fitted.state.params.generator)
    # step by step, of the keys and in the order that the run has
    keys = train.fit_keys(KEY)
    state = train.init_state(gan.init(keys.init, jnp.zeros(3)), optimizers, keys.noise, ema=True)
    on_view = [train.on_stored(DATA.view, gan, loss) for loss in losses]
    step = jax.jit(train.make_game_step(Adversaries(*on_view), optimizers, 0.5, num_disc_steps=2))
    for epoch in range(2):
        for rows in train.epoch_rows(jax.random.fold_in(keys.order, epoch), 24, 12):
            state, _ = step(state, Split(jnp.asarray(POINTS[rows])))
    chex.assert_trees_all_close(fitted.params, train.evaluation_params(state), rtol=1e-4, atol=1e-6)
    default = train.fit(KEY, gan, losses, DATA, directory=tmp_path / "run", **options)  # Adam for both
    with pytest.raises(StoppedError):
        train.fit(KEY, gan, losses, DATA, directory=tmp_path / "again", report=stop_after(1), **options)
    again = train.fit(KEY, gan, losses, DATA, directory=tmp_path / "again", **options)
    assert bits(again.state) == bits(default.state)


# streams


@pytest.mark.parametrize("epoch_steps", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_streamed_batches_give_the_same_numbers(epoch_steps, monkeypatch):
    monkeypatch.setattr("gen_jax.train.step.GROUP", 3)  # four steps are two calls
    labels = np.arange(24, dtype=np.int32)
    data = DATA._replace(train=Split(POINTS, labels))
    options = {"epochs": 3, "batch_size": 5, "learning_rate": 0.1, "epoch_steps": epoch_steps}
    kept, streamed = (train.fit(KEY, MODEL, noisy, data, stream=stream, **options) for stream in (False, True))
    chex.assert_trees_all_close(kept.params, streamed.params, rtol=1e-6)
    for a, b in zip(without_time(kept.history), without_time(streamed.history), strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-6)
    assert int(kept.state.step) == 3 * (epoch_steps or 4)


def test_examples_that_are_read_one_by_one_are_streamed():
    class Lazy:
        def __len__(self):
            return len(POINTS)

        def __getitem__(self, i):
            return POINTS[i]

    options = {"epochs": 2, "batch_size": 5, "stream": True}
    wanted = train.fit(KEY, MODEL, noisy, DATA, **options)
    found = train.fit(KEY, MODEL, noisy, DATA._replace(train=Split(Lazy())), **options)
    assert bits(found.state) == bits(wanted.state)


# directories

OPTIONS = {"epochs": 4, "batch_size": 5, "learning_rate": 0.1, "ema_decay": 0.9}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[train.Fitted, Path]:
    directory = tmp_path_factory.mktemp("whole") / "run"
    return train.fit(KEY, MODEL, noisy, DATA, directory=directory, **OPTIONS), directory


def copy_of(directory: Path, to: Path) -> Path:
    to.mkdir()
    for name, content in contents(directory).items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(content)
    return to


def assert_same_run(a: train.Fitted, b: train.Fitted) -> None:
    assert bits((a.params, a.state)) == bits((b.params, b.state))
    assert (a.epoch, a.finished, without_time(a.history)) == (b.epoch, b.finished, without_time(b.history))


def test_with_a_directory_and_without_the_run_is_the_same(whole):
    assert_same_run(train.fit(KEY, MODEL, noisy, DATA, **OPTIONS), whole[0])


@pytest.mark.parametrize("stream", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stopped", [1, 3])
def test_a_stopped_run_resumes_to_the_same_bits(whole, tmp_path, stopped, stream, monkeypatch):
    monkeypatch.setattr("gen_jax.train.step.GROUP", 3)
    options = OPTIONS | {"directory": tmp_path / "run", "stream": stream}
    with pytest.raises(StoppedError):
        train.fit(KEY, MODEL, noisy, DATA, report=stop_after(stopped), **options)
    found = train.fit(KEY, MODEL, noisy, DATA, **options)
    wanted = train.fit(KEY, MODEL, noisy, DATA, **OPTIONS, stream=True) if stream else whole[0]
    assert_same_run(found, wanted)


def test_a_signal_ends_it_and_the_same_call_resumes(whole, tmp_path):
    def report(row):
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    found = train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run", report=report, **OPTIONS)
    assert not found.finished
    assert len(found.history) in (2, 3)
    assert_same_run(train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run", **OPTIONS), whole[0])


@pytest.mark.slow
def test_a_run_of_another_process_is_resumed(whole, tmp_path):
    """What tells one call from another, the compiled program among it, is the same in each."""
    code = """
import sys
from tests.train.test_fit import *
try:
    train.fit(KEY, MODEL, noisy, DATA, directory=sys.argv[1], report=stop_after(2), **OPTIONS)
except StoppedError:
    print("stopped")
"""
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.stdout.strip() == "stopped", done.stderr
    assert_same_run(train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run", **OPTIONS), whole[0])


def test_a_finished_run_is_returned_as_it_is(whole, tmp_path):
    directory = copy_of(whole[1], tmp_path / "run")
    before = contents(directory)
    assert_same_run(train.fit(KEY, MODEL, noisy, DATA, directory=directory, **OPTIONS), whole[0])
    assert contents(directory) == before


def test_more_epochs_continue_a_finished_run(whole, tmp_path):
    directory = copy_of(whole[1], tmp_path / "run")
    more = OPTIONS | {"epochs": 6}
    found = train.fit(KEY, MODEL, noisy, DATA, directory=directory, **more)
    assert [row["epoch"] for row in found.history] == [1, 2, 3, 4, 5, 6]
    assert found.history[:4] == whole[0].history
    assert int(found.state.step) == 6 * 4
    before = contents(directory)
    assert_same_run(train.fit(KEY, MODEL, noisy, DATA, directory=directory, **more), found)
    assert contents(directory) == before


def test_fewer_epochs_than_the_folder_has_are_refused(whole, tmp_path):
    directory = copy_of(whole[1], tmp_path / "run")
    before = contents(directory)
    with pytest.raises(InputError, match=r"epochs is 3, and .* has been trained for 4: give 4 or more"):
        train.fit(KEY, MODEL, noisy, DATA, directory=directory, **OPTIONS | {"epochs": 3})
    assert contents(directory) == before


def test_the_version_that_trained_a_run_is_recorded_until_another_trains_on(whole, tmp_path):
    directory = copy_of(whole[1], tmp_path / "run")
    config = train.read_config(directory) | {"jax": "0.0.1", "program": {"init": "?", "step": "?", "validate": "?"}}
    train.write_json(directory / "config.json", config)
    assert_same_run(train.fit(KEY, MODEL, noisy, DATA, directory=directory, **OPTIONS), whole[0])
    assert train.read_config(directory) == config
    train.fit(KEY, MODEL, noisy, DATA, directory=directory, **OPTIONS | {"epochs": 5})
    now = train.read_config(directory)
    assert (now["jax"], now["epochs"]) == (jax.__version__, 5)
    assert now["program"]["init"] == train.read_config(whole[1])["program"]["init"]


@pytest.mark.slow
def test_with_a_constant_rate_more_epochs_are_those_of_one_run(tmp_path):
    options = OPTIONS | {"schedule": "constant"}
    train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run", **options)
    found = train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run", **options | {"epochs": 6})
    assert_same_run(found, train.fit(KEY, MODEL, noisy, DATA, **options | {"epochs": 6}))


def moved(split: Split) -> Split:
    return split._replace(x=split.x + np.float32(1e-3))


WEIGHTS = np.random.default_rng(1).normal(size=(3,)).astype(np.float32)


def weighted(params, state, key, step, batch, weights=WEIGHTS):
    return half_square(params, state, key, step, batch._replace(x=batch.x * weights[None]))


CHANGES = {
    "key": {"key": jax.random.key(6)},
    "learning rate": {"learning_rate": 0.2},
    "schedule": {"schedule": "constant"},
    "optimizer": {"optimizer": optax.sgd(0.1)},
    "loss": {"loss": half_square},
    "constant of the loss": {"loss": functools.partial(noisy, scale=0.2)},
    "training data": {"data": DATA._replace(train=moved(DATA.train))},
    "validation data": {"data": DATA._replace(valid=moved(DATA.valid))},
    "fewer data": {"data": DATA._replace(train=Split(POINTS[:-1]))},
    "view": {"data": DATA._replace(view=DataView(symmetric=True))},
    "batch size": {"batch_size": 6},
    "average": {"ema_decay": 0.8},
    "no average": {"ema_decay": None},
    "short epochs": {"epoch_steps": 3},
    "best metric": {"best_metric": None},
    "model": {"model": Located(lambda key, x: {"m": jnp.zeros((3,)), "unused": jnp.zeros(1)})},
    "initialisation": {"model": Located(lambda key, x: {"m": jnp.full_like(x, 0.1)})},
}


# a change of each kind for the fast suite
FAST = {"key", "learning rate", "optimizer", "loss", "training data", "view", "average", "initialisation"}


@pytest.mark.parametrize("change", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CHANGES])
def test_another_call_is_refused_and_the_folder_stays(whole, tmp_path, change):
    directory = copy_of(whole[1], tmp_path / "run")
    before = contents(directory)
    call = {"key": KEY, "model": MODEL, "loss": noisy, "data": DATA, **OPTIONS, **CHANGES[change]}
    with pytest.raises(InputError, match="was made by other settings"):
        train.fit(directory=directory, **call)
    assert contents(directory) == before


@pytest.mark.parametrize("size", [pytest.param(3, marks=pytest.mark.slow), 40_000])
def test_another_array_in_a_loss_is_another_loss(tmp_path, size):
    """However large it is: it is a part of the program, and not of what the program is given."""
    weights = np.ones(size, np.float32)
    other = weights.copy()
    other[-1] = 2.0

    def loss_by(weights):
        return lambda *args: (half_square(*args)[0] * jnp.sum(weights), half_square(*args)[1])

    train.fit(KEY, MODEL, loss_by(weights), DATA, directory=tmp_path / "run", **OPTIONS)
    train.fit(KEY, MODEL, loss_by(weights.copy()), DATA, directory=tmp_path / "run", **OPTIONS)
    for made in (other, jnp.asarray(other)):
        with pytest.raises(InputError, match="was made by other settings: program"):
            train.fit(KEY, MODEL, loss_by(made), DATA, directory=tmp_path / "run", **OPTIONS)


def test_another_user_defined_optimizer_is_refused(tmp_path):
    call = functools.partial(train.fit, KEY, MODEL, noisy, DATA, epochs=2, batch_size=6, directory=tmp_path / "run")
    first = call(optimizer=optax.adam(0.1))
    assert_same_run(call(optimizer=optax.adam(0.1)), first)  # of the same kind, though another object
    for optimizer in (optax.adam(0.2), optax.adam(0.1, b1=0.8), optax.sgd(0.1)):
        with pytest.raises(InputError, match="was made by other settings: program"):
            call(optimizer=optimizer)


@pytest.mark.parametrize("epochs", [2, 3])
def test_another_compiled_validation_is_refused(tmp_path, epochs):
    """Its scores do not compare with those that chose the best checkpoint."""

    def validation(sign):
        @jax.jit
        def validate(params, key, examples):
            return {"valid_score": sign * jnp.mean(examples.x @ params["m"])}

        return validate

    call = functools.partial(train.fit, KEY, MODEL, noisy, DATA, batch_size=6, directory=tmp_path / "run")
    first = call(epochs=2, validate=validation(1.0))
    assert_same_run(call(epochs=2, validate=validation(1.0)), first)  # the same, though another object
    for other in (validation(-1.0), None):
        with pytest.raises(InputError, match=r"was made by other settings: .*program\.validate = \w+ \(now \w+\)"):
            call(epochs=epochs, validate=other)


@pytest.mark.parametrize("change", ["optimizer", "loss", "model"])
def test_more_epochs_do_not_hide_another_loss_optimizer_or_initialisation(tmp_path, change):
    call = {"key": KEY, "model": MODEL, "data": DATA, "batch_size": 6, "optimizer": optax.adam(0.1), "loss": noisy}
    train.fit(epochs=2, directory=tmp_path / "run", **call)
    other = {"optimizer": optax.adam(0.2), "loss": half_square} | CHANGES["initialisation"]
    with pytest.raises(InputError, match="was made by other settings"):
        train.fit(epochs=3, directory=tmp_path / "run", **call | {change: other[change]})


def test_what_tells_a_run_from_others_can_be_given(tmp_path):
    """Then nothing else is compared, and the caller answers for it."""
    call = functools.partial(train.fit, KEY, MODEL, noisy, DATA, batch_size=6, directory=tmp_path / "run")
    call(epochs=1, config={"mine": 1, "epochs": 1})
    assert len(call(epochs=2, config={"mine": 1, "epochs": 2}, learning_rate=3.0).history) == 2
    with pytest.raises(InputError, match=r"made by other settings: mine = 1 \(now 2\)"):
        call(epochs=2, config={"mine": 2, "epochs": 2})


def test_a_run_of_another_config_is_refused(tmp_path):
    call = functools.partial(train.fit, KEY, MODEL, noisy, DATA, batch_size=6, directory=tmp_path / "run", epochs=1)
    call(config={"mine": 1})
    with pytest.raises(InputError, match=r"made by other settings: .*mine = 1"):
        call()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="is not a run folder"):
        train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path, **OPTIONS)
    assert contents(tmp_path) == {"thesis.tex": b"all of it"}


def test_what_cannot_be_used_is_refused_and_leaves_no_folder(tmp_path):
    gan = small_gan()
    losses = adversarial_losses(gan, LOSSES["non-saturating"])
    for model, loss, changes, message in [
        (MODEL, noisy, {"epochs": 0}, "epochs is 0: give an integer, 1 or more"),
        (MODEL, noisy, {"epochs": 2.5}, "epochs is 2.5: give an integer, 1 or more"),
        (MODEL, noisy, {"epochs": None}, "epochs is None: give an integer, 1 or more"),
        (MODEL, noisy, {"validate_every": 0}, "validate_every is 0: give an integer, 1 or more"),
        (MODEL, noisy, {"batch_size": True}, "batch_size is True: give an integer, 1 or more"),
        (MODEL, noisy, {"patience": 0}, "patience is 0: give an integer, 1 or more"),
        (MODEL, noisy, {"ema_decay": 1.5}, "ema_decay is 1.5: give a number between 0 and 1"),
        (gan, losses, {"ema_decay": 0.0}, "ema_decay is 0.0: give a number between 0 and 1"),
        (MODEL, noisy, {"batch_size": 25}, "A batch of 25 cannot be drawn from 24 training examples"),
        (MODEL, noisy, {"epoch_steps": 5}, "epoch_steps is 5, and 24 examples make 4 batches"),
        (MODEL, noisy, {"learning_rate": -1.0}, "The learning rate is -1.0"),
        (MODEL, noisy, {"patience": 2, "best_metric": None}, "patience is 2, and there is no best_metric to wait for"),
        (gan, losses, {"patience": 2}, "patience is 2, and there is no best_metric to wait for"),
    ]:
        with pytest.raises(InputError, match=message):
            train.fit(KEY, model, loss, DATA, directory=tmp_path / "run", **OPTIONS | changes)
        assert not (tmp_path / "run").exists(), changes


@pytest.mark.parametrize(
    ("reported", "message"),
    [
        (lambda value, x: {"each": x[:, 0]}, r"reports each as an array of shape \(5,\): report scalars"),
        (lambda value, x: {"terms": {"value": value}}, r"reports terms as \{'value': .*: report a real number by each name"),
        (lambda value, x: {"value": None}, "reports value as None: report a real number by each name"),
        (lambda value, x: None, "reports None: report a dict of scalars by name"),
    ],
    ids=["an example's", "nested", "None in it", "None"],
)
@pytest.mark.parametrize("stream", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_a_loss_reports_is_checked_before_anything_is_written(tmp_path, reported, message, stream):
    """Also where batches do not divide the validation examples, and where no epoch is validated but the last."""

    def loss(params, state, key, step, batch):
        value, (state, _) = half_square(params, state, key, step, batch)
        return value, (state, reported(value, batch.x))

    with pytest.raises(InputError, match=message):
        train.fit(KEY, MODEL, loss, DATA, directory=tmp_path / "run", validate_every=4, stream=stream, **OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("validate", "message"),
    [
        (lambda *_: None, "Validation reports None: report a dict of scalars by name"),
        (lambda *_: "good", "Validation reports 'good': report a dict of scalars by name"),
        (lambda *_: {"valid_score": "good"}, "Validation reports valid_score as 'good': report a real number"),
    ],
)
def test_what_a_validation_reports_is_checked(validate, message):
    with pytest.raises(InputError, match=message):
        train.fit(KEY, MODEL, noisy, DATA, validate=validate, **OPTIONS)


@pytest.mark.parametrize("validate", [None, jax.jit(lambda params, *_: {"valid_score": params["m"][0]})], ids=["default", "own"])
def test_a_wrong_best_metric_is_refused_before_the_first_epoch(tmp_path, validate):
    options = OPTIONS | {"validate_every": 3, "validate": validate, "best_metric": "valid_elbo", "directory": tmp_path / "run"}
    with pytest.raises(InputError, match=r"best_metric is 'valid_elbo', and validation reports .*valid_score: give one of these"):
        train.fit(KEY, MODEL, noisy, DATA, report=lambda row: pytest.fail("an epoch was trained"), **options)
    assert not (tmp_path / "run").exists()


def test_a_wrong_best_metric_can_be_put_right_in_the_same_folder(tmp_path):
    """Nothing was saved, so that there is nothing to go on with."""
    with pytest.raises(InputError, match="best_metric is 'valid_elbo', and validation reports valid_first, valid_score"):
        train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run", **OPTIONS, best_metric="valid_elbo")
    assert train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run", **OPTIONS).finished


@pytest.mark.parametrize("kept", [False, True], ids=["without a directory", "with one"])
def test_patience_ends_a_run(tmp_path, kept):
    scores = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    options = OPTIONS | {"epochs": 9, "patience": 2, "validate": lambda *_: {"valid_score": next(scores)}}
    fitted = train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "run" if kept else None, **options)
    assert (fitted.epoch, len(fitted.history), fitted.finished) == (2, 4, True)


@pytest.mark.parametrize("kept", [False, True], ids=["without a directory", "with one"])
def test_without_a_best_metric_a_run_that_ends_early_returns_the_last_parameters(tmp_path, kept):
    def report(row):
        if row["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    options = OPTIONS | {"epochs": 9, "validate_every": 3, "best_metric": None, "directory": tmp_path / "run" if kept else None}
    fitted = train.fit(KEY, MODEL, noisy, DATA, report=report, **options)
    assert fitted.epoch == len(fitted.history) == int(fitted.state.step) // 4
    assert bits(fitted.params) == bits(train.evaluation_params(fitted.state))


# validation


@pytest.mark.parametrize("batch_size", [4, 11, 20])
def test_validation_is_the_mean_over_all_examples_with_the_weights_at_the_end(batch_size):
    """A loss that says of a batch its mean pixel, and whether the step is the last: 11 examples in batches, and what is left."""
    images = RNG.integers(0, 256, (11, 2, 2, 1), np.uint8)
    seen = []

    def loss(params, state, key, step, batch):
        seen.append(batch.x.shape)
        assert batch.labels is None  # the model has no classes
        return params * jnp.mean(batch.x), (state, {"pixel": jnp.mean(batch.x), "end": jnp.minimum(1.0, step / 100)})

    examples = Split(jnp.asarray(images), jnp.zeros(11, jnp.int32))
    found = train.validation(loss, DataView(), MODEL, batch_size)(jnp.float32(3.0), jax.random.key(0), examples)
    mean = images.mean() / 255
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"valid_pixel": mean, "valid_score": -3 * mean, "valid_end": 1.0}, rel=1e-5
    )
    assert set(seen) <= {(batch_size, 2, 2, 1), (11 % batch_size, 2, 2, 1)}


def test_every_batch_of_a_validation_has_a_key_of_its_own_and_the_same_each_time(key):
    def loss(params, state, key, step, batch):
        return jax.random.uniform(key), (state, {})

    draws = train.validation(loss, DataView(), MODEL, 3)
    scores = [float(draws({}, key, Split(jnp.zeros((num, 2))))["valid_score"]) for num in (3, 6, 6, 7)]
    assert scores[1] == scores[2]
    assert len(set(scores)) == 3


def test_fit_validates_by_the_loss_at_its_end(tmp_path):
    """A weight that rises over 1,000 steps has its last value in a validation of the first epoch; the state is the step's."""

    def loss(params, state, key, step, batch):
        weight = jnp.minimum(1.0, step / 1000)
        value, (_, metrics) = half_square(params, (), key, step, batch)
        return weight * value, (state, metrics | {"weight": weight})

    fitted = train.fit(KEY, MODEL, loss, DATA, epochs=1, batch_size=4)
    row = fitted.history[0]
    np.testing.assert_allclose(row["train_weight"], np.arange(6).mean() / 1000, rtol=1e-5)
    assert row["valid_weight"] == 1.0
    wanted = ((DATA.valid.x - np.asarray(fitted.params["m"])) ** 2).sum(1).mean() / 2  # of seven: a batch and what is left of it
    np.testing.assert_allclose(row["valid_score"], -wanted, rtol=1e-5)


# run folders


def test_a_run_folder_keeps_its_config_until_another_is_stored(tmp_path):
    config = {"epochs": 3, "inner": {"patience": 2, "size": (1, 2)}}
    kept = {"epochs": 3, "inner": {"patience": 2, "size": [1, 2]}}
    opened = lambda new, *names: train.open_run(tmp_path / "run", new, names)
    for names in ((), ("epochs",)):
        with opened(config, *names) as stored:
            assert stored == kept
    more = {"epochs": 5, "inner": {"patience": None, "size": (1, 2)}}
    with pytest.raises(InputError, match=r"inner\.patience = 2 \(now None\)"), opened(more, "epochs"):
        pass
    with opened(more, "epochs", "patience") as stored:
        assert stored == train.read_config(tmp_path / "run") == kept
        train.store_config(tmp_path / "run", more)
    assert train.read_config(tmp_path / "run") == {"epochs": 5, "inner": {"patience": None, "size": [1, 2]}}
    before = (tmp_path / "run" / "config.json").stat().st_mtime_ns
    train.store_config(tmp_path / "run", more)  # a file's time is a run's age
    assert (tmp_path / "run" / "config.json").stat().st_mtime_ns == before


def test_runs_of_fit_are_listed_among_folders_of_something_else(whole, tmp_path):
    copy_of(whole[1], tmp_path / "whole")
    with pytest.raises(StoppedError):
        train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "stopped", report=stop_after(2), **OPTIONS)
    scores = iter([1.0, 3.0, 2.0, 2.5])
    options = OPTIONS | {"epochs": 9, "patience": 2, "validate": lambda *_: {"valid_score": next(scores)}}
    train.fit(KEY, MODEL, noisy, DATA, directory=tmp_path / "early", **options)
    fit_config = train.read_config(whole[1])
    for name, config in {
        "list": {"recipe": "vae", "settings": [1]},
        "foreign": {"model_type": "bert", "epochs": 3, "settings": {"epochs": 3}},
        "nested": [1],
        "edited": fit_config | {"epochs": "4"},
        "no file": fit_config,
    }.items():
        (tmp_path / name).mkdir()
        train.write_json(tmp_path / name / "config.json", config)
    (tmp_path / "no file" / "metrics.jsonl").mkdir()
    recipe = {"recipe": "vae", "settings": {"epochs": 2, "data": "mnist"}}
    for name, settings in {"recipe": recipe["settings"], "stale": {"epochs": 1, "data": "mnist"}, "damaged": None}.items():
        (tmp_path / name).mkdir()
        train.write_json(tmp_path / name / "config.json", recipe)
        train.write_json(tmp_path / name / "result.json", {"test_nll": 1.5, "settings": settings})
    (tmp_path / "damaged" / "result.json").write_text("{")
    columns = ("epochs", "recipe", "data", "test", "finished")
    found = {Path(row["run"]).name: tuple(row[column] for column in columns) for row in train.list_runs(tmp_path)}
    assert found == {
        "early": ("4 of 9", "", "", {}, True),
        "stopped": ("2 of 4", "", "", {}, False),
        "whole": ("4 of 4", "", "", {}, True),
        "recipe": ("0 of 2", "vae", "mnist", {"test_nll": 1.5}, True),
        "stale": ("0 of 2", "vae", "mnist", {}, False),
        "damaged": ("0 of 2", "vae", "mnist", {}, False),
    }
