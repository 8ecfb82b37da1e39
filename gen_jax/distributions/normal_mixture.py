"""Mixtures of normal distributions in one dimension."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions.normal import HALF_LOG_2PI
from gen_jax.types import Array, Key


class NormalMixture(NamedTuple):
    """Independent x_i ~ Σ_m π_im N(loc_im, scale_im²) with π_i = softmax(logits_i), over one event of any shape.

    log p(x) = Σ_i log Σ_m π_im N(x_i; loc_im, scale_im²)

    Each element chooses a component for itself; in a `Mixture`, the whole event has one.

    Attributes:
        logits: of the components, along the last axis.
        loc: their means.
        scale: their standard deviations, positive.
    """

    logits: Float[Array, "*event M"]
    loc: Float[Array, "*event M"]
    scale: Float[Array, "*event M"]

    @property
    def mean(self) -> Float[Array, "*event"]:
        """E[x] = Σ_m π_m loc_m."""
        return jnp.sum(jax.nn.softmax(self.logits) * self.loc, axis=-1)

    def sample(self, key: Key) -> Float[Array, "*event"]:
        """Draw a component, then a value from it."""
        component_key, noise_key = jax.random.split(key)
        chosen = jax.nn.one_hot(jax.random.categorical(component_key, self.logits), self.logits.shape[-1], dtype=self.loc.dtype)
        loc, scale = jnp.sum(chosen * self.loc, axis=-1), jnp.sum(chosen * self.scale, axis=-1)
        return loc + scale * jax.random.normal(noise_key, loc.shape, loc.dtype)

    def log_prob(self, value: Float[Array, "*event"]) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        standard = (value[..., None] - self.loc) / self.scale
        log_components = -0.5 * standard**2 - jnp.log(self.scale) - HALF_LOG_2PI
        return jnp.sum(jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + log_components, axis=-1))
