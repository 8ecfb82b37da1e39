"""GANs that grow: what a stage shows while it is faded in, when stages start, and which parameters move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import nets, train
from gen_jax.distributions import Normal
from gen_jax.gan import NON_SATURATING, Growth, adversarial_losses, draw_latents, growing_gan, growing_losses, stages_for
from gen_jax.gan.growing import at_stage, full_size, in_frame
from gen_jax.types import Adversaries, InputError, Variables
from tests.small import counting

PRIOR = Normal(jnp.zeros(3), jnp.ones(3))
CHANNELS, EVENT = (4, 3, 2), (14, 14, 1)  # of 4, 8 and 16 pixels, cropped to 14
GROWTH = Growth(num_stages=3, fade_steps=4, stable_steps=2)


def nets_of(channels=CHANNELS):
    return nets.batch_net(nets.GrowingGenerator(channels, 1)), nets.batch_net(nets.GrowingDiscriminator(channels))


GAN = growing_gan(*nets_of(), PRIOR, EVENT, 3)
X = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (8, *EVENT)), jnp.float32)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(GAN.whole.init)(jax.random.key(0), jnp.zeros(EVENT))


def at(variables, level: float) -> Variables:
    return variables._replace(state=Adversaries(*(part | {"level": jnp.float32(level)} for part in variables.state)))


@jax.jit
def shown(variables, key):
    x, state = GAN.whole.generate(*variables, key, draw_latents(PRIOR, key, 8))
    return x, GAN.whole.discriminate(variables.params, state, x)[0].logits


def test_levels_follow_fades_and_stable_training():
    steps = jnp.arange(20)
    assert jax.vmap(GROWTH.level)(steps).tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1.25, 1.5, 1.75, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert np.flatnonzero(jax.vmap(GROWTH.starts)(steps)).tolist() == [2, 8]
    assert jax.vmap(GROWTH.stage)(steps[:10]).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2]
    assert GROWTH.num_steps == 12  # level 2 is reached by the step before


@pytest.mark.slow
def test_at_alpha_0_a_stage_is_the_one_before_and_at_1_the_old_head_has_no_gradient(variables, key):
    z = draw_latents(PRIOR, key, 8)
    stage = lambda number, level: GAN.stages[number].generate(*at(variables, level), key, z)[0]
    for number in (1, 2):
        doubled = nets.upsample(stage(number - 1, number - 1))
        np.testing.assert_array_equal(stage(number, number - 1), doubled)
        assert np.abs(stage(number, number - 0.5) - doubled).max() > 1e-3
        at_zero = variables.params, at(variables, number - 1).state
        inputs = (number, doubled), (number - 1, stage(number - 1, number - 1))
        of_stage, before = (GAN.stages[n].discriminate(*at_zero, x)[0].logits for n, x in inputs)
        np.testing.assert_allclose(of_stage, before, rtol=1e-5)

    def loss(params, level):
        x, state = GAN.stages[2].generate(params, at(variables, level).state, key, z)
        return jnp.sum(GAN.stages[2].discriminate(params, state, x)[0].logits)

    for level, has in ((2.0, False), (1.5, True)):
        grads = jax.grad(loss)(variables.params, level)
        for part, name in ((grads.generator, "to_image_1"), (grads.discriminator, "from_image_1")):
            assert bool(jnp.any(part[name]["kernel"] != 0)) == has


@pytest.mark.slow
def test_the_whole_shows_full_size_images_of_its_level(variables, key):
    z = draw_latents(PRIOR, key, 8)
    for level in (0.0, 0.5, 1.0, 1.7, 2.0):
        number = int(np.ceil(level))
        x, _ = shown(at(variables, level), key)
        small = np.asarray(GAN.stages[number].generate(*at(variables, level), key, z)[0])
        large = small.repeat(2 ** (2 - number), axis=1).repeat(2 ** (2 - number), axis=2)
        inner = slice(4, 12)  # of which no pixel is in the border that a stage generates
        np.testing.assert_allclose(x[:, 3:11, 3:11], large[:, inner, inner], rtol=1e-3, atol=1e-4)


def test_real_images_are_padded_halved_and_faded_as_generated_ones():
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    quarter = padded.reshape(8, 8, 2, 8, 2, 1).mean(axis=(2, 4))
    half = quarter.reshape(8, 4, 2, 4, 2, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(at_stage(X, 2, 3), padded, atol=1e-6)
    np.testing.assert_allclose(at_stage(X, 0, 3), half, atol=1e-6)
    faded = at_stage(X, 1, 3, jnp.float32(0.25))
    np.testing.assert_allclose(faded, 0.25 * quarter + 0.75 * half.repeat(2, axis=1).repeat(2, axis=2), atol=1e-6)
    np.testing.assert_allclose(full_size(at_stage(X, 2, 3), EVENT), X, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "alpha"), [(0, 1.0), (1, 1.0), (1, 0.3), (2, 1.0), (2, 0.3), (2, 0.0)])
def test_generated_images_have_the_border_of_real_ones(number, alpha, key):
    """Of images that are the stage before, doubled, to crop and pad them is what is done to real ones."""
    x = jax.random.normal(key, (2, 4, 4, 1)) if number < 2 else jax.random.normal(key, (2, 8, 8, 1))
    x = nets.upsample(x) if number else x
    alpha = jnp.float32(alpha)
    found = in_frame(x, EVENT, number, 3, alpha)
    np.testing.assert_allclose(found, at_stage(full_size(x, EVENT), number, 3, alpha), atol=1e-6)
    assert np.abs(found - x)[:, 0].min() > 1e-3


@pytest.mark.slow
def test_a_stage_generates_them_so(variables, key):
    x, _ = GAN.stages[2].generate(*at(variables, 2), key, draw_latents(PRIOR, key, 8))
    np.testing.assert_array_equal(x[:, [0, -1]], -1)
    np.testing.assert_array_equal(x[:, :, [0, -1]], -1)
    whole, _ = GAN.whole.generate(*at(variables, 2), key, draw_latents(PRIOR, key, 8))
    np.testing.assert_allclose(x[:, 1:-1, 1:-1], whole, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_steps_train_the_stage_they_are_in(key):
    """Parameters of later stages stay until theirs begins; moments start anew with a stage, or are kept."""
    small, growth, x = growing_gan(*nets_of((3, 2)), PRIOR, (8, 8, 1), 2), Growth(2, 3, 2), X[:4, :8, :8]
    losses = growing_losses(small, growth, lambda gan: adversarial_losses(gan, NON_SATURATING))
    optimizers = Adversaries(train.adam(1e-2, b1=0.5), train.adam(1e-2, b1=0.5))
    start = train.init_state(jax.jit(small.whole.init)(key, x[0]), optimizers, key, ema=True)

    def states(starts, num):
        counted, traces = counting(train.staged_step(train.make_game_step, growth.stage, starts)(losses, optimizers, 0.9))
        step, found = jax.jit(counted), [start]
        for _ in range(num):
            state, metrics = step(found[-1], (x, None))
            assert all(np.isfinite(value) for value in metrics.values())
            found.append(state)
        assert len(traces) == 1
        return found

    found = states(growth.starts, 7)
    kernel = lambda state, part, name: np.asarray(getattr(state.params, part)[name]["kernel"])
    for part, head in (("generator", "to_image_1"), ("discriminator", "from_image_1")):
        for name in ("conv_1a", "conv_1b", head):
            np.testing.assert_array_equal(kernel(found[2], part, name), kernel(start, part, name))
            assert np.any(kernel(found[5], part, name) != kernel(start, part, name))
    assert [int(state.opt_state.generator[0].count) for state in found] == [0, 1, 2, 1, 2, 3, 4, 5]
    np.testing.assert_allclose([state.state.generator["level"] for state in found], [1, 0, 0, 1 / 3, 2 / 3, 1, 1, 1], rtol=1e-6)
    assert [int(state.opt_state.discriminator[0].count) for state in states(None, 3)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "stages", "words"),
    [
        ((8, 12, 1), 2, "8 x 12, and a GAN that grows from 4 x 4 makes square ones"),
        ((14, 14, 1), 2, "2 stages reach 8 pixels, and the images have 14: give 3 stages"),
        ((16, 16, 1), 4, "4 stages reach 32 pixels, and the images have 16: give 3 stages"),
    ],
)
def test_stages_that_do_not_fit_the_images_are_refused(shape, stages, words):
    with pytest.raises(InputError, match=words):
        growing_gan(*nets_of(), PRIOR, shape, stages)


def test_labels_condition_both_networks(key):
    gan = growing_gan(*nets_of((3, 2)), PRIOR, (8, 8, 1), 2, num_classes=2)
    variables = jax.jit(gan.whole.init)(key, jnp.zeros((8, 8, 1)))
    z = draw_latents(PRIOR, key, 1)
    one, two = (gan.whole.generate(*variables, key, z, jnp.array([label]))[0] for label in (0, 1))
    assert np.abs(one - two).max() > 1e-3
    logits = [gan.whole.discriminate(*variables, one, jnp.array([label]))[0].logits[0] for label in (0, 1)]
    assert logits[0] != logits[1]
    with pytest.raises(InputError, match="labels are missing"):
        gan.whole.generate(*variables, key, z)


def test_a_network_that_does_not_grow_has_no_heads_of_other_stages(key):
    gan = growing_gan(*nets_of(), PRIOR, EVENT, 3, grows=False)
    params = jax.eval_shape(gan.whole.init, key, jnp.zeros(EVENT)).params
    heads = [name for part in params for name in part if "image" in name]
    assert heads == ["to_image_2", "from_image_2"]


def test_the_stages_of_a_size():
    assert [stages_for(size) for size in (4, 5, 8, 28, 32, 64)] == [1, 2, 2, 4, 4, 5]
