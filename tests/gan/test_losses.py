"""Losses of both networks against their formulas in NumPy and SciPy, where logits are ordinary and where they are extreme."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax, ndtri
from scipy.stats import norm

from gen_jax.gan import LOSSES, MINIMAX, class_loss, discriminator_loss, game_value, generator_loss
from gen_jax.types import InputError

softplus = lambda x: np.logaddexp(0, x)
REAL, FAKE = np.array([-2.0, 0.3, 1.7]), np.array([-0.4, 0.9, 3.0, -1.5])
LOGITS = np.array([-1e4, -100.0, -3.0, -0.5, 0.0, 0.5, 3.0, 100.0, 1e4])

# by name and network: the value, and its derivative
FORMULAS = {
    ("minimax", "real"): (lambda x: softplus(-x), lambda x: -expit(-x)),
    ("minimax", "fake"): (softplus, expit),
    ("minimax", "generator"): (lambda x: -softplus(x), lambda x: -expit(x)),
    ("non-saturating", "real"): (lambda x: softplus(-x), lambda x: -expit(-x)),
    ("non-saturating", "fake"): (softplus, expit),
    ("non-saturating", "generator"): (lambda x: softplus(-x), lambda x: -expit(-x)),
    ("least-squares", "real"): (lambda x: (x - 1) ** 2 / 2, lambda x: x - 1),
    ("least-squares", "fake"): (lambda x: x**2 / 2, lambda x: x),
    ("least-squares", "generator"): (lambda x: (x - 1) ** 2 / 2, lambda x: x - 1),
    ("wasserstein", "real"): (lambda x: -x, lambda x: -np.ones_like(x)),
    ("wasserstein", "fake"): (lambda x: x, np.ones_like),
    ("wasserstein", "generator"): (lambda x: -x, lambda x: -np.ones_like(x)),
    ("hinge", "real"): (lambda x: np.maximum(0, 1 - x), lambda x: -(x < 1).astype(float)),
    ("hinge", "fake"): (lambda x: np.maximum(0, 1 + x), lambda x: (x > -1).astype(float)),
    ("hinge", "generator"): (lambda x: -x, lambda x: -np.ones_like(x)),
}


def test_the_formulas_cover_every_loss():
    assert {name for name, _ in FORMULAS} == set(LOSSES)


@pytest.mark.parametrize(("name", "player"), FORMULAS)
def test_values_and_gradients_are_those_of_the_formula(name, player):
    value, slope = FORMULAS[name, player]
    found = jax.vmap(jax.value_and_grad(getattr(LOSSES[name], player)))(jnp.asarray(LOGITS, jnp.float32))
    # below the smallest float32 a number is zero: e^−100 is 4e-44
    np.testing.assert_allclose(found[0], value(LOGITS), rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(found[1], slope(LOGITS), rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_are_sums_of_means(name):
    real, fake, generator = (FORMULAS[name, player][0] for player in ("real", "fake", "generator"))
    real_logits, fake_logits = jnp.asarray(REAL, jnp.float32), jnp.asarray(FAKE, jnp.float32)
    found = discriminator_loss(LOSSES[name], real_logits, fake_logits)
    np.testing.assert_allclose(found, real(REAL).mean() + fake(FAKE).mean(), rtol=1e-6)
    np.testing.assert_allclose(generator_loss(LOSSES[name], fake_logits), generator(FAKE).mean(), rtol=1e-6)


def test_the_minimax_loss_of_the_best_discriminator_is_minus_the_value_of_the_game():
    """N(0, 1) against N(1, 1.5²): the losses over 100,000 points of equal probability, the value by quadrature."""
    points = ndtri((np.arange(100_000) + 0.5) / 100_000)
    logit = lambda x: norm.logpdf(x) - norm.logpdf(x, 1, 1.5)
    real_logits, fake_logits = (jnp.asarray(logit(x), jnp.float32) for x in (points, 1 + 1.5 * points))
    grid = np.linspace(-12, 14, 4001)
    value = game_value(norm.logpdf(grid), norm.logpdf(grid, 1, 1.5), grid[1] - grid[0])
    np.testing.assert_allclose(discriminator_loss(MINIMAX, real_logits, fake_logits), -value, rtol=1e-5)
    # the game is zero-sum but for E[log D(x)], which the generator has no hand in
    loss_of_generator = generator_loss(MINIMAX, fake_logits)
    np.testing.assert_allclose(loss_of_generator, value + np.mean(softplus(-logit(points))), rtol=1e-4)


def test_class_loss_is_the_mean_cross_entropy():
    logits = np.array([[1.0, -2.0, 0.5], [1e4, -1e4, 0.0], [0.1, 0.2, 0.3], [-1e4, 0.0, 1e4]])
    labels = np.array([2, 1, 0, 2])
    expected = -log_softmax(logits, axis=-1)[np.arange(4), labels].mean()
    value, gradient = jax.value_and_grad(class_loss)(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    probabilities = np.exp(log_softmax(logits, axis=-1))
    np.testing.assert_allclose(gradient, (probabilities - np.eye(3)[labels]) / 4, rtol=1e-5, atol=1e-7)


def test_a_label_that_there_is_no_logit_for_shows():
    assert np.isnan(class_loss(jnp.zeros((2, 3)), jnp.array([0, 3])))


@pytest.mark.parametrize("shape", [(4, 1), (4, 10), ()])
def test_logits_that_are_not_one_for_each_decision_are_refused(shape):
    good, bad = jnp.zeros(4), jnp.zeros(shape)
    for name, call in [
        ("real_logits", lambda: discriminator_loss(MINIMAX, bad, good)),
        ("fake_logits", lambda: discriminator_loss(MINIMAX, good, bad)),
        ("fake_logits", lambda: generator_loss(MINIMAX, bad)),
    ]:
        with pytest.raises(InputError, match=f"{name} has shape .* one logit for each example"):
            call()


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_gives_no_number(label):
    assert np.isnan(class_loss(jnp.zeros((2, 3)), jnp.array([0, label])))
