"""Convolutional layers, and networks for one image [height, width, channels]: encoders that halve it, decoders that double it.

`ConvEncoder` and `ConvDecoder` are those of Burgess et al. (2018, arXiv:1804.03599); `SpatialEncoder` and `SpatialDecoder`, which
keep the code an image, those of van den Oord et al. (2017, arXiv:1711.00937).
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
    """`gen_jax.nets.conv.conv` of one image, or of each image of a batch, plus a bias.

    Attributes:
        features: the channels of the output.
        kernel_size: the height and the width of the kernel.
        stride: the step of the kernel, in pixels.
        padding: zeros around the image; see `conv`.
        use_bias: adds a bias to each channel.
        kernel_init: the initialiser of the kernel [height, width, in, out].
    """

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


class ConvTranspose(nn.Module):
    """`gen_jax.nets.conv.conv_transpose` of one image, or of each image of a batch, plus a bias.

    Attributes:
        features: the channels of the output.
        kernel_size: the height and the width of the kernel.
        stride: the step of the kernel, in pixels of the output.
        padding: rows and columns removed from the output; see `conv_transpose`.
        use_bias: adds a bias to each channel.
        kernel_init: the initialiser of the kernel [height, width, *out*, *in*], that of the convolution whose adjoint this is.
            (An initialiser that depends on the fan-in needs in_axis=-1, out_axis=-2.)
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)

    @nn.compact
    def __call__(self, x: Float[Array, "*batch H W I"]) -> Float[Array, "*batch P Q O"]:
        """Return the transposed convolution."""
        kernel = self.param("kernel", self.kernel_init, (self.kernel_size, self.kernel_size, self.features, x.shape[-1]))
        return _add_bias(self, conv_transpose(x, kernel, self.stride, self.padding))


def _add_bias(layer: Conv | ConvTranspose, y: Float[Array, "*batch P Q O"]) -> Float[Array, "*batch P Q O"]:
    if not layer.use_bias:
        return y
    bias = layer.param("bias", nn.initializers.zeros_init(), (layer.features,))
    return y + jnp.expand_dims(bias, range(y.ndim - 1))


class ConvEncoder(nn.Module):
    """Convolutions that each halve the image (kernel 4, stride 2), then dense layers: the mirror of `ConvDecoder`.

    The reference for 64 x 64 pixels: `ConvEncoder((32, 32, 32, 32), (256, 256), (2, Z))`, which returns μ and log σ².

    Attributes:
        channels: the channels after each convolution.
        hidden_sizes: the width of each hidden dense layer.
        output_shape: the shape of the output, which has no activation; None to return the last hidden layer, with its activation.
        activation: applied after each layer but the last.
    """

    channels: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    output_shape: tuple[int, ...] | None
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"], context: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """Return the output for one image; a `context` is appended to the flattened image after the convolutions.

        Raises:
            InputError: the image cannot be halved once for each of `channels`.
        """
        halved_size(x.shape[:2], len(self.channels))
        for features in self.channels:
            x = self.activation(Conv(features, 4, 2)(x))
        return MLP(self.hidden_sizes, self.output_shape, self.activation)(x, context)


class ConvDecoder(nn.Module):
    """Dense layers, then transposed convolutions that each double the image (kernel 4, stride 2): the mirror of `ConvEncoder`.

    The reference for 64 x 64 pixels: `ConvDecoder((32, 32, 32, 32), (256, 256), (64, 64, 1))`.

    Attributes:
        channels: the channels before each transposed convolution.
        hidden_sizes: the width of each hidden dense layer.
        event_shape: the (height, width, channels) of the output, which has no activation.
        activation: applied after each layer but the last.
    """

    channels: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    event_shape: tuple[int, int, int]
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, z: Float[Array, "*latent"], context: Float[Array, "..."] | None = None) -> Float[Array, "H W C"]:
        """Return the image for one z; a `context` is appended to it.

        Raises:
            InputError: the image cannot be halved once for each of `channels`.
        """
        height, width = halved_size(self.event_shape[:2], len(self.channels))
        h = MLP(self.hidden_sizes, (height, width, self.channels[0]), self.activation)(z, context)
        for features in (*self.channels[1:], self.event_shape[2]):
            h = ConvTranspose(features, 4, 2)(self.activation(h))
        return h


class SpatialEncoder(nn.Module):
    """Convolutions that each halve the image, residual blocks, and a 1 x 1 convolution: the mirror of `SpatialDecoder`.

    Attributes:
        channels: the channels after each halving convolution; the residual blocks keep the last of them.
        num_residual: the number of residual blocks.
        features: the channels of the code.
        activation: applied after each layer but the last.
    """

    channels: tuple[int, ...]
    num_residual: int
    features: int
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w F"]:
        """Return the code of one image, [H/2ⁿ, W/2ⁿ, features] for n `channels`.

        Raises:
            InputError: the image cannot be halved once for each of `channels`.
        """
        halved_size(x.shape[:2], len(self.channels))
        for features in self.channels:
            x = self.activation(Conv(features, 4, 2)(x))
        for _ in range(self.num_residual):
            x = ResidualBlock(self.activation)(x)
        return Conv(self.features, 1)(self.activation(x))


class SpatialDecoder(nn.Module):
    """A 1 x 1 convolution, residual blocks, transposed convolutions that each double the image: the mirror of `SpatialEncoder`.

    Attributes:
        channels: the channels before each transposed convolution; the residual blocks keep the first of them.
        num_residual: the number of residual blocks.
        event_shape: the (height, width, channels) of the output, which has no activation.
        activation: applied before each layer but the first.
    """

    channels: tuple[int, ...]
    num_residual: int
    event_shape: tuple[int, int, int]
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, z: Float[Array, "h w F"]) -> Float[Array, "H W C"]:
        """Return the image of one code.

        Raises:
            InputError: the image cannot be halved once for each of `channels`, or the code has another size than that.
        """
        size = halved_size(self.event_shape[:2], len(self.channels))
        if z.shape[:2] != size:
            raise InputError(
                f"The code is {z.shape[0]} x {z.shape[1]}: an image of {self.event_shape[0]} x {self.event_shape[1]} halved "
                f"{len(self.channels)} times is {size[0]} x {size[1]}. Give channels as long as the encoder's."
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
    """Return the height and width of an image halved so many times.

    Raises:
        InputError: a height or width does not divide.
    """
    height, width = size
    if height % 2**times or width % 2**times:
        padded = " x ".join(str(max(1, math.ceil(n / 2**times)) * 2**times) for n in size)
        raise InputError(
            f"An image of {height} x {width} cannot be halved {times} times: give fewer channels, or pad or crop the image to a "
            f"multiple of {2**times} (the next is {padded})."
        )
    return height // 2**times, width // 2**times
