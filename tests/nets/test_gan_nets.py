"""The networks of GANs on images, against NumPy, lax and the layers on one image; spectral norms against the SVD."""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gen_jax.nets import (
    Conv,
    ConvTranspose,
    DCGANDiscriminator,
    DCGANGenerator,
    DownBlock,
    MLPDiscriminator,
    ResidualDiscriminator,
    ResidualGenerator,
    UpBlock,
    batch_net,
    upsample,
)
from gen_jax.types import DiscriminatorOutput, InputError

DRAWS = np.random.default_rng(0)
IMAGES = jnp.asarray(DRAWS.normal(size=(3, 8, 8, 2)), jnp.float32)
SPECTRAL_NETS = [
    (MLPDiscriminator((4, 3), spectral_norm=True), 3),
    (DCGANDiscriminator((3, 4), batch_norm=False, spectral_norm=True), 3),
    (ResidualDiscriminator(2, spectral_norm=True), 11),
]

lax_conv = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))
assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def filled(module, *inputs, **settings):
    """Variables of the module, all of them drawn anew, since fresh biases are 0 and fresh scales 1; the averages positive."""
    variables = jax.eval_shape(functools.partial(module.init, **settings), jax.random.key(0), *inputs)
    draws = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * draws.normal(size=leaf.shape), jnp.float32), variables.pop("params"))
    return {"params": params} | jax.tree.map(lambda a: jnp.asarray(draws.uniform(0.1, 0.5, a.shape), jnp.float32), variables)


# --- The layers of a batch.


def test_a_convolution_of_a_batch_is_that_of_each_image():
    layer = Conv(5, 4, 2, 1)
    variables = filled(layer, IMAGES)
    out = layer.apply(variables, IMAGES)
    assert_close(out, jnp.stack([layer.apply(variables, image) for image in IMAGES]))
    kernel, bias = (np.asarray(variables["params"][name]) for name in ("kernel", "bias"))
    assert_close(out, np.asarray(lax_conv(IMAGES, kernel, (2, 2), [(1, 1)] * 2)) + bias)


def test_a_transposed_convolution_of_a_batch_is_that_of_each_image():
    """And lax's with its kernel transposed; by default lax's kernel is rotated by 180°."""
    layer = ConvTranspose(5, 4, 2, 1)
    params = layer.init(jax.random.key(0), IMAGES)["params"] | {"bias": jnp.arange(5.0)}
    out = layer.apply({"params": params}, IMAGES)
    assert_close(out, jnp.stack([layer.apply({"params": params}, image) for image in IMAGES]))
    transpose = functools.partial(lax.conv_transpose, IMAGES, strides=(2, 2), padding="SAME")
    assert_close(out, np.asarray(transpose(params["kernel"], transpose_kernel=True)) + np.arange(5))
    rotated = params["kernel"][::-1, ::-1].swapaxes(2, 3)
    assert_close(out, np.asarray(transpose(rotated)) + np.arange(5))


class Noisy(nn.Module):
    """x ↦ batch norm of x, plus noise where there is a key for it."""

    @nn.compact
    def __call__(self, x, train):
        h = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return h + jax.random.normal(self.make_rng("noise"), h.shape) if self.has_rng("noise") else h


def test_a_batch_net_returns_the_output_and_the_new_state(key):
    """In training normalised by the batch, else by the averages; with a key, plus the noise of that key alone."""
    net, x = batch_net(Noisy()), np.asarray(IMAGES).reshape(-1, 2)
    params, state = jax.jit(net.init)(key, x)
    assert (list(params), list(state)) == (["BatchNorm_0"], ["batch_stats"])
    mean, var = x.mean(axis=0), x.var(axis=0)
    out, new = jax.jit(functools.partial(net.apply, train=True))(params, state, x)
    assert_close(out, (x - mean) / np.sqrt(var + 1e-5))
    averages = {"mean": 0.1 * mean, "var": 0.9 + 0.1 * var}
    jax.tree.map(assert_close, new, {"batch_stats": {"BatchNorm_0": averages}})
    out, same = jax.jit(net.apply)(params, new, x)
    assert_close(out, (x - averages["mean"]) / np.sqrt(averages["var"] + 1e-5))
    jax.tree.map(np.testing.assert_array_equal, same, new)
    for train in (True, False):
        noise = [
            net.apply(params, state, x, train=train, key=k)[0] - net.apply(params, state, x, train=train)[0] for k in (key, key)
        ]
        np.testing.assert_array_equal(*noise)
        other = net.apply(params, state, x, train=train, key=jax.random.key(9))[0] - net.apply(params, state, x, train=train)[0]
        assert np.all(noise[0] != other)


def test_a_net_without_statistics_has_an_empty_state(key):
    net = batch_net(MLPDiscriminator((4,)))
    params, state = net.init(key, IMAGES)
    assert state == {}
    assert [net.apply(params, state, IMAGES, train=train)[1] for train in (True, False)] == [{}, {}]


# --- Spectral normalisation, of Flax, around our layers.


def after_training(module, variables, inputs, steps):
    """The variables after so many applications in training, for a module that takes `update_stats` or `train`."""
    train = {"update_stats" if isinstance(module, nn.SpectralNorm) else "train": True}

    def step(state, _):
        _, new = module.apply({**variables, **state}, inputs, **train, mutable=["batch_stats"])
        return new, None

    state, _ = jax.jit(lambda first: lax.scan(step, first, length=steps))({"batch_stats": variables["batch_stats"]})
    return {**variables, **state}


def spectral(layer, inputs):
    """A spectrally normalised layer, the path of its parameters, and its variables."""
    module = nn.SpectralNorm(layer)
    variables = jax.jit(functools.partial(module.init, update_stats=False))(jax.random.key(0), inputs)
    return module, variables, variables["params"]["layer_instance"]


LAYERS = [
    (Conv(4, 3, use_bias=False), IMAGES),
    (Conv(3, 4, 2, use_bias=False), IMAGES),
    (nn.Dense(4, use_bias=False), IMAGES[0, 0]),
]


@pytest.mark.parametrize(("layer", "inputs"), LAYERS)
def test_the_largest_singular_value_becomes_1(layer, inputs):
    """By NumPy's SVD of the matrix [everything else, output channels]."""
    module, variables, params = spectral(layer, inputs)
    variables = after_training(module, variables, inputs, 300)
    kernel = params["kernel"]
    largest = np.linalg.svd(np.reshape(kernel, (-1, kernel.shape[-1])), compute_uv=False)[0]
    wanted = layer.apply({"params": {"kernel": kernel / largest}}, inputs)
    np.testing.assert_allclose(module.apply(variables, inputs, update_stats=False), wanted, rtol=1e-3, atol=1e-5)


def test_an_application_in_training_is_one_iteration_and_others_store_nothing():
    layer = Conv(4, 3, use_bias=False)
    module, variables, params = spectral(layer, IMAGES)
    matrix = np.reshape(params["kernel"], (-1, 4))
    u = np.asarray(variables["batch_stats"]["layer_instance/kernel/u"])[0]
    v = matrix @ u / np.linalg.norm(matrix @ u)
    new = v @ matrix / np.linalg.norm(v @ matrix)
    wanted = layer.apply({"params": {"kernel": params["kernel"] / (v @ matrix @ new)}}, IMAGES)
    for train, stored in ((True, new), (False, u)):
        out, state = module.apply(variables, IMAGES, update_stats=train, mutable=["batch_stats"])
        assert_close(state["batch_stats"]["layer_instance/kernel/u"][0], stored)
        assert_close(out, wanted)


def test_the_gradient_at_convergence_is_that_of_the_singular_value(key):
    """∇ ⟨C, W / σ(W)⟩, where the other σ is differentiated through the SVD; the output for the rows of I is W / σ(W)."""
    inputs, weights = jnp.eye(5), jax.random.normal(key, (5, 4))
    module, variables, params = spectral(nn.Dense(4, use_bias=False), inputs)
    state = {"batch_stats": after_training(module, variables, inputs, 300)["batch_stats"]}

    def exact(kernel):
        return jnp.vdot(weights, kernel / jnp.linalg.svd(kernel, compute_uv=False)[0])

    def ours(kernel, train):
        given = {"params": {"layer_instance": {"kernel": kernel}}, **state}
        return jnp.vdot(weights, module.apply(given, inputs, update_stats=train, mutable=["batch_stats"])[0])

    wanted = jax.grad(exact)(params["kernel"])
    for train in (True, False):
        assert_close(jax.grad(ours)(params["kernel"], train), wanted)
    np.testing.assert_allclose(jnp.vdot(params["kernel"], wanted), 0, atol=1e-5)  # W / σ(W) does not depend on the scale of W


def test_a_kernel_of_zeros_stays_zero():
    module, variables, _ = spectral(Conv(4, 3), IMAGES)
    variables["params"] = jax.tree.map(jnp.zeros_like, variables["params"])
    out, state = module.apply(variables, IMAGES, update_stats=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(out, jnp.zeros_like(out))
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(np.isfinite(leaf), True), state)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "num_layers"), SPECTRAL_NETS, ids=lambda value: type(value).__name__)
def test_every_kernel_of_a_net_is_normalised(module, num_layers, key):
    """The net equals itself without normalisation, its kernels divided by their σ; the vectors are one for the batch."""
    variables = jax.jit(functools.partial(module.init, train=False))(key, IMAGES)
    variables = after_training(module, variables, IMAGES, 300)
    sizes = [leaf.shape for leaf in jax.tree.leaves(variables["batch_stats"]) if leaf.ndim > 0]
    kernels = [leaf for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim > 1]
    assert sorted(sizes) == sorted((1, kernel.shape[-1]) for kernel in kernels)
    assert len(sizes) == num_layers

    def divided(leaf):
        matrix = np.reshape(leaf, (-1, leaf.shape[-1]))
        return leaf / np.linalg.svd(matrix, compute_uv=False)[0] if leaf.ndim > 1 else leaf

    params = jax.tree.map(divided, variables["params"])
    # dividing once more changes nothing
    out = jax.jit(lambda variables, x: module.apply(variables, x, train=False).logits)
    np.testing.assert_allclose(out(variables, IMAGES), out(variables | {"params": params}, IMAGES), rtol=1e-2, atol=1e-5)
    if not isinstance(module, ResidualDiscriminator):  # which pools differently without
        plain = module.clone(spectral_norm=False)
        wanted = plain.apply({"params": params}, IMAGES).logits
        np.testing.assert_allclose(out(variables, IMAGES), wanted, rtol=1e-2, atol=1e-5)


# --- DCGAN.

SIZES = [
    ((28, 28, 1), (3, 2), 7),
    pytest.param((32, 32, 3), (4, 3, 2), 4, marks=pytest.mark.slow),
    pytest.param((64, 64, 1), (4, 3, 2, 2), 4, marks=pytest.mark.slow),
    pytest.param((64, 64, 3), (2, 2, 2, 2), 4, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("event_shape", "channels", "smallest"), SIZES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_dcgan_of_each_size(event_shape, channels, smallest, batch_norm):
    """Shapes, and every kernel, bias and batch norm by hand: no bias before a batch norm, no batch norm at output or input."""
    key, colours = jax.random.key(0), event_shape[2]
    bias = 0 if batch_norm else 1
    images, variables = shapes_of(DCGANGenerator(channels, event_shape, batch_norm), key, jnp.zeros((2, 5)))
    assert images == (2, *event_shape)
    pairs = list(itertools.pairwise(channels))
    weights = (5 + bias) * smallest**2 * channels[0] + 16 * channels[-1] * colours + colours
    weights += sum((16 * i + bias) * o for i, o in pairs) + (2 * sum(channels) if batch_norm else 0)
    assert count(variables.params) == weights
    assert count(variables.state) == (2 * sum(channels) if batch_norm else 0)

    channels = channels[::-1]
    logits, variables = shapes_of(DCGANDiscriminator(channels, batch_norm), key, jnp.zeros((2, *event_shape)))
    assert logits == (2,)
    pairs = list(itertools.pairwise(channels))
    weights = (16 * colours + 1) * channels[0] + smallest**2 * channels[-1] + 1
    weights += sum((16 * i + bias) * o for i, o in pairs) + (2 * sum(channels[1:]) if batch_norm else 0)
    assert count(variables.params) == weights
    assert count(variables.state) == (2 * sum(channels[1:]) if batch_norm else 0)


def shapes_of(module, key, inputs):
    """The shape of the output, and the variables in shapes."""
    net = batch_net(module)
    variables = jax.eval_shape(net.init, key, inputs)
    output = jax.eval_shape(net.apply, *variables, inputs)[0]
    return (output.logits if isinstance(output, DiscriminatorOutput) else output).shape, variables


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def test_sizes_that_do_not_go_are_refused(key):
    z = jnp.zeros((2, 5))
    advice = "An image of 28 x 28 cannot be halved 3 times: .*a multiple of 8 .*the next is 32 x 32"
    for module, inputs in (
        (DCGANGenerator((2, 2, 2), (28, 28, 1)), z),
        (DCGANDiscriminator((2, 2, 2)), jnp.zeros((2, 28, 28, 1))),
        (ResidualGenerator(2, (28, 28, 1)), z),
    ):
        with pytest.raises(InputError, match=advice):
            module.init(key, inputs, train=False)
    with pytest.raises(InputError, match="An image of 30 x 32 cannot be halved 2 times"):
        ResidualDiscriminator(2).init(key, jnp.zeros((2, 30, 32, 1)), train=False)
    for module in (DCGANDiscriminator((2,)), ResidualDiscriminator(2)):
        with pytest.raises(InputError, match=r"images have shape \(784,\): give \(height, width, channels\)"):
            module.init(key, jnp.zeros((2, 784)), train=False)
    with pytest.raises(InputError, match=r"images have shape \(0, 32, 1\)"):
        DCGANGenerator((2, 2), (0, 32, 1)).init(key, z, train=False)


@pytest.mark.slow
def test_the_dcgan_layer_by_layer():
    """Against lax, in evaluation: all its weights, biases and averages drawn anew."""
    z = jnp.asarray(DRAWS.normal(size=(3, 5)), jnp.float32)
    generator, discriminator = DCGANGenerator((3, 2), (8, 8, 2)), DCGANDiscriminator((2, 3))
    variables = filled(generator, z, train=False)
    params = variables["params"]

    def normalised(h, variables, name="BatchNorm_0"):
        scale, shift = (np.asarray(variables["params"][name][part]) for part in ("scale", "bias"))
        mean, var = (np.asarray(variables["batch_stats"][name][part]) for part in ("mean", "var"))
        return scale * (np.asarray(h) - mean) / np.sqrt(var + 1e-5) + shift

    def up(h, name):
        transpose = functools.partial(lax.conv_transpose, strides=(2, 2), padding="SAME", transpose_kernel=True)
        return np.asarray(transpose(jnp.asarray(h), params[name]["kernel"]))

    h = np.asarray(z @ params["Dense_0"]["kernel"]).reshape(3, 2, 2, 3)
    h = up(np.maximum(normalised(h, variables), 0), "ConvTranspose_0")
    h = up(np.maximum(normalised(h, variables, "BatchNorm_1"), 0), "ConvTranspose_1")
    assert 0.1 < np.abs(h).mean() < 1  # the tanh does not hide the rest
    wanted = np.tanh(h + np.asarray(params["ConvTranspose_1"]["bias"]))
    assert_close(generator.apply(variables, z, train=False), wanted)

    variables = filled(discriminator, IMAGES, train=False)
    params = variables["params"]

    def leaky(h):
        return np.where(h > 0, h, 0.2 * h)

    def down(h, name):
        return np.asarray(lax_conv(jnp.asarray(h, jnp.float32), params[name]["kernel"], (2, 2), [(1, 1)] * 2))

    h = leaky(down(IMAGES, "Conv_0") + np.asarray(params["Conv_0"]["bias"]))
    h = leaky(normalised(down(h, "Conv_1"), variables)).reshape(3, -1)
    last = jax.tree.map(np.asarray, params["DiscriminatorHead_0"]["Dense_0"])
    assert_close(discriminator.apply(variables, IMAGES).logits, (h @ last["kernel"] + last["bias"])[:, 0])


@pytest.mark.parametrize("module", [DCGANGenerator((48, 32), (8, 8, 3)), DCGANDiscriminator((32, 48))])
def test_fresh_weights_have_a_standard_deviation_of_a_fiftieth(module, key):
    inputs = jnp.zeros((1, 40)) if isinstance(module, DCGANGenerator) else jnp.zeros((1, 8, 8, 3))
    params = jax.jit(functools.partial(module.init, train=False))(key, inputs)["params"]
    for kernel in (np.asarray(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim > 1):
        np.testing.assert_allclose(kernel.std(), 0.02, atol=4 * 0.02 / np.sqrt(2 * kernel.size))
        np.testing.assert_allclose(kernel.mean(), 0, atol=4 * 0.02 / np.sqrt(kernel.size))


@pytest.mark.parametrize("module", [DCGANGenerator((3, 2), (8, 8, 1)), ResidualGenerator(2, (8, 8, 1))])
def test_images_lie_on_the_interval_and_reach_its_ends(module, key):
    z = jax.random.normal(key, (16, 5))
    variables = filled(module, z, train=False)
    images = jax.jit(functools.partial(module.apply, train=False))(variables, 1e3 * z)
    np.testing.assert_allclose([images.min(), images.max()], [-1, 1], atol=1e-3)


@pytest.mark.parametrize(
    "module",
    [
        DCGANDiscriminator((2, 3), batch_norm=False),
        pytest.param(DCGANDiscriminator((2, 3), batch_norm=False, spectral_norm=True), marks=pytest.mark.slow),
    ],
)
def test_the_gradient_of_a_gradient_penalty_is_that_of_finite_differences(module, key):
    """The penalty of each image under vmap(grad), in float64, along a direction of all parameters.

    The gradient takes singular vectors as constants, which is exact where their iteration has converged.
    """
    with jax.enable_x64(True):
        net, x = batch_net(module), jnp.asarray(DRAWS.normal(size=(4, 8, 8, 2)))
        variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), jax.jit(net.init)(key, x))
        draws = np.random.default_rng(2)
        params, direction = (jax.tree.map(lambda a: jnp.asarray(draws.normal(size=a.shape)), variables.params) for _ in range(2))
        state = variables.state
        if module.spectral_norm:
            state = {"batch_stats": after_training(module, {"params": params, **state}, x, 300)["batch_stats"]}

        @jax.jit
        def penalty(params):
            def critic(image):
                return net.apply(params, state, image[None])[0].logits[0]

            squared = jnp.sum(jax.vmap(jax.grad(critic))(x) ** 2, axis=(1, 2, 3))
            return jnp.mean((jnp.sqrt(squared) - 1) ** 2)

        def moved(step):
            return penalty(jax.tree.map(lambda a, b: a + step * b, params, direction))

        slope = jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, jax.jit(jax.grad(penalty))(params), direction))
        assert abs(slope) > 1e-3
        np.testing.assert_allclose(slope, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-5)


# --- Residual networks.


def mean_pool(x):
    pooled = [[np.asarray(x)[:, i : i + 2, j : j + 2].mean(axis=(1, 2)) for j in range(0, 8, 2)] for i in range(0, 8, 2)]
    return np.asarray(pooled).transpose(2, 0, 1, 3)


def test_upsampling_repeats_pixels():
    x = np.asarray(IMAGES)
    np.testing.assert_array_equal(upsample(IMAGES), np.repeat(np.repeat(x, 2, axis=1), 2, axis=2))


def same(h, params):
    return lax_conv(h, params["kernel"], (1, 1), "SAME") + jnp.reshape(params.get("bias", jnp.zeros(())), (1, 1, 1, -1))


@pytest.mark.parametrize(("halve", "activate"), [(True, False), (True, True), (False, True)])
def test_a_block_of_the_discriminator(halve, activate):
    """Its 1 x 1 convolution before the pooling, as in the paper's code."""
    block = DownBlock(2 if not halve else 3, halve, activate)
    variables = filled(block, IMAGES, train=False)
    params = variables["params"]
    h = same(jax.nn.relu(IMAGES) if activate else IMAGES, params["Conv_0"])
    h = same(jax.nn.relu(h), params["Conv_1"])
    wanted = mean_pool(same(IMAGES, params["Conv_2"]) + h) if halve else IMAGES + h
    assert_close(block.apply(variables, IMAGES, train=True), wanted)


def test_a_block_of_the_generator():
    """Its 1 x 1 convolution after the upsampling; in training, normalised by the batch."""
    block = UpBlock(3)
    variables = filled(block, IMAGES, train=False)
    params = variables["params"]

    def activated(h, params):
        mean, var = (jnp.reshape(a, (1, 1, 1, -1)) for a in (h.mean(axis=(0, 1, 2)), h.var(axis=(0, 1, 2))))
        scale, shift = (jnp.reshape(params[name], (1, 1, 1, -1)) for name in ("scale", "bias"))
        return jax.nn.relu(scale * (h - mean) / jnp.sqrt(var + 1e-5) + shift)

    h = same(upsample(activated(IMAGES, params["BatchNorm_0"])), params["Conv_0"])
    h = same(activated(h, params["BatchNorm_1"]), params["Conv_1"])
    out, _ = block.apply(variables, IMAGES, train=True, mutable=["batch_stats"])
    assert_close(out, same(upsample(IMAGES), params["Conv_2"]) + h)


@pytest.mark.slow
def test_the_residual_nets_for_32_pixels():
    """Shapes, and the weights, biases and batch norms by hand, for a width of 3."""
    images, variables = shapes_of(ResidualGenerator(3, (32, 32, 3)), jax.random.key(0), jnp.zeros((2, 5)))
    assert images == (2, 32, 32, 3)
    block = 2 * 9 * 3 * 3 + 3 + 3 * 3 + 2 * 2 * 3
    assert count(variables.params) == 6 * 16 * 3 + 3 * block + 2 * 3 + 9 * 3 * 3 + 3
    logits, variables = shapes_of(ResidualDiscriminator(3), jax.random.key(0), jnp.zeros((2, 32, 32, 1)))
    assert logits == (2,)
    first, second, others = (9 + 1) * 3 + (27 + 1) * 3 + 3, 2 * (27 + 1) * 3 + 9, 2 * (27 + 1) * 3
    assert count(variables.params) == first + second + 2 * others + 3 + 1


@pytest.mark.slow
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_residual_discriminator_pools_as_its_paper(spectral_norm):
    """With blocks of zeros the features are those of the first bias: their mean, or their sum over 2 x 2 pixels."""
    module = ResidualDiscriminator(2, spectral_norm)
    variables = jax.tree.map(jnp.zeros_like, module.init(jax.random.key(0), IMAGES, train=False))
    variables["params"]["DownBlock_3"]["Conv_1"]["bias"] = jnp.array([1.0, -1.0])
    variables["params"]["DiscriminatorHead_0"]["Dense_0"]["kernel"] = jnp.array([[3.0], [5.0]])
    if spectral_norm:
        variables["batch_stats"]["DiscriminatorHead_0"]["SpectralNorm_0"]["Dense_0/kernel/u"] = jnp.ones((1, 1))
    wanted = 4 * 3 / np.sqrt(34) if spectral_norm else 3
    np.testing.assert_allclose(module.apply(variables, IMAGES).logits, np.full(3, wanted), rtol=1e-6)
