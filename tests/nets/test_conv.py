"""Convolutions against those of lax, in float64: values, first and second derivatives, under every transformation."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gen_jax.nets import Conv, ConvDecoder, ConvEncoder, ConvTranspose, SpatialDecoder, SpatialEncoder
from gen_jax.nets import conv as conv_module
from gen_jax.nets.conv import conv, conv_transpose
from gen_jax.types import InputError
from tests.small import fast_first

ROWS = [  # image, channels in and out, kernel, stride, padding
    ((8, 8), (1, 3), (4, 4), 2, 1),
    ((9, 7), (5, 2), (3, 3), 2, "SAME"),
    ((6, 5), (3, 4), (1, 1), 1, 0),
    ((7, 9), (6, 3), (5, 4), 3, ((2, 1), (0, 3))),
    ((8, 8), (5, 2), (1, 1), 2, "SAME"),  # a kernel smaller than the stride
    ((11, 8), (5, 3), (2, 3), 4, ((-1, 2), (1, -1))),  # pixels that no kernel sees; rows cut off
]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def lax_conv(x, kernel, stride=1, padding="SAME"):
    pads = [(padding, padding)] * 2 if isinstance(padding, int) else padding
    return lax.conv_general_dilated(x[None], kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))[0]


def arrays(*shapes):
    generator = np.random.default_rng(0)
    return [jnp.asarray(generator.normal(size=shape)) for shape in shapes]


def assert_close(actual, expected):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), actual, expected)


@pytest.mark.parametrize(("image", "channels", "size", "stride", "padding"), ROWS)
def test_values_and_gradients_to_the_second_order_are_those_of_lax(image, channels, size, stride, padding):
    """As a critic has them: the gradients of the mean score, and those of a penalty on the score's gradient in the image."""
    x, kernel = arrays((3, *image, channels[0]), (*size, *channels))

    def of(conv):
        def score(kernel, x):
            return jnp.sum(jnp.sin(conv(x, kernel, stride, padding)))

        def mean_score(kernel, xs):
            return jnp.mean(jax.vmap(score, in_axes=(None, 0))(kernel, xs))

        def penalty(kernel, xs):
            slopes = jax.vmap(jax.grad(score, argnums=1), in_axes=(None, 0))(kernel, xs)
            return jnp.mean(jnp.sqrt(jnp.sum(slopes**2, axis=(1, 2, 3))))

        def everything(kernel, xs):
            values = jax.vmap(lambda x: conv(x, kernel, stride, padding))(xs)
            return values, jax.grad(mean_score, (0, 1))(kernel, xs), jax.grad(penalty, (0, 1))(kernel, xs)

        return jax.jit(everything)(kernel, x)

    assert_close(of(conv), of(lax_conv))


@pytest.mark.parametrize(("image", "channels", "size", "stride", "padding"), fast_first(ROWS, 2))
def test_the_transposed_convolution_is_the_adjoint(image, channels, size, stride, padding):
    """⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩ for every x, so the right is the gradient of the left."""
    (kernel,) = arrays((*size, *channels))
    shape = jax.eval_shape(lambda: lax_conv(jnp.zeros((*image, channels[0])), kernel, stride, padding)).shape
    (y,) = arrays(shape)
    x = conv_transpose(y, kernel, stride, padding)
    assert_close(conv(jnp.zeros_like(x), kernel, stride, padding), jnp.zeros_like(y))  # it has a size that conv takes back to y's
    expected = jax.grad(lambda x: jnp.vdot(lax_conv(x, kernel, stride, padding), y))(jnp.zeros_like(x))
    assert_close(x, expected)


def test_the_transposed_convolution_adds_the_kernel_unflipped():
    """A one at row 1, column 0 adds the kernel at row 2·1 − 1 and column 2·0 − 1."""
    kernel = jnp.arange(16.0).reshape(4, 4, 1, 1)
    y = jnp.zeros((2, 2, 1)).at[1, 0].set(1.0)
    expected = np.zeros((6, 6))
    expected[2:6, 0:4] = np.arange(16).reshape(4, 4)
    np.testing.assert_array_equal(conv_transpose(y, kernel, 2, 1)[:, :, 0], expected[1:-1, 1:-1])
    np.testing.assert_array_equal(conv_transpose(y, kernel, 2), conv_transpose(y, kernel, 2, 1))  # "SAME" doubles the size


def test_every_transformation_agrees_with_lax():
    """vmap over images, kernels, both and nested; jvp, jacobian, hessian; scan and remat."""
    x, kernels = arrays((2, 6, 6, 5), (3, 3, 3, 5, 2))

    def of(conv):
        def one(x, kernel):
            return jnp.tanh(conv(x, kernel, 2, 1))

        def loss(kernel, x):
            return jnp.sum(jax.vmap(one, in_axes=(0, None))(x, kernel) ** 2)

        def scanned(kernels):
            total, losses = lax.scan(lambda c, k: (c + loss(k, x), loss(k, x)), jnp.zeros(()), kernels)
            return total + jnp.max(losses)

        def all_of_them(x, kernels):
            return (
                jax.vmap(one, in_axes=(None, 0))(x[0], kernels),
                jax.vmap(one, in_axes=(3, 3), out_axes=2)(jnp.moveaxis(x, 0, 3), jnp.moveaxis(kernels[:2], 0, 3)),
                jax.vmap(jax.vmap(one, in_axes=(0, None)), in_axes=(None, 0))(x, kernels),
                jax.vmap(jax.grad(loss), in_axes=(0, None))(kernels, x),  # an ensemble's gradients
                jax.vmap(jax.grad(loss), in_axes=(None, 0))(kernels[0], x[:, None]),  # the gradient of each example
                jax.jvp(one, (x[0], kernels[0]), (x[1], kernels[1])),
                jax.jacrev(one, (0, 1))(x[0], kernels[0]),
                jax.hessian(loss)(kernels[0][:, :1], x),
                jax.grad(scanned)(kernels),
                jax.grad(jax.checkpoint(loss))(kernels[0], x),
            )

        return jax.jit(all_of_them)(x, kernels)

    assert_close(of(conv), of(lax_conv))


def test_the_kernel_gradient_of_a_batch_is_one_product():
    """The gradient of a mean over a vmap has no kernel gradient of each example (the reason for the primitives)."""
    x, kernel = arrays((7, 6, 6, 5), (3, 3, 5, 2))
    jaxpr = jax.make_jaxpr(jax.grad(lambda kernel: jnp.mean(jax.vmap(lambda x: conv(x, kernel))(x) ** 2)))(kernel)
    shapes = [eqn.outvars[0].aval.shape for eqn in jaxpr.eqns if eqn.primitive.name == "kernel_adjoint"]
    assert shapes == [(1, 3, 3, 5, 2)]


def test_accelerators_get_plain_convolutions():
    """The lowering for CUDA has one convolution for each map, and no product of matrices."""
    x, kernel = arrays((2, 6, 6, 5), (3, 3, 5, 2))

    def gradients(kernel, x):
        return jax.grad(lambda kernel, x: jnp.sum(jax.vmap(lambda x: conv(x, kernel, 2))(x) ** 2), (0, 1))(kernel, x)

    text = jax.jit(gradients).trace(kernel, x).lower(lowering_platforms=("cuda",)).as_text()
    assert (text.count("stablehlo.convolution"), text.count("stablehlo.dot")) == (3, 0)


@pytest.mark.parametrize("primitive", ["convolve", "image_adjoint", "kernel_adjoint"])
def test_the_two_lowerings_agree(primitive):
    """Of each map, for one kernel; CI has no accelerator, so the accelerators' is called by name."""
    x, kernel, y = arrays((2, 7, 9, 6), (5, 4, 6, 3), (2, 2, 3, 3))
    spec = conv_module._Spec((7, 9), (5, 4), 3, ((2, 1), (0, 3)), None)
    given = {"convolve": (x, kernel), "image_adjoint": (y, kernel), "kernel_adjoint": (x, y)}[primitive]
    plain, on_cpu = (getattr(conv_module, f"_{primitive}{suffix}") for suffix in ("", "_cpu"))
    assert_close(jax.jit(on_cpu, static_argnums=2)(*given, spec), jax.jit(plain, static_argnums=2)(*given, spec))


def test_the_precision_is_that_of_the_call():
    """jax.default_matmul_precision around the call counts, also where the lowering comes later, outside of it."""
    x, kernel = arrays((6, 6, 5), (3, 3, 5, 2))

    def precise(x, kernel):
        with jax.default_matmul_precision("highest"):
            return conv(x, kernel)

    with jax.default_matmul_precision("default"):
        for function, precision in ((precise, "HIGHEST"), (conv, "DEFAULT")):
            assert f"precision {precision}" in jax.jit(function).lower(x, kernel).as_text()


def test_a_batch_that_is_worked_through_in_chunks():
    """The kernel gradient of a batch whose columns are too large for the cache."""
    x, kernel, y = arrays((9, 64, 32, 8), (4, 4, 8, 6), (9, 32, 16, 6))

    def gradient(conv):
        return jax.jit(jax.grad(lambda kernel: jnp.vdot(jax.vmap(lambda x: conv(x, kernel, 2))(x), y)))(kernel)

    assert_close(gradient(conv), gradient(lax_conv))


def test_eager_calls_take_other_types():
    x, kernel = arrays((5, 5, 2), (3, 3, 2, 1))
    single = conv(x.astype(jnp.float32), kernel.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, conv(x, kernel), rtol=1e-5, atol=1e-5)
    assert conv(x.astype(jnp.bfloat16), kernel.astype(jnp.float32)).dtype == jnp.float32


def test_bad_settings_are_refused():
    x, kernel = jnp.zeros((5, 5, 1)), jnp.zeros((4, 4, 1, 1))
    with pytest.raises(InputError, match="stride is 0"):
        conv(x, kernel, 0)
    with pytest.raises(InputError, match="4 x 4 does not fit into an image of 5 x 5"):
        conv(x, kernel, 1, -1)
    with pytest.raises(InputError, match="leaves -2 x -2"):
        conv_transpose(x, kernel, 1, 5)


def test_the_layers_add_their_bias(key):
    x, kernel = arrays((6, 6, 3), (4, 4, 3, 3))
    bias = jnp.array([1.0, 2.0, 3.0])
    for layer, function in ((Conv(3, 4, 2, 1), conv), (ConvTranspose(3, 4, 2, 1), conv_transpose)):
        out = layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)
        np.testing.assert_array_equal(out, function(x, kernel, 2, 1) + bias[None, None])
    assert list(jax.eval_shape(Conv(2, 3, use_bias=False).init, key, x)["params"]) == ["kernel"]


def test_the_initialisers_keep_the_variance(key):
    """lecun_normal: a kernel's variance is 1 over (its pixels times the input channels), for both layers."""
    x = jnp.zeros((1, 1, 64), jnp.float32)
    for layer in (Conv(96, 4), ConvTranspose(96, 4)):
        kernel = jax.jit(layer.init)(key, x)["params"]["kernel"]
        np.testing.assert_allclose(np.var(kernel), 1 / (4 * 4 * 64), rtol=0.02)


def small(net, *inputs):
    """Parameters that are all 0.01."""
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), jax.eval_shape(net.init, jax.random.key(0), *inputs))


def shapes_of(net, x):
    """The shape of the output, and the number of parameters."""
    out, params = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
    return out.shape, sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def test_the_reference_sizes_for_64_pixels():
    """Four convolutions of 32 channels, two dense layers of 256: the weights and biases by hand."""
    convolutions = 3 * (16 * 32 + 1) * 32
    encoder, decoder = ConvEncoder((32,) * 4, (256, 256), (2, 10)), ConvDecoder((32,) * 4, (256, 256), (64, 64, 1))
    dense = 513 * 256 + 257 * 256 + 257 * 20
    assert shapes_of(encoder, jnp.zeros((64, 64, 1))) == ((2, 10), (16 + 1) * 32 + convolutions + dense)
    dense = 11 * 256 + 257 * 256 + 257 * 512
    assert shapes_of(decoder, jnp.zeros(10)) == ((64, 64, 1), dense + convolutions + 16 * 32 + 1)


def test_the_spatial_nets_mirror_each_other():
    """Channels 5, 6 on 28 x 12 pixels: a code of 7 x 3, and the weights by hand."""
    halving, residual, last = (16 * 3 + 1) * 5 + (16 * 5 + 1) * 6, 2 * ((9 * 6 + 1) * 6 + 7 * 6), 7 * 4
    encoder, decoder = SpatialEncoder((5, 6), 2, 4), SpatialDecoder((6, 5), 2, (28, 12, 3))
    assert shapes_of(encoder, jnp.zeros((28, 12, 3))) == ((7, 3, 4), halving + residual + last)
    doubling, first = (16 * 6 + 1) * 5 + (16 * 5 + 1) * 3, 5 * 6
    assert shapes_of(decoder, jnp.zeros((7, 3, 4))) == ((28, 12, 3), first + residual + doubling)


def test_a_code_depends_on_the_pixels_around_it():
    """By gradient: two halvings by kernels of 4 see 10 pixels, a residual block 8 more, so code i sees 4i − 7 … 4i + 10."""
    x = jnp.zeros((32, 32, 1))
    encoder = SpatialEncoder((2, 3), 1, 1, jnp.tanh)
    params = small(encoder, x)
    slope = jax.jit(jax.grad(lambda x: encoder.apply(params, x)[4, 3, 0]))(x)[:, :, 0]
    rows, columns = (np.flatnonzero(np.any(slope != 0, axis=axis)) for axis in (1, 0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (16 - 7, 16 + 10, 12 - 7, 12 + 10)


def test_a_context_reaches_encoder_and_decoder():
    context = jnp.arange(3.0)
    for net, x in ((ConvEncoder((2,), (), (3,)), jnp.ones((8, 8, 1))), (ConvDecoder((2,), (), (8, 8, 1)), jnp.ones(2))):
        params = small(net, x, context)
        outputs = jax.jit(jax.vmap(net.apply, in_axes=(None, None, 0)))(params, x, jnp.stack([context, context + 1]))
        assert np.all(outputs[0] != outputs[1])


def test_images_that_cannot_be_halved_are_refused(key):
    advice = "An image of 30 x 28 cannot be halved 2 times.*a multiple of 4 .*the next is 32 x 28"
    for net, x in (
        (ConvEncoder((2, 2), (), (1,)), jnp.zeros((30, 28, 1))),
        (SpatialEncoder((2, 2), 0, 1), jnp.zeros((30, 28, 1))),
        (ConvDecoder((2, 2), (), (30, 28, 1)), jnp.zeros(3)),
        (SpatialDecoder((2, 2), 0, (30, 28, 1)), jnp.zeros((7, 7, 1))),
    ):
        with pytest.raises(InputError, match=advice):
            net.init(key, x)
    with pytest.raises(InputError, match="The code is 7 x 7: an image of 32 x 28 halved 2 times is 8 x 7"):
        SpatialDecoder((2, 2), 0, (32, 28, 1)).init(key, jnp.zeros((7, 7, 1)))
