"""The power spherical distribution on the unit sphere."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln
from jaxtyping import Float

from gen_jax.distributions.event import check_event
from gen_jax.distributions.gamma import sample_log_gamma
from gen_jax.distributions.uniform_sphere import sphere_point
from gen_jax.types import Array, Key


class PowerSpherical(NamedTuple):
    """The density ∝ (1 + loc · x)^κ on S^{D−1}, D ≥ 2, per unit of area (De Cao & Aziz 2020, arXiv:2006.04437).

    log p(x) = κ log((1 + loc · x) / 2) − log B(a, b) + log Γ(b) − b log 4π,  a = b + κ,  b = (D − 1) / 2

    With t = loc · x, (1 + t) / 2 ~ Beta(a, b), sampled from gamma variables with implicit gradients. At large κ it resembles
    `VonMisesFisher` of the same κ, with other tails: its density at −loc is 0.

    Attributes:
        loc: [D], the mean direction, a unit vector (not checked).
        concentration: κ ≥ 0.
    """

    loc: Float[Array, "D"]
    concentration: Float[Array, ""]

    @property
    def mean(self) -> Float[Array, "D"]:
        """E[x] = loc (a − b) / (a + b) = loc κ / (κ + D − 1), inside the sphere."""
        return self.loc * (self.concentration / (self.concentration + self.loc.shape[0] - 1))

    def sample(self, key: Key) -> Float[Array, "D"]:
        """Draw t loc + sqrt(1 − t²) u, with u uniform on the unit vectors orthogonal to loc."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "D"], Float[Array, ""]]:
        """Draw x and return (x, log p(x)); the density is computed from t, without the rounding of loc · x."""
        a_key, b_key, tangent_key = jax.random.split(key, 3)
        b = jnp.full_like(self.concentration, self._b)
        logit = sample_log_gamma(a_key, b + self.concentration) - jax.random.loggamma(b_key, b, dtype=b.dtype)
        # t = 2 sigmoid(logit) − 1; in logs, sqrt(1 − t²) is differentiable at t = ±1 too
        log_half_above = jax.nn.log_sigmoid(logit)
        sine = 2 * jnp.exp(0.5 * (log_half_above + jax.nn.log_sigmoid(-logit)))
        noise = jax.random.normal(tangent_key, self.loc.shape, self.loc.dtype)
        value = sphere_point(jnp.tanh(logit / 2), sine, self.loc, noise)
        return value, self.concentration * log_half_above - self._log_normaliser()

    def log_prob(self, value: Float[Array, "D"]) -> Float[Array, ""]:
        """Return log p(value) in nats, for a unit vector."""
        check_event(value, self.loc.shape)
        # (1 − loc · x) / 2, without cancellation at large κ; at 1 the density would be 0, and the gradient infinite
        half_below = jnp.minimum(0.25 * jnp.sum((value - self.loc) ** 2), 1 - 1e-7)
        return self.concentration * jnp.log1p(-half_below) - self._log_normaliser()

    @property
    def _b(self) -> float:
        return (self.loc.shape[0] - 1) / 2

    def _log_normaliser(self) -> Float[Array, ""]:
        b = self._b
        return betaln(b + self.concentration, jnp.full_like(self.concentration, b)) - math.lgamma(b) + b * math.log(4 * math.pi)
