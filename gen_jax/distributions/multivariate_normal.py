"""The normal distribution with a full covariance."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from gen_jax.distributions.normal import HALF_LOG_2PI
from gen_jax.types import Array, Key


class MultivariateNormal(NamedTuple):
    """N(loc, L Lᵀ) over one vector.

    log p(x) = −½ ‖L⁻¹ (x − loc)‖² − Σ_i log L_ii − (D/2) log 2π

    Attributes:
        loc: [D], the mean.
        scale_tril: [D, D], the lower Cholesky factor L of the covariance, with a positive diagonal.
    """

    loc: Float[Array, "D"]
    scale_tril: Float[Array, "D D"]

    @property
    def mean(self) -> Float[Array, "D"]:
        """E[x]."""
        return self.loc

    def sample(self, key: Key) -> Float[Array, "D"]:
        """Draw loc + L ε with ε ~ N(0, I)."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "D"], Float[Array, ""]]:
        """Draw x = loc + L ε and return (x, log p(x)); the density comes from ε itself, without a solve."""
        noise = jax.random.normal(key, self.loc.shape, self.loc.dtype)
        value = self.loc + jnp.matmul(self.scale_tril, noise, precision="highest")
        return value, self._log_prob_of_noise(noise)

    def log_prob(self, value: Float[Array, "D"]) -> Float[Array, ""]:
        """Return log N(value; loc, L Lᵀ) in nats."""
        return self._log_prob_of_noise(solve_triangular(self.scale_tril, value - self.loc, lower=True))

    def _log_prob_of_noise(self, noise: Float[Array, "D"]) -> Float[Array, ""]:
        return jnp.sum(-0.5 * noise**2 - jnp.log(jnp.diagonal(self.scale_tril)) - HALF_LOG_2PI)
