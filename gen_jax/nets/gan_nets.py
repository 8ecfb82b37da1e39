"""The networks of generative adversarial networks, on batches, that are made of dense layers."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.nets.spectral import Dense
from gen_jax.types import Array

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
    """

    hidden_sizes: tuple[int, ...]
    activation: Callable[[Array], Array] = lambda x: nn.leaky_relu(x, 0.2)
    spectral_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B *event"], train: bool) -> Float[Array, "B"]:
        """Return a logit for each example."""
        h = x.reshape(len(x), -1)
        for size in self.hidden_sizes:
            h = self.activation(Dense(size, spectral_norm=self.spectral_norm)(h, train))
        return Dense(1, spectral_norm=self.spectral_norm)(h, train)[:, 0]


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
    def __call__(self, x: Float[Array, "B *event"], train: bool) -> Float[Array, "B"]:
        """Return a logit for each example."""
        h = x.reshape(len(x), -1)
        for size in self.hidden_sizes:
            h = jnp.max(nn.Dense(self.pieces * size)(h).reshape(len(h), self.pieces, size), axis=1)
        return nn.Dense(1)(h)[:, 0]
