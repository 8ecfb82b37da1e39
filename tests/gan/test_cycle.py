"""The losses of a CycleGAN of known maps, by hand, and whose parameters each moves."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import train
from gen_jax.data import Split
from gen_jax.gan import HINGE, CycleGAN, Pool, cycle_gan, cycle_losses
from gen_jax.nets import PatchDiscriminator, TranslationGenerator
from gen_jax.types import Adversaries, InputError
from tests.small import counting


class Scale:
    """x ↦ s x, with `channels` equal ones: a generator whose losses are known."""

    def __init__(self, start: float, channels: int = 1):
        self.start, self.channels = start, channels

    def init(self, key, x):
        return jnp.float32(self.start)

    def apply(self, params, x):
        return params * jnp.repeat(jnp.mean(x, axis=-1, keepdims=True), self.channels, axis=-1)


class Pixel:
    """A discriminator whose logit of a patch is s · pixel."""

    def __init__(self, start: float):
        self.start = start

    def init(self, key, x):
        return jnp.float32(self.start)

    def apply(self, params, x):
        return params * jnp.mean(x, axis=-1)


def batch(num: int = 3, channels: int = 2) -> Split:
    return Split(jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (num, 4, 4, channels)), jnp.float32))


def known(pool_size: int = 0) -> CycleGAN:
    """G(a) = 2a, F(b) = −b/4, D_A(x) = 3x, D_B(x) = −x at each pixel."""
    return cycle_gan((Scale(2.0), Scale(-0.25)), (Pixel(3.0), Pixel(-1.0)), (1, 1), pool_size)


def test_the_generators_loss_is_the_papers(key):
    model, x = known(), batch()
    params, state = model.init(key, x.x[0])
    a, b = np.asarray(x.x[..., :1], np.float64), np.asarray(x.x[..., 1:], np.float64)
    adversarial = np.mean((-2 * a - 1) ** 2) + np.mean((3 * -0.25 * b - 1) ** 2)
    cycle = np.mean(np.abs(-0.5 * a - a)) + np.mean(np.abs(-0.5 * b - b))
    identity = np.mean(np.abs(2 * b - b)) + np.mean(np.abs(-0.25 * a - a))
    for identity_weight in (0.0, 5.0):
        losses = cycle_losses(model, cycle_weight=10.0, identity_weight=identity_weight)
        value, (after, metrics) = losses.generator(params, state, key, jnp.int32(0), x)
        np.testing.assert_allclose(value, adversarial + 10 * cycle + identity_weight * identity, rtol=1e-5)
        np.testing.assert_allclose(metrics["generator_loss"], adversarial, rtol=1e-5)
        np.testing.assert_allclose(metrics["cycle_loss"], cycle, rtol=1e-5)
        assert ("identity_loss" in metrics) == (identity_weight > 0)
        assert after == state == Adversaries((), ())


def test_the_discriminators_loss_is_half_of_least_squares(key):
    model, x = known(), batch()
    params, state = model.init(key, x.x[0])
    a, b = np.asarray(x.x[..., :1], np.float64), np.asarray(x.x[..., 1:], np.float64)
    value, (_, metrics) = cycle_losses(model).discriminator(params, state, key, jnp.int32(0), x)
    of_a = np.mean((3 * a - 1) ** 2) + np.mean((3 * -0.25 * b) ** 2)
    of_b = np.mean((-b - 1) ** 2) + np.mean((-2 * a) ** 2)
    np.testing.assert_allclose(value, (of_a + of_b) / 2, rtol=1e-5)
    np.testing.assert_allclose(metrics["real_logit"], (np.mean(3 * a) + np.mean(-b)) / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["fake_logit"], (np.mean(-0.75 * b) + np.mean(-2 * a)) / 2, rtol=1e-4, atol=1e-6)
    hinge, _ = cycle_losses(model, HINGE).discriminator(params, state, key, jnp.int32(0), x)
    terms = (np.maximum(1 - 3 * a, 0), np.maximum(1 - 0.75 * b, 0), np.maximum(1 + b, 0), np.maximum(1 - 2 * a, 0))
    np.testing.assert_allclose(hinge, sum(map(np.mean, terms)), rtol=1e-5)


def test_each_discriminator_is_shown_the_translations_of_its_pool(key):
    """With pools that are full of one image, half of the translations are replaced by it; the pool of A holds F(b), of B G(a)."""
    model, x = known(pool_size=2), batch(40)
    params, state = model.init(key, x.x[0])
    assert {name: pool.images.shape for name, pool in state.discriminator.items()} == {"a": (2, 4, 4, 1), "b": (2, 4, 4, 1)}
    _, (after, _) = cycle_losses(model).discriminator(params, state, key, jnp.int32(0), x)
    made = {"a": -0.25 * np.asarray(x.x[..., 1:]), "b": 2 * np.asarray(x.x[..., :1])}
    for name, pool in after.discriminator.items():
        assert int(pool.count) == 2
        for image in np.asarray(pool.images):
            assert (np.abs(made[name] - image).max(axis=(1, 2, 3)) < 1e-6).any()
    assert not np.allclose(made["a"][:2], after.discriminator["a"].images)  # some were swapped
    full = {name: Pool(jnp.full((2, 4, 4, 1), 50.0), jnp.int32(2)) for name in "ab"}
    one = batch(1)
    of = lambda k: cycle_losses(model).discriminator(params, state._replace(discriminator=full), k, jnp.int32(0), one)[0]
    swapped = np.asarray(jax.vmap(of)(jax.random.split(key, 40))) > 100  # (50 · s)² / 2 is large
    assert 0.5 < swapped.mean() < 1.0  # one of two coins: ¾


@pytest.mark.slow
def test_each_loss_moves_its_own_networks_alone_and_compiles_once(key):
    nets = TranslationGenerator(1, 2, 1, 1), PatchDiscriminator(2, 1)
    model = cycle_gan((nets[0], nets[0]), (nets[1], nets[1]), (1, 1), pool_size=3)
    x = Split(jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 12, 12, 2)), jnp.float32))
    variables = jax.jit(model.init)(key, x.x[0])
    sgd = optax.inject_hyperparams(optax.sgd)
    optimizers = Adversaries(sgd(0.1), sgd(0.1))
    counted, traces = counting(train.make_game_step(cycle_losses(model, identity_weight=5.0), optimizers))
    step = jax.jit(counted)
    for rates in (Adversaries(0.1, 0.0), Adversaries(0.0, 0.1)):
        state = train.init_state(variables, optimizers, key)
        opt_state = Adversaries(
            *(o._replace(hyperparams={"learning_rate": jnp.float32(r)}) for o, r in zip(state.opt_state, rates, strict=True))
        )
        after, metrics = step(state._replace(opt_state=opt_state), x)
        chex.assert_tree_all_finite((after.params, metrics))
        for before, now, rate in zip(state.params, after.params, rates, strict=True):
            moved = [bool(jnp.any(a != b)) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(now), strict=True)]
            assert all(moved) if rate else not any(moved)
        assert [int(pool.count) for pool in after.state.discriminator.values()] == [2, 2]
    assert len(traces) == 1


def test_translations_are_by_their_own_generators(key):
    model, x = known(), batch()
    params = model.init(key, x.x[0]).params
    a, b = model.domains(x.x)
    np.testing.assert_allclose(model.translate(params, a, "a-to-b"), 2 * a)
    np.testing.assert_allclose(model.translate(params, b[0], "b-to-a"), -0.25 * b[0])
    np.testing.assert_allclose(model.discriminate(params, b, "b"), -b[..., 0])


def test_domains_of_other_channels_have_no_identity_loss(key):
    model = cycle_gan((Scale(1.0, 3), Scale(1.0)), (Pixel(1.0), Pixel(1.0)), (1, 3))
    x = batch(channels=4)
    variables = model.init(key, x.x[0])
    value, _ = cycle_losses(model).generator(*variables, key, jnp.int32(0), x)
    assert np.isfinite(value)
    with pytest.raises(InputError, match=r"identity_weight is 5.0, and the domains have 1 and 3 channels: .* Give 0"):
        cycle_losses(model, identity_weight=5.0)


def test_networks_that_do_not_fit_the_data_are_refused(key):
    with pytest.raises(InputError, match=r"shape \(4, 4, 3\), and the two domains have \(1, 1\) channels"):
        known().init(key, jnp.zeros((4, 4, 3)))
    wrong = cycle_gan((Scale(1.0, 2), Scale(1.0)), (Pixel(1.0), Pixel(1.0)), (1, 3))
    with pytest.raises(InputError, match=r"generator a-to-b makes images of shape \(4, 4, 2\), and not \(4, 4, 3\)"):
        wrong.init(key, jnp.zeros((4, 4, 4)))
