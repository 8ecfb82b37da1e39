"""The networks of generative adversarial networks on images [batch, height, width, channels], whose values are on [−1, 1].

DCGAN: Radford et al. 2016 (arXiv:1511.06434). Residual: Gulrajani et al. 2017 (arXiv:1704.00028), and with spectral
normalisation Miyato et al. 2018 (arXiv:1802.05957).
"""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.conv_nets import ConvTranspose, halved_size
from gen_jax.nets.gan_nets import BATCH_NORM_MOMENTUM, DiscriminatorHead
from gen_jax.nets.spectral import BatchConv
from gen_jax.types import Array, DiscriminatorOutput, InputError

BatchConvTranspose = nn.vmap(ConvTranspose, variable_axes={"params": None}, split_rngs={"params": False})
"""`ConvTranspose` of each image of a batch, with one kernel and bias."""

dcgan_init = nn.initializers.normal(0.02)
# twice the variance of the other layers', for the half that a ReLU takes away
he_init = nn.initializers.he_normal()


class DCGANGenerator(nn.Module):
    """A dense layer to a small image, then transposed convolutions that each double it: the mirror of `DCGANDiscriminator`.

    There is one doubling for each of the channels, so their number n goes with the image, whose height and width 2ⁿ divides:

        28 x 28: 7 → 14 → 28,           `DCGANGenerator((128, 64), (28, 28, 1))`
        32 x 32: 4 → 8 → 16 → 32,       `DCGANGenerator((256, 128, 64), (32, 32, 3))`
        64 x 64: 4 → 8 → 16 → 32 → 64,  `DCGANGenerator((1024, 512, 256, 128), (64, 64, 3))`, with the paper's channels

    Kernels of 4 x 4, a stride of 2, and a padding that takes 1 row or column from every side of the output. A batch norm and a
    ReLU after each layer but the last, which has a tanh instead. Weights ~ N(0, 0.02²), biases 0; a layer before a batch norm
    has no bias.

    A transposed convolution here is `gen_jax.nets.ConvTranspose`, the adjoint of `Conv` with the same kernel: each pixel stamps
    the kernel [height, width, out, in] as it is. `jax.lax.conv_transpose` and `flax.linen.ConvTranspose` do not flip theirs, by
    default: they convolve with it the image spread out by zeros, so that each pixel stamps it turned by 180°. Fresh weights are
    as likely either way; weights that were trained elsewhere want care.

    Attributes:
        channels: the channels before each transposed convolution.
        event_shape: the (height, width, channels) of the images.
        batch_norm: whether there is one.
    """

    channels: tuple[int, ...]
    event_shape: tuple[int, int, int]
    batch_norm: bool = True

    @nn.compact
    def __call__(self, z: Float[Array, "B Z"], train: bool) -> Float[Array, "B H W C"]:
        """Return an image for each z.

        Raises:
            InputError: the image cannot be halved once for each of `channels`.
        """
        height, width = _smallest_size(self.event_shape, len(self.channels))
        bias = not self.batch_norm
        up = functools.partial(BatchConvTranspose, kernel_size=4, stride=2, padding=1, kernel_init=dcgan_init)
        h = nn.Dense(height * width * self.channels[0], use_bias=bias, kernel_init=dcgan_init)(z)
        h = h.reshape(len(z), height, width, self.channels[0])
        for features in self.channels[1:]:
            h = up(features, use_bias=bias)(nn.relu(_batch_norm(h, train, self.batch_norm)))
        return jnp.tanh(up(self.event_shape[2])(nn.relu(_batch_norm(h, train, self.batch_norm))))


class DCGANDiscriminator(nn.Module):
    """Convolutions that each halve the image, then a dense layer to a logit: the mirror of `DCGANGenerator`.

    There is one halving for each of the channels, so their number n goes with the image, whose height and width 2ⁿ divides:

        28 x 28: 28 → 14 → 7,           `DCGANDiscriminator((64, 128))`
        32 x 32: 32 → 16 → 8 → 4,       `DCGANDiscriminator((64, 128, 256))`
        64 x 64: 64 → 32 → 16 → 8 → 4,  `DCGANDiscriminator((128, 256, 512, 1024))`

    Kernels of 4 x 4, a stride of 2, a padding by 1 zero on every side. A batch norm after each convolution but the first, and a
    leaky ReLU, of slope 0.2 below 0, after each. Weights ~ N(0, 0.02²), biases 0; a layer before a batch norm has no bias.

    Attributes:
        channels: the channels after each convolution.
        batch_norm: whether there is one. A gradient penalty wants none, and spectral normalisation needs none.
        spectral_norm: divides every kernel, the dense one too, by its largest singular value; see `SpectralNorm`.
        classes: of an auxiliary classifier; see `DiscriminatorHead`.
    """

    channels: tuple[int, ...]
    batch_norm: bool = True
    spectral_norm: bool = False
    classes: int | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], context: Float[Array, "B C"] | None = None, train: bool = False
    ) -> DiscriminatorOutput:
        """Return a verdict on each image [height, width, channels].

        Raises:
            InputError: the image cannot be halved once for each of `channels`, or is none.
        """
        _smallest_size(x.shape[1:], len(self.channels))
        conv = functools.partial(BatchConv, spectral_norm=self.spectral_norm, kernel_init=dcgan_init)
        h = x
        for i, features in enumerate(self.channels):
            norm = self.batch_norm and i > 0
            h = conv(features, 4, 2, 1, use_bias=not norm)(h, train)
            h = nn.leaky_relu(_batch_norm(h, train, norm), 0.2)
        return DiscriminatorHead(self.classes, self.spectral_norm, dcgan_init)(h.reshape(len(h), -1), context, train)


class ResidualGenerator(nn.Module):
    """A dense layer to a small image, three blocks that each double it (`UpBlock`), batch norm, ReLU, 3 x 3 convolution, tanh.

    For 32 x 32 the image goes 4 → 8 → 16 → 32; any height and width do that 8 divides. `ResidualGenerator(128, (32, 32, 3))` has
    the size of that of Gulrajani et al., with 256 for the width that of Miyato et al.

    Attributes:
        width: the channels of every block.
        event_shape: the (height, width, channels) of the images.
    """

    width: int
    event_shape: tuple[int, int, int]

    @nn.compact
    def __call__(self, z: Float[Array, "B Z"], train: bool) -> Float[Array, "B H W C"]:
        """Return an image for each z.

        Raises:
            InputError: the image cannot be halved three times.
        """
        height, width = _smallest_size(self.event_shape, 3)
        h = nn.Dense(height * width * self.width)(z).reshape(len(z), height, width, self.width)
        for _ in range(3):
            h = UpBlock(self.width)(h, train)
        return jnp.tanh(BatchConv(self.event_shape[2], 3)(nn.relu(_batch_norm(h, train)), train))


class ResidualDiscriminator(nn.Module):
    """Two blocks that each halve the image and two that keep its size (`DownBlock`), ReLU, pooling over pixels, a dense layer.

    For 32 x 32 the image goes 32 → 16 → 8 → 8 → 8; any height and width do that 4 divides. The pooled features are the *mean*
    over pixels (Gulrajani et al.), but the *sum* with spectral normalisation (Miyato et al.), which could not make up for small
    features by a large last kernel. There is no batch norm. `ResidualDiscriminator(128)` has the size of those of both papers.

    Attributes:
        width: the channels of every block.
        spectral_norm: divides every kernel, the dense one too, by its largest singular value; see `SpectralNorm`.
        classes: of an auxiliary classifier; see `DiscriminatorHead`.
    """

    width: int
    spectral_norm: bool = False
    classes: int | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B ..."], context: Float[Array, "B C"] | None = None, train: bool = False
    ) -> DiscriminatorOutput:
        """Return a verdict on each image [height, width, channels].

        Raises:
            InputError: the image cannot be halved twice, or is none.
        """
        _smallest_size(x.shape[1:], 2)
        h = DownBlock(self.width, halve=True, activate=False, spectral_norm=self.spectral_norm)(x, train)
        h = DownBlock(self.width, halve=True, spectral_norm=self.spectral_norm)(h, train)
        for _ in range(2):
            h = DownBlock(self.width, spectral_norm=self.spectral_norm)(h, train)
        pool = jnp.sum if self.spectral_norm else jnp.mean
        return DiscriminatorHead(self.classes, self.spectral_norm)(pool(nn.relu(h), axis=(1, 2)), context, train)


class UpBlock(nn.Module):
    """x ↦ up(conv₁(x)) + conv₃(r(conv₃(up(r(x))))), which doubles the image: r is batch norm and ReLU, up is `upsample`.

    Attributes:
        features: the channels of the output.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], train: bool) -> Float[Array, "B P Q O"]:
        """Return the output for each image."""
        h = upsample(nn.relu(_batch_norm(x, train)))
        h = BatchConv(self.features, 3, use_bias=False, kernel_init=he_init)(h, train)
        h = BatchConv(self.features, 3, kernel_init=he_init)(nn.relu(_batch_norm(h, train)), train)
        # a 1 x 1 convolution of repeated pixels is the repeated convolution, for a quarter of the products
        return upsample(BatchConv(self.features, 1, use_bias=False)(x, train)) + h


class DownBlock(nn.Module):
    """x ↦ conv₁(down(x)) + down(conv₃(r(conv₃(r(x))))), which halves the image: r is a ReLU, down is `mean_pool`.

    Attributes:
        features: the channels of the output.
        halve: if not, the block is x ↦ x + conv₃(r(conv₃(r(x)))), and `features` are the channels of x.
        activate: whether the inner r is there; the first block does without, to see what is below 0 in the image.
        spectral_norm: divides each kernel by its largest singular value; see `SpectralNorm`.
    """

    features: int
    halve: bool = False
    activate: bool = True
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], train: bool) -> Float[Array, "B P Q O"]:
        """Return the output for each image."""
        conv = functools.partial(BatchConv, spectral_norm=self.spectral_norm)
        h = conv(self.features, 3, kernel_init=he_init)(nn.relu(x) if self.activate else x, train)
        h = conv(self.features, 3, kernel_init=he_init)(nn.relu(h), train)
        if not self.halve:
            return x + h
        return conv(self.features, 1, use_bias=False)(mean_pool(x), train) + mean_pool(h)


def upsample(x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
    """Return images of twice the height and width: each pixel becomes 2 x 2 (nearest neighbour)."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def mean_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
    """Return images of half the height and width: the mean of every 2 x 2 pixels."""
    num, height, width, channels = x.shape
    return x.reshape(num, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def _batch_norm(h: Float[Array, "B H W C"], train: bool, wanted: bool = True) -> Float[Array, "B H W C"]:
    return nn.BatchNorm(use_running_average=not train, momentum=BATCH_NORM_MOMENTUM)(h) if wanted else h


def _smallest_size(shape: tuple[int, ...], times: int) -> tuple[int, int]:
    """Return the height and width of an image halved so often."""
    if len(shape) != 3 or math.prod(shape) < 1:
        raise InputError(f"The images have shape {shape}: give (height, width, channels), such as (32, 32, 3).")
    return halved_size(shape[:2], times)
