"""The Kullback-Leibler divergence KL(q ‖ p) = E_q[log q(x) − log p(x)], in nats."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from gen_jax.distributions.bessel import cosine_moments
from gen_jax.distributions.beta import Beta
from gen_jax.distributions.discrete import Bernoulli
from gen_jax.distributions.gamma import log_gamma_divergence
from gen_jax.distributions.normal import MultivariateNormal, Normal
from gen_jax.distributions.power_spherical import PowerSpherical
from gen_jax.distributions.uniform_sphere import UniformSphere
from gen_jax.distributions.von_mises_fisher import VonMisesFisher
from gen_jax.types import Array, Distribution, InputError, Key, Posterior


def kl_divergence(q: Distribution, p: Distribution, key: Key | None = None, num_samples: int = 1024) -> Float[Array, ""]:
    """Return KL(q ‖ p) = E_q[log q(x) − log p(x)] in nats, in closed form if there is one, else estimated by Monte Carlo.

    The estimate is (1/N) Σ_n [log q(x_n) − log p(x_n)], x_n ~ q. It is unbiased, and may be negative.

    Args:
        q: the distribution of the expectation.
        p: a distribution over the same events.
        key: for the estimate.
        num_samples: N, for the estimate.

    Raises:
        InputError: there is no closed form for this pair and no key was given.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.distributions import Mixture, Normal, kl_divergence
        >>> q, p = Normal(jnp.ones(1), jnp.ones(1)), Normal(jnp.zeros(1), jnp.ones(1))
        >>> kl_divergence(q, p).item()  # ½ μ²
        0.5
        >>> mixture = Mixture(jnp.zeros(2), Normal(jnp.zeros((2, 1)), jnp.ones((2, 1))))  # equal to p, but has no closed form
        >>> abs(kl_divergence(q, mixture, jax.random.key(0), num_samples=10_000).item() - 0.5) < 0.05
        True
    """
    parts = kl_parts(q, p)
    if parts is not None:
        return jnp.sum(parts)
    if key is None:
        raise InputError(
            f"KL({type(q).__name__} ‖ {type(p).__name__}) has no closed form here: pass a key for a Monte Carlo estimate."
        )

    def log_ratio(key: Key) -> Float[Array, ""]:
        if isinstance(q, Posterior):
            value, log_q = q.sample_and_log_prob(key)
        else:
            value = q.sample(key)
            log_q = q.log_prob(value)
        return log_q - p.log_prob(value)

    return jnp.mean(jax.vmap(log_ratio)(jax.random.split(key, num_samples)))


def kl_parts(q: Distribution, p: Distribution) -> Float[Array, "G"] | None:
    """Return KL(q ‖ p) in nats and in closed form, or None for a pair without one here.

    It has one entry per dimension if the dimensions are independent, else a single entry.
    """
    match q, p:
        case Normal(), Normal():
            parts = _normal(q, p)
        case Bernoulli(), Bernoulli():
            parts = _bernoulli(q.logits, p.logits)
        case Beta(), Beta():
            parts = _beta(q, p)
        case ((Normal() | MultivariateNormal()), (Normal() | MultivariateNormal())):
            parts = _multivariate_normal(_with_full_covariance(q), _with_full_covariance(p))
        case VonMisesFisher(), UniformSphere():
            parts = cosine_moments(q.order, q.concentration).divergence
        case VonMisesFisher(), VonMisesFisher():
            parts = _von_mises_fisher(q, p)
        case PowerSpherical(), UniformSphere():
            parts = _power_spherical_to_uniform(q)
        case UniformSphere(), UniformSphere():
            parts = jnp.zeros(())
        case _:
            return None
    return jnp.ravel(parts)


def _bernoulli(q: Float[Array, "*event"], p: Float[Array, "*event"]) -> Float[Array, "*event"]:
    """P_q(1) log [P_q(1) / P_p(1)] + P_q(0) log [P_q(0) / P_p(0)], of logits; each log ratio has the size of its result."""
    log_ratio = lambda q, p: jax.nn.log_sigmoid(q) - jax.nn.log_sigmoid(p)
    return jax.nn.sigmoid(q) * log_ratio(q, p) + jax.nn.sigmoid(-q) * log_ratio(-q, -p)


def _normal(q: Normal, p: Normal) -> Float[Array, "*event"]:
    """½ [σ_q²/σ_p² + (μ_q − μ_p)²/σ_p² − 1 − log(σ_q²/σ_p²)] of each dimension."""
    mean_term = ((q.loc - p.loc) / p.scale) ** 2
    variance_term = (q.scale / p.scale) ** 2
    # a difference of logs, since the square of the ratio can underflow
    log_term = 2 * (jnp.log(q.scale) - jnp.log(p.scale))
    return 0.5 * (variance_term + mean_term - 1 - log_term)


def _multivariate_normal(q: MultivariateNormal, p: MultivariateNormal) -> Float[Array, ""]:
    """½ [tr(Σ_p⁻¹ Σ_q) + (μ_p − μ_q)ᵀ Σ_p⁻¹ (μ_p − μ_q) − D + log(det Σ_p / det Σ_q)], by Cholesky factors."""
    ratio = solve_triangular(p.scale_tril, q.scale_tril, lower=True)
    shift = solve_triangular(p.scale_tril, q.loc - p.loc, lower=True)
    log_det_p = jnp.sum(jnp.log(jnp.diagonal(p.scale_tril)))
    log_det_q = jnp.sum(jnp.log(jnp.diagonal(q.scale_tril)))
    return 0.5 * (jnp.sum(ratio**2) + jnp.sum(shift**2) - q.loc.size) + log_det_p - log_det_q


def _beta(q: Beta, p: Beta) -> Float[Array, "*event"]:
    """d(α_q, α_p) + d(β_q, β_p) − d(α_q + β_q, α_p + β_p) of each dimension, d(a, b) = log Γ(b) − log Γ(a) − (b − a) ψ(a).

    It equals log B(α_p, β_p) − log B(α_q, β_q) + (α_q − α_p) E_q[log x] + (β_q − β_p) E_q[log(1 − x)].
    """
    alpha_step, beta_step = p.alpha - q.alpha, p.beta - q.beta
    d_alpha = log_gamma_divergence(q.alpha, p.alpha, alpha_step)
    d_beta = log_gamma_divergence(q.beta, p.beta, beta_step)
    return d_alpha + d_beta - log_gamma_divergence(q.alpha + q.beta, p.alpha + p.beta, alpha_step + beta_step)


def _von_mises_fisher(q: VonMisesFisher, p: VonMisesFisher) -> Float[Array, ""]:
    """KL(q ‖ uniform) + log M(κ_p) − κ_p E_q[loc_p · x], M as in `VonMisesFisher`.

    The terms grow with κ_p, so the result is inaccurate for two similar, concentrated distributions.
    """
    moments_q, moments_p = (cosine_moments(d.order, d.concentration) for d in (q, p))
    # 1 − loc_p · E_q[x], without cancellation at large concentrations
    one_minus_mean = moments_q.one_minus_mean + moments_q.mean * 0.5 * jnp.sum((q.loc - p.loc) ** 2)
    return moments_q.divergence + moments_p.log_mgf_minus_x + p.concentration * one_minus_mean


def _power_spherical_to_uniform(q: PowerSpherical) -> Float[Array, ""]:
    """κ E_q[log(1 + t)] − log E[(1 + t)^κ] = d(a, b) − d(a + b, 2b), with d as in `_beta`, a = b + κ, b = (D − 1)/2."""
    step = -q.concentration
    b = jnp.full_like(step, (q.loc.shape[0] - 1) / 2)
    return log_gamma_divergence(b - step, b, step) - log_gamma_divergence(2 * b - step, 2 * b, step)


def _with_full_covariance(d: Normal | MultivariateNormal) -> MultivariateNormal:
    if isinstance(d, MultivariateNormal):
        return d
    loc, scale = jnp.broadcast_arrays(d.loc, d.scale)
    return MultivariateNormal(loc, jnp.diag(scale))
