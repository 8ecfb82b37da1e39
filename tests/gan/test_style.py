"""StyleGAN: which layers a style reaches, truncation, w̄, path lengths and lazy penalties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import nets
from gen_jax.distributions import Normal
from gen_jax.gan import (
    NON_SATURATING,
    adversarial_losses,
    draw_latents,
    path_lengths,
    path_regularised,
    r1_penalty,
    style_gan,
    truncated,
)
from gen_jax.gan.style import MEAN_DECAY, PATH_DECAY, _style_generator, first_other_layers
from gen_jax.nets import Stage
from gen_jax.nets.gan_images import upsample
from gen_jax.types import BatchNet, InputError, Variables
from tests.small import fast_first

PRIOR, EVENT, CHANNELS = Normal(jnp.zeros(3), jnp.ones(3)), (8, 8, 1), (4, 3)
X = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, *EVENT)), jnp.float32)
SYNTHESES = {"style": nets.StyleSynthesis(CHANNELS, 1), "style2": nets.SkipSynthesis(CHANNELS, 1)}


def make(kind: str, **options):
    disc = nets.GrowingDiscriminator(CHANNELS) if kind == "style" else nets.ResidualStyleDiscriminator(CHANNELS)
    parts = (nets.batch_net(net) for net in (nets.Mapping(5, 2), SYNTHESES[kind], disc))
    gan = style_gan(*parts, PRIOR, EVENT, 2, grows=kind == "style", **options).whole
    variables = jax.jit(gan.init)(jax.random.key(0), jnp.zeros(EVENT))
    noisy = lambda path, leaf: leaf + 0.5 if "strength" in jax.tree_util.keystr(path) else leaf
    return gan, Variables(jax.tree.map_with_path(noisy, variables.params), variables.state)


GANS = {kind: make(kind) for kind in SYNTHESES}


@pytest.mark.parametrize("kind", GANS)
def test_each_layer_takes_its_own_style(kind, key):
    gan, variables = GANS[kind]
    style = gan.style
    w = jax.random.normal(key, (2, style.num_layers, 5))
    draw = jax.jit(lambda w: style.synthesise(*variables, key, w))
    before = draw(w)
    assert before.shape == (2, *EVENT)
    changes = [float(np.abs(draw(w.at[0, layer].add(1)) - before)[0].max()) for layer in range(style.num_layers)]
    assert all(change > 0 for change in changes)
    other = draw(w.at[0].add(1))
    np.testing.assert_array_equal(other[1], before[1])  # an example's style is its own


@pytest.mark.parametrize("kind", fast_first(GANS))
def test_features_before_the_layer_that_is_mixed_stay(kind, key):
    """Of a network alone: styles of another image from layer 2 on leave what the layers before make, to the bit."""
    net, (w, other) = SYNTHESES[kind], jax.random.normal(key, (2, 2, 4, 5))
    params = net.init(key, w)
    name = {"style": "style_", "style2": "noise_"}[kind]  # the last module of each layer

    def features(w):
        _, found = net.apply(params, w, capture_intermediates=True, mutable=["intermediates"])
        return {m: np.asarray(v["__call__"][0]) for m, v in found["intermediates"].items() if m.startswith(name)}

    before, after = features(w), features(w.at[:, 2:].set(other[:, 2:]))
    stays = {m: np.array_equal(before[m], after[m]) for m in before}
    assert stays == {m: int(m.removeprefix(name)) < 2 for m in before}
    assert len(stays) == {"style": 4, "style2": 3}[kind]


@pytest.mark.parametrize("kind", fast_first(GANS))
def test_images_are_the_tanh_of_what_is_linear_in_the_kernels_of_the_heads(kind, key):
    gan, (params, state) = GANS[kind]
    is_head = lambda path: "to_image" in path and "EqualDense" not in path
    w = jax.random.normal(key, (2, gan.style.num_layers, 5))

    @jax.jit
    def draw(factor):
        scale = lambda path, leaf: factor * leaf if is_head(jax.tree_util.keystr(path)) else leaf
        return gan.style.synthesise(jax.tree.map_with_path(scale, params), state, None, w)

    once, twice, far = np.arctanh(draw(0.05)), np.arctanh(draw(0.1)), draw(1e4)
    assert np.abs(once).max() > 0.01
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(np.abs(far), 1)


def test_a_stage_that_is_faded_in_mixes_two_images(key):
    net, w = SYNTHESES["style"], jax.random.normal(key, (2, 4, 5))
    params = net.init(key, w, Stage(1, jnp.float32(0.5)))
    shown = lambda number, alpha: net.apply(params, w, Stage(number, alpha))
    before, after = upsample(shown(0, None)), shown(1, None)
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_array_equal(shown(1, jnp.float32(0)), before)
    np.testing.assert_allclose(shown(1, jnp.float32(0.25)), 0.75 * before + 0.25 * after, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", fast_first(GANS))
def test_generation_without_training_is_synthesis_of_one_style_in_all_layers(kind, key):
    gan, variables = GANS[kind]
    z = draw_latents(PRIOR, key, 4)
    w = gan.style.to_styles(*variables, z)
    x, state = gan.generate(*variables, key, z)
    np.testing.assert_allclose(x, gan.style.synthesise(*variables, key, jnp.repeat(w[:, None], 4, axis=1)), rtol=1e-4, atol=1e-6)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), state, variables.state))
    without = gan.style.synthesise(*variables, None, jnp.repeat(w[:, None], 4, axis=1))
    assert np.abs(without - x).max() > 1e-3


def test_truncation_of_0_gives_one_image_and_of_1_changes_nothing(key):
    gan, variables = GANS["style"]
    w, mean = jax.random.normal(key, (3, 4, 5)), jnp.arange(5.0)
    np.testing.assert_allclose(truncated(w, mean, 1.0), w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(truncated(w, mean, 0.5), (np.asarray(w) + np.asarray(mean)) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(truncated(w, mean, 0.5, cutoff=2)[:, 2:], w[:, 2:])
    np.testing.assert_allclose(
        truncated(w, mean, 0.5, cutoff=2)[:, :2], (np.asarray(w[:, :2]) + np.asarray(mean)) / 2, rtol=1e-5, atol=1e-6
    )
    images = gan.style.synthesise(*variables, None, truncated(w, mean, 0.0))
    np.testing.assert_array_equal(images, np.broadcast_to(images[:1], images.shape))


def test_training_averages_w_and_no_gradient_goes_through_it(key):
    gan, variables = GANS["style"]
    z = draw_latents(PRIOR, key, 4)
    generate = jax.jit(lambda params: gan.generate(params, variables.state, key, z, train=True))
    _, state = generate(variables.params)
    w = gan.style.to_styles(*variables, z)
    np.testing.assert_allclose(gan.style.mean(state), (1 - MEAN_DECAY) * w.mean(axis=0), rtol=1e-5)
    through = jax.jit(jax.grad(lambda params: jnp.sum(gan.style.mean(generate(params)[1]))))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(through(variables.params)))


def test_layers_are_mixed_by_their_law(key):
    first = np.asarray(first_other_layers(key, 20_000, 4, 0.9))
    share = np.bincount(first, minlength=5) / len(first)
    np.testing.assert_allclose(share, [0, 0.3, 0.3, 0.3, 0.1], atol=0.015)  # 4 s.e. are 0.013


def test_styles_are_mixed_in_training_alone(key):
    gan, variables = make("style", mixing=1.0)
    z = jnp.repeat(draw_latents(PRIOR, key, 1), 4, axis=0)
    quiet = variables._replace(params=variables.params._replace(generator=jax.tree.map(jnp.copy, variables.params.generator)))
    for name in quiet.params.generator["synthesis"]:
        if name.startswith("noise"):
            quiet.params.generator["synthesis"][name]["strength"] *= 0
    spread = lambda train: float(np.std(gan.generate(*quiet, key, z, train=train)[0], axis=0).max())
    assert spread(True) > 1e-3
    assert spread(False) < 1e-6


def test_in_training_an_example_has_its_own_style_first_and_another_from_a_layer_on(key):
    """Of a synthesis network that returns the styles it is given."""
    mapping = BatchNet(lambda key, z, context: Variables((), ()), lambda params, state, z, context: (z, state))
    synthesis = BatchNet(lambda key, w, stage: Variables((), ()), lambda params, state, w, stage, train, key: (w, state))
    generator = _style_generator(mapping, synthesis, PRIOR, num_stages=2, mixing=1.0)
    z = draw_latents(PRIOR, key, 64)
    variables = generator.init(key, z, None, Stage(1))
    w = np.asarray(generator.apply(*variables, z, None, Stage(1), train=True, key=key)[0])
    own = (w == np.asarray(z)[:, None]).all(axis=2)
    assert own[:, 0].all()
    assert not own[:, -1].any()
    assert set(own.sum(axis=1)) == {1, 2, 3}
    np.testing.assert_array_equal(own, np.sort(own, axis=1)[:, ::-1])  # once another, always another
    for one, is_own in zip(w, own, strict=True):
        assert len(np.unique(one[~is_own], axis=0)) == 1


def test_labels_reach_styles_through_the_mapping_network(key):
    nets_of = (nets.Mapping(5, 2), SYNTHESES["style2"], nets.ResidualStyleDiscriminator(CHANNELS))
    gan = style_gan(*(nets.batch_net(net) for net in nets_of), PRIOR, EVENT, 2, num_classes=3, grows=False).whole
    variables = jax.jit(gan.init)(key, jnp.zeros(EVENT))
    z = jnp.repeat(draw_latents(PRIOR, key, 1), 3, axis=0)
    w = gan.style.to_styles(*variables, z, jnp.arange(3))
    assert np.abs(np.diff(w, axis=0)).max(axis=1).min() > 1e-2
    plain, plain_variables = GANS["style2"]
    with pytest.raises(InputError, match="labels"):
        plain.style.to_styles(*plain_variables, z, jnp.arange(3))


def test_path_lengths_of_a_linear_map_are_known(key):
    """x = A w: ‖∂⟨x, y⟩/∂w‖² is y'AA'y / pixels, whose mean over y is ‖A‖² / pixels."""
    matrix = jax.random.normal(key, (3, 5, 16))

    def synthesise(w):
        return jnp.einsum("blw,lwp->bp", w, matrix).reshape(-1, 4, 4, 1)

    with jax.enable_x64():  # the gradient of a length is a second derivative of the image
        w, direction = (jax.random.normal(k, (1, 3, 5), jnp.float64) for k in jax.random.split(key))
        length = lambda w: path_lengths(lambda w: jnp.sin(synthesise(w)), key, w)[0]
        difference = (length(w + 1e-5 * direction) - length(w - 1e-5 * direction)) / 2e-5
        np.testing.assert_allclose(jnp.vdot(jax.grad(length)(w), direction), difference, rtol=1e-4)

    lengths = jax.jit(lambda key: path_lengths(synthesise, key, jnp.ones((2000, 3, 5))))(key)
    squares = np.asarray(lengths) ** 2
    known = np.sum(np.asarray(matrix) ** 2) / 3 / 16  # a mean over the three layers
    assert abs(squares.mean() - known) < 4 * squares.std() / np.sqrt(len(squares))


@pytest.mark.slow
def test_path_regularisation_is_lazy_and_pulls_lengths_to_their_mean(key):
    gan, variables = GANS["style2"]
    plain = adversarial_losses(gan, NON_SATURATING).generator
    loss = jax.jit(path_regularised(plain, gan, 2.0, 4))
    batch = (X, None)
    values = [loss(*variables, key, jnp.int32(step), batch) for step in range(4)]
    without = plain(*variables, key, jnp.int32(0), batch)[0]
    for value, _ in values[1:]:
        np.testing.assert_allclose(value, without, rtol=1e-5)
    # by hand, with the keys of the loss: lengths of half a batch, and their mean, which started at 0
    z_key, noise_key, y_key = jax.random.split(jax.random.fold_in(key, len(X) + 1), 3)
    w = gan.style.to_styles(*variables, draw_latents(PRIOR, z_key, len(X) // 2))
    synthesise = lambda w: gan.style.synthesise(*variables, noise_key, w)
    lengths = path_lengths(synthesise, y_key, jnp.repeat(w[:, None], gan.style.num_layers, axis=1))
    mean = (1 - PATH_DECAY) * lengths.mean()
    np.testing.assert_allclose(values[0][1][0].generator["net"]["path_length"], mean, rtol=1e-4)
    np.testing.assert_allclose(values[0][0] - without, 2.0 * 4 * np.mean((lengths - mean) ** 2), rtol=1e-3)


def test_a_lazy_penalty_is_the_same_in_the_mean(key):
    gan, variables = GANS["style2"]
    batch = (X, None)

    def values(every: int, steps: int) -> np.ndarray:
        losses = adversarial_losses(gan, NON_SATURATING, r1_penalty, 5.0, penalty_every=every)
        loss = jax.jit(losses.discriminator)
        return np.array([loss(*variables, key, jnp.int32(step), batch)[0] for step in range(steps)])

    lazy = values(4, 8)
    assert len(set(lazy.round(4))) == 2
    np.testing.assert_allclose(lazy.mean(), values(1, 1)[0], rtol=1e-4)


@pytest.mark.slow
def test_the_drift_is_the_mean_of_squared_outputs_on_real_images(key):
    gan, variables = GANS["style2"]
    of = lambda drift: adversarial_losses(gan, NON_SATURATING, drift=drift).discriminator(
        *variables, key, jnp.int32(0), (X, None)
    )
    logits = gan.discriminate(*variables, X, train=True)[0].logits
    np.testing.assert_allclose(of(0.5)[0] - of(0.0)[0], 0.5 * np.mean(np.asarray(logits) ** 2), rtol=1e-4)
