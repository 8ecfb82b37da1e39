"""Independent Bernoulli and categorical variables, from logits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from gen_jax.distributions.event import check_event, within
from gen_jax.types import Array, Key


class Bernoulli(NamedTuple):
    """Independent x_i ∈ {0, 1} with P(x_i = 1) = sigmoid(logits_i), over one event of any shape.

    log p(x) = Σ_i [x_i logits_i − softplus(logits_i)]

    This is accurate for logits of any size: probabilities are never computed or clipped. For x_i strictly between 0 and 1 it is
    the negative cross-entropy, which is not a log-likelihood.

    Attributes:
        logits: log P(1) − log P(0).

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax.distributions import Bernoulli
        >>> coins = Bernoulli(logits=jnp.zeros(3))
        >>> round(coins.log_prob(jnp.array([0.0, 1.0, 1.0])).item(), 4)  # −3 log 2
        -2.0794
        >>> Bernoulli(logits=jnp.array([100.0])).log_prob(jnp.zeros(1)).item()  # no probability is clipped
        -100.0
    """

    logits: Float[Array, "*event"]

    @property
    def mean(self) -> Float[Array, "*event"]:
        """E[x] = sigmoid(logits)."""
        return jax.nn.sigmoid(self.logits)

    def sample(self, key: Key) -> Float[Array, "*event"]:
        """Draw zeros and ones, in the dtype of the logits."""
        return jax.random.bernoulli(key, self.mean).astype(self.logits.dtype)

    def log_prob(self, value: Float[Array, "*event"]) -> Float[Array, ""]:
        """Return log p(value) in nats; −∞ outside of [0, 1]."""
        check_event(value, self.logits.shape)
        # flat, since a last axis of size 1 keeps XLA on CPU from vectorising: ten times slower for [28, 28, 1]
        value, logits = jnp.ravel(value), jnp.ravel(self.logits)
        return within((value >= 0) & (value <= 1), jnp.sum(value * logits - _softplus(logits)))


class Categorical(NamedTuple):
    """Independent x_i ∈ {0 … C − 1} with P(x_i = c) = softmax(logits_i)_c, over one event of any shape.

    log p(x) = Σ_i [logits_{i, x_i} − log Σ_c exp logits_{i, c}]

    Attributes:
        logits: unnormalised log-probabilities; the last axis is the categories.
    """

    logits: Float[Array, "*event C"]

    def sample(self, key: Key) -> Int[Array, "*event"]:
        """Draw category indices."""
        return jax.random.categorical(key, self.logits)

    def log_prob(self, value: Int[Array, "*event"]) -> Float[Array, ""]:
        """Return log p(value) in nats; −∞ outside of 0 … C − 1."""
        check_event(value, self.logits.shape[:-1])
        one_hot = jax.nn.one_hot(value, self.logits.shape[-1], dtype=self.logits.dtype)
        # where, not a product: −inf times 0 is NaN
        chosen = jnp.sum(jnp.where(one_hot > 0, self.logits, 0), axis=-1)
        inside = (value >= 0) & (value < self.logits.shape[-1])
        return within(inside, jnp.sum(chosen - jax.nn.logsumexp(self.logits, axis=-1)))


@jax.custom_jvp
def _softplus(x: Float[Array, "D"]) -> Float[Array, "D"]:
    """log(1 + eˣ), twice as fast as jax.nn.softplus on CPU.

    By cases, whose derivatives are right at 0 too, as those of max(x, 0) and |x| are not: JAX drops the rule below for second
    derivatives inside of a loop.
    """
    positive = x > 0
    return jnp.where(positive, x, 0) + jnp.log1p(jnp.exp(jnp.where(positive, -x, x)))


_softplus.defjvps(lambda tangent, softplus, x: tangent * jax.nn.sigmoid(x))
