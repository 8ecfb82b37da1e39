"""Normal distributions with a diagonal or a full covariance matrix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from gen_jax.distributions.event import check_event
from gen_jax.types import Array, Key

HALF_LOG_2PI = 0.9189385332046727


class Normal(NamedTuple):
    """N(loc, diag(scale²)) over one event of any shape; `loc` and `scale` broadcast to that shape.

    log p(x) = Σ_i [−½ ((x_i − loc_i) / scale_i)² − log scale_i − ½ log 2π]

    Attributes:
        loc: the mean.
        scale: the standard deviation, positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.distributions import Normal
        >>> p = Normal(jnp.zeros(2), jnp.ones(2))
        >>> round(p.log_prob(jnp.zeros(2)).item(), 4)  # −log 2π
        -1.8379
        >>> jax.vmap(p.sample)(jax.random.split(jax.random.key(0), 5)).shape  # five draws
        (5, 2)
    """

    loc: Float[Array, "*#event"]
    scale: Float[Array, "*#event"]

    @property
    def mean(self) -> Float[Array, "*event"]:
        """E[x]."""
        return jnp.broadcast_arrays(self.loc, self.scale)[0]

    def sample(self, key: Key) -> Float[Array, "*event"]:
        """Draw loc + scale ⊙ ε with ε ~ N(0, I)."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "*event"], Float[Array, ""]]:
        """Draw x = loc + scale ⊙ ε and return (x, log p(x))."""
        loc, scale = jnp.broadcast_arrays(self.loc, self.scale)
        noise = jax.random.normal(key, loc.shape, loc.dtype)
        return loc + scale * noise, jnp.sum(-0.5 * noise**2 - jnp.log(scale) - HALF_LOG_2PI)

    def log_prob(self, value: Float[Array, "*event"]) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        check_event(value, jnp.broadcast_shapes(jnp.shape(self.loc), jnp.shape(self.scale)))
        # flat, as in `Bernoulli`, for speed on CPU
        value, loc, scale = (jnp.ravel(a) for a in jnp.broadcast_arrays(value, self.loc, self.scale))
        return jnp.sum(-0.5 * ((value - loc) / scale) ** 2 - jnp.log(scale) - HALF_LOG_2PI)


class MultivariateNormal(NamedTuple):
    """N(loc, L Lᵀ) over a vector.

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
        """Draw x = loc + L ε and return (x, log p(x)), without a triangular solve."""
        noise = jax.random.normal(key, self.loc.shape, self.loc.dtype)
        value = self.loc + jnp.matmul(self.scale_tril, noise, precision="highest")
        return value, self._log_prob_of_noise(noise)

    def log_prob(self, value: Float[Array, "D"]) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        check_event(value, self.loc.shape)
        return self._log_prob_of_noise(solve_triangular(self.scale_tril, value - self.loc, lower=True))

    def _log_prob_of_noise(self, noise: Float[Array, "D"]) -> Float[Array, ""]:
        return jnp.sum(-0.5 * noise**2 - jnp.log(jnp.diagonal(self.scale_tril)) - HALF_LOG_2PI)
