"""Augmentation: what each change does, its probability, and how that is steered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.gan import CHANGES, NON_SATURATING, Augmentation, adversarial_losses, colour, cutout, translation
from gen_jax.gan.adversarial import PROBABILITY
from tests.gan.test_style import GANS, X

IMAGE = jnp.asarray(np.random.default_rng(1).uniform(0.1, 1, (16, 8, 3)), jnp.float32)


def test_a_translation_is_a_shifted_slice_of_the_padded_image(key):
    padded = np.pad(IMAGE, ((2, 2), (1, 1), (0, 0)))
    all_shifts = {(i, j): padded[i : i + 16, j : j + 8] for i in range(5) for j in range(3)}
    seen = set()
    for one in jax.vmap(translation, (0, None))(jax.random.split(key, 200), IMAGE):
        matches = [shift for shift, image in all_shifts.items() if np.array_equal(image, one)]
        assert len(matches) == 1
        seen |= set(matches)
    assert seen == set(all_shifts)


def test_a_cutout_zeroes_a_rectangle_of_half_a_side_anywhere_alike(key):
    """Less of it at the edge; pixels at one end are gone as often as those at the other."""
    image = jnp.ones((14, 8, 1))
    gone = np.asarray(jax.vmap(cutout, (0, None))(jax.random.split(key, 4000), image))[..., 0] == 0
    rows, columns = gone.any(axis=2), gone.any(axis=1)
    assert rows.sum(axis=1).max() == 7
    assert columns.sum(axis=1).max() == 4
    np.testing.assert_array_equal(gone.sum(axis=(1, 2)), rows.sum(axis=1) * columns.sum(axis=1))
    for hit in (rows.mean(axis=0), columns.mean(axis=0)):
        np.testing.assert_allclose(hit, hit[::-1], atol=0.045)  # 4 s.e. of a difference


def test_colours_change_as_said_and_nothing_else(key):
    """Each pixel's channels stay on the line through its grey; contrast and brightness are one affine map of the greys."""
    one = np.asarray(colour(key, IMAGE), np.float64)
    before = np.asarray(IMAGE, np.float64)
    grey, new = before.mean(axis=2), one.mean(axis=2)
    slope, offset = np.polyfit(grey.ravel(), new.ravel(), 1)
    assert 0.5 <= slope <= 1.5
    np.testing.assert_allclose(new, slope * grey + offset, atol=1e-5)
    ratio = (one - new[..., None]) / (before - grey[..., None])
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-2)
    assert 0 <= np.median(ratio) / slope <= 2


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_images_change_with_the_probability_that_is_given(probability, key):
    flip = Augmentation((lambda key, x: -x,))
    share = np.mean(flip.apply(key, jnp.ones((4000, 1, 1, 1)), probability) < 0)
    assert abs(share - probability) <= 4 * np.sqrt(probability * (1 - probability) / 4000)


def test_the_probability_is_steered_to_the_target():
    """A discriminator that tells fewer training images the more they are augmented: E[sign D] = 1 − p is 0.6 at p = 0.4."""
    rule = Augmentation(CHANGES, 0.6, images=1000)
    probability, noise = jnp.float32(0), np.random.default_rng(0)
    found = []
    for _ in range(400):
        logits = jnp.asarray(np.where(noise.random(50) < 1 - float(probability) / 2, 1.0, -1.0), jnp.float32)
        probability = rule.steer(probability, logits)
        found.append(float(probability))
    assert found[0] == pytest.approx(0.05)  # 50 of 1,000 images
    assert abs(np.mean(found[100:]) - 0.4) < 0.1
    assert rule.steer(jnp.float32(1), jnp.ones(50)) == 1
    assert rule.steer(jnp.float32(0), -jnp.ones(50)) == 0
    assert Augmentation(CHANGES).steer(jnp.float32(0.2), jnp.ones(50)) == jnp.float32(0.2)


@pytest.mark.slow
def test_it_acts_on_real_and_generated_images_alike_and_is_steered_in_the_state(key):
    gan, variables = GANS["style2"]
    black = Augmentation((lambda key, x: 0 * x,), 0.6, images=16)
    losses = adversarial_losses(gan, NON_SATURATING, augmentation=black)
    state = variables.state
    at = lambda p: state._replace(discriminator=state.discriminator | {PROBABILITY: jnp.float32(p)})
    _, (new, metrics) = losses.discriminator(variables.params, at(1.0), key, jnp.int32(0), (X, None))
    np.testing.assert_allclose(metrics["real_logit"], metrics["fake_logit"], rtol=1e-5)
    blank = gan.discriminate(*variables, 0 * X, train=True)[0].logits[0]
    np.testing.assert_allclose(metrics["real_logit"], blank, rtol=1e-4)
    assert float(new.discriminator[PROBABILITY]) == 1 - 4 / 16 * (blank < 0)
    plain = adversarial_losses(gan, NON_SATURATING)
    for name in ("generator", "discriminator"):
        same = [getattr(of, name)(variables.params, at(0.0), key, jnp.int32(0), (X, None))[0] for of in (losses, plain)]
        np.testing.assert_allclose(*same, rtol=1e-5)
    grads = jax.grad(lambda params: losses.generator(params, at(1.0), key, jnp.int32(0), (X, None))[0])(variables.params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads.generator))  # through the change, which is constant here
