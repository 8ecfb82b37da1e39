"""Penalties of critics whose gradient is known: linear, quadratic and constant ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from gen_jax.gan import PENALTIES, gradient_norms_squared, gradient_penalty, zero_centred_penalty
from gen_jax.types import InputError

W = jnp.array([[1.0, -2.0], [0.5, 3.0]])
SIZE = np.linalg.norm(W)
MATRIX = jnp.array([[2.0, 0.5, 0.0], [0.5, -1.0, 0.3], [0.0, 0.3, 0.7]])
X, OTHER = jnp.array([0.3, -1.2, 2.0]), jnp.array([-0.5, 0.4, 1.0])

linear = lambda w: lambda x: jnp.sum(w * x)
quadratic = lambda x: 0.5 * x @ MATRIX @ x


def of_one(penalty, critic, key, real, fake):
    """A penalty of one real and one generated example, for a critic of one."""
    return penalty(jax.vmap(critic), key, real[None], fake[None])


@pytest.mark.parametrize("name", PENALTIES)
def test_of_a_linear_critic_value_and_gradient_are_exact(name, key):
    """D(x) = w·x: (‖w‖ − 1)² with the gradient 2 (‖w‖ − 1) w / ‖w‖, or ‖w‖² with 2w, at every x."""
    real, fake = jax.random.normal(key, (2, 2, 2))
    value, gradient = jax.jit(jax.value_and_grad(lambda w: of_one(PENALTIES[name], linear(w), key, real, fake)))(W)
    centred = name != "gradient-penalty"
    np.testing.assert_allclose(value, SIZE**2 if centred else (SIZE - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(gradient, 2 * W if centred else 2 * (SIZE - 1) * W / SIZE, rtol=1e-5)


def test_a_linear_critic_of_slope_one_has_no_gradient_penalty(key):
    np.testing.assert_allclose(of_one(gradient_penalty, linear(W / SIZE), key, W, -W), 0.0, atol=1e-12)


def test_r1_is_taken_at_the_real_example_and_r2_at_the_generated_one(key):
    """D(x) = ½ xᵀAx has the gradient Ax."""
    assert set(PENALTIES) == {"gradient-penalty", "zero-centred", "r1", "r2"}
    np.testing.assert_allclose(of_one(PENALTIES["r1"], quadratic, key, X, OTHER), np.sum((MATRIX @ X) ** 2), rtol=1e-5)
    np.testing.assert_allclose(of_one(PENALTIES["r2"], quadratic, key, X, OTHER), np.sum((MATRIX @ OTHER) ** 2), rtol=1e-5)
    norms = gradient_norms_squared(jax.vmap(quadratic), jnp.stack([X, OTHER]))
    np.testing.assert_allclose(norms, [np.sum((MATRIX @ X) ** 2), np.sum((MATRIX @ OTHER) ** 2)], rtol=1e-5)


def test_the_penalised_points_are_uniform_on_the_segment(key):
    """With D(x) = ½‖x‖², ∇D(x̂) = x̂: on the way from (a, a, a, a) to 3(a, a, a, a) its norm is uniform on [2a, 6a].

    Were there an ε for each coordinate, the norm would not be.
    """
    critic = lambda x: 0.5 * jnp.sum(x**2)
    fake = jnp.full((2, 2), 0.5)
    keys = jax.random.split(key, 2000)
    penalties = jax.jit(jax.vmap(lambda k: of_one(zero_centred_penalty, critic, k, 3 * fake, fake)))(keys)
    assert kstest(np.sqrt(np.asarray(penalties, np.float64)), "uniform", (1, 2)).pvalue > 0.01
    one_centred = jax.jit(jax.vmap(lambda k: of_one(gradient_penalty, critic, k, 3 * fake, fake)))(keys)
    np.testing.assert_allclose(one_centred, (np.sqrt(penalties) - 1) ** 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_where_both_examples_are_one_the_penalty_is_taken_there(name, key):
    norm = np.linalg.norm(MATRIX @ X)
    expected = (norm - 1) ** 2 if name == "gradient-penalty" else norm**2
    np.testing.assert_allclose(of_one(PENALTIES[name], quadratic, key, X, X), expected, rtol=1e-5)


def test_derivatives_reach_the_parameters_of_a_curved_critic(key):
    """D(x) = w Σ x²: R1 = 4w² Σ x², of derivatives 8w Σ x² and 8 Σ x²."""
    r1 = lambda w: of_one(PENALTIES["r1"], lambda x: w * jnp.sum(x**2), key, X, OTHER)
    square = float(jnp.sum(X**2))
    np.testing.assert_allclose(jax.grad(r1)(1.5), 8 * 1.5 * square, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(jax.grad(r1))(1.5), 8 * square, rtol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_of_a_constant_critic_first_and_second_derivatives_are_finite(name, key):
    """w = 0: the penalty is (0 − 1)² or 0, and no direction in w is better than its opposite."""
    of_weights = lambda w: of_one(PENALTIES[name], linear(w), key, jnp.ones((2, 2)), jnp.zeros((2, 2)))
    nowhere = jnp.zeros((2, 2))
    np.testing.assert_allclose(of_weights(nowhere), 1.0 if name == "gradient-penalty" else 0.0, atol=1e-5)
    np.testing.assert_array_equal(jax.jit(jax.grad(of_weights))(nowhere), 0)
    assert np.isfinite(jax.jit(jax.hessian(of_weights))(nowhere)).all()


def test_of_a_dead_network_derivatives_are_finite(key):
    """Units that no example switches on pass a gradient of exactly zero, to x and to the weights."""
    critic = lambda w: lambda x: jnp.sum(jax.nn.relu(w @ x - 100))
    of_weights = lambda w: of_one(gradient_penalty, critic(w), key, X, OTHER)
    np.testing.assert_array_equal(jax.jit(jax.grad(of_weights))(MATRIX), 0)
    assert np.isfinite(jax.jit(jax.hessian(of_weights))(MATRIX)).all()


@pytest.mark.parametrize("name", ["gradient-penalty", "zero-centred"])
def test_examples_of_two_shapes_are_refused(name, key):
    with pytest.raises(InputError, match=r"real has shape \(3, 3\) and fake \(3, 3, 1\)"):
        PENALTIES[name](jnp.sum, key, jnp.zeros((3, 3)), jnp.zeros((3, 3, 1)))


@pytest.mark.parametrize("name", PENALTIES)
def test_of_a_batch_it_is_the_mean_over_examples_each_with_a_point_of_its_own(name, key):
    real, fake = jax.random.normal(key, (2, 5, 3))
    whole = PENALTIES[name](jax.vmap(quadratic), key, real, fake)
    weights = np.array([jax.random.uniform(k) for k in jax.random.split(key, 5)])[:, None]
    between = weights * np.asarray(real) + (1 - weights) * np.asarray(fake)
    at = {"r1": np.asarray(real), "r2": np.asarray(fake)}.get(name, between)
    norms = np.linalg.norm(at @ np.asarray(MATRIX), axis=1)
    expected = (norms - 1) ** 2 if name == "gradient-penalty" else norms**2
    np.testing.assert_allclose(whole, expected.mean(), rtol=1e-4)


def test_a_critic_with_statistics_of_the_batch_is_penalised_for_what_an_example_does_to_the_others():
    """D(x_i) = x_i + 2 mean_j x_j: the sum of all logits has the gradient 1 + 2 in each."""
    critic = lambda x: x[:, 0] + 2 * jnp.mean(x[:, 0])
    np.testing.assert_allclose(gradient_norms_squared(critic, jnp.arange(4.0)[:, None]), 9.0, rtol=1e-6)
