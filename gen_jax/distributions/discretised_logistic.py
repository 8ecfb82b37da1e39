"""The discretised logistic distribution, for pixels with 256 levels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions.event import check_event, within
from gen_jax.types import Array, Key

TOP = 255  # the highest pixel value


class DiscretisedLogistic(NamedTuple):
    """Independent x_i ∈ {0, 1/255, …, 1}, logistic variables rounded to these levels, over one event of any shape.

    P(x) = sigmoid(u) − sigmoid(l),  u = (x + h − loc) / scale,  l = (x − h − loc) / scale,  h = 1 / 510

    with u = ∞ for x = 1 and l = −∞ for x = 0, so that Σ_x P(x) = 1 (Kingma et al. 2016, arXiv:1606.04934, appendix). The
    logarithm is computed without the difference:

    log P(x) = log(1 − e^{−(u − l)}) − softplus(−u) − softplus(l)  (for x = 0 or 1, only the term with the finite bound)

    Attributes:
        loc: location of the logistic variables.
        scale: their scale, positive; `loc` and `scale` broadcast to the shape of the event.
    """

    loc: Float[Array, "*#event"]
    scale: Float[Array, "*#event"]

    @property
    def mean(self) -> Float[Array, "*event"]:
        """E[clip(y, 0, 1)] = scale [softplus(loc / scale) − softplus((loc − 1) / scale)], of the logistic variable y.

        An approximation of E[x], whose error is small unless the scale is below the width of a bin, and never above h.
        """
        return self.scale * (jax.nn.softplus(self.loc / self.scale) - jax.nn.softplus((self.loc - 1) / self.scale))

    def sample(self, key: Key) -> Float[Array, "*event"]:
        """Draw logistic variables, each rounded to the nearest level in [0, 1]."""
        loc, scale = jnp.broadcast_arrays(self.loc, self.scale)
        return _on_grid(loc + scale * jax.random.logistic(key, loc.shape, loc.dtype))

    def log_prob(self, value: Float[Array, "*event"]) -> Float[Array, ""]:
        """Return log P(value) in nats, with each value rounded to the nearest level; −∞ if none is nearer than half a bin."""
        check_event(value, jnp.broadcast_shapes(jnp.shape(self.loc), jnp.shape(self.scale)))
        half_bin = 0.5 / TOP
        inside = (value > -half_bin) & (value < 1 + half_bin)
        value, loc, scale = (jnp.ravel(a) for a in jnp.broadcast_arrays(_on_grid(value), self.loc, self.scale))
        upper, lower = (value + half_bin - loc) / scale, (value - half_bin - loc) / scale
        lowest, highest = value < half_bin, value > 1 - half_bin
        # finite terms also where they are not chosen: otherwise gradients would be 0 · ∞
        below = jnp.where(lowest, 0, -jax.nn.softplus(lower))
        above = jnp.where(highest, 0, -jax.nn.softplus(-upper))
        between = jnp.where(lowest | highest, 0, jnp.log(-jnp.expm1(-2 * half_bin / scale)))
        return within(inside, jnp.sum(below + above + between))


def _on_grid(value: Float[Array, "*event"]) -> Float[Array, "*event"]:
    return jnp.clip(jnp.round(value * TOP), 0, TOP) / TOP
