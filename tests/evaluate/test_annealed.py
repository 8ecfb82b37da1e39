"""Annealed importance sampling against a linear-Gaussian VAE, whose log p(x) and posterior are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.distributions import Normal
from gen_jax.evaluate import annealed, importance_weighted, temperatures
from gen_jax.types import InputError
from gen_jax.vae import log_weight
from tests.contracts.vaes import linear_gaussian_vae

VAE, MARGINAL = linear_gaussian_vae(scale=0.2)  # its posterior is far narrower than its prior
PARAMS = VAE.init(jax.random.key(0), MARGINAL.mean)
KEYS = jax.random.split(jax.random.key(1), 60)


def densities(x):
    prior = VAE.prior(PARAMS)
    return prior, lambda z: prior.log_prob(z) + VAE.decode(PARAMS, z).log_prob(x)


@functools.partial(jax.jit, static_argnames=("num", "backward", "schedule"))
def estimates(keys, num, backward=False, schedule="sigmoid"):
    """Of x drawn from the model with its z: log p(x), and what the chains say."""

    def one(key):
        z_key, x_key, chain_key = jax.random.split(key, 3)
        z = VAE.prior(PARAMS).sample(z_key)
        x = VAE.decode(PARAMS, z).sample(x_key)
        prior, joint = densities(x)
        betas, start = temperatures(num, schedule), z if backward else None
        found = annealed(prior.log_prob, joint, prior.sample, chain_key, betas, num_chains=8, num_leapfrog=5, backward_from=start)
        return MARGINAL.log_prob(x), found

    return jax.vmap(one)(keys)


@pytest.mark.parametrize("schedule", ["sigmoid", "linear"])
def test_temperatures_rise_from_zero_to_one(schedule):
    betas = np.asarray(temperatures(9, schedule), np.float64)
    assert (betas[0], betas[-1]) == (0, 1)
    assert (np.diff(betas) > 0).all()
    np.testing.assert_allclose(betas + betas[::-1], 1, atol=1e-6)
    with pytest.raises(InputError, match="temperatures is 0"):
        temperatures(0)


def test_weights_have_the_mean_that_they_should():
    """E[w / p(x)] = 1 for few temperatures already, where log w is far below log p(x)."""
    x = MARGINAL.mean + 1.0
    prior, joint = densities(x)
    run = lambda key: annealed(prior.log_prob, joint, prior.sample, key, temperatures(12), num_chains=1, num_leapfrog=3).log_prob
    ratios = np.exp(
        np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(2), 4000)) - MARGINAL.log_prob(x), np.float64)
    )
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / len(ratios) ** 0.5
    assert ratios.std() / len(ratios) ** 0.5 < 0.1
    assert np.log(ratios).mean() < -0.05


@pytest.mark.slow
def test_the_weights_of_chains_backward_have_the_mean_that_they_should():
    """E[1/w] = 1/Z over exact draws, of a mixture whose narrow half would betray step sizes that saw the draw."""
    narrow = Normal(jnp.array([1.5]), jnp.array([0.1]))
    start = Normal(jnp.zeros(1), jnp.ones(1))
    log_end = lambda z: jnp.logaddexp(start.log_prob(z), narrow.log_prob(z)) - jnp.log(2.0)

    def run(key):
        which_key, z_key, chain_key = jax.random.split(key, 3)
        z = jnp.where(jax.random.bernoulli(which_key), start.sample(z_key), narrow.sample(z_key))
        options = {"num_chains": 1, "num_leapfrog": 3, "backward_from": z}
        return jnp.exp(-annealed(start.log_prob, log_end, start.sample, chain_key, temperatures(40), **options).log_prob)

    found = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(3), 100_000)), np.float64)
    error = found.std() / len(found) ** 0.5
    assert error < 0.004
    assert abs(found.mean() - 1) < 3.5 * error


@pytest.mark.slow
def test_chains_are_closer_than_importance_weights_at_equal_decoder_calls():
    """With twenty latents and a q(z|x) whose mean is off, from which the chains start; a gradient counts as three calls.

    Against a q(z|x) that is the exact posterior but for its width, importance weights would be as close.
    """
    vae, marginal = linear_gaussian_vae(20, 40, 0.3)
    params = vae.init(jax.random.key(0), marginal.mean) | {"shift": jnp.full(20, 0.06)}
    num, chains, leapfrog = 300, 8, 10
    calls = 3 * 2 * num * chains * leapfrog  # of those that adapt and of those that count

    def one(key):
        x_key, chain_key, weight_key = jax.random.split(key, 3)
        x = marginal.sample(x_key)
        q = vae.encode(params, x)
        joint = lambda z: vae.prior(params).log_prob(z) + vae.decode(params, z).log_prob(x)
        options = {"num_chains": chains, "num_leapfrog": leapfrog}
        found = annealed(q.log_prob, joint, q.sample, chain_key, temperatures(num), **options)
        weighted = importance_weighted(lambda key: log_weight(vae, params, key, x), weight_key, calls)
        return marginal.log_prob(x), found.log_prob, found.standard_error, weighted.log_prob

    exact, found, error, weighted = (np.asarray(a) for a in jax.jit(lambda k: jax.lax.map(one, k))(KEYS[:20]))
    assert np.abs(found - exact).mean() < 0.5 * np.abs(weighted - exact).mean()
    assert np.abs((found - exact).mean()) < 3 * np.sqrt(np.sum(error**2)) / len(error)


@pytest.mark.slow
def test_the_bounds_hold_log_p_between_them_and_close_with_more_temperatures():
    """From both sides: over sixty x the mean of the lower one is below, of the upper one above, and the gap shrinks."""
    gaps = []
    for num in (10, 200):
        exact, lower = estimates(KEYS, num)
        _, upper = estimates(KEYS, num, backward=True)
        below, above = (np.asarray(exact - lower.log_prob, np.float64), np.asarray(upper.log_prob - exact, np.float64))
        for gap in (below, above):
            assert gap.mean() > -3 * gap.std() / len(gap) ** 0.5
        gaps.append(below.mean() + above.mean())
    assert gaps[1] < 0.5
    assert gaps[0] > 5 * gaps[1]


@pytest.mark.slow
def test_long_chains_agree_with_log_p_within_their_standard_errors():
    exact, found = estimates(KEYS, 200)
    z = np.asarray((found.log_prob - exact) / found.standard_error)
    assert np.median(np.abs(z)) < 1.5  # 0.67 of a normal, more for eight chains
    assert abs(z.mean()) < 0.6
    assert (np.abs(found.acceptance - 0.65) < 0.15).all()


def test_impossible_numbers_are_refused():
    prior, joint = densities(MARGINAL.mean)
    for wrong in ({"num_chains": 0}, {"num_leapfrog": 0}):
        with pytest.raises(InputError, match="give 1 or more of each"):
            annealed(prior.log_prob, joint, prior.sample, jax.random.key(0), temperatures(3), **wrong)
