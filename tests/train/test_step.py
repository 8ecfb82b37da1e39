"""The step and the epoch against the same sums by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import train
from gen_jax.types import InputError, Variables
from tests.small import counting
from tests.train.problem import BATCH, DATA, NUM_EXAMPLES, STEPS, initial_state, make_step, objective


def test_a_batch_loss_is_the_mean_over_examples_with_a_key_each(key):
    params = {"w": jnp.arange(4.0), "b": jnp.ones(())}
    loss, (state, metrics) = train.batch_mean(objective)(params, (), key, jnp.int32(0), DATA[:3])
    each = [objective(params, k, x) for k, x in zip(jax.random.split(key, 3), DATA[:3], strict=True)]
    np.testing.assert_allclose(loss, np.mean([value for value, _ in each]), rtol=1e-5)
    np.testing.assert_allclose(metrics["error"], np.mean([m["error"] for _, m in each]), rtol=1e-5)
    assert state == ()


def test_an_objective_of_a_model_with_a_state_takes_both_and_leaves_the_state(key):
    def with_scale(variables, key, x):
        value, metrics = objective(variables.params, key, x)
        return variables.state["scale"] * value, metrics

    params, state = {"w": jnp.arange(4.0), "b": jnp.ones(())}, {"scale": jnp.float32(3.0)}
    loss, (after, metrics) = train.batch_mean(with_scale)(params, state, key, jnp.int32(0), DATA[:3])
    plain, (_, plain_metrics) = train.batch_mean(objective)(params, (), key, jnp.int32(0), DATA[:3])
    np.testing.assert_allclose(loss, 3 * plain, rtol=1e-6)
    chex.assert_trees_all_equal((after, metrics), (state, plain_metrics))


def test_a_step_is_adam_and_the_moving_average():
    """Adam's first step moves each parameter by the learning rate against the sign of its gradient."""
    optimizer, loss = train.adam(1e-2), train.batch_mean(objective)
    state = initial_state(optimizer)
    after, metrics = train.make_step(loss, optimizer, ema_decay=0.9)(state, DATA[:5])
    key = jax.random.fold_in(state.key, 0)
    value, grads = jax.value_and_grad(lambda p: loss(p, (), key, state.step, DATA[:5])[0])(state.params)
    chex.assert_trees_all_close(after.params, jax.tree.map(lambda g: -1e-2 * jnp.sign(g), grads), rtol=1e-4)
    chex.assert_trees_all_close(after.ema, after.params, rtol=1e-5)  # what was before training has no weight
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(grads))), rtol=1e-6)
    assert set(metrics) == {"loss", "grad_norm", "error"}
    assert after.step == 1
    assert after.state == ()
    chex.assert_trees_all_equal(jax.random.key_data(after.key), jax.random.key_data(state.key))


def test_each_step_draws_from_the_root_key_and_its_own_number(key):
    def loss(params, state, key, step, batch):
        return params["b"] * batch.mean(), (state, {"draw": jax.random.uniform(key), "at": step})

    step, optimizer = train.make_step(loss, optax.sgd(0.1)), optax.sgd(0.1)
    state = initial_state(optimizer, ema=False)
    root, drawn = state.key, []
    for _ in range(3):
        state, metrics = step(state, DATA[:5])
        drawn.append((float(metrics["draw"]), int(metrics["at"])))
    assert drawn == [(float(jax.random.uniform(jax.random.fold_in(root, t))), t) for t in range(3)]
    assert state.ema is None


@pytest.mark.parametrize(("decay", "num_steps"), [(0.5, 3), (0.9, 50), (0.999, 300), (0.9999, 2400)])
def test_the_moving_average_is_the_debiased_sum(decay, num_steps):
    """Σ_s d^(t−s) p_s / Σ_s d^(t−s) over the parameters after steps 1 … t, in NumPy; what was before them has no weight."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=(num_steps, 3)), axis=0).astype(np.float32)

    def body(ema, row):
        ema = train.update_ema(ema, {"p": row[1]}, decay, row[0])
        return ema, ema

    before = {"p": jnp.full(3, 100.0)}
    _, found = jax.lax.scan(body, before, (jnp.arange(num_steps, dtype=jnp.int32), jnp.asarray(walk)))
    sums, weights, wanted = np.zeros(3), 0.0, []
    for row in walk.astype(np.float64):
        sums, weights = decay * sums + row, decay * weights + 1
        wanted.append(sums / weights)
    wanted = np.array(wanted)
    np.testing.assert_allclose(found["p"], wanted, rtol=0, atol=3e-6 * max(100, np.abs(walk).max()))


def test_a_half_life_is_that_of_the_weights():
    """After as many examples, in steps of any size, a weight is half of what it was."""
    for examples_per_step in (1, 16, 100):
        np.testing.assert_allclose(train.decay_of_half_life(800.0, examples_per_step) ** (800 / examples_per_step), 0.5)


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5, float("nan")])
def test_an_impossible_decay_is_refused(decay):
    with pytest.raises(InputError, match=f"ema_decay is {decay}: give a number between 0 and 1"):
        train.update_ema({"p": jnp.zeros(3)}, {"p": jnp.ones(3)}, decay, jnp.int32(0))


def test_clipping_bounds_the_norm_of_what_adam_sees():
    grads = {"w": jnp.array([30.0, 40.0])}
    optimizer = train.adam(1e-2, clip_norm=5.0)
    _, opt_state = optimizer.update(grads, optimizer.init(grads), grads)
    np.testing.assert_allclose(optax.tree.get(opt_state, "mu")["w"], 0.1 * np.array([3.0, 4.0]), rtol=1e-6)


def test_evaluation_takes_the_moving_average_where_there_is_one():
    optimizer = train.adam(1e-2)
    with_ema = initial_state(optimizer)._replace(params={"w": 1})
    assert train.evaluation_params(with_ema) is with_ema.ema
    without = initial_state(optimizer, ema=False)
    assert train.evaluation_params(without) is without.params


def test_a_state_is_the_loss_s_and_is_not_averaged():
    """What a loss returns of it at the parameters before the step, its own key and batch; no gradient, no average."""
    optimizer = optax.sgd(0.1)

    def loss(params, state, key, step, batch):
        noise = jax.random.normal(key, ())
        mean = 0.9 * state["mean"] + 0.1 * (params["w"] * jnp.mean(batch) + noise)
        return params["w"] ** 2 + 3 * state["mean"], ({"mean": mean, "steps": state["steps"] + 1}, {})

    variables = Variables({"w": jnp.float32(2.0)}, {"mean": jnp.float32(5.0), "steps": jnp.int32(0)})
    state = train.init_state(variables, optimizer, jax.random.key(3), ema=True)
    step, w, mean, path = train.make_step(loss, optimizer, ema_decay=0.5), 2.0, 5.0, []
    for t in range(3):
        batch = DATA[t : t + 4]
        state, metrics = step(state, batch)
        np.testing.assert_allclose(metrics["loss"], w**2 + 3 * mean, rtol=1e-5)
        mean = 0.9 * mean + 0.1 * (w * batch.mean() + float(jax.random.normal(jax.random.fold_in(state.key, t), ())))
        w -= 0.1 * 2 * w
        path.append(w)
    found = train.evaluation_params(state)
    assert isinstance(found, Variables)
    np.testing.assert_allclose(state.params["w"], w, atol=1e-6)
    np.testing.assert_allclose(found.params["w"], np.average(path, weights=[0.25, 0.5, 1]), atol=1e-6)
    np.testing.assert_allclose(found.state["mean"], mean, rtol=1e-5)
    assert found.state["steps"] == 3


def record_rows(state, batch):
    return state._replace(step=state.step + 1), {"loss": batch, "grad_norm": batch}


def test_an_epoch_sees_every_example_once_in_another_order_each_time(key):
    epoch = train.scan_epoch(record_rows, BATCH)
    rows = [
        epoch(initial_state(train.adam(1e-2)), jnp.arange(NUM_EXAMPLES), jax.random.fold_in(key, e))[1]["loss"] for e in (0, 1)
    ]
    for row in rows:
        assert row.shape == (STEPS, BATCH)
        assert len(set(np.ravel(row).tolist())) == STEPS * BATCH  # no example twice
    assert np.any(rows[0] != rows[1])


def test_calls_divide_the_steps_of_an_epoch_where_they_can():
    assert [train.steps_per_call(num) for num in (1, 4, 7, 8, 25, 39, 48, 97)] == [8, 4, 7, 8, 5, 8, 8, 8]


def test_an_epoch_is_its_steps_in_groups_from_the_host():
    optimizer, step = make_step()
    key = jax.random.key(1)
    scanned, metrics = train.scan_epoch(step, BATCH)(initial_state(optimizer), jnp.asarray(DATA), key)
    order = jax.random.permutation(key, NUM_EXAMPLES)[: STEPS * BATCH].reshape(STEPS, BATCH)
    assert STEPS % 3 == 1  # the last group has one
    batches, run = [DATA[rows] for rows in order], jax.jit(train.scan_batches(step))
    streamed, streamed_metrics = train.stream_epoch(run, initial_state(optimizer), batches, 3)
    chex.assert_trees_all_close(scanned.params, streamed.params, rtol=1e-5)
    chex.assert_trees_all_close(metrics, streamed_metrics, rtol=1e-4)


def test_the_second_epoch_compiles_nothing_and_none_reads_from_the_device():
    """The compiled program holds no transfer; the guards watch the calls too, on a GPU (a CPU's own memory is the device's)."""
    optimizer, step = make_step()
    counted, traces = counting(train.scan_epoch(step, BATCH))
    epoch = jax.jit(counted, donate_argnums=0)
    data, state = jnp.asarray(DATA), initial_state(optimizer)
    keys = [jax.random.key(0), jax.random.key(1)]
    compiled = epoch.lower(state, data, keys[0]).compile().as_text()
    assert not any(word in compiled for word in ("outfeed", "infeed", "callback", "send-done", "recv-done"))
    with jax.transfer_guard_device_to_host("disallow"), jax.transfer_guard_host_to_device("disallow"):
        for key in keys:
            state, metrics = epoch(state, data, key)
    assert len(traces) == 1
    assert metrics["loss"].shape == (STEPS,)


def test_an_epoch_donates_its_state():
    optimizer, step = make_step()
    state = initial_state(optimizer)
    jax.jit(train.scan_epoch(step, BATCH), donate_argnums=0)(state, jnp.asarray(DATA), jax.random.key(0))
    assert state.params["w"].is_deleted()


@pytest.mark.parametrize("batch_size", [0, -1, NUM_EXAMPLES + 1])
def test_an_impossible_batch_size_is_refused(batch_size):
    with pytest.raises(InputError, match=f"A batch of {batch_size} cannot be drawn from {NUM_EXAMPLES}"):
        train.steps_per_epoch(NUM_EXAMPLES, batch_size)


def test_a_short_epoch_takes_other_examples_each_time(key):
    epoch = train.scan_epoch(record_rows, BATCH, num_steps=2)
    rows = [
        epoch(initial_state(train.adam(1e-2)), jnp.arange(NUM_EXAMPLES), jax.random.fold_in(key, e))[1]["loss"] for e in range(20)
    ]
    assert all(row.shape == (2, BATCH) and len(set(np.ravel(row).tolist())) == 2 * BATCH for row in rows)
    assert set(np.ravel(rows).tolist()) == set(range(NUM_EXAMPLES))
    for num_steps in (0, STEPS + 1):
        with pytest.raises(InputError, match=f"epoch_steps is {num_steps}, and 24 examples make 4 batches"):
            train.steps_per_epoch(NUM_EXAMPLES, BATCH, num_steps)
