"""The networks of generative adversarial networks, on batches, that are made of dense layers."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.mlp import Initializer
from gen_jax.nets.spectral import Dense
from gen_jax.types import Array, DiscriminatorOutput

# the share of the old value in the averages of a batch norm, at each step
BATCH_NORM_MOMENTUM = 0.9


class MLPGenerator(nn.Module):
    """Dense layers from z to an event of a given shape.

    The reference of the literature on mode collapse: `MLPGenerator((400,) * 4, (2,), batch_norm=True)`.

    Attributes:
        hidden_sizes: the width of each hidden layer.
        event_shape: the shape of what is generated.
        batch_norm: normalise each hidden layer by its batch, before the activation.
        activation: applied after each hidden layer.
        output: applied to the last: nothing for points of the plane, tanh for images on [−1, 1].
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
            if self.batch_norm:
                h = nn.BatchNorm(use_running_average=not train, momentum=BATCH_NORM_MOMENTUM)(h)
            h = self.activation(h)
        return self.output(nn.Dense(math.prod(self.event_shape))(h)).reshape(len(z), *self.event_shape)


class MLPDiscriminator(nn.Module):
    """Dense layers from an example to a logit.

    Attributes:
        hidden_sizes: the width of each hidden layer.
        activation: applied after each; a leaky ReLU of slope 0.2 below 0 by default.
        spectral_norm: divides each kernel by its largest singular value; see `SpectralNorm`.
        classes: of an auxiliary classifier; see `DiscriminatorHead`.
    """

    hidden_sizes: tuple[int, ...]
    activation: Callable[[Array], Array] = lambda x: nn.leaky_relu(x, 0.2)
    spectral_norm: bool = False
    classes: int | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B *event"], context: Float[Array, "B C"] | None = None, train: bool = False
    ) -> DiscriminatorOutput:
        """Return a verdict on each example."""
        h = x.reshape(len(x), -1)
        for size in self.hidden_sizes:
            h = self.activation(Dense(size, spectral_norm=self.spectral_norm)(h, train))
        return DiscriminatorHead(self.classes, self.spectral_norm)(h, context, train)


class DiscriminatorHead(nn.Module):
    """The last layer of a discriminator: from features φ to a logit, and what labels y, one-hot, have to do with it.

        without labels            wᵀφ + b
        a projection              wᵀφ + b + yᵀ E φ               Miyato and Koyama 2018 (arXiv:1802.05637), eq. 3
        an auxiliary classifier   wᵀφ + b, and beside it V φ + c  Odena et al. 2017 (arXiv:1610.09585)

    Attributes:
        classes: C of an auxiliary classifier, which is not told the labels; None for a projection, or no labels at all.
        spectral_norm: divides w, E and V by their largest singular values; see `SpectralNorm`.
        kernel_init: the initialiser of w, E and V.
    """

    classes: int | None = None
    spectral_norm: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, features: Float[Array, "B F"], context: Float[Array, "B C"] | None, train: bool) -> DiscriminatorOutput:
        """Return a verdict on each row of features, given its label, if there are any."""
        dense = functools.partial(Dense, spectral_norm=self.spectral_norm, kernel_init=self.kernel_init)
        logits = dense(1)(features, train)[:, 0]
        if self.classes is not None:
            return DiscriminatorOutput(logits, dense(self.classes)(features, train))
        if context is None:
            return DiscriminatorOutput(logits)
        return DiscriminatorOutput(logits + jnp.sum(dense(features.shape[1], use_bias=False)(context, train) * features, axis=1))


class MaxoutDiscriminator(nn.Module):
    """Dense layers of maxout units (Goodfellow et al. 2013, arXiv:1302.4389), from an example to a logit.

    A unit is the largest of a few linear functions of its input. The reference of the literature on mode collapse:
    `MaxoutDiscriminator((200,) * 3, 5)`.

    Attributes:
        hidden_sizes: the number of units of each hidden layer.
        pieces: the linear functions of a unit.
    """

    hidden_sizes: tuple[int, ...]
    pieces: int = 5

    @nn.compact
    def __call__(
        self, x: Float[Array, "B *event"], context: Float[Array, "B C"] | None = None, train: bool = False
    ) -> DiscriminatorOutput:
        """Return a verdict on each example."""
        h = x.reshape(len(x), -1)
        for size in self.hidden_sizes:
            h = jnp.max(nn.Dense(self.pieces * size)(h).reshape(len(h), self.pieces, size), axis=1)
        return DiscriminatorHead()(h, context, train)
