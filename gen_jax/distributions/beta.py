"""Independent beta variables, with implicitly reparameterised samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betaln, xlog1py, xlogy
from jaxtyping import Float

from gen_jax.distributions.event import check_event
from gen_jax.distributions.gamma import sample_log_gamma
from gen_jax.types import Array, Key


class Beta(NamedTuple):
    """Independent x_i ~ Beta(α_i, β_i) on (0, 1), over one event of any shape; `alpha` and `beta` have that shape.

    log p(x) = Σ_i [(α_i − 1) log x_i + (β_i − 1) log(1 − x_i) − log B(α_i, β_i)]

    Samples are x = G_α / (G_α + G_β), from two gamma variables with implicit gradients (Figurnov et al. 2018, arXiv:1805.08498).
    They lie strictly inside (0, 1): a sample that would round to 0 or 1 is clipped, with zero gradient.

    Attributes:
        alpha: α, positive.
        beta: β, positive.
    """

    alpha: Float[Array, "*event"]
    beta: Float[Array, "*event"]

    @property
    def mean(self) -> Float[Array, "*event"]:
        """E[x] = α / (α + β)."""
        return self.alpha / (self.alpha + self.beta)

    def sample(self, key: Key) -> Float[Array, "*event"]:
        """Draw x."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "*event"], Float[Array, ""]]:
        """Draw x and return (x, log p(x)); the density is computed from logit x, without the rounding of 1 − x."""
        alpha_key, beta_key = jax.random.split(key)
        logit = sample_log_gamma(alpha_key, self.alpha) - sample_log_gamma(beta_key, self.beta)
        limits = jnp.finfo(logit.dtype)
        logit = jnp.clip(logit, np.log(limits.tiny), -np.log(limits.epsneg))
        log_x, log_one_minus_x = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
        value = jnp.clip(jax.nn.sigmoid(logit), limits.tiny, 1 - limits.epsneg)
        return value, jnp.sum((self.alpha - 1) * log_x + (self.beta - 1) * log_one_minus_x - betaln(self.alpha, self.beta))

    def log_prob(self, value: Float[Array, "*event"]) -> Float[Array, ""]:
        """Return log p(value) in nats; −∞ outside of [0, 1]."""
        check_event(value, jnp.shape(self.alpha))
        inside = (value >= 0) & (value <= 1)
        x = jnp.where(inside, value, 0.5)
        # a factor with exponent 0 is constant: at 0 and at 1 its gradient would be 0/0
        from_0 = jnp.where((x == 0) & (self.alpha == 1), 0.5, x)
        from_1 = jnp.where((x == 1) & (self.beta == 1), 0.5, x)
        terms = xlogy(self.alpha - 1, from_0) + xlog1py(self.beta - 1, -from_1) - betaln(self.alpha, self.beta)
        return jnp.sum(jnp.where(inside, terms, -jnp.inf))
