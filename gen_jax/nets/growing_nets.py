"""A generator and a discriminator that grow from 4 × 4 pixels (progressive GAN, Karras et al. 2018, arXiv:1710.10196).

Stage s has images of 4 · 2^s pixels a side. While a stage is faded in, α goes from 0 to 1, and what the generator shows is

    (1 − α) · up(image of the stage before) + α · image of the stage,

while the discriminator mixes the features of the stage with those of the halved image. At α = 0 the new stage is thus not seen,
and at α = 1 the old one has no gradient.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.gan_images import upsample
from gen_jax.nets.gan_nets import Context
from gen_jax.nets.style_layers import EqualConv, EqualDense, blur, halve, leaky, minibatch_std, pixel_norm
from gen_jax.types import Array, DiscriminatorOutput

AVERAGE_DECAY = 0.9  # of the running mean of standard deviations over batches


class Stage(NamedTuple):
    """How far a network has grown.

    Attributes:
        number: s, from 0; known when a network is compiled.
        alpha: the share of this stage in what is shown; None for a network that does not grow.
    """

    number: int
    alpha: Float[Array, ""] | None = None

    @property
    def size(self) -> int:
        """Pixels along a side."""
        return 4 * 2**self.number


def grown_image(
    module: nn.Module,
    h: Float[Array, "B 4 4 C"],
    blocks: Sequence[Callable[[Array], Array]],
    heads: Sequence[Callable[[Array], Array]],
    stage: Stage,
) -> Float[Array, "B P P D"]:
    """Return the image of a stage from features of 4 × 4: a block for each stage but the first, a head (to colours) for each."""
    if module.is_initializing() and stage.alpha is not None:  # parameters of all stages are there from the start
        features = [h]
        for block in blocks:
            features.append(block(features[-1]))
        return [head(f) for head, f in zip(heads, features, strict=True)][-1]
    before = h
    for block in blocks[: stage.number]:
        before, h = h, block(h)
    image = heads[stage.number](h)
    if stage.number == 0 or stage.alpha is None:
        return image
    return (1 - stage.alpha) * upsample(heads[stage.number - 1](before)) + stage.alpha * image


class GrowingGenerator(nn.Module):
    """From z, as a point on the sphere, to an image in stages: two 3 × 3 convolutions each, with leaky ReLU and pixel norm.

    Attributes:
        channels: of each stage.
        colours: channels of an image.
    """

    channels: tuple[int, ...]
    colours: int

    @nn.compact
    def __call__(
        self, z: Float[Array, "B Z"], context: Context = None, stage: Stage | None = None, train: bool = False
    ) -> Float[Array, "B P P D"]:
        """Return an image of a stage (by default the last one) for each z."""
        z = pixel_norm(z) if context is None else jnp.concatenate([pixel_norm(z), context], axis=-1)
        h = EqualDense(16 * self.channels[0], name="dense")(z).reshape(-1, 4, 4, self.channels[0])
        h = pixel_norm(leaky(h))
        h = pixel_norm(leaky(EqualConv(self.channels[0], name="conv_0")(h)))

        def block(number: int, h: Array) -> Array:
            h = upsample(h)
            for layer in "ab":
                h = pixel_norm(leaky(EqualConv(self.channels[number], name=f"conv_{number}{layer}")(h)))
            return h

        numbers = range(len(self.channels))
        heads = [EqualConv(self.colours, 1, name=f"to_image_{number}") for number in numbers]
        blocks = [functools.partial(block, number) for number in numbers[1:]]
        return grown_image(self, h, blocks, heads, stage or Stage(len(self.channels) - 1))


class GrowingDiscriminator(nn.Module):
    """From an image of a stage to a logit: the mirror of `GrowingGenerator`, without pixel norm, ended by a `StyleHead`.

    Attributes:
        channels: of each stage.
        blurred: blur before halving, as in StyleGAN.
    """

    channels: tuple[int, ...]
    blurred: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "B P P D"], context: Context = None, stage: Stage | None = None, train: bool = False
    ) -> DiscriminatorOutput:
        """Return a logit for each image."""
        down = (lambda h: halve(blur(h))) if self.blurred else halve
        stage = stage or Stage(len(self.channels) - 1)
        heads = [EqualConv(size, 1, name=f"from_image_{number}") for number, size in enumerate(self.channels)]
        read = lambda number, x: leaky(heads[number](x))

        def block(number: int, h: Array) -> Array:
            h = leaky(EqualConv(self.channels[number], name=f"conv_{number}a")(h))
            return down(leaky(EqualConv(self.channels[number - 1], name=f"conv_{number}b")(h)))

        h = read(stage.number, x)
        for number in range(stage.number, 0, -1):
            x = halve(x)
            h = block(number, h)
            if self.is_initializing() and stage.alpha is not None:  # parameters of all stages are there from the start
                read(number - 1, x)
            if number == stage.number and stage.alpha is not None:
                h = (1 - stage.alpha) * read(number - 1, x) + stage.alpha * h
        return StyleHead(self.channels[0])(h, context, train)


class StyleHead(nn.Module):
    """From features of 4 × 4 to a logit: `minibatch_std`, a 3 × 3 convolution, a dense layer φ, and wᵀφ + b (+ yᵀ E φ / √F).

    The last term is for labels y as `context`, as in `DiscriminatorHead`. In training, the channel of standard deviations is that
    of the batch; in evaluation it has their running mean, as batch norm has, so that examples are independent.
    """

    features: int

    @nn.compact
    def __call__(self, h: Float[Array, "B 4 4 F"], context: Context, train: bool) -> DiscriminatorOutput:
        """Return a logit for each example."""
        mean = self.variable("averages", "spread", lambda: jnp.zeros(()))
        spread = minibatch_std(h) if train else jnp.full(len(h), mean.value, h.dtype)
        if train and not self.is_initializing():
            mean.value = AVERAGE_DECAY * mean.value + (1 - AVERAGE_DECAY) * jax.lax.stop_gradient(jnp.mean(spread))
        h = jnp.concatenate([h, jnp.broadcast_to(spread[:, None, None, None], (*h.shape[:3], 1))], axis=-1)
        h = leaky(EqualConv(self.features)(h))
        h = leaky(EqualDense(self.features)(h.reshape(len(h), -1)))
        logits = EqualDense(1)(h)[:, 0]
        if context is not None:
            logits += jnp.sum(EqualDense(self.features, gain=context.shape[1] ** 0.5)(context) * h, axis=1) * self.features**-0.5
        return DiscriminatorOutput(logits, features=h)
