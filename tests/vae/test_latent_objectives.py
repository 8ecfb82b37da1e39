"""Objectives of the latents of a batch: by hand, and the discriminator's total correlation against the exact one."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.data import Split
from gen_jax.distributions import Normal, rate_parts
from gen_jax.nets import MLP
from gen_jax.types import Adversaries, InputError, join
from gen_jax.vae import (
    bernoulli_likelihood,
    covariance_penalty,
    elbo_loss,
    factor_losses,
    gaussian_vae,
    total_correlation_penalty,
    with_discriminator,
)
from gen_jax.vae.factor import permuted

KEY, STEP = jax.random.key(0), jnp.int32(0)
LOC = jnp.array([[1.0, 2.0], [-1.0, 0.0], [3.0, 1.0], [1.0, 1.0]])
SCALE = jnp.full((4, 2), 0.5).at[0, 0].set(1.0)
POSTERIORS = Normal(LOC, SCALE)
VAE = gaussian_vae(MLP((4,), (2, 3)), MLP((4,), (6,)), 3, bernoulli_likelihood())
DISC = MLP((8,), (1,))
X = jax.random.bernoulli(KEY, 0.5, (7, 6)).astype(jnp.float32)


def test_covariances_by_hand():
    """Of the means [1, −1, 3, 1] and [2, 0, 1, 1]: variances 2 and ½, covariance ½."""
    found = covariance_penalty(10.0, 3.0)(POSTERIORS, LOC)
    np.testing.assert_allclose(found, 10 * 2 * 0.5**2 + 3 * (1**2 + 0.5**2), rtol=1e-6)
    # E[σ²] = (1 + 3 · 0.25) / 4 and 0.25 more on the diagonal
    found = covariance_penalty(10.0, 3.0, "draws")(POSTERIORS, LOC)
    np.testing.assert_allclose(found, 10 * 2 * 0.5**2 + 3 * ((1 + 0.4375) ** 2 + (0.5 - 0.25) ** 2), rtol=1e-6)


@pytest.mark.slow
def test_a_loss_with_a_penalty_is_their_sum():
    params, batch = VAE.init(KEY, X[0]), Split(X, None)
    plain, (_, metrics) = elbo_loss(VAE)(params, (), KEY, STEP, batch)
    for penalty in (total_correlation_penalty(5.0), covariance_penalty(2.0, 1.0)):
        value, (_, more) = elbo_loss(VAE, penalty=penalty)(params, (), KEY, STEP, batch)
        np.testing.assert_allclose(value, plain + more["penalty"], rtol=1e-6)
        np.testing.assert_allclose(more["elbo"], metrics["elbo"])
        assert abs(float(more["penalty"])) > 0.01


@pytest.mark.slow
def test_the_gradient_of_a_total_correlation_is_that_of_the_known_number_of_examples():
    """N only adds a constant to their estimator, as the batch does in place of N."""
    z = POSTERIORS.loc + 0.3
    of = lambda loc, num: rate_parts(Normal(loc, SCALE), Normal(jnp.zeros(2), jnp.ones(2)), z, num, "weighted").total_correlation
    wanted = jax.grad(lambda loc: of(loc, 1000))(LOC)
    found = jax.grad(lambda loc: total_correlation_penalty(1.0)(Normal(loc, SCALE), z))(LOC)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert np.abs(wanted).max() > 0.01


def test_a_penalty_refuses_what_it_cannot_take():
    with pytest.raises(InputError, match="num_samples is 2, and the penalty takes one"):
        elbo_loss(VAE, num_samples=2, penalty=covariance_penalty(1.0, 1.0))
    from tests.contracts.vaes import linear_gaussian_vae

    full, marginal = linear_gaussian_vae()
    params = full.init(KEY, marginal.mean)
    with pytest.raises(InputError, match=r"q\(z\|x\) is MultivariateNormal"):
        elbo_loss(full, penalty=total_correlation_penalty(1.0))(params, (), KEY, STEP, Split(marginal.mean[None], None))


def test_permuting_keeps_each_latent_and_breaks_their_dependence():
    z = jnp.tile(jnp.arange(500.0)[:, None], (1, 2))
    found = np.asarray(permuted(KEY, z))
    for column in found.T:
        np.testing.assert_array_equal(np.sort(column), np.arange(500))
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.2


def test_the_losses_of_a_factor_vae_by_their_formulas():
    model = with_discriminator(VAE, DISC)
    variables = model.init(KEY, X[0])
    params, state = variables
    own = join(params.generator, state.generator)
    np.testing.assert_array_equal(model.encode(variables, X[0]).loc, VAE.encode(own, X[0]).loc)
    losses, batch = factor_losses(VAE, DISC, 3.0), Split(X, None)
    value, (_, metrics) = losses.generator(params, state, KEY, STEP, batch)
    plain, _ = elbo_loss(VAE)(params.generator, (), KEY, STEP, batch)
    draws = jax.vmap(lambda k, x: VAE.encode(own, x).sample(jax.random.split(k, 1)[0]))(jax.random.split(KEY, 7), X)
    logits = jax.vmap(lambda z: DISC.apply(params.discriminator, z))(draws)
    np.testing.assert_allclose(metrics["penalty"], 3.0 * jnp.mean(logits), rtol=1e-5)
    np.testing.assert_allclose(value, plain + metrics["penalty"], rtol=1e-6)
    zero = params._replace(discriminator=jax.tree.map(jnp.zeros_like, params.discriminator))
    np.testing.assert_allclose(losses.discriminator(zero, state, KEY, STEP, batch)[0], np.log(2), rtol=1e-6)


@pytest.mark.slow
def test_gradients_of_penalties_are_those_of_their_formulas():
    """Through the draws and the densities, by finite differences; with the same noise, both sides are smooth."""
    params, batch = VAE.init(KEY, X[0]), Split(X, None)
    flat, back = jax.flatten_util.ravel_pytree(params)
    direction = jax.random.normal(KEY, flat.shape)
    for penalty in (total_correlation_penalty(5.0), covariance_penalty(20.0, 10.0)):
        loss = lambda t, p=penalty: elbo_loss(VAE, penalty=p)(back(flat + t * direction), (), KEY, STEP, batch)[0]
        plain = lambda t: elbo_loss(VAE)(back(flat + t * direction), (), KEY, STEP, batch)[0]
        of_penalty = jax.grad(loss)(0.0) - jax.grad(plain)(0.0)
        difference = lambda f, h=1e-2: (f(h) - f(-h)) / (2 * h)
        np.testing.assert_allclose(of_penalty, difference(loss) - difference(plain), rtol=0.02, atol=0.02)
        assert abs(float(of_penalty)) > 0.1


@pytest.mark.slow
def test_the_encoder_of_a_factor_vae_feels_the_discriminator_and_the_decoder_does_not():
    params, state = with_discriminator(VAE, DISC).init(KEY, X[0])
    batch = Split(X, None)

    def gradient(gamma):
        loss = lambda own: factor_losses(VAE, DISC, gamma).generator(params._replace(generator=own), state, KEY, STEP, batch)[0]
        return jax.grad(loss)(params.generator)

    def mean_logit(own):
        draw = lambda k, x: VAE.encode(own, x).sample(jax.random.split(k, 1)[0])
        z = jax.vmap(draw)(jax.random.split(KEY, 7), X)
        return jnp.mean(jax.vmap(lambda z: DISC.apply(params.discriminator, z))(z))

    added = jax.tree.map(lambda a, b: a - b, gradient(3.0), gradient(0.0))
    wanted = jax.tree.map(lambda g: 3.0 * g, jax.grad(mean_logit)(params.generator))
    for found, exact in zip(jax.tree.leaves(added), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-4)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(added["encoder"])) > 1e-3
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(added["decoder"]))
    with pytest.raises(InputError, match="The batch has 1 example"):
        factor_losses(VAE, DISC, 1.0).discriminator(params, state, KEY, STEP, Split(X[:1], None))


@pytest.mark.slow
def test_the_trained_discriminator_finds_the_total_correlation():
    """Of a normal q(z) with correlation 0.8: −½ log(1 − 0.8²) = 0.51 nats."""
    import optax

    loc = jax.random.normal(KEY, (4000, 2)) @ jnp.linalg.cholesky(jnp.array([[0.96, 0.8], [0.8, 0.96]])).T
    data = Split(loc, None)
    encoder = VAE._replace(
        init=lambda key, x, context=None: {}, encode=lambda params, x, context=None: Normal(x, jnp.full(2, 0.2))
    )
    net = MLP((64, 64), (1,), jax.nn.leaky_relu)
    loss = factor_losses(encoder, net, 1.0).discriminator
    adam, disc = optax.adam(3e-3), net.init(KEY, loc[0])

    @jax.jit
    def run(disc):
        def step(carry, key):
            disc, opt_state = carry
            rows = jax.random.randint(key, (512,), 0, 4000)
            of = lambda disc: loss(Adversaries({}, disc), Adversaries((), ()), key, STEP, Split(data.x[rows], None))[0]
            updates, opt_state = adam.update(jax.grad(of)(disc), opt_state)
            return (optax.apply_updates(disc, updates), opt_state), None

        return jax.lax.scan(step, (disc, adam.init(disc)), jax.random.split(KEY, 2000))[0][0]

    z = loc + 0.2 * jax.random.normal(jax.random.key(5), loc.shape)
    found = float(jnp.mean(jax.vmap(lambda z: net.apply(run(disc), z))(z)))
    assert abs(found + 0.5 * np.log(1 - 0.8**2)) < 0.06
