"""Objectives: exact values by hand, and the gradients of several-sample bounds against each other on a model that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.distributions import MarkovChain, MultivariateNormal, Normal
from gen_jax.types import InputError
from gen_jax.vae import (
    ElboTerms,
    capacity_objective,
    dreg_bound,
    elbo_loss,
    free_bits_objective,
    iwae_bound,
    iwae_loss,
    negative_elbo,
)
from tests.contracts.vaes import linear_gaussian_vae

VAE, MARGINAL = linear_gaussian_vae()
X = MARGINAL.loc + 0.7
TERMS = ElboTerms(jnp.float32(-100.0), jnp.array([0.1, 2.0, 5.0]))


def test_objectives_by_hand():
    np.testing.assert_allclose(negative_elbo(TERMS), 107.1, rtol=1e-6)
    np.testing.assert_allclose(negative_elbo(TERMS, 4.0), 128.4, rtol=1e-6)
    np.testing.assert_allclose(capacity_objective(TERMS, 10.0, 7.0), 101.0, rtol=1e-5)
    np.testing.assert_allclose(capacity_objective(TERMS, 10.0, 7.2), 101.0, rtol=1e-5)
    np.testing.assert_allclose(free_bits_objective(TERMS, 0.5), 107.5, rtol=1e-6)
    np.testing.assert_allclose(capacity_objective(TERMS, 10.0, 5.1, huber_width=1.5), 110.0, rtol=1e-5)  # √(2² + 1.5²) − 1.5 = 1


@pytest.mark.parametrize("width", [0.0, 0.5])
def test_a_capacity_that_is_met_has_no_gradient_and_one_far_off_that_of_its_weight(width):
    value = lambda kl: capacity_objective(ElboTerms(jnp.zeros(()), kl[None]), 10.0, 5.0, width)
    assert [float(jax.grad(value)(jnp.float32(kl))) for kl in (5.0, -1e4, 1e30)] == [0.0, -10.0, 10.0]
    np.testing.assert_allclose(value(jnp.float32(1e30)), 1e31)  # whose square is beyond float32
    second = jax.grad(jax.grad(value))(jnp.float32(5.0))
    assert second == (10.0 / width if width else 0.0)


def test_a_rounded_capacity_rests_where_it_holds_the_kl():
    """Of a distortion −λ KL, and KL = k: the derivative is 0 at k = C + wλ / √(γ² − λ²), and not near C without a width."""
    slope, gamma, width = 3.0, 5.0, 0.8
    value = lambda k, width: capacity_objective(ElboTerms(slope * k, k[None]), gamma, 2.0, width)
    np.testing.assert_allclose(jax.grad(value)(jnp.float32(2.0 + 0.8 * 3 / 4), width), 0.0, atol=1e-5)
    assert [float(jax.grad(value)(jnp.float32(k), 0.0)) for k in (1.99, 2.01)] == [-8.0, 2.0]


def test_a_batch_shares_out_its_capacity_and_examples_do_not():
    """Rates of 0 and 10 about a capacity of 5: the mean is met exactly, each example is 5 off."""
    batch = ElboTerms(jnp.zeros(2), jnp.array([[0.0], [10.0]]))
    mean = jax.tree.map(lambda leaf: leaf.mean(0), batch)
    assert capacity_objective(mean, 1.0, 5.0) == 0
    assert jnp.mean(jax.vmap(lambda t: capacity_objective(t, 1.0, 5.0))(batch)) == 5


def gradients(bound, num_samples: int, params, num: int = 20_000) -> dict[str, np.ndarray]:
    one = jax.grad(lambda p, key: bound(VAE, p, key, X, num_samples))
    found = jax.jit(jax.vmap(one, in_axes=(None, 0)))(params, jax.random.split(jax.random.key(1), num))
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)


@pytest.mark.parametrize("num_samples", [1, 4, 32])
def test_the_doubly_reparameterised_gradient_has_the_mean_of_the_other_and_less_variance(num_samples):
    params = {"shift": jnp.array([0.3, -0.2]), "widen": jnp.float32(1.3)}
    plain, doubly = (gradients(bound, num_samples, params) for bound in (iwae_bound, dreg_bound))
    for name in params:
        a, b = plain[name], doubly[name]
        standard_error = np.sqrt((a.var(0) + b.var(0)) / len(a))
        assert np.all(np.abs(a.mean(0) - b.mean(0)) < 4 * standard_error), name
        assert np.all(b.var(0) < a.var(0)), name


def test_at_the_exact_posterior_the_doubly_reparameterised_gradient_is_zero_without_noise():
    params = {"shift": jnp.zeros(2), "widen": jnp.float32(1.0)}
    plain, doubly = (gradients(bound, 8, params, num=100) for bound in (iwae_bound, dreg_bound))
    assert np.abs(doubly["shift"]).max() < 1e-4
    assert np.abs(plain["shift"]).max() > 0.1


@pytest.mark.slow
def test_the_gradient_of_a_single_sample_is_the_path_derivative():
    """K = 1: ∂ log w/∂z ∂z/∂φ, which is the gradient of log p(x, z) − log q̄(z), q̄ held."""
    params = {"shift": jnp.array([0.3, -0.2]), "widen": jnp.float32(1.3)}
    key = jax.random.split(jax.random.key(1), 1)[0]

    def path(p):
        z = VAE.encode(p, X).sample(jax.random.split(key, 1)[0])
        return VAE.decode(p, z).log_prob(X) + VAE.prior(p).log_prob(z) - jax.lax.stop_gradient(VAE.encode(p, X)).log_prob(z)

    ours, expected = jax.grad(lambda p: dreg_bound(VAE, p, key, X, 1))(params), jax.grad(path)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours, expected)


@pytest.mark.slow
def test_the_bounds_scale_with_what_is_done_to_them():
    """The weights of DReG are taken from gradients: a loss of another scale must not change them."""
    params = {"shift": jnp.array([0.3, -0.2]), "widen": jnp.float32(1.3)}
    key = jax.random.key(3)
    one = jax.grad(lambda p: dreg_bound(VAE, p, key, X, 5))(params)
    scaled = jax.grad(lambda p: -0.01 * dreg_bound(VAE, p, key, X, 5))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(-0.01 * a, b, rtol=1e-4), one, scaled)


@pytest.mark.parametrize(
    "make",
    [lambda: iwae_loss(VAE, 0), lambda: elbo_loss(VAE, num_samples=0), lambda: iwae_bound(VAE, {}, jax.random.key(0), X, 0)],
)
def test_no_samples_are_refused(make):
    with pytest.raises(InputError, match="num_samples is 0: give 1 or more"):
        make()


# chains


def chain(last_first: bool) -> MarkovChain:
    """z_a ~ N(0.5, 2²), z_b | z_a ~ N(0.8 z_a − 1, 0.5²), both in one dimension."""
    kernel = lambda params, before: Normal(params * before - 1, jnp.full(1, 0.5))
    return MarkovChain(Normal(jnp.full(1, 0.5), jnp.full(1, 2.0)), (jnp.float32(0.8),), (kernel,), last_first)


@pytest.mark.parametrize("last_first", [False, True])
def test_a_linear_chain_is_the_normal_that_it_is(last_first):
    covariance = np.array([[4.0, 3.2], [3.2, 0.25 + 0.64 * 4]])
    joint = MultivariateNormal(jnp.array([0.5, 0.8 * 0.5 - 1]), jnp.linalg.cholesky(jnp.asarray(covariance, jnp.float32)))
    keys = jax.random.split(jax.random.key(0), 20_000)
    (a, b), log_probs = jax.vmap(chain(last_first).sample_and_log_prob)(keys)
    drawn = jnp.concatenate([b, a] if last_first else [a, b], axis=-1)
    np.testing.assert_allclose(log_probs, jax.vmap(joint.log_prob)(drawn), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.vmap(chain(last_first).log_prob)((a, b)), log_probs, rtol=1e-4, atol=1e-5)
    # the covariance's entries have standard errors of at most sqrt(2) · 4 / sqrt(20,000)
    np.testing.assert_allclose(np.cov(np.asarray(drawn, np.float64).T), covariance, atol=0.16)


def test_parts_that_are_kept_stay_and_the_others_follow_their_conditional():
    value = (jnp.array([7.0]), jnp.array([3.0]))
    kept = jax.vmap(lambda key: chain(True).redraw(key, value, 1))(jax.random.split(jax.random.key(0), 10_000))
    assert np.all(kept[1] == 3.0)
    assert abs(np.mean(kept[0]) - (0.8 * 3 - 1)) < 4 * 0.5 / 100
    assert chain(True).redraw(jax.random.key(0), value, 2) == value
