"""Dense generators and discriminators of batches, and the layers that all discriminators share.

Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957) is `flax.linen.SpectralNorm`: each kernel, as a matrix
[everything else, output channels], is divided by its largest singular value σ. Each call estimates σ by one step of power
iteration, which only training stores. Gradients treat the singular vectors as constants, which is exact at convergence. The norm
of a convolution as a linear map of images can exceed σ, by a factor of up to √(kernel height · kernel width).

In all discriminators, `spectral_norm` says whether to normalise every kernel, and `classes` is the number of classes of an
auxiliary classifier, None without one (see `DiscriminatorHead`).
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.mlp import Initializer
from gen_jax.types import Array, DiscriminatorOutput

Context = Float[Array, "B C"] | None
"""One-hot labels for a conditional discriminator; else None."""


class MLPGenerator(nn.Module):
    """An MLP from z to an event, with the activation `output` (such as tanh for images in [−1, 1]) and optional batch norm.

    The usual choice for experiments on mode collapse is `MLPGenerator((400,) * 4, (2,), batch_norm=True)`.
    """

    hidden_sizes: tuple[int, ...]
    event_shape: tuple[int, ...]
    batch_norm: bool = False
    activation: Callable[[Array], Array] = nn.relu
    output: Callable[[Array], Array] = lambda x: x

    @nn.compact
    def __call__(self, z: Float[Array, "B Z"], train: bool) -> Float[Array, "B *event"]:
        """Return an event for each z."""
        h = z
        for size in self.hidden_sizes:
            h = nn.Dense(size, use_bias=not self.batch_norm)(h)
            h = self.activation(batch_norm(h, train) if self.batch_norm else h)
        return self.output(nn.Dense(math.prod(self.event_shape))(h)).reshape(len(z), *self.event_shape)


class MLPDiscriminator(nn.Module):
    """An MLP from an example to a logit."""

    hidden_sizes: tuple[int, ...]
    activation: Callable[[Array], Array] = lambda x: nn.leaky_relu(x, 0.2)
    spectral_norm: bool = False
    classes: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B *event"], context: Context = None, train: bool = False) -> DiscriminatorOutput:
        """Return a logit for each example."""
        h = x.reshape(len(x), -1)
        for size in self.hidden_sizes:
            h = self.activation(apply_layer(nn.Dense(size), h, train, self.spectral_norm))
        return DiscriminatorHead(self.classes, self.spectral_norm)(h, context, train)


class MaxoutDiscriminator(nn.Module):
    """Maxout layers (Goodfellow et al. 2013, arXiv:1302.4389) from an example to a logit.

    Each unit is the maximum of `pieces` linear functions. The usual choice for experiments on mode collapse is
    `MaxoutDiscriminator((200,) * 3, 5)`.
    """

    hidden_sizes: tuple[int, ...]
    pieces: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "B *event"], context: Context = None, train: bool = False) -> DiscriminatorOutput:
        """Return a logit for each example."""
        h = x.reshape(len(x), -1)
        for size in self.hidden_sizes:
            h = jnp.max(nn.Dense(self.pieces * size)(h).reshape(len(h), self.pieces, size), axis=1)
        return DiscriminatorHead()(h, context, train)


class DiscriminatorHead(nn.Module):
    """The last layer of a discriminator: from features φ, and one-hot labels y as `context` if it is conditional, to a logit.

        unconditional         wᵀφ + b
        projection            wᵀφ + b + yᵀ E φ                       Miyato and Koyama 2018 (arXiv:1802.05637), eq. 3
        auxiliary classifier  wᵀφ + b, and class logits V φ + c      Odena et al. 2017 (arXiv:1610.09585)

    An auxiliary classifier ignores the labels. `kernel_init` is for w, E and V.
    """

    classes: int | None = None
    spectral_norm: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, features: Float[Array, "B F"], context: Context, train: bool) -> DiscriminatorOutput:
        """Return a logit for each row of features."""

        def dense(x: Array, size: int, use_bias: bool = True) -> Array:
            return apply_layer(nn.Dense(size, use_bias, kernel_init=self.kernel_init), x, train, self.spectral_norm)

        logits = dense(features, 1)[:, 0]
        if self.classes is not None:
            return DiscriminatorOutput(logits, dense(features, self.classes), features)
        if context is not None:
            logits += jnp.sum(dense(context, features.shape[1], use_bias=False) * features, axis=1)
        return DiscriminatorOutput(logits, features=features)


def apply_layer(module: nn.Module, x: Array, train: bool, spectral_norm: bool) -> Array:
    """Apply a layer, optionally with spectral normalisation."""
    return nn.SpectralNorm(module)(x, update_stats=train) if spectral_norm else module(x)


def batch_norm(h: Array, train: bool) -> Array:
    """Apply batch norm with momentum 0.9."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9)(h)
