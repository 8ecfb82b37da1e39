"""Independent categorical variables, from logits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from gen_jax.types import Array, Key


class Categorical(NamedTuple):
    """Independent x_i ∈ {0 … C − 1} with P(x_i = c) = softmax(logits_i)_c, over one event of any shape.

    log p(x) = Σ_i [logits_{i, x_i} − log Σ_c exp logits_{i, c}]

    Attributes:
        logits: unnormalised log-probabilities, the categories along the last axis.
    """

    logits: Float[Array, "*event C"]

    def sample(self, key: Key) -> Int[Array, "*event"]:
        """Draw category numbers."""
        return jax.random.categorical(key, self.logits)

    def log_prob(self, value: Int[Array, "*event"]) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        one_hot = jax.nn.one_hot(value, self.logits.shape[-1], dtype=self.logits.dtype)
        # where, not a product: a logit of −inf times 0 is no number
        chosen = jnp.sum(jnp.where(one_hot > 0, self.logits, 0), axis=-1)
        return jnp.sum(chosen - jax.nn.logsumexp(self.logits, axis=-1))
