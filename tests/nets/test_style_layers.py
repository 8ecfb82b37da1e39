"""Layers of progressive GANs and StyleGANs, each against NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.ndimage import convolve1d

from gen_jax.gan import colour, cutout, translation
from gen_jax.nets import (
    AdaptiveInstanceNorm,
    EqualConv,
    EqualDense,
    ModulatedConv,
    Noise,
    batch_net,
    blur,
    halve,
    in_bfloat16,
    minibatch_std,
    pixel_norm,
)
from gen_jax.nets.growing_nets import StyleHead
from gen_jax.nets.style_layers import draw_noise
from tests.small import fast_first

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(8, 4, 6, 3)), jnp.float32)
W = jnp.asarray(RNG.normal(size=(8, 5)), jnp.float32)
XS, WS = np.asarray(X), np.asarray(W)


def of(module, key, *inputs):
    params = module.init(key, *inputs)
    return params["params"], np.asarray(jax.jit(module.apply)(params, *inputs))


def test_an_equal_dense_layer_is_he_scaled_at_run_time(key):
    params, y = of(EqualDense(7, multiplier=0.01, gain=1.5, bias=2.0), key, X)
    assert np.std(params["kernel"]) == pytest.approx(100, rel=0.2)  # N(0, 1/m²)
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    np.testing.assert_allclose(y, XS @ kernel * (1.5 * 0.01 / np.sqrt(3)) + 0.01 * bias, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(0.01 * bias, 2.0)


def moved_by_adam(layer, key, size: int) -> float:
    """The change of a layer's map by a first step of Adam, relative to the map, whose kernel is what it makes of unit vectors."""
    x = jnp.eye(size)
    params = layer.init(key, x)
    kernel = lambda params: layer.apply(params, x) - layer.apply(params, 0 * x)
    grads = jax.grad(lambda params: jnp.sum(kernel(params) * jax.random.normal(key, (size, 4))))(params)
    optimizer = optax.adam(1e-3, eps=1e-30)
    after = optax.apply_updates(params, optimizer.update(grads, optimizer.init(params))[0])
    return float(jnp.std(kernel(after) - kernel(params)) / jnp.std(kernel(params)))


def test_the_first_step_of_adam_moves_layers_of_every_size_alike_and_slowed_ones_less(key):
    """By 1/1,000 of the map, times the multiplier; a plain layer's share grows with its size."""
    for size in (30, 600):
        assert moved_by_adam(EqualDense(4), key, size) == pytest.approx(1e-3, rel=0.15)
        assert moved_by_adam(EqualDense(4, multiplier=0.01), key, size) == pytest.approx(1e-5, rel=0.15)
    assert moved_by_adam(nn.Dense(4), key, 600) > 3 * moved_by_adam(nn.Dense(4), key, 30)


def test_an_equal_convolution_is_he_scaled(key):
    params, y = of(EqualConv(4, gain=0.5), key, X)
    wanted = [conv_numpy(x, 0.5 * np.asarray(params["kernel"]) / np.sqrt(27)) for x in XS] + np.asarray(params["bias"])
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [EqualConv(8), ModulatedConv(8)], ids=["convolution", "modulated"])
@pytest.mark.parametrize("size", [4, 64])
def test_kernels_of_every_size_have_unit_deviation_and_so_move_alike(layer, size, key):
    """Adam moves each number by the learning rate, whatever its scale: so a kernel moves by that share of itself."""
    style = [W[:1]] if isinstance(layer, ModulatedConv) else []
    kernel = layer.init(key, jnp.zeros((1, 2, 2, size)), *style)["params"]["kernel"]
    assert np.std(kernel) == pytest.approx(1, abs=0.15)


def test_modulated_kernels_are_those_of_each_example(key):
    layer = ModulatedConv(4)
    params, y = of(layer, key, X, W)
    style = of_style(params["EqualDense_0"], WS)
    for x, s, one in zip(XS, style, y, strict=True):
        kernel = np.asarray(params["kernel"]) / np.sqrt(27) * s[None, None, :, None]
        kernel /= np.sqrt((kernel**2).sum(axis=(0, 1, 2), keepdims=True) + 1e-8)
        np.testing.assert_allclose(one, conv_numpy(x, kernel), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.sqrt((kernel**2).sum(axis=(0, 1, 2))), 1, rtol=1e-4)


def test_demodulated_outputs_of_unit_inputs_have_unit_deviation(key):
    x = jax.random.normal(key, (16, 12, 12, 32))
    w = 3 * jax.random.normal(jax.random.key(1), (16, 8))
    y = of(ModulatedConv(64), key, x, w)[1][:, 1:-1, 1:-1]  # zeros are outside of the image
    assert np.std(y) == pytest.approx(1, abs=0.02)
    assert np.std(of(ModulatedConv(64, demodulate=False), key, x, w)[1]) > 1.5


def of_style(params, w):
    return w @ (np.asarray(params["kernel"]) / np.sqrt(w.shape[1])) + np.asarray(params["bias"])


def conv_numpy(x, kernel):
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[:2]
    return sum(padded[a : a + rows, b : b + columns] @ kernel[a, b] for a in range(3) for b in range(3))


def test_adaptive_instance_norm_gives_each_channel_the_mean_and_deviation_of_its_style(key):
    params, y = of(AdaptiveInstanceNorm(), key, 5 + 2 * X, W)
    scale, shift = np.split(of_style(params["EqualDense_0"], WS), 2, axis=1)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), shift, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 2)), np.abs(1 + scale), rtol=1e-4)
    normal = (XS - XS.mean(axis=(1, 2), keepdims=True)) / XS.std(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(y, (1 + scale)[:, None, None] * normal + shift[:, None, None], rtol=1e-3, atol=1e-4)


def test_noise_is_one_image_for_all_channels_scaled_by_their_strengths(key):
    layer, strength = Noise(), np.array([0.0, 1.0, -2.0], np.float32)
    noise = jax.random.normal(key, (8, 4, 6, 1))
    assert not np.any(layer.init(key, X, noise)["params"]["strength"])
    params = {"params": {"strength": strength}}
    np.testing.assert_allclose(layer.apply(params, X, noise), XS + strength * np.asarray(noise), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer.apply(params, X, None), X)


def test_noise_of_all_layers_is_standard_normal_and_none_without_a_key(key):
    class Draws(nn.Module):
        @nn.compact
        def __call__(self):
            return draw_noise(self, 500, (1, 2, 4))

    found = Draws().apply({}, rngs={"noise": key})
    assert [n.shape for n in found] == [(500, 1, 1, 1), (500, 2, 2, 1), (500, 4, 4, 1)]
    flat = np.concatenate([np.asarray(n).reshape(500, -1) for n in found], axis=1)
    np.testing.assert_allclose(np.cov(flat.T), np.eye(21), atol=0.25)  # 5.6 s.e. of a covariance
    assert Draws().apply({}) == [None] * 3


def test_pixel_norm_puts_each_pixel_on_the_sphere():
    y = pixel_norm(X)
    np.testing.assert_allclose(np.sum(y**2, axis=-1), 3, rtol=1e-4)
    np.testing.assert_allclose(y * np.linalg.norm(XS, axis=-1, keepdims=True), np.sqrt(3) * XS, rtol=1e-4)


def test_the_spread_of_a_group_is_its_mean_standard_deviation():
    found = np.asarray(minibatch_std(X))
    for group in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(found[group], XS[group].std(axis=0).mean(), rtol=1e-5)
    np.testing.assert_allclose(minibatch_std(X[:6]), np.full(6, XS[:6].std(axis=0).mean()), rtol=1e-5)
    np.testing.assert_allclose(minibatch_std(X[:1]), [1e-4], rtol=1e-3)  # one is its own mean


def test_the_spread_is_that_of_the_batch_in_training_and_its_running_mean_in_evaluation(key):
    head = batch_net(StyleHead(5))
    h = jax.random.normal(key, (8, 4, 4, 3))
    params, state = head.init(key, h, None)
    logits = lambda h, state, train: head.apply(params, state, h, None, train=train)
    spread = np.asarray(minibatch_std(h)).mean()
    _, after = logits(h, state, True)
    np.testing.assert_allclose(after["averages"]["spread"], 0.1 * spread, rtol=1e-5)
    for _ in range(60):
        _, after = logits(h, after, True)
    np.testing.assert_allclose(after["averages"]["spread"], spread, rtol=1e-2)
    both, alone = logits(h, after, False)[0].logits, logits(h[:1], after, False)[0].logits
    np.testing.assert_allclose(both[0], alone[0], rtol=1e-5)  # examples are independent
    assert np.abs(logits(h, after, True)[0].logits - logits(2 * h, after, True)[0].logits).max() > 1e-3


def test_blur_and_halving_are_those_of_scipy_and_numpy():
    wanted = XS
    for axis in (1, 2):
        wanted = convolve1d(wanted, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    np.testing.assert_allclose(blur(X), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(halve(X)[3, 1, 2], XS[3, 2:4, 4:6].mean(axis=(0, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    fast_first(
        [
            EqualConv(2),
            EqualDense(2),
            ModulatedConv(2),
            AdaptiveInstanceNorm(),
            minibatch_std,
            blur,
            halve,
            pixel_norm,
            lambda x: jax.vmap(colour, (None, 0))(jax.random.key(1), x),
            lambda x: jax.vmap(translation, (None, 0))(jax.random.key(3), x),
            lambda x: jax.vmap(cutout, (None, 0))(jax.random.key(3), x),
        ]
    ),
    ids=[
        *("convolution", "dense", "modulated", "instance norm", "standard deviation", "blur", "halving", "pixel norm"),
        *("colour", "translation", "cutout"),
    ],
)
def test_a_penalty_on_gradients_has_the_gradient_of_its_differences(layer, key):
    """The second derivatives that R1 and path lengths take, along one direction."""
    x, w = jax.random.normal(key, (4, 8, 8, 3)), W[:4]  # of which a translation is by up to a pixel
    if callable(getattr(layer, "init", None)):
        inputs = (w,) if isinstance(layer, ModulatedConv | AdaptiveInstanceNorm) else ()
        params = layer.init(key, x, *inputs)
        of_x = lambda x: layer.apply(params, x, *inputs)
    else:
        of_x = layer

    def penalty(x):
        return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(of_x(x))))(x) ** 2)

    with jax.enable_x64():
        x, direction = x.astype(jnp.float64), jax.random.normal(key, x.shape, jnp.float64)
        slope = jnp.vdot(jax.grad(penalty)(x), direction)
        step = 1e-5
        difference = (penalty(x + step * direction) - penalty(x - step * direction)) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=1e-4)


def test_a_network_in_bfloat16_rounds_weights_and_inputs_and_nothing_else():
    """1 + 2⁻⁷ is a number of bfloat16, and 1 + 2⁻⁹ is not: it is rounded to 1."""

    class Product(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            count = self.variable("averages", "count", lambda: jnp.float32(1 + 2**-9))
            if train:
                count.value += 1
            y = x * self.param("w", nn.initializers.constant(1 + 2**-9), (), jnp.float32)
            assert y.dtype == x.dtype
            return y

    plain = batch_net(Product())
    net = in_bfloat16(plain)
    params, state = net.init(jax.random.key(0), jnp.float32(1))
    assert plain.apply(params, state, jnp.float32(1))[0] == 1 + 2**-9
    for x, wanted in ((1 + 2**-7, 1 + 2**-7), (1 + 2**-9, 1.0)):
        y, after = net.apply(params, state, jnp.float32(x), train=True)
        assert y == wanted
        assert y.dtype == jnp.float32
        assert after["averages"]["count"] == 2 + 2**-9
    grad = jax.grad(lambda params: net.apply(params, state, jnp.float32(1 + 2**-7))[0])(params)
    assert grad["w"] == 1 + 2**-7
    assert grad["w"].dtype == jnp.float32
