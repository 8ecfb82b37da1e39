"""The step of a GAN, against steps taken by hand and against the theory of the Dirac-GAN."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import train
from gen_jax.data import Split
from gen_jax.distributions import Normal
from gen_jax.gan import (
    LOSSES,
    adversarial_losses,
    dirac_gan_step,
    generative_adversarial_network,
)
from gen_jax.nets import MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.types import Adversaries, BatchNet, DiscriminatorOutput, InputError, Variables

RATE = 0.3


def dirac_gan():
    """Data at 0, a generator that makes θ of every z, D(x) = ψ x."""
    generator = BatchNet(
        lambda key, z: Variables(jnp.float32(1.0), {}),
        lambda params, state, z, train=False, key=None: (jnp.full((len(z), 1), params), {}),
    )
    discriminator = BatchNet(
        lambda key, x: Variables(jnp.float32(0.5), {}),
        lambda params, state, x, train=False, key=None: (DiscriminatorOutput(params * x[:, 0]), {}),
    )
    return generative_adversarial_network(generator, discriminator, Normal(jnp.zeros(1), jnp.ones(1)))


def losses_of(gan, name: str = "non-saturating") -> Adversaries:
    return adversarial_losses(gan, LOSSES[name])


@pytest.mark.parametrize("simultaneous", [True, False])
@pytest.mark.parametrize("name", ["minimax", "non-saturating", "wasserstein"])
def test_a_step_is_that_of_the_theory(name, simultaneous, key):
    gan, optimizers = dirac_gan(), Adversaries(optax.sgd(RATE), optax.sgd(RATE))
    step = jax.jit(train.make_game_step(losses_of(gan, name), optimizers, simultaneous=simultaneous))
    state = train.init_state(gan.init(key, jnp.zeros(1)), optimizers, key)
    wanted = (jnp.float32(1.0), jnp.float32(0.5))
    for _ in range(20):
        state, _ = step(state, Split(jnp.zeros((4, 1))))
        wanted = dirac_gan_step(LOSSES[name], wanted, RATE, alternating=not simultaneous)
    found = (state.params.generator, state.params.discriminator)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def small_gan():
    generator = batch_net(MLPGenerator((8,), (2,), batch_norm=True))
    return generative_adversarial_network(generator, batch_net(MLPDiscriminator((8,))), Normal(jnp.zeros(2), jnp.ones(2)))


def test_three_discriminator_steps_and_one_of_the_generator_are_those_taken_by_hand(key):
    gan, rates = small_gan(), Adversaries(0.1, 0.2)
    losses, optimizers = losses_of(gan), Adversaries(*map(optax.sgd, rates))
    batch = jax.random.normal(key, (12, 2))
    start = gan.init(key, batch[0])
    state = train.init_state(start, optimizers, key, ema=True)
    step = jax.jit(train.make_game_step(losses, optimizers, num_disc_steps=3, ema_decay=0.9))
    state, metrics = step(state, Split(batch))

    @functools.partial(jax.jit, static_argnums=0)
    def descend(name, params, model_state, key, x):
        loss = lambda own: getattr(losses, name)(params._replace(**{name: own}), model_state, key, jnp.int32(0), Split(x))
        grads, (new_state, _) = jax.grad(loss, has_aux=True)(getattr(params, name))
        after = jax.tree.map(lambda p, g: p - getattr(rates, name) * g, getattr(params, name), grads)
        return params._replace(**{name: after}), model_state._replace(**{name: getattr(new_state, name)})

    (params, model_state), keys = start, jax.random.split(jax.random.fold_in(key, 0), 4)
    for k in range(3):  # each on its own third of the batch
        params, model_state = descend("discriminator", params, model_state, keys[k + 1], batch[4 * k : 4 * k + 4])
    params, model_state = descend("generator", params, model_state, keys[0], batch[8:])
    chex.assert_trees_all_close((state.params, state.state), (params, model_state), rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(state.ema, params.generator, rtol=1e-4, atol=1e-6)  # of one step, the average is that step's
    assert set(metrics) == {
        "discriminator_loss", "real_logit", "fake_logit", "discriminator_grad_norm", "generator_loss", "generator_grad_norm"
    }  # fmt: skip


def test_the_average_is_of_the_generator_alone_and_statistics_are_those_of_the_last_step(key):
    """The parameters after steps 1, 2, 3 weigh d², d and 1; batch-norm averages and spectral vectors are no average of theirs."""
    generator = batch_net(MLPGenerator((8,), (2,), batch_norm=True))
    discriminator = batch_net(MLPDiscriminator((8,), spectral_norm=True))
    gan = generative_adversarial_network(generator, discriminator, Normal(jnp.zeros(2), jnp.ones(2)))
    optimizers = Adversaries(optax.sgd(0.1), optax.sgd(0.1))
    step = jax.jit(train.make_game_step(losses_of(gan), optimizers, ema_decay=0.5))
    state, path = train.init_state(gan.init(key, jnp.zeros(2)), optimizers, key, ema=True), []
    before = state.state
    for t in range(3):
        state, _ = step(state, Split(jax.random.normal(jax.random.fold_in(key, t), (8, 2))))
        path.append(state.params.generator)
    wanted = jax.tree.map(lambda *leaves: np.average(np.stack(leaves), axis=0, weights=[0.25, 0.5, 1.0]), *path)
    found = train.evaluation_params(state)
    chex.assert_trees_all_close(found.params.generator, wanted, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(found.params.discriminator, state.params.discriminator)
    chex.assert_trees_all_equal(found.state, state.state)
    for then, now in zip(before, found.state, strict=True):  # and they did move
        assert jax.tree.leaves(then)
        assert any(bool((a != b).any()) for a, b in zip(jax.tree.leaves(then), jax.tree.leaves(now), strict=True))


@pytest.mark.parametrize(("still", "moves"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_the_loss_of_one_network_moves_none_of_the_other(still, moves, key):
    gan = small_gan()
    optimizers = Adversaries(**{still: optax.sgd(0.0), moves: optax.sgd(0.1)})
    state = train.init_state(gan.init(key, jnp.zeros(2)), optimizers, key)
    before = jax.tree.map(jnp.copy, state.params)
    state, _ = jax.jit(train.make_game_step(losses_of(gan), optimizers))(state, Split(jax.random.normal(key, (8, 2))))
    chex.assert_trees_all_equal(getattr(state.params, still), getattr(before, still))
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), getattr(state.params, moves), getattr(before, moves))
    assert all(jax.tree.leaves(moved))


def test_weights_are_clipped_after_every_step(key):
    """To NumPy's clip of what the step leads to, at every leaf."""
    gan, optimizers = small_gan(), Adversaries(optax.sgd(0.1), optax.sgd(10.0))
    clipped = optimizers._replace(discriminator=train.clip_weights(optimizers.discriminator, 0.01))
    start, batch, losses = gan.init(key, jnp.zeros(2)), Split(jax.random.normal(key, (8, 2))), losses_of(gan, "wasserstein")
    free, held = (
        jax.jit(train.make_game_step(losses, used))(train.init_state(start, used, key), batch)[0].params
        for used in (optimizers, clipped)
    )
    wanted = jax.tree.map(lambda leaf: np.clip(leaf, -0.01, 0.01), free.discriminator)
    chex.assert_trees_all_close(held.discriminator, wanted, atol=1e-7)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(held.generator)) > 0.01


def test_a_loss_sees_the_step_and_carries_a_state_of_any_kind(key):
    """As a fade-in and an image pool want: here the state counts, and the step is in the gradient."""
    loss = lambda name: (
        lambda params, state, key, step, batch: (
            step * getattr(params, name),
            (state._replace(**{name: state._asdict()[name] + 1}), {f"{name}_loss": step * 1.0}),
        )
    )
    losses, optimizers = Adversaries(loss("generator"), loss("discriminator")), Adversaries(optax.sgd(1.0), optax.sgd(1.0))
    step = jax.jit(train.make_game_step(losses, optimizers, num_disc_steps=2))
    variables = Variables(Adversaries(jnp.float32(0), jnp.float32(0)), Adversaries(jnp.int32(0), jnp.int32(0)))
    state = train.init_state(variables, optimizers, key)
    for _ in range(4):
        state, _ = step(state, jnp.zeros((2, 1)))
    assert state.state == Adversaries(4, 8)
    assert state.params == Adversaries(-(0 + 1 + 2 + 3), -2 * (0 + 1 + 2 + 3))


@pytest.mark.slow
def test_seeds_are_runs_of_their_own_under_vmap(key):
    """A vmapped epoch of two seeds is the two epochs."""
    gan, optimizers = small_gan(), Adversaries(optax.adam(1e-2), optax.adam(1e-2))
    epoch = train.scan_epoch(train.make_game_step(losses_of(gan), optimizers), 4)
    data, keys = Split(jax.random.normal(key, (16, 2))), jax.random.split(key)
    states = [train.init_state(gan.init(k, data.x[0]), optimizers, k) for k in keys]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    both, _ = jax.jit(jax.vmap(epoch, in_axes=(0, None, 0)))(stacked, data, keys)
    one = jax.jit(epoch)
    for i, (state, k) in enumerate(zip(states, keys, strict=True)):
        after, _ = one(state, data, k)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], both.params), after.params, rtol=1e-4, atol=1e-5)


def test_bad_games_are_refused(key):
    gan, optimizers = small_gan(), Adversaries(optax.sgd(0.1), optax.sgd(0.1))
    with pytest.raises(InputError, match="num_disc_steps is 0: give 1 or more"):
        train.make_game_step(losses_of(gan), optimizers, num_disc_steps=0)
    with pytest.raises(InputError, match="in simultaneous steps each network takes one: give 1"):
        train.make_game_step(losses_of(gan), optimizers, num_disc_steps=2, simultaneous=True)
    step = train.make_game_step(losses_of(gan), optimizers, num_disc_steps=3)
    state = train.init_state(gan.init(key, jnp.zeros(2)), optimizers, key)
    with pytest.raises(InputError, match="A batch of 8 cannot be cut into 3 discriminator steps"):
        step(state, Split(jnp.zeros((8, 2))))
