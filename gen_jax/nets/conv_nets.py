"""Convolutional layers, and encoders and decoders for one image [height, width, channels].

`ConvEncoder` and `ConvDecoder`: Burgess et al. 2018 (arXiv:1804.03599). `SpatialEncoder` and `SpatialDecoder`, whose code is an
image: van den Oord et al. 2017 (arXiv:1711.00937). For each entry of `channels`, an encoder has a convolution that halves the
image (kernel 4, stride 2), and a decoder a transposed one that doubles it. All four raise an InputError if the image cannot be
halved that many times.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.conv import Padding, conv, conv_transpose
from gen_jax.nets.mlp import MLP, Initializer
from gen_jax.types import Array, InputError


class Conv(nn.Module):
    """`gen_jax.nets.conv.conv` of one image or a batch of images, plus a bias; `kernel_init` is for [height, width, in, out]."""

    features: int
    kernel_size: int
    stride: int = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "*batch H W I"]) -> Float[Array, "*batch P Q O"]:
        """Return the convolution."""
        kernel = self.param("kernel", self.kernel_init, (self.kernel_size, self.kernel_size, x.shape[-1], self.features))
        return _add_bias(self, conv(x, kernel, self.stride, self.padding))


class ConvTranspose(Conv):
    """`gen_jax.nets.conv.conv_transpose` of one image or a batch of images, plus a bias; the attributes are those of `Conv`.

    `kernel_init` is for [height, width, *out*, *in*], the kernel of the convolution whose adjoint this is. An initialiser that
    depends on the fan-in needs in_axis=-1, out_axis=-2.
    """

    kernel_init: Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)

    @nn.compact
    def __call__(self, x: Float[Array, "*batch H W I"]) -> Float[Array, "*batch P Q O"]:
        """Return the transposed convolution."""
        kernel = self.param("kernel", self.kernel_init, (self.kernel_size, self.kernel_size, self.features, x.shape[-1]))
        return _add_bias(self, conv_transpose(x, kernel, self.stride, self.padding))


def _add_bias(layer: Conv, y: Float[Array, "*batch P Q O"]) -> Float[Array, "*batch P Q O"]:
    if not layer.use_bias:
        return y
    bias = layer.param("bias", nn.initializers.zeros_init(), (layer.features,))
    return y + jnp.expand_dims(bias, range(y.ndim - 1))


class ConvEncoder(nn.Module):
    """Convolutions with `channels` outputs, then an `MLP` of `hidden_sizes` to `output_shape`: the mirror of `ConvDecoder`.

    The activation follows each layer but the last. The reference for 64 x 64 pixels is
    `ConvEncoder((32, 32, 32, 32), (256, 256), (2, Z))`, which returns μ and log σ².
    """

    channels: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    output_shape: tuple[int, ...] | None
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"], context: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """Return the output for one image; a `context` is appended to the input of the MLP."""
        halved_size(x.shape[:2], len(self.channels))
        for features in self.channels:
            x = self.activation(Conv(features, 4, 2)(x))
        return MLP(self.hidden_sizes, self.output_shape, self.activation)(x, context)


class ConvDecoder(nn.Module):
    """An `MLP` of `hidden_sizes`, then transposed convolutions with `channels` inputs: the mirror of `ConvEncoder`.

    The activation follows each layer but the last. The reference for 64 x 64 pixels is
    `ConvDecoder((32, 32, 32, 32), (256, 256), (64, 64, 1))`.
    """

    channels: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    event_shape: tuple[int, int, int]
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, z: Float[Array, "*latent"], context: Float[Array, "..."] | None = None) -> Float[Array, "H W C"]:
        """Return the image for one z; a `context` is appended to the input of the MLP."""
        height, width = halved_size(self.event_shape[:2], len(self.channels))
        h = MLP(self.hidden_sizes, (height, width, self.channels[0]), self.activation)(z, context)
        for features in (*self.channels[1:], self.event_shape[2]):
            h = ConvTranspose(features, 4, 2)(self.activation(h))
        return h


class SpatialEncoder(nn.Module):
    """Convolutions with `channels` outputs, residual blocks, and a 1 x 1 convolution: the mirror of `SpatialDecoder`.

    The code is [H/2ⁿ, W/2ⁿ, features] for n entries of `channels`; the residual blocks have the last of these.
    """

    channels: tuple[int, ...]
    num_residual: int
    features: int
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w F"]:
        """Return the code of one image."""
        halved_size(x.shape[:2], len(self.channels))
        for features in self.channels:
            x = self.activation(Conv(features, 4, 2)(x))
        for _ in range(self.num_residual):
            x = ResidualBlock(self.activation)(x)
        return Conv(self.features, 1)(self.activation(x))


class SpatialDecoder(nn.Module):
    """A 1 x 1 convolution, residual blocks, and transposed convolutions with `channels` inputs: the mirror of `SpatialEncoder`.

    The residual blocks have the first entry of `channels`.
    """

    channels: tuple[int, ...]
    num_residual: int
    event_shape: tuple[int, int, int]
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, z: Float[Array, "h w F"]) -> Float[Array, "H W C"]:
        """Return the image for one code."""
        size = halved_size(self.event_shape[:2], len(self.channels))
        if z.shape[:2] != size:
            raise InputError(
                f"The code is {z.shape[0]} x {z.shape[1]}: an image of {self.event_shape[0]} x {self.event_shape[1]} halved "
                f"{len(self.channels)} times is {size[0]} x {size[1]}. Give `channels` as many entries as the encoder has."
            )
        h = Conv(self.channels[0], 1)(z)
        for _ in range(self.num_residual):
            h = ResidualBlock(self.activation)(h)
        for features in (*self.channels[1:], self.event_shape[2]):
            h = ConvTranspose(features, 4, 2)(self.activation(h))
        return h


class ResidualBlock(nn.Module):
    """x ↦ x + conv₁(a(conv₃(a(x)))), with kernels of 3 x 3 and 1 x 1 and the activation a."""

    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Return the output for one image."""
        h = Conv(x.shape[2], 3)(self.activation(x))
        return x + Conv(x.shape[2], 1)(self.activation(h))


def halved_size(size: tuple[int, ...], times: int) -> tuple[int, int]:
    """Return the height and width of an image after `times` halvings.

    Raises:
        InputError: 2^times does not divide both.
    """
    height, width = size
    factor = 2**times
    if height % factor or width % factor:
        padded = " x ".join(str(max(1, math.ceil(n / factor)) * factor) for n in size)
        raise InputError(
            f"An image of {height} x {width} cannot be halved {times} times: give fewer channels, or pad or crop the image to a "
            f"multiple of {factor} (the next is {padded})."
        )
    return height // factor, width // factor
