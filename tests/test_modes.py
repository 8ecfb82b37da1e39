"""Modes of JAX: 64-bit numbers, `jax_debug_nans`, the `rbg` generator and `jax.checkpoint`, on a model of each family."""

import chex
import jax
import jax.numpy as jnp
import pytest

from gen_jax import flows, train
from gen_jax.data import Split
from gen_jax.distributions import Normal
from gen_jax.nets import autoregressive_net
from gen_jax.types import Adversaries, Bijection, InputError
from gen_jax.vae import dreg_bound, elbo_terms
from tests.contracts import gans, mades, vaes
from tests.small import fast_first

X = jnp.array([0.3, -0.2, 0.8])
SPLINE = flows.rational_quadratic_spline(num_bins=4, bound=3.0)


def density(bijection: Bijection):
    model = flows.flow_density(Normal(jnp.zeros(3), jnp.ones(3)), flows.stack(bijection, 2))
    return model.init, lambda params, key: model.log_prob(params, X) + jnp.sum(model.sample(params, key))


def maf():
    net = autoregressive_net(dim=3, hidden_sizes=(4,), num_outputs=SPLINE.num_params)
    return density(flows.masked_autoregressive(net, 3, SPLINE))


def vae(name: str, bound: bool = False):
    case = vaes.CASES[name]

    def value(params, key):
        if bound:
            return dreg_bound(case.vae, params, key, case.x, 3, case.context)
        return elbo_terms(case.vae, params, key, case.x, case.context).elbo

    return lambda key: case.vae.init(key, case.x, case.context), value


def made():
    case = mades.CASES["normal-mixture"]
    model = case.model
    value = lambda params, key: model.log_prob(params, model.degrees, case.x) + jnp.sum(model.sample(params, model.degrees, key))
    return model.init, value


ROWS = {
    "planar": lambda: density(flows.planar(3)),
    "maf": maf,
    "vae": lambda: vae("bernoulli"),
    "vae with a flow, dreg": lambda: vae("flow-amortised", bound=True),
    "vae on a sphere": lambda: vae("von-mises-fisher"),
    "made": made,
}


FAST = ("planar", "vae")


@pytest.mark.parametrize("row", [row if row in FAST else pytest.param(row, marks=pytest.mark.slow) for row in ROWS])
@pytest.mark.slow
def test_debug_nans_and_checkpoint_change_nothing_and_another_generator_will_do(row):
    init, value = ROWS[row]()
    params, key = init(jax.random.key(0)), jax.random.key(1)
    wanted = jax.jit(jax.value_and_grad(value))(params, key)
    with jax.debug_nans(True):
        chex.assert_trees_all_equal(jax.jit(jax.value_and_grad(value))(params, key), wanted)
    found = jax.jit(jax.value_and_grad(jax.checkpoint(value)))(params, key)
    chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-5)
    chex.assert_tree_all_finite(jax.jit(jax.value_and_grad(value))(params, jax.random.key(1, impl="rbg")))


@pytest.mark.parametrize("row", fast_first(ROWS))
def test_float32_data_go_with_what_x64_draws(row):
    """Types alone are asked for: parameters that are drawn as float64, and those of float32 beside keys that draw float64."""
    init, value = ROWS[row]()
    narrow = jax.eval_shape(init, jax.random.key(0))
    with jax.enable_x64(True):
        for params in (narrow, jax.eval_shape(init, jax.random.key(0))):
            found, grads = jax.eval_shape(jax.value_and_grad(value), params, jax.random.key(1))
            assert found.dtype in (jnp.float32, jnp.float64)
            chex.assert_trees_all_equal_shapes_and_dtypes(grads, params)


def game(name: str):
    case = gans.CASES[name]
    optimizers = Adversaries(train.adam(1e-3), train.adam(1e-3))
    state = train.init_state(case.gan.init(jax.random.key(0), case.batch.x[0]), optimizers, jax.random.key(1))
    return train.make_game_step(case.losses, optimizers), state, case.batch


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcgan", "points-spectral", "images-classifier"])
def test_a_game_step_keeps_the_types_of_its_state_in_x64(name):
    step, state, batch = game(name)
    with jax.enable_x64(True):
        after, _ = jax.eval_shape(step, state, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(after._replace(step=state.step), state)


def test_an_empty_batch_is_refused():
    step, state, batch = game("points")
    with pytest.raises(InputError, match="The batch is empty"):
        step(state, batch._replace(x=batch.x[:0]))
    optimizer = train.adam(1e-3)
    loss = train.batch_mean(lambda params, key, x: (jnp.sum(params * x), {}))
    with pytest.raises(InputError, match="The batch is empty"):
        train.make_step(loss, optimizer)(train.init_state(jnp.ones(()), optimizer, jax.random.key(0)), Split(jnp.zeros((0, 2))))
