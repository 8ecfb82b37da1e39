"""Generators and discriminators of images [batch, height, width, channels] with values in [−1, 1].

DCGAN: Radford et al. 2016 (arXiv:1511.06434). Residual: Gulrajani et al. 2017 (arXiv:1704.00028), and with spectral
normalisation Miyato et al. 2018 (arXiv:1802.05957). All raise an InputError if the image cannot be halved as often as the network
needs, or if the input is not a batch of images. `spectral_norm` and `classes` are explained in `gen_jax.nets.gan_nets`.
"""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.conv_nets import Conv, ConvTranspose, halved_size
from gen_jax.nets.gan_nets import Context, DiscriminatorHead, apply_layer, batch_norm
from gen_jax.types import Array, DiscriminatorOutput, InputError

dcgan_init = nn.initializers.normal(0.02)
he_init = nn.initializers.he_normal()  # twice the variance of lecun_normal, because a ReLU zeroes half of its input


class DCGANGenerator(nn.Module):
    """A dense layer to a small image, then transposed convolutions that each double it: the mirror of `DCGANDiscriminator`.

        28 x 28: 7 → 14 → 28,           `DCGANGenerator((128, 64), (28, 28, 1))`
        32 x 32: 4 → 8 → 16 → 32,       `DCGANGenerator((256, 128, 64), (32, 32, 3))`
        64 x 64: 4 → 8 → 16 → 32 → 64,  `DCGANGenerator((1024, 512, 256, 128), (64, 64, 3))`, with the paper's channels

    Kernels are 4 x 4, with stride 2 and padding 1. Batch norm and a ReLU follow each layer but the last, which has a tanh.
    Weights ~ N(0, 0.02²), biases 0; a layer before a batch norm has no bias.

    Attributes:
        channels: the input channels of each transposed convolution; n of them double the image n times.
        event_shape: (height, width, channels) of the images.
        batch_norm: whether to use batch norm.
    """

    channels: tuple[int, ...]
    event_shape: tuple[int, int, int]
    batch_norm: bool = True

    @nn.compact
    def __call__(self, z: Float[Array, "B Z"], train: bool) -> Float[Array, "B H W C"]:
        """Return an image for each z."""
        height, width = _smallest_size(self.event_shape, len(self.channels))
        bias = not self.batch_norm
        up = functools.partial(ConvTranspose, kernel_size=4, stride=2, padding=1, kernel_init=dcgan_init)
        norm = functools.partial(batch_norm, train=train) if self.batch_norm else lambda h: h
        h = nn.Dense(height * width * self.channels[0], use_bias=bias, kernel_init=dcgan_init)(z)
        h = h.reshape(len(z), height, width, self.channels[0])
        for features in self.channels[1:]:
            h = up(features, use_bias=bias)(nn.relu(norm(h)))
        return jnp.tanh(up(self.event_shape[2])(nn.relu(norm(h))))


class DCGANDiscriminator(nn.Module):
    """Convolutions that each halve the image, then a `DiscriminatorHead`: the mirror of `DCGANGenerator`.

        28 x 28: 28 → 14 → 7,           `DCGANDiscriminator((64, 128))`
        32 x 32: 32 → 16 → 8 → 4,       `DCGANDiscriminator((64, 128, 256))`
        64 x 64: 64 → 32 → 16 → 8 → 4,  `DCGANDiscriminator((128, 256, 512, 1024))`

    Kernels are 4 x 4, with stride 2 and padding 1. Batch norm follows each convolution but the first, then a leaky ReLU of
    negative slope 0.2. Weights ~ N(0, 0.02²), biases 0; a layer before a batch norm has no bias.

    Attributes:
        channels: the output channels of each convolution; n of them halve the image n times.
        batch_norm: whether to use batch norm. Do not combine it with a gradient penalty; spectral normalisation replaces it.
        spectral_norm: whether to normalise every kernel.
        classes: those of an auxiliary classifier.
    """

    channels: tuple[int, ...]
    batch_norm: bool = True
    spectral_norm: bool = False
    classes: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B ..."], context: Context = None, train: bool = False) -> DiscriminatorOutput:
        """Return a logit for each image [height, width, channels]."""
        _smallest_size(x.shape[1:], len(self.channels))
        h = x
        for i, features in enumerate(self.channels):
            norm = self.batch_norm and i > 0
            h = apply_layer(Conv(features, 4, 2, 1, use_bias=not norm, kernel_init=dcgan_init), h, train, self.spectral_norm)
            h = nn.leaky_relu(batch_norm(h, train) if norm else h, 0.2)
        return DiscriminatorHead(self.classes, self.spectral_norm, dcgan_init)(h.reshape(len(h), -1), context, train)


class ResidualGenerator(nn.Module):
    """A dense layer to a small image, three blocks that each double it (`UpBlock`), batch norm, ReLU, 3 x 3 convolution, tanh.

    For 32 x 32 the sizes are 4 → 8 → 16 → 32. Every block has `width` channels: 128 in Gulrajani et al., 256 in Miyato et al.
    """

    width: int
    event_shape: tuple[int, int, int]

    @nn.compact
    def __call__(self, z: Float[Array, "B Z"], train: bool) -> Float[Array, "B H W C"]:
        """Return an image for each z."""
        height, width = _smallest_size(self.event_shape, 3)
        h = nn.Dense(height * width * self.width)(z).reshape(len(z), height, width, self.width)
        for _ in range(3):
            h = UpBlock(self.width)(h, train)
        return jnp.tanh(Conv(self.event_shape[2], 3)(nn.relu(batch_norm(h, train))))


class ResidualDiscriminator(nn.Module):
    """Two blocks that halve the image, two that keep its size (`DownBlock`), ReLU, pooling over pixels, a `DiscriminatorHead`.

    For 32 x 32 the sizes are 32 → 16 → 8 → 8 → 8. Pooling is the *mean* over pixels (Gulrajani et al.), but the *sum* with
    spectral normalisation (Miyato et al.), where the last kernel cannot grow to compensate for small features. There is no batch
    norm. Every block has `width` channels: 128 in both papers.
    """

    width: int
    spectral_norm: bool = False
    classes: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B ..."], context: Context = None, train: bool = False) -> DiscriminatorOutput:
        """Return a logit for each image [height, width, channels]."""
        _smallest_size(x.shape[1:], 2)
        h = DownBlock(self.width, halve=True, activate=False, spectral_norm=self.spectral_norm)(x, train)
        h = DownBlock(self.width, halve=True, spectral_norm=self.spectral_norm)(h, train)
        for _ in range(2):
            h = DownBlock(self.width, spectral_norm=self.spectral_norm)(h, train)
        pool = jnp.sum if self.spectral_norm else jnp.mean
        return DiscriminatorHead(self.classes, self.spectral_norm)(pool(nn.relu(h), axis=(1, 2)), context, train)


class UpBlock(nn.Module):
    """x ↦ up(conv₁(x)) + conv₃(r(conv₃(up(r(x))))) with `features` channels; r is batch norm and ReLU, up is `upsample`."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], train: bool) -> Float[Array, "B P Q O"]:
        """Return the output for each image."""
        h = upsample(nn.relu(batch_norm(x, train)))
        h = Conv(self.features, 3, use_bias=False, kernel_init=he_init)(h)
        h = Conv(self.features, 3, kernel_init=he_init)(nn.relu(batch_norm(h, train)))
        # a 1 x 1 convolution commutes with upsampling, and costs a quarter before it
        return upsample(Conv(self.features, 1, use_bias=False)(x)) + h


class DownBlock(nn.Module):
    """x ↦ conv₁(down(x)) + down(conv₃(r(conv₃(r(x))))), where r is a ReLU and down is 2 x 2 average pooling.

    Attributes:
        features: the number of output channels.
        halve: if False, the block is x ↦ x + conv₃(r(conv₃(r(x)))), and x must have `features` channels.
        activate: whether to apply the inner r; the first block does not, to keep the negative values of the image.
        spectral_norm: whether to normalise every kernel.
    """

    features: int
    halve: bool = False
    activate: bool = True
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], train: bool) -> Float[Array, "B P Q O"]:
        """Return the output for each image."""
        apply = functools.partial(apply_layer, train=train, spectral_norm=self.spectral_norm)
        h = apply(Conv(self.features, 3, kernel_init=he_init), nn.relu(x) if self.activate else x)
        h = apply(Conv(self.features, 3, kernel_init=he_init), nn.relu(h))
        if not self.halve:
            return x + h
        down = functools.partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2))
        return apply(Conv(self.features, 1, use_bias=False), down(x)) + down(h)


def upsample(x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
    """Return images of twice the height and width, by nearest neighbours."""
    # jax.image.resize(method="nearest") is 2 to 5 times slower on a CPU
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def _smallest_size(shape: tuple[int, ...], times: int) -> tuple[int, int]:
    if len(shape) != 3 or math.prod(shape) < 1:
        raise InputError(f"The images have shape {shape}: give (height, width, channels), such as (32, 32, 3).")
    return halved_size(shape[:2], times)
