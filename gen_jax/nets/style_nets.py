"""The networks of StyleGAN (Karras et al. 2019, arXiv:1812.04948) and of its second version (2020, arXiv:1912.04958).

A mapping network turns z into w. Each layer of the synthesis network takes its own w, so that styles can be mixed. In the first
version, layers 2s and 2s + 1 are those of stage s, whose images have 4 · 2^s pixels a side; in the second, the convolutions of
stage s take layers 2s − 1 and 2s (stage 0 has the latter alone), and what turns its features into an image takes 2s + 1.

Images end in a tanh, where the papers' are linear: on MNIST, at the size of the recipes, both versions lose most modes with
linear images. Why is not known; docs/families/style.md has the trials.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.gan_images import upsample
from gen_jax.nets.gan_nets import Context
from gen_jax.nets.growing_nets import Stage, StyleHead, grown_image
from gen_jax.nets.style_layers import (
    SQRT2,
    AdaptiveInstanceNorm,
    EqualConv,
    EqualDense,
    ModulatedConv,
    Noise,
    blur,
    draw_noise,
    halve,
    leaky,
    pixel_norm,
)
from gen_jax.types import Array, DiscriminatorOutput


class Mapping(nn.Module):
    """z ↦ w: an MLP on the point of z on the sphere, with a hundredth of the learning rate.

    Labels y are embedded, normalised as z is, and appended.

    Attributes:
        features: the size of w and of all layers.
        num_layers: 8 in the papers.
        multiplier: of the learning rate.
    """

    features: int
    num_layers: int = 8
    multiplier: float = 0.01

    @nn.compact
    def __call__(self, z: Float[Array, "B Z"], context: Context = None, train: bool = False) -> Float[Array, "B W"]:
        """Return w for each z."""
        h = pixel_norm(z)
        if context is not None:
            h = jnp.concatenate([h, pixel_norm(EqualDense(z.shape[1], name="embed")(context))], axis=-1)
        for _ in range(self.num_layers):
            h = leaky(EqualDense(self.features, self.multiplier)(h))
        return h


class StyleSynthesis(nn.Module):
    """A learned constant of 4 × 4, then in stages: upsample and blur, and twice: convolution, noise, leaky ReLU, AdaIN.

    An image of a stage is the tanh of a 1 × 1 convolution.

    Attributes:
        channels: of each stage.
        colours: channels of an image.
    """

    channels: tuple[int, ...]
    colours: int

    @nn.compact
    def __call__(self, w: Float[Array, "B L W"], stage: Stage | None = None, train: bool = False) -> Float[Array, "B P P D"]:
        """Return an image of a stage (by default the last one) for the styles of all layers."""
        constant = self.param("constant", nn.initializers.ones_init(), (4, 4, self.channels[0]))
        h = jnp.broadcast_to(constant[None], (len(w), *constant.shape))

        last = len(self.channels) - 1
        stage = stage or Stage(last)
        shown = last if self.is_initializing() else stage.number
        noise = draw_noise(self, len(w), [4 * 2**number for number in range(shown + 1) for _ in range(2)])

        def dress(layer: int, h: Array) -> Array:
            h = leaky(Noise(name=f"noise_{layer}")(h, noise[layer]))
            return AdaptiveInstanceNorm(name=f"style_{layer}")(h, w[:, layer])

        def block(number: int, h: Array) -> Array:
            convolve = lambda layer, h: EqualConv(self.channels[number], name=f"conv_{layer}")(h)
            h = dress(2 * number, blur(convolve(2 * number, upsample(h))) if number else h)
            return dress(2 * number + 1, convolve(2 * number + 1, h))

        numbers = range(len(self.channels))
        convs = [EqualConv(self.colours, 1, name=f"to_image_{number}") for number in numbers]
        heads = [lambda h, conv=conv: jnp.tanh(conv(h)) for conv in convs]
        blocks = [functools.partial(block, number) for number in numbers[1:]]
        return grown_image(self, block(0, h), blocks, heads, stage)


class SkipSynthesis(nn.Module):
    """The second version: modulated convolutions, noise, leaky ReLU, and the tanh of the sum of the images of all stages.

    Attributes:
        channels: of each stage.
        colours: channels of an image.
    """

    channels: tuple[int, ...]
    colours: int

    @nn.compact
    def __call__(self, w: Float[Array, "B L W"], stage: Stage | None = None, train: bool = False) -> Float[Array, "B P P D"]:
        """Return an image of the last stage for the styles of all layers."""
        constant = self.param("constant", nn.initializers.normal(1.0), (4, 4, self.channels[0]))
        h: Array = jnp.broadcast_to(constant[None], (len(w), *constant.shape))
        image: Array = jnp.zeros((len(w), 2, 2, self.colours))

        convolutions = range(2 * len(self.channels) - 1)
        noise = draw_noise(self, len(w), [4 * 2 ** ((index + 1) // 2) for index in convolutions])

        def layer(h: Array, index: int) -> Array:
            features = self.channels[(index + 1) // 2]
            h = ModulatedConv(features, name=f"conv_{index}")(h, w[:, index])
            h = Noise(name=f"noise_{index}")(h, noise[index])
            return leaky(h + self.param(f"bias_{index}", nn.initializers.zeros_init(), (features,))[None, None, None])

        for number in range(len(self.channels)):
            if number > 0:
                h = layer(blur(upsample(h)), 2 * number - 1)
            h = layer(h, 2 * number)
            colours = ModulatedConv(self.colours, 1, demodulate=False, name=f"to_image_{number}")(h, w[:, 2 * number + 1])
            image = blur(upsample(image)) + colours
        return jnp.tanh(image + self.param("bias", nn.initializers.zeros_init(), (self.colours,))[None, None, None])


class ResidualStyleDiscriminator(nn.Module):
    """The second version: residual blocks x ↦ (conv₁(down(x)) + down(r(conv₃(r(conv₃(x)))))) / √2, ended by a `StyleHead`.

    r is a leaky ReLU; down blurs and halves.

    Attributes:
        channels: of each stage.
    """

    channels: tuple[int, ...]

    @nn.compact
    def __call__(
        self, x: Float[Array, "B P P D"], context: Context = None, stage: Stage | None = None, train: bool = False
    ) -> DiscriminatorOutput:
        """Return a logit for each image of the last stage."""
        down = lambda h: halve(blur(h))
        h = leaky(EqualConv(self.channels[-1], 1)(x))
        for features, smaller in zip(self.channels[:0:-1], self.channels[-2::-1], strict=True):
            inner = down(leaky(EqualConv(smaller)(leaky(EqualConv(features)(h)))))
            h = (EqualConv(smaller, 1)(down(h)) + inner) / SQRT2
        return StyleHead(self.channels[0])(h, context, train)
