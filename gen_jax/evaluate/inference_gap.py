"""How far a bound is from log p(x), and why: the family of q, or the encoder (Cremer et al. 2018, arXiv:1801.03558)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions import Normal
from gen_jax.evaluate.likelihood import importance_weighted
from gen_jax.types import Array, Key

LogDensity = Callable[[Array], Float[Array, ""]]


class InferenceGap(NamedTuple):
    """log p(x) − L[q] of one example, in two parts: log p(x) − L[q*], of q's family, and L[q*] − L[q], of the encoder.

    In nats, as Cremer et al. 2018 (arXiv:1801.03558) divide it.

    Attributes:
        log_prob: the importance-weighted estimate of log p(x) with proposals from q*: in expectation a lower bound.
        elbo: L[q] of the encoder's q.
        optimised_elbo: L[q*] of the best q found for this example alone.
        approximation: `log_prob` − `optimised_elbo`.
        amortisation: `optimised_elbo` − `elbo`.
    """

    log_prob: Float[Array, ""]
    elbo: Float[Array, ""]
    optimised_elbo: Float[Array, ""]
    approximation: Float[Array, ""]
    amortisation: Float[Array, ""]


def normal_elbo(log_joint: LogDensity, q: Normal, noise: Float[Array, "K Z"]) -> Float[Array, ""]:
    """Return L[q] = E_q[log p(x, z)] + H[q], the expectation as the mean over z_k = μ + σ ⊙ ε_k."""
    values = jax.vmap(lambda noise: log_joint(q.loc + q.scale * noise))(noise)
    entropy = jnp.sum(jnp.log(q.scale) + 0.5 * (1 + jnp.log(2 * jnp.pi)))
    return jnp.mean(values) + entropy


def optimised_normal(
    log_joint: LogDensity, start: Normal, optimizer: Any, key: Key, num_steps: int = 500, num_samples: int = 8
) -> Normal:
    """Return the normal q with independent dimensions that maximises L[q] for one example, by stochastic gradients.

        L[q] = E_q[log p(x, z) − log q(z)]

    Args:
        log_joint: z -> log p(x, z).
        start: such as the encoder's q(z|x).
        optimizer: of μ and log σ, with optax's `init` and `update`.
        key: of the draws.
        num_steps: of the optimizer.
        num_samples: of z, for each step.
    """

    def step(state: tuple[Any, Any], key: Key) -> tuple[tuple[Any, Any], None]:
        parts, opt_state = state
        noise = jax.random.normal(key, (num_samples, *start.loc.shape))
        loss = lambda parts: -normal_elbo(log_joint, Normal(parts[0], jnp.exp(parts[1])), noise)
        updates, opt_state = optimizer.update(jax.grad(loss)(parts), opt_state, parts)
        return (jax.tree.map(jnp.add, parts, updates), opt_state), None

    parts = (start.loc, jnp.log(start.scale))
    (found, _), _ = jax.lax.scan(step, (parts, optimizer.init(parts)), jax.random.split(key, num_steps))
    return Normal(found[0], jnp.exp(found[1]))


@jax.default_matmul_precision("highest")
def inference_gap(
    log_joint: LogDensity,
    posterior: Normal,
    optimizer: Any,
    key: Key,
    *,
    num_steps: int = 500,
    num_samples: int = 8,
    num_importance_samples: int = 1000,
) -> InferenceGap:
    """Return the gap of one example; both bounds take the same 1,000 draws of noise, so that their difference is sharp.

    Args:
        log_joint: z -> log p(x, z).
        posterior: the encoder's q(z|x), of independent dimensions.
        optimizer: that finds q*, as in `optimised_normal`.
        key: of all draws.
        num_steps: of the optimizer.
        num_samples: of z, for each step.
        num_importance_samples: of q*, for log p(x).
    """
    optimise_key, noise_key, weights_key = jax.random.split(key, 3)
    best = optimised_normal(log_joint, posterior, optimizer, optimise_key, num_steps, num_samples)
    noise = jax.random.normal(noise_key, (1000, *best.loc.shape))
    elbo, optimised = (normal_elbo(log_joint, q, noise) for q in (posterior, best))

    def log_weight(key: Key) -> Float[Array, ""]:
        z, log_q = best.sample_and_log_prob(key)
        return log_joint(z) - log_q

    log_prob = importance_weighted(log_weight, weights_key, num_importance_samples).log_prob
    return InferenceGap(log_prob, elbo, optimised, log_prob - optimised, optimised - elbo)
