"""The contract of a distribution, held against scipy, for every row of the table."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.distributions import Bernoulli, Normal
from gen_jax.types import Distribution, Posterior
from tests.contracts.distributions import CASES, LOCATION_SCALE, REPARAMETERISED
from tests.small import fast_first


@pytest.mark.parametrize("name", CASES)
def test_log_prob_is_scipys(name):
    case = CASES[name]
    ours = jax.vmap(case.distribution.log_prob)(jnp.asarray(case.events, jnp.float32))
    np.testing.assert_allclose(ours, [case.log_prob(x) for x in case.events], rtol=1e-5)


@pytest.mark.parametrize("name", fast_first(reversed(CASES), 4))
def test_samples_have_the_mean_and_covariance(name, key):
    case, num = CASES[name], 40_000
    samples = np.asarray(jax.jit(jax.vmap(case.distribution.sample))(jax.random.split(key, num)), np.float64)
    np.testing.assert_allclose(case.distribution.mean, case.mean, rtol=1e-6)
    standard_error = np.sqrt(np.diag(case.covariance) / num)
    assert np.all(np.abs(samples.mean(0) - case.mean) < 4 * standard_error)
    # the covariance of normal variables has s.e. sqrt((σii σjj + σij²) / N); of Bernoulli variables, less
    variance = np.diag(case.covariance)
    bound = 4 * np.sqrt((np.outer(variance, variance) + case.covariance**2) / num) + 1e-3
    assert np.all(np.abs(np.cov(samples.T) - case.covariance) < bound)


@pytest.mark.parametrize("name", REPARAMETERISED)
def test_sample_and_log_prob_agree_with_sample_and_with_log_prob(name, key):
    distribution = CASES[name].distribution
    value, log_prob = distribution.sample_and_log_prob(key)
    chex.assert_trees_all_equal(value, distribution.sample(key))
    np.testing.assert_allclose(log_prob, distribution.log_prob(value), rtol=1e-5)
    assert isinstance(distribution, Posterior)


@pytest.mark.parametrize("name", LOCATION_SCALE)
def test_samples_are_reparameterised(name, key):
    """d sample / d loc is the identity, and d E|x − loc|² / d scale is not zero."""
    case = CASES[name]
    jacobian = jax.jacobian(lambda loc: case.distribution._replace(loc=loc).sample(key))(case.distribution.loc)
    np.testing.assert_array_equal(jacobian, np.eye(3))
    loc, scale = case.distribution
    gradient = jax.grad(lambda s: jnp.sum((case.family(loc, s).sample(key) - loc) ** 2))(scale)
    assert np.all(np.any(np.asarray(gradient) != 0, axis=-1))


@pytest.mark.parametrize("name", fast_first(reversed(CASES), 4))
def test_gradients_are_finite_far_out(name, key):
    case = CASES[name]

    @jax.jit
    def at_a_sample(distribution):
        value = distribution.sample(key)
        return value, jax.value_and_grad(lambda d, x: d.log_prob(x), argnums=(0, 1))(distribution, value)

    for parameters in case.extreme:
        chex.assert_tree_all_finite(at_a_sample(case.at(parameters)))


@pytest.mark.parametrize("name", CASES)
def test_vmap_is_a_loop_and_jit_is_eager_and_compiles_once(name, key):
    case = CASES[name]
    xs = jnp.asarray(case.events, jnp.float32)
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def log_probs(distribution, xs):
        return jax.vmap(distribution.log_prob)(xs)

    # but for the rounding of fused multiply-adds, of terms that may be larger than their sum
    loop = jnp.stack([case.distribution.log_prob(x) for x in xs])
    np.testing.assert_allclose(log_probs(case.distribution, xs), loop, rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(log_probs(jax.tree.map(jnp.copy, case.distribution), xs), loop, rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(jax.jit(case.distribution.sample)(key), case.distribution.sample(key), rtol=1e-6)
    assert isinstance(case.distribution, Distribution)


def test_a_normal_integrates_to_one():
    grid = jnp.linspace(-12.0, 12.0, 20_001)
    density = jnp.exp(jax.vmap(Normal(jnp.array([0.7]), jnp.array([0.9])).log_prob)(grid[:, None]))
    np.testing.assert_allclose(jnp.trapezoid(density, grid), 1.0, atol=1e-5)


def test_bernoulli_masses_sum_to_one():
    masses = jnp.exp(jax.vmap(CASES["bernoulli"].distribution.log_prob)(jnp.asarray(CASES["bernoulli"].events, jnp.float32)))
    np.testing.assert_allclose(masses.sum(), 1.0, rtol=1e-6)


def test_a_bernoulli_prices_a_sure_miss_by_its_logit():
    """Clipped probabilities would give log 1e-7; the logit says −10,000 nats."""
    np.testing.assert_allclose(Bernoulli(jnp.array([1e4])).log_prob(jnp.array([0.0])), -1e4)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_derivatives_of_a_bernoulli_are_exact_at_a_logit_of_zero_too(value):
    """x − sigmoid(l), and −sigmoid′(l): a net that begins with a logit of 0 must be able to leave it."""
    logits = jnp.array([0.0, -0.0, 2.0, -90.0, 90.0])
    log_prob = lambda at: Bernoulli(at).log_prob(jnp.full(5, value))
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    np.testing.assert_allclose(jax.grad(log_prob)(logits), value - p, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(jnp.diagonal(jax.hessian(log_prob)(logits)), -p * (1 - p), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("logit", [0.0, 1.5, -3.0, 40.0])
def test_second_derivatives_of_a_bernoulli_are_right_inside_of_a_loop(logit):
    """d² log p / d logit² = −σ (1 − σ), at a logit of 0 too; forward over reverse, and reverse over reverse."""
    log_prob = lambda logit: jax.lax.map(lambda one: Bernoulli(one[None]).log_prob(jnp.ones(1)), logit[None])[0]
    wanted = -np.exp(-np.logaddexp(0, logit) - np.logaddexp(0, -logit))
    for second in (jax.jacfwd(jax.grad(log_prob)), jax.grad(jax.grad(log_prob)), jax.jacfwd(jax.jacfwd(log_prob))):
        np.testing.assert_allclose(second(jnp.float32(logit)), wanted, rtol=1e-5, atol=1e-12)
