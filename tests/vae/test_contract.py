"""The contract of a VAE, for every row of the table."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.types import Posterior
from gen_jax.vae import elbo_terms, log_weight, negative_elbo
from tests.contracts.vaes import CASES

pytestmark = pytest.mark.parametrize("name", CASES)


def params_of(case, key):
    return case.vae.init(key, case.x, case.context)


def test_the_kl_is_the_mean_of_the_log_ratio(name, key):
    vae, x, context = CASES[name]
    params = params_of(CASES[name], key)
    posterior, prior = vae.encode(params, x, context), vae.prior(params, context)
    assert isinstance(posterior, Posterior)

    def ratio(key):
        z, log_q = posterior.sample_and_log_prob(key)
        return log_q - prior.log_prob(z)

    keys = jax.random.split(key)
    ratios = np.asarray(jax.vmap(ratio)(jax.random.split(keys[0], 20_000)), np.float64)
    # in closed form, equal for every key; otherwise an estimate by one draw, whose mean is compared
    kls = np.asarray(jax.vmap(lambda k: elbo_terms(vae, params, k, x, context).kl)(jax.random.split(keys[1], 20_000)), np.float64)
    assert abs(ratios.mean() - kls.mean()) < 4 * np.sqrt((ratios.var() + kls.var()) / len(ratios))


def test_the_elbo_is_the_mean_log_weight(name, key):
    """E_q[log w] = ELBO, whatever form the KL has in it."""
    vae, x, context = CASES[name]
    params = params_of(CASES[name], key)
    keys = jax.random.split(key, 20_000)
    elbos = np.asarray(jax.vmap(lambda k: elbo_terms(vae, params, k, x, context).elbo)(keys), np.float64)
    weights = np.asarray(jax.vmap(lambda k: log_weight(vae, params, k, x, context))(keys), np.float64)
    difference = weights - elbos
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(keys))


def test_the_objective_is_minus_the_elbo_and_reports_its_terms(name, key):
    vae, x, context = CASES[name]
    params = params_of(CASES[name], key)
    loss, metrics = negative_elbo(vae, params, key, x, context)
    terms = elbo_terms(vae, params, key, x, context)
    np.testing.assert_allclose(loss, terms.kl - terms.log_likelihood, rtol=1e-6)
    chex.assert_trees_all_close(metrics, {"elbo": -loss, "rate": terms.kl, "distortion": -terms.log_likelihood})


def test_every_parameter_has_a_gradient(name, key):
    vae, x, context = CASES[name]
    params = params_of(CASES[name], key)

    def mean_loss(params):
        keys = jax.random.split(key, 64)
        return jnp.mean(jax.vmap(lambda k: negative_elbo(vae, params, k, x, context)[0])(keys))

    for path, gradient in jax.tree.leaves_with_path(jax.grad(mean_loss)(params)):
        assert np.any(np.asarray(gradient) != 0), f"{jax.tree_util.keystr(path)} does not move the loss"


def test_the_gradient_is_the_finite_difference(name, key):
    vae, x, context = CASES[name]
    params = params_of(CASES[name], key)
    direction = jax.tree.map(lambda p: jax.random.normal(key, p.shape), params)
    with jax.enable_x64(True):
        params, direction, x, context = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), (params, direction, x, context)
        )

        @jax.jit
        def loss(t):
            return negative_elbo(vae, jax.tree.map(lambda p, d: p + t * d, params, direction), key, x, context)[0]

        numeric = (loss(1e-5) - loss(-1e-5)) / 2e-5
        np.testing.assert_allclose(jax.grad(loss)(0.0), numeric, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.0, 1e2])
def test_values_and_gradients_are_finite_far_out(name, factor, key):
    vae, x, context = CASES[name]
    params = jax.tree.map(lambda p: factor * p, params_of(CASES[name], key))
    value, gradient = jax.value_and_grad(lambda p: negative_elbo(vae, p, key, x, context)[0])(params)
    chex.assert_tree_all_finite((value, gradient))


def test_vmap_is_a_loop_and_jit_is_eager_and_compiles_once(name, key):
    vae, x, context = CASES[name]
    params = params_of(CASES[name], key)
    keys = jax.random.split(key, 4)
    xs = jnp.stack([x, 1 - x, x, 1 - x])
    traces = []

    @jax.jit
    def batched(params, keys, xs):
        traces.append(None)
        return jax.vmap(lambda k, x: elbo_terms(vae, params, k, x, context))(keys, xs)

    loop = [elbo_terms(vae, params, k, x, context) for k, x in zip(keys, xs, strict=True)]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
    chex.assert_trees_all_close(batched(params, keys, xs), expected, rtol=1e-5, atol=1e-5)
    again = batched(jax.tree.map(jnp.copy, params), keys, xs)
    chex.assert_trees_all_equal(again, batched(params, keys, xs))
    assert len(traces) == 1


def test_every_example_of_a_batch_has_its_own_noise(name, key):
    """With equal examples, equal keys give equal terms and different keys different ones."""
    vae, x, context = CASES[name]
    params = params_of(CASES[name], key)
    terms = jax.vmap(lambda k: elbo_terms(vae, params, k, x, context).log_likelihood)(jax.random.split(key, 8))
    assert len(np.unique(terms)) == 8
    np.testing.assert_array_equal(
        elbo_terms(vae, params, key, x, context).log_likelihood, elbo_terms(vae, params, key, x, context).log_likelihood
    )
