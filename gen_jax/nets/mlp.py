"""The MLP, for one example."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array

Initializer = Callable[..., Array]

near_zero: Initializer = nn.initializers.variance_scaling(1e-4, "fan_in", "normal")
"""For the last layer of a network that parametrises a flow or a prior, to start near the identity or a standard normal."""


class MLP(nn.Module):
    """Dense layers of `hidden_sizes` with an activation after each, then one to `output_shape` without.

    The reference sizes of the VAE are `MLP((512, 256), (2, Z))` for the encoder, which returns μ and log σ², and
    `MLP((256, 512), event_shape)` for the decoder. An `output_shape` of None returns the last hidden layer. `output_init` is for
    the last kernel.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.nets import MLP
        >>> net, x = MLP((8,), (2, 3)), jnp.zeros((4, 4))  # for one example: no batch axis
        >>> params = net.init(jax.random.key(0), x)
        >>> net.apply(params, x).shape, sum(leaf.size for leaf in jax.tree.leaves(params))  # 16·8 + 8 + 8·6 + 6
        ((2, 3), 190)
    """

    hidden_sizes: tuple[int, ...]
    output_shape: tuple[int, ...] | None
    activation: Callable[[Array], Array] = nn.relu
    output_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "*event"], context: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """Return the output for one example; a `context` is appended to the flattened input."""
        h = jnp.ravel(x)
        if context is not None:
            h = jnp.concatenate([h, jnp.ravel(context)])
        for size in self.hidden_sizes:
            h = self.activation(nn.Dense(size)(h))
        if self.output_shape is None:
            return h
        return nn.Dense(math.prod(self.output_shape), kernel_init=self.output_init)(h).reshape(self.output_shape)
