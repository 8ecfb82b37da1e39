"""The step of a game, against steps taken by hand and against the theory of the Dirac-GAN."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import train
from gen_jax.distributions import Normal
from gen_jax.gan import (
    LOSSES,
    dirac_gan_step,
    discriminator_objective,
    generative_adversarial_network,
    generator_objective,
)
from gen_jax.nets import MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.types import BatchNet, Game, InputError, Player, Verdict

RATE = 0.3


def dirac_gan():
    """Data at 0, a generator that makes θ of every z, D(x) = ψ x."""
    generator = BatchNet(
        lambda key, z: Player(jnp.float32(1.0), {}),
        lambda player, z, train=False: (jnp.full((len(z), 1), player.params), {}),
    )
    discriminator = BatchNet(
        lambda key, x: Player(jnp.float32(0.5), {}),
        lambda player, x, train=False: (Verdict(player.params * x[:, 0]), {}),
    )
    return generative_adversarial_network(generator, discriminator, Normal(jnp.zeros(1), jnp.ones(1)))


def losses_of(gan, name: str = "non-saturating") -> Game:
    return Game(generator_objective(gan, LOSSES[name]), discriminator_objective(gan, LOSSES[name]))


@pytest.mark.parametrize("simultaneous", [True, False])
@pytest.mark.parametrize("name", ["minimax", "non-saturating", "wasserstein"])
def test_a_step_is_that_of_the_theory(name, simultaneous, key):
    gan, optimizers = dirac_gan(), Game(optax.sgd(RATE), optax.sgd(RATE))
    step = jax.jit(train.make_game_step(losses_of(gan, name), optimizers, simultaneous=simultaneous))
    state = train.init_game_state(gan.init(key, jnp.zeros(1)), optimizers, key)
    wanted = (jnp.float32(1.0), jnp.float32(0.5))
    for _ in range(20):
        state, _ = step(state, jnp.zeros((4, 1)))
        wanted = dirac_gan_step(LOSSES[name], wanted, RATE, alternating=not simultaneous)
    found = (state.params.generator.params, state.params.discriminator.params)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def small_gan():
    generator = batch_net(MLPGenerator((8,), (2,), batch_norm=True))
    return generative_adversarial_network(generator, batch_net(MLPDiscriminator((8,))), Normal(jnp.zeros(2), jnp.ones(2)))


def test_three_discriminator_steps_and_one_of_the_generator_are_those_taken_by_hand(key):
    gan, rates = small_gan(), Game(0.1, 0.2)
    losses, optimizers = losses_of(gan), Game(*map(optax.sgd, rates))
    batch = jax.random.normal(key, (12, 2))
    start = gan.init(key, batch[0])
    state = train.init_game_state(start, optimizers, key, ema_decay=0.9)
    step = jax.jit(train.make_game_step(losses, optimizers, num_disc_steps=3, ema_decay=0.9))
    state, metrics = step(state, batch)

    def descend(player, loss, rate, game, key, x):
        grads, (statistics, _) = jax.grad(loss, has_aux=True)(player.params, game, key, x)
        return Player(jax.tree.map(lambda p, g: p - rate * g, player.params, grads), statistics)

    game, keys = start, jax.random.split(jax.random.fold_in(key, 0), 4)
    for k in range(3):  # each on its own third of the batch
        after = descend(
            game.discriminator, losses.discriminator, rates.discriminator, game, keys[k + 1], batch[4 * k : 4 * k + 4]
        )
        game = game._replace(discriminator=after)
    game = game._replace(generator=descend(game.generator, losses.generator, rates.generator, game, keys[0], batch[8:]))
    chex.assert_trees_all_close(state.params, game, rtol=1e-4, atol=1e-6)
    average = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, start.generator, game.generator)
    chex.assert_trees_all_close(state.ema, average, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_equal(train.evaluation_params(state), state.params._replace(generator=state.ema))
    assert set(metrics) == {
        "discriminator_loss", "real_logit", "fake_logit", "discriminator_grad_norm", "generator_loss", "generator_grad_norm"
    }  # fmt: skip


@pytest.mark.parametrize(("still", "moves"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_the_loss_of_one_player_moves_none_of_the_other(still, moves, key):
    gan = small_gan()
    optimizers = Game(**{still: optax.sgd(0.0), moves: optax.sgd(0.1)})
    state = train.init_game_state(gan.init(key, jnp.zeros(2)), optimizers, key)
    before = jax.tree.map(jnp.copy, state.params)
    state, _ = jax.jit(train.make_game_step(losses_of(gan), optimizers))(state, jax.random.normal(key, (8, 2)))
    chex.assert_trees_all_equal(getattr(state.params, still).params, getattr(before, still).params)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), getattr(state.params, moves).params, getattr(before, moves).params)
    assert all(jax.tree.leaves(moved))


def test_weights_are_clipped_after_every_step(key):
    gan, optimizers = small_gan(), Game(optax.sgd(0.1), optax.sgd(10.0))
    constrain = lambda params: jax.tree.map(lambda p: jnp.clip(p, -0.01, 0.01), params)
    step = jax.jit(train.make_game_step(losses_of(gan, "wasserstein"), optimizers, num_disc_steps=2, constrain=constrain))
    state, _ = step(train.init_game_state(gan.init(key, jnp.zeros(2)), optimizers, key), jax.random.normal(key, (8, 2)))
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(state.params.discriminator.params))
    assert largest == pytest.approx(0.01)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(state.params.generator.params)) > 0.01


@pytest.mark.slow
def test_seeds_are_games_of_their_own_under_vmap(key):
    """A vmapped epoch of two seeds is the two epochs."""
    gan, optimizers = small_gan(), Game(optax.adam(1e-2), optax.adam(1e-2))
    epoch = train.scan_epoch(train.make_game_step(losses_of(gan), optimizers), 4)
    data, keys = jax.random.normal(key, (16, 2)), jax.random.split(key)
    states = [train.init_game_state(gan.init(k, data[0]), optimizers, k) for k in keys]
    both, _ = jax.jit(jax.vmap(epoch, in_axes=(0, None, 0)))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), data, keys)
    one = jax.jit(epoch)
    for i, (state, k) in enumerate(zip(states, keys, strict=True)):
        after, _ = one(state, data, k)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], both.params), after.params, rtol=1e-4, atol=1e-5)


def test_bad_games_are_refused(key):
    gan, optimizers = small_gan(), Game(optax.sgd(0.1), optax.sgd(0.1))
    with pytest.raises(InputError, match="num_disc_steps is 0: give 1 or more"):
        train.make_game_step(losses_of(gan), optimizers, num_disc_steps=0)
    with pytest.raises(InputError, match="simultaneous players take a step each: give 1"):
        train.make_game_step(losses_of(gan), optimizers, num_disc_steps=2, simultaneous=True)
    step = train.make_game_step(losses_of(gan), optimizers, num_disc_steps=3)
    state = train.init_game_state(gan.init(key, jnp.zeros(2)), optimizers, key)
    with pytest.raises(InputError, match="A batch of 8 cannot be cut into 3 discriminator steps"):
        step(state, jnp.zeros((8, 2)))
