"""Networks of translation: their layers against NumPy, and which pixels a logit sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.nets import PatchDiscriminator, TranslationGenerator, instance_norm, reflection_padding
from gen_jax.types import InputError


def test_instance_norm_is_that_of_each_channel_of_each_image(key):
    x = np.asarray(3 + 2 * jax.random.normal(key, (2, 3, 5, 4, 3)), np.float64)
    found = instance_norm(jnp.asarray(x, jnp.float32))
    for index in np.ndindex(2, 3):
        for channel in range(3):
            of = x[index][..., channel]
            expected = (of - of.mean()) / np.sqrt(of.var() + 1e-5)
            np.testing.assert_allclose(found[index][..., channel], expected, atol=1e-5)
    np.testing.assert_array_equal(instance_norm(jnp.full((4, 4, 1), 7.0)), 0)
    assert np.isfinite(jax.grad(lambda x: jnp.sum(instance_norm(x) ** 2))(jnp.ones((4, 4, 1)))).all()


def test_reflection_mirrors_at_the_border():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    rows, columns = [3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1], [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    np.testing.assert_array_equal(reflection_padding(jnp.asarray(x), 3), x[:, rows][:, :, columns])


@pytest.mark.parametrize(("num_halvings", "field"), [(1, 16), pytest.param(2, 34, marks=pytest.mark.slow), (3, 70)])
def test_a_logit_sees_a_patch(num_halvings, field, key):
    """By the sizes of kernels: f = 1, then f = (f − 1) · stride + 4 from the last layer back; and by the gradient, where norm
    is taken out, since its mean sees all pixels."""
    size = 1
    for stride in (1, 1, *(2,) * num_halvings):
        size = (size - 1) * stride + 4
    assert size == field
    side = 96
    net = PatchDiscriminator(2, num_halvings)
    params = jax.jit(net.init)(key, jnp.zeros((side, side, 1)))
    middle = jax.eval_shape(net.apply, params, jnp.zeros((side, side, 1))).shape[0] // 2

    def logit(x):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gen_jax.nets.translation_nets.instance_norm", lambda h: h)
            return net.apply(params, x)[middle, middle]

    seen = np.asarray(jax.jit(jax.grad(logit))(jax.random.normal(key, (side, side, 1))))[..., 0] != 0
    assert [np.ptp(np.flatnonzero(seen.any(axis=axis))) + 1 for axis in (0, 1)] == [field, field]


@pytest.mark.parametrize(("channels", "num_halvings", "num_blocks"), [(3, 1, 2)])
def test_a_generator_keeps_the_size_and_sees_an_image_alone(channels, num_halvings, num_blocks, key):
    net = TranslationGenerator(channels, 2, num_halvings, num_blocks)
    x = jax.random.normal(key, (3, 8, 12, 1))
    params, apply = jax.jit(net.init)(key, x[0]), jax.jit(net.apply)
    found = apply(params, x)
    assert found.shape == (3, 8, 12, channels)
    assert float(jnp.abs(found).max()) <= 1
    np.testing.assert_allclose(apply(params, x[1]), found[1], atol=1e-5)
    moved = jax.jit(jax.grad(lambda params: jnp.sum(net.apply(params, x) ** 2)))(params)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(moved))  # no parameter without an effect


def test_the_papers_networks_have_the_papers_parameters():
    """c7s1-64, d128, d256, R256 × 9, u128, u64, c7s1-3, without biases before a norm: 11.4 million; C64-C128-C256-C512: 2.8."""
    x = jax.ShapeDtypeStruct((256, 256, 3), jnp.float32)
    count = lambda net: sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)))
    blocks = 9 * 2 * 9 * 256 * 256
    expected = 49 * 3 * 64 + 9 * 64 * 128 + 9 * 128 * 256 + blocks + 9 * 256 * 128 + 9 * 128 * 64 + 49 * 64 * 3 + 3
    assert count(TranslationGenerator(3)) == expected
    expected = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1
    assert count(PatchDiscriminator()) == expected
    logits = jax.eval_shape(lambda x: PatchDiscriminator().init_with_output(jax.random.key(0), x)[0], x)
    assert logits.shape == (30, 30)


@pytest.mark.parametrize(
    ("net", "size", "message"),
    [
        (TranslationGenerator(1, 2, 2, 1), 10, "An image of 10 x 10 cannot be halved 2 times"),
        (TranslationGenerator(1, 2, 2, 1), 4, "halved 2 times is one pixel, which instance norm makes 0: halve it less often"),
        (PatchDiscriminator(2, 3), 16, "A kernel of 4 x 4 does not fit"),
    ],
)
def test_images_that_are_too_small_are_refused(net, size, message, key):
    with pytest.raises(InputError, match=message):
        jax.eval_shape(net.init, key, jnp.zeros((size, size, 1)))
