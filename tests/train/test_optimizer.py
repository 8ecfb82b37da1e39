"""Learning rates at the steps where they are known, and optimizers against their formulas in NumPy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax.train import adam, clip_weights, learning_rate_schedule, rmsprop
from gen_jax.types import InputError


def test_the_iwae_schedule_is_the_papers():
    """3^i epochs at 1e-3 · 10^(−i/7), i = 0…7, with 7 steps an epoch: the first and the last step of each stage."""
    steps = 7
    rate = learning_rate_schedule("iwae", 1e-3, 3280 * steps)
    first = 0
    for i in range(8):
        last = first + 3**i * steps - 1
        np.testing.assert_allclose([rate(first), rate(last)], 1e-3 * 10 ** (-i / 7), rtol=1e-5)
        first = last + 1
    assert first == 3280 * steps


def test_the_cosine_schedule():
    rate = learning_rate_schedule("cosine", 2.0, 100)
    np.testing.assert_allclose([rate(0), rate(50), rate(25), rate(100)], [2.0, 1.0, 1 + np.sqrt(0.5), 0.0], atol=1e-6)


def test_the_constant_schedule():
    assert learning_rate_schedule("constant", 0.5, 10)(7) == 0.5
    halves = learning_rate_schedule("linear-after-half", 0.8, 9)  # 0.8 for 4 steps, then a line that reaches 0 after 5 more
    expected = [0.8, 0.8, 0.8, 0.8, 0.8, 0.64, 0.48, 0.32, 0.16, 0.0]
    np.testing.assert_allclose([halves(step) for step in range(10)], expected, atol=1e-7)


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(InputError, match="learning rate"):
        learning_rate_schedule("constant", rate, 10)


def test_an_unknown_schedule_is_named():
    unchecked = inspect.unwrap(learning_rate_schedule)  # past the checker that these tests run with and users do not
    with pytest.raises(InputError, match=r"There is no schedule 'cosin'\. Did you mean cosine"):
        unchecked("cosin", 1e-3, 10)


def test_weight_decay_shrinks_parameters_beside_the_step_of_adam():
    """AdamW's first step: Adam's, which is the learning rate in the direction of the gradient's sign, and λ η p."""
    params, gradient = np.array([2.0, -3.0, 0.5], np.float32), np.array([0.3, 10.0, -1e-3], np.float32)
    optimizer = adam(1e-2, weight_decay=0.5)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(updates, -1e-2 * (np.sign(gradient) + 0.5 * params), rtol=1e-4)


def test_an_impossible_weight_decay_is_refused():
    with pytest.raises(InputError, match="weight_decay is nan"):
        adam(1e-3, weight_decay=float("nan"))


def test_an_impossible_clip_norm_is_refused():
    with pytest.raises(InputError, match="clip_norm is 0"):
        adam(1e-3, clip_norm=0.0)


def test_an_impossible_b1_is_refused():
    with pytest.raises(InputError, match=r"adam_b1 is 1\.0"):
        adam(1e-3, b1=1.0)


@pytest.mark.parametrize("decay", [0.9, 0.99])
@pytest.mark.parametrize("clip_norm", [None, 2.0])
def test_rmsprop_divides_by_the_root_of_the_mean_square(decay, clip_norm):
    """v ← d v + (1 − d) g², p ← p − η g / (√v + 1e-8) as in PyTorch, from v = 0, of gradients that are clipped first.

    Those of a critic whose weights are clipped to 0.01 are small, and are scaled up all the same.
    """
    gradients = np.random.default_rng(0).normal(size=(4, 5)) * np.array([1, 1e-4, 10, 3, 1e-2])
    optimizer = rmsprop(0.1, clip_norm, **({} if decay == 0.99 else {"decay": decay}))
    params = {"p": jnp.zeros(5)}
    state, square, wanted = optimizer.init(params), np.zeros(5), np.zeros(5)
    for g in gradients:
        updates, state = optimizer.update({"p": jnp.asarray(g, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
        g = g if clip_norm is None else g * min(1, clip_norm / np.linalg.norm(g))
        square = decay * square + (1 - decay) * g**2
        wanted = wanted - 0.1 * g / (np.sqrt(square) + 1e-8)
        np.testing.assert_allclose(params["p"], wanted, rtol=1e-3, atol=1e-3)


def test_clipped_weights_are_numpys_at_every_leaf():
    """p ← clip(p − η g, −c, c), also where they begin outside; the optimizer's own state goes on as it would."""
    params = {"a": np.array([-3.0, -0.01, 0.0, 0.02]), "b": (np.array([[0.004, 5.0]]),)}
    gradients = {"a": np.array([0.0, 0.5, -0.004, 3.0]), "b": (np.array([[0.003, 49.95]]),)}
    as_float32 = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)
    plain = optax.sgd(0.1, momentum=0.9)
    optimizer, clipped = clip_weights(plain, 0.01), as_float32(params)
    state, plain_state, momentum = optimizer.init(clipped), plain.init(clipped), jax.tree.map(np.zeros_like, params)
    for _ in range(3):
        updates, state = optimizer.update(as_float32(gradients), state, clipped)
        clipped = optax.apply_updates(clipped, updates)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, gradients)
        params = jax.tree.map(lambda p, m: np.clip(p - 0.1 * m, -0.01, 0.01), params, momentum)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), clipped, params)
        _, plain_state = plain.update(as_float32(gradients), plain_state)
    jax.tree.map(np.testing.assert_array_equal, optax.tree.get(state, "trace"), optax.tree.get(plain_state, "trace"))


@pytest.mark.parametrize("bound", [0.0, -0.01, float("nan")])
def test_a_bound_that_is_not_positive_is_refused(bound):
    with pytest.raises(InputError, match=r"clip_weights is .*: give a positive number"):
        clip_weights(optax.sgd(0.1), bound)
