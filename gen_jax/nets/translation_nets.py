"""Generators and discriminators of image translation (CycleGAN, Zhu et al. 2017, arXiv:1703.10593), images in [−1, 1].

Every layer acts on each image alone, instance norm too, so that the networks take one image or a batch of them, and have no
state. Instance norm has no learned scale and bias, as in the authors' code; a layer before it has no bias, which would have no
effect. Weights ~ N(0, 0.02²).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.conv_nets import Conv, ConvTranspose, halved_size
from gen_jax.nets.gan_images import dcgan_init
from gen_jax.types import Array, InputError

_LOW = ((1, 0), (1, 0))
"""Of an even image at stride 2: what PyTorch's padding of 1 comes to, with an output padding of 1 on the way back."""
_conv = functools.partial(Conv, use_bias=False, kernel_init=dcgan_init)


class TranslationGenerator(nn.Module):
    """The residual generator: c7s1-64, d128, d256, R256 × 6 or 9, u128, u64, c7s1-C of the paper, and a tanh.

        c7s1-k  7 x 7 convolution, stride 1, reflection padding, instance norm, ReLU (the last: no norm, tanh)
        dk      3 x 3 convolution, stride 2, instance norm, ReLU
        Rk      x ↦ x + n(conv₃(r(n(conv₃(x))))), with reflection padding, instance norm n, ReLU r
        uk      3 x 3 transposed convolution, stride 2, instance norm, ReLU

    Attributes:
        channels: of the image that it makes; those of its input may be others.
        width: channels of the first layer; 64 in the paper.
        num_halvings: d layers, each of which doubles the channels, and u layers; 2 in the paper.
        num_blocks: R layers; in the paper 6 for images of 128 x 128, 9 for larger ones.
    """

    channels: int
    width: int = 64
    num_halvings: int = 2
    num_blocks: int = 9

    @nn.compact
    def __call__(self, x: Float[Array, "*batch H W I"]) -> Float[Array, "*batch H W C"]:
        """Return the translation of each image.

        Raises:
            InputError: the image cannot be halved so often, or is one pixel then.
        """
        if min(halved_size(x.shape[-3:-1], self.num_halvings)) < 2:
            raise InputError(
                f"An image of {x.shape[-3]} x {x.shape[-2]} halved {self.num_halvings} times is one pixel, which instance norm "
                "makes 0: halve it less often."
            )
        norm = lambda h: nn.relu(instance_norm(h))
        widths = [self.width * 2**i for i in range(self.num_halvings + 1)]
        h = norm(_conv(self.width, 7, padding=0)(reflection_padding(x, 3)))
        for features in widths[1:]:
            h = norm(_conv(features, 3, 2, _LOW)(h))
        # one loop: any number of blocks compiles like one
        blocks = nn.scan(_Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.num_blocks)
        h, _ = blocks()(h, None)
        for features in widths[-2::-1]:
            h = norm(ConvTranspose(features, 3, 2, _LOW, use_bias=False, kernel_init=dcgan_init)(h))
        return jnp.tanh(_conv(self.channels, 7, padding=0, use_bias=True)(reflection_padding(h, 3)))


class _Block(nn.Module):
    """x ↦ x + n(conv₃(r(n(conv₃(x))))) as the body of a loop over blocks, which carries x."""

    @nn.compact
    def __call__(self, x: Float[Array, "*batch H W C"], _: None) -> tuple[Float[Array, "*batch H W C"], None]:
        first, second = (_conv(x.shape[-1], 3, padding=0) for _ in range(2))
        h = nn.relu(instance_norm(first(reflection_padding(x, 1))))
        return x + instance_norm(second(reflection_padding(h, 1))), None


class PatchDiscriminator(nn.Module):
    """A logit for each patch of an image: C64-C128-C256-C512 (PatchGAN, Isola et al. 2017, arXiv:1611.07004) and a last layer.

    A layer is a 4 x 4 convolution, instance norm but in the first, and a leaky ReLU of negative slope 0.2. The first
    `num_halvings` have a stride of 2; one more, and the last, which makes logits, have a stride of 1. A logit sees 16, 34 or 70
    pixels a side for 1, 2 or 3 halvings: 3 is the paper's.

    Attributes:
        width: channels of the first layer, doubled by each other one up to eightfold; 64 in the paper.
        num_halvings: layers with a stride of 2.
    """

    width: int = 64
    num_halvings: int = 3

    @nn.compact
    def __call__(self, x: Float[Array, "*batch H W C"]) -> Float[Array, "*batch P Q"]:
        """Return the logits of each image.

        Raises:
            InputError: the image is too small for so many layers.
        """
        h = nn.leaky_relu(_conv(self.width, 4, 2, 1, use_bias=True)(x), 0.2)
        for i in range(1, self.num_halvings + 1):
            h = _conv(self.width * min(2**i, 8), 4, 2 if i < self.num_halvings else 1, 1)(h)
            h = nn.leaky_relu(instance_norm(h), 0.2)
        return _conv(1, 4, padding=1, use_bias=True)(h)[..., 0]


def instance_norm(h: Float[Array, "*batch H W C"]) -> Float[Array, "*batch H W C"]:
    """Return (h − μ) / √(σ² + 10⁻⁵), with mean and (biased) variance of each channel of each image over its pixels.

    Ulyanov et al. 2016, arXiv:1607.08022, without a learned scale and bias.
    """
    centred = h - jnp.mean(h, axis=(-3, -2), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=(-3, -2), keepdims=True) + 1e-5)


def reflection_padding(x: Float[Array, "*batch H W C"], size: int) -> Float[Array, "*batch P Q C"]:
    """Return images with `size` more rows and columns on each side, mirrored at the border pixels, which are not repeated."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(size, size), (size, size), (0, 0)], mode="reflect")
