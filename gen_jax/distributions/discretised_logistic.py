"""The logistic distribution in bins, for pixels: a log-mass whose bits per dimension are honest."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Key

TOP = 255  # the highest of the grey values


class DiscretisedLogistic(NamedTuple):
    """Independent x_i ∈ {0, 1/255, …, 1}: logistic variables in bins, over one event of any shape.

    P(x) = sigmoid(u) − sigmoid(l),  u = (x + h − loc) / scale,  l = (x − h − loc) / scale,  h = 1 / 510

    but for the lowest bin, which is open below, and the highest, which is open above, so that Σ_x P(x) = 1 (Kingma et al. 2016,
    arXiv:1606.04934, appendix). Its logarithm never forms that difference:

    log P(x) = log(1 − e^{−(u − l)}) − softplus(−u) − softplus(l),  less what an open side leaves out

    Attributes:
        loc: of the underlying logistic variables.
        scale: theirs, positive; `loc` and `scale` broadcast to the shape of the event.
    """

    loc: Float[Array, "*#event"]
    scale: Float[Array, "*#event"]

    @property
    def mean(self) -> Float[Array, "*event"]:
        """∫_0^1 P(y > t) dt = scale [softplus(loc / scale) − softplus((loc − 1) / scale)], of the logistic y.

        The mean of y clipped to [0, 1], of which E[x] is the midpoint rule on the bins. They agree but for scales below a bin's
        width, where this tends to `loc` (clipped to [0, 1]) and E[x] to the level next to it, at most h away.
        """
        return self.scale * (jax.nn.softplus(self.loc / self.scale) - jax.nn.softplus((self.loc - 1) / self.scale))

    def sample(self, key: Key) -> Float[Array, "*event"]:
        """Draw logistic variables, and take each to the nearest level in [0, 1]."""
        loc, scale = jnp.broadcast_arrays(self.loc, self.scale)
        return _on_grid(loc + scale * jax.random.logistic(key, loc.shape, loc.dtype))

    def log_prob(self, value: Float[Array, "*event"]) -> Float[Array, ""]:
        """Return log P(value) in nats, of the level nearest to each value."""
        value, loc, scale = (jnp.ravel(a) for a in jnp.broadcast_arrays(_on_grid(value), self.loc, self.scale))
        half_bin = 0.5 / TOP
        upper, lower = (value + half_bin - loc) / scale, (value - half_bin - loc) / scale
        lowest, highest = value < half_bin, value > 1 - half_bin
        # each term is finite whatever is chosen, so that no gradient is 0 · ∞
        below = jnp.where(lowest, 0, -jax.nn.softplus(lower))
        above = jnp.where(highest, 0, -jax.nn.softplus(-upper))
        between = jnp.where(lowest | highest, 0, jnp.log(-jnp.expm1(-2 * half_bin / scale)))
        return jnp.sum(below + above + between)


def _on_grid(value: Float[Array, "*event"]) -> Float[Array, "*event"]:
    return jnp.clip(jnp.round(value * TOP), 0, TOP) / TOP
