"""The von Mises-Fisher distribution on the unit sphere, with exact reparameterised samples."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from gen_jax.distributions.bessel import NUM_WIDTHS, at_angle, cosine_moments, mode_and_width, nodes_between
from gen_jax.distributions.event import check_event
from gen_jax.distributions.implicit import with_implicit_derivative
from gen_jax.distributions.uniform_sphere import log_sphere_area, sphere_point
from gen_jax.types import Array, Key

MAX_PROPOSALS = 64  # each is accepted with probability > 0.65, so that only a concentration of NaN needs so many
LARGEST_ANGLE = 3.141592  # π in float32 is above π


class VonMisesFisher(NamedTuple):
    """The density ∝ e^{κ loc · x} on S^{D−1} = {x ∈ R^D : |x| = 1}, D ≥ 2, per unit of area.

    log p(x) = κ loc · x − log M(κ) − log |S^{D−1}|,  M(κ) = Γ(D/2) (2/κ)^{D/2−1} I_{D/2−1}(κ)

    The angle θ between a sample and loc comes from the rejection sampler of Ulrich (1984) and Wood (1994), with the implicit
    derivative dθ/dκ = −(∂F/∂κ) / p (Figurnov et al. 2018, arXiv:1805.08498), with F the CDF of θ and p its density.

    Attributes:
        loc: [D], the mean direction, a unit vector (not checked).
        concentration: κ ≥ 0.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax.distributions import VonMisesFisher
        >>> p = VonMisesFisher(jnp.array([0.0, 0.0, 1.0]), jnp.float32(1.0))
        >>> round(p.mean[2].item(), 3), round(p.log_prob(p.loc).item(), 3)  # coth 1 − 1, and 1 − log(4π sinh 1)
        (0.313, -1.692)
    """

    loc: Float[Array, "D"]
    concentration: Float[Array, ""]

    @property
    def mean(self) -> Float[Array, "D"]:
        """E[x] = loc I_{D/2}(κ) / I_{D/2−1}(κ), inside the sphere."""
        return self.loc * cosine_moments(self.order, self.concentration).mean

    @property
    def order(self) -> float:
        """D/2 − 1, the order of the Bessel function."""
        return self.loc.shape[0] / 2 - 1

    def sample(self, key: Key) -> Float[Array, "D"]:
        """Draw cos θ loc + sin θ u, with u uniform on the unit vectors orthogonal to loc."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "D"], Float[Array, ""]]:
        """Draw x and return (x, log p(x)); the density is computed from θ, without the rounding of loc · x."""
        angle_key, tangent_key = jax.random.split(key)
        angle = _propose_until_accepted(angle_key, self.loc.shape[0], jax.lax.stop_gradient(self.concentration))
        angle = with_implicit_derivative(functools.partial(_angle_gradient, self.order), angle, self.concentration)
        noise = jax.random.normal(tangent_key, self.loc.shape, self.loc.dtype)
        value = sphere_point(jnp.cos(angle), jnp.sin(angle), self.loc, noise)
        return value, self._log_prob_of_versine(2 * jnp.sin(angle / 2) ** 2)

    def log_prob(self, value: Float[Array, "D"]) -> Float[Array, ""]:
        """Return log p(value) in nats, for a unit vector."""
        check_event(value, self.loc.shape)
        # 1 − loc · x, without cancellation at large κ
        return self._log_prob_of_versine(0.5 * jnp.sum((value - self.loc) ** 2))

    def _log_prob_of_versine(self, versine: Float[Array, ""]) -> Float[Array, ""]:
        """Log p(x) from 1 − loc · x."""
        normaliser = cosine_moments(self.order, self.concentration).log_mgf_minus_x
        return -self.concentration * versine - normaliser - log_sphere_area(self.loc.shape[0])


def _propose_until_accepted(key: Key, dim: int, concentration: Float[Array, ""]) -> Float[Array, ""]:
    """Draw the angle θ to loc, without gradient.

    Wood's proposal is cos θ = (1 − (1 + b) β) / (1 − (1 − b) β) with β ~ Beta((D−1)/2, (D−1)/2) and
    b = (D−1) / (2κ + sqrt(4κ² + (D−1)²)), accepted if log u < κ (cos θ − x_0) + (D−1) log((1 + b) / 2s), x_0 = (1 − b) / (1 + b).
    Since cos θ is near 1 at large κ, both are computed from 1 − cos θ = 2 b β / s, s = 1 − (1 − b) β.
    """
    b = (dim - 1) / (2 * concentration + jnp.sqrt(4 * concentration**2 + (dim - 1) ** 2))

    def propose(state: tuple[Int[Array, ""], Bool[Array, ""], Float[Array, ""]]):
        count, _, _ = state
        beta_key, accept_key = jax.random.split(jax.random.fold_in(key, count))
        noise = jax.random.normal(beta_key, (dim,), b.dtype)
        # (1 − first coordinate of the direction) / 2 ~ Beta, in a form without cancellation for a coordinate near 1
        first, rest = noise[0], jnp.sum(noise[1:] ** 2)
        length = jnp.sqrt(first**2 + rest)
        above = length + jnp.abs(first)
        small, large = rest / above / (2 * length), above / (2 * length)
        beta, one_minus_beta = jnp.where(first > 0, small, large), jnp.where(first > 0, large, small)
        s = one_minus_beta + b * beta
        versine = 2 * b * beta / s
        log_ratio = concentration * (2 * b / (1 + b) - versine) + (dim - 1) * jnp.log((1 + b) / (2 * s))
        log_uniform = -jax.random.exponential(accept_key, (), b.dtype)
        return count + 1, log_uniform < log_ratio, 2 * jnp.arcsin(jnp.sqrt(jnp.minimum(versine / 2, 1)))

    def rejected(state: tuple[Int[Array, ""], Bool[Array, ""], Float[Array, ""]]):
        count, accepted, _ = state
        return ~accepted & (count < MAX_PROPOSALS)

    start = (jnp.zeros((), jnp.int32), jnp.zeros((), bool), jnp.zeros_like(b))
    # so that the sine is positive
    angle = jax.lax.while_loop(rejected, propose, propose(start))[2]
    return jnp.clip(angle, 1e-30, LARGEST_ANGLE)


def _angle_gradient(
    order: float | Float[Array, ""], angle: Float[Array, ""], concentration: Float[Array, ""]
) -> Float[Array, ""]:
    """dθ/dκ = −∫_0^θ p(s) (cos s − E[cos]) ds / p(θ) = −∫_θ^π p(s) (E[cos] − cos s) ds / p(θ).

    The first is used if cos θ > E[cos], else the second: the integrand then has one sign. It is negligible beyond some widths of
    the mode (or of θ, if further out), and p(s) / p(θ) needs no normaliser.
    """
    mean_versine = cosine_moments(order, concentration).one_minus_mean
    mode, width = jax.lax.stop_gradient(mode_and_width(order, concentration))
    below = 2 * jnp.sin(angle / 2) ** 2 < mean_versine
    low = jnp.where(below, jnp.maximum(jnp.minimum(mode, angle) - NUM_WIDTHS * width, 0), angle)
    high = jnp.where(below, angle, jnp.minimum(jnp.maximum(mode, angle) + NUM_WIDTHS * width, LARGEST_ANGLE))
    nodes = nodes_between(low, high)
    log_sine, _, versine = at_angle(angle)
    log_ratio = 2 * order * (nodes.log_sine - log_sine) - concentration * (nodes.versine - versine)
    return -jnp.sum(nodes.weight * jnp.exp(log_ratio) * jnp.abs(mean_versine - nodes.versine))
