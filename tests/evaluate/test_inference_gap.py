"""The gap between bound and log p(x), where all of its parts are known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.distributions import MultivariateNormal, Normal, kl_divergence
from gen_jax.evaluate import inference_gap, optimised_normal
from tests.contracts.vaes import linear_gaussian_vae

VAE, MARGINAL = linear_gaussian_vae()
PARAMS = VAE.init(jax.random.key(0), MARGINAL.mean)
X = jax.vmap(MARGINAL.sample)(jax.random.split(jax.random.key(1), 20))
ADAM = optax.adam(optax.cosine_decay_schedule(0.1, 300))


def log_joint(x):
    return lambda z: VAE.prior(PARAMS).log_prob(z) + VAE.decode(PARAMS, z).log_prob(x)


def best_normal(exact: MultivariateNormal) -> Normal:
    """The mean of the posterior, and for each dimension its variance given the others: KL's minimum (Bishop 2006, §10.1.2)."""
    precision = jnp.linalg.inv(exact.scale_tril @ exact.scale_tril.T)
    return Normal(exact.loc, 1 / jnp.sqrt(jnp.diagonal(precision)))


def test_the_gap_and_both_of_its_parts_are_the_divergences_that_they_should_be():
    encoder = lambda x: Normal(best_normal(VAE.encode(PARAMS, x)).loc + 0.3, jnp.full(2, 0.4))

    def one(key, x):
        return inference_gap(log_joint(x), encoder(x), ADAM, key, num_steps=300, num_importance_samples=10_000)

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), len(X)), X)
    exact = jax.vmap(lambda x: VAE.encode(PARAMS, x))(X)
    of_best = jax.vmap(lambda p: kl_divergence(best_normal(p), p))(exact)
    of_encoder = jax.vmap(lambda x, p: kl_divergence(encoder(x), p))(X, exact)
    # q* is narrower than the posterior, whose latents depend on each other, so that weights vary much
    log_prob = jax.vmap(MARGINAL.log_prob)(X)
    np.testing.assert_allclose(found.log_prob, log_prob, atol=0.2)
    assert abs(float(jnp.mean(found.log_prob - log_prob))) < 0.03
    np.testing.assert_allclose(found.approximation, of_best, atol=0.2)
    assert abs(float(jnp.mean(found.approximation - of_best))) < 0.04
    np.testing.assert_allclose(found.amortisation, of_encoder - of_best, atol=0.25, rtol=0.15)
    assert abs(float(jnp.mean(found.amortisation - (of_encoder - of_best)))) < 0.06
    np.testing.assert_allclose(found.log_prob - found.elbo, found.approximation + found.amortisation, atol=1e-4)
    assert float(of_best.min()) > 0.02  # dimensions of the posterior do depend on each other


def test_the_best_normal_is_found_from_far_away():
    exact = VAE.encode(PARAMS, X[0])
    start = Normal(exact.loc + 3, jnp.full(2, 3.0))
    adam = optax.adam(optax.cosine_decay_schedule(0.1, 1000))
    found = jax.jit(lambda key: optimised_normal(log_joint(X[0]), start, adam, key, 1000, 16))(jax.random.key(3))
    wanted = best_normal(exact)
    np.testing.assert_allclose(found.loc, wanted.loc, atol=0.02)
    np.testing.assert_allclose(found.scale, wanted.scale, rtol=0.03)
