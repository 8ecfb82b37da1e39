"""Importance-weighted estimates of log p(x) (Burda et al. 2016, arXiv:1509.00519), in memory independent of K."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from gen_jax.types import Array, InputError, Key


class LikelihoodEstimate(NamedTuple):
    """An estimate from K importance weights w_k of one example.

    Attributes:
        log_prob: log (1/K) Σ w_k in nats. Its expectation L_K is a lower bound that increases with K to log p(x).
        standard_error: of `log_prob`, by the delta method: sd(w) / (√K mean(w)). It is too small if the effective sample size is.
        effective_sample_size: (Σ w_k)² / Σ w_k², between 1 and K (Kish).
    """

    log_prob: Float[Array, ""]
    standard_error: Float[Array, ""]
    effective_sample_size: Float[Array, ""]


@jax.default_matmul_precision("highest")
def importance_weighted(
    log_weight: Callable[[Key], Float[Array, ""]], key: Key, num_samples: int, chunk_size: int = 1000
) -> LikelihoodEstimate:
    """Return log (1/K) Σ_k w_k in nats with its standard error and effective sample size, for one example.

    `log_weight` maps a key to log w with E[w] = p(x), such as log p(x, z) − log q(z|x) at one z ~ q(z|x) (Burda et al. 2016,
    arXiv:1509.00519). Sample k uses `fold_in(key, k)`, so the chunk size, the number of samples in memory at once, changes the
    estimate only by rounding. Matrix products have float32 precision.

    Raises:
        InputError: K or the chunk size is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.distributions import Normal
        >>> from gen_jax.evaluate import importance_weighted
        >>> x, prior, q = jnp.ones(1), Normal(jnp.zeros(1), jnp.ones(1)), Normal(jnp.full(1, 0.5), jnp.ones(1))
        >>> log_w = lambda z, log_q: Normal(z, jnp.ones(1)).log_prob(x) + prior.log_prob(z) - log_q  # p(x|z) = N(z, 1)
        >>> found = importance_weighted(lambda key: log_w(*q.sample_and_log_prob(key)), jax.random.key(0), num_samples=10_000)
        >>> log_p = Normal(jnp.zeros(1), jnp.full(1, 2**0.5)).log_prob(x)  # p(x) = N(0, 2)
        >>> bool(jnp.abs(found.log_prob - log_p) < 4 * found.standard_error), bool(found.standard_error < 0.01)
        (True, True)
    """
    if num_samples < 1 or chunk_size < 1:
        raise InputError(f"num_samples is {num_samples} and chunk_size {chunk_size}: give 1 or more of each.")
    chunk_size = min(chunk_size, num_samples)

    def add_chunk(sums: tuple[Array, Array], start: Int[Array, ""]) -> tuple[tuple[Array, Array], None]:
        index = start + jnp.arange(chunk_size)
        log_w = jax.vmap(lambda k: log_weight(jax.random.fold_in(key, k)))(index)
        log_w = jnp.where(index < num_samples, log_w, -jnp.inf)
        added = (jax.nn.logsumexp(log_w), jax.nn.logsumexp(2 * log_w))
        return jax.tree.map(jnp.logaddexp, sums, added), None

    starts = chunk_size * jnp.arange(math.ceil(num_samples / chunk_size))
    zero = jnp.full_like(log_weight(key), -jnp.inf)  # of the type of a weight, which is not computed
    (log_sum, log_sum_of_squares), _ = jax.lax.scan(add_chunk, (zero, zero), starts)
    return estimate_of(log_sum, log_sum_of_squares, num_samples)


def estimate_of(log_sum: Float[Array, ""], log_sum_of_squares: Float[Array, ""], num_samples: int) -> LikelihoodEstimate:
    """Return the estimate from log Σ w_k and log Σ w_k² of K weights."""
    # if all weights are zero, the sample size is 0 and the error infinite
    effective_sample_size = jnp.where(jnp.isneginf(log_sum), 0.0, jnp.exp(2 * log_sum - log_sum_of_squares))
    # K/ESS − 1 = var(w)/mean(w)², with the biased variance; the denominator K − 1 corrects it
    variation = jnp.maximum(num_samples / effective_sample_size - 1, 0.0)
    standard_error = jnp.sqrt(variation / (num_samples - 1)) if num_samples > 1 else jnp.full((), jnp.inf)
    return LikelihoodEstimate(log_sum - math.log(num_samples), standard_error, effective_sample_size)


def estimate_from(log_weights: Float[Array, "K"]) -> LikelihoodEstimate:
    """Return the estimate of log p(x) from K log-weights, in nats."""
    largest = jnp.max(log_weights)
    shift = jnp.where(jnp.isfinite(largest), largest, 0.0)  # so that float32 tells the weights apart wherever they lie
    shifted = log_weights - shift
    found = estimate_of(jax.nn.logsumexp(shifted), jax.nn.logsumexp(2 * shifted), len(log_weights))
    return found._replace(log_prob=found.log_prob + shift)


class WeightedMean(NamedTuple):
    """A mean with weights, and its standard error."""

    mean: Float[Array, "*shape"]
    standard_error: Float[Array, "*shape"]


def weighted_mean(log_weights: Float[Array, "K"], values: Float[Array, "K *shape"]) -> WeightedMean:
    """Return m = Σ_k v_k f_k with v_k = w_k / Σ w, for each element of the values f_k.

    It estimates E_p[f] from draws of q, where w_k is p/q up to a factor (self-normalised importance sampling; Owen 2013, §9.2),
    with a bias of order 1/K. Its standard error, by the delta method, is √(Σ v_k² (f_k − m)²): too small if the effective sample
    size is. Both are NaN if all weights are zero.
    """
    shares = jax.nn.softmax(log_weights).reshape(-1, *(1,) * (values.ndim - 1))
    mean = jnp.sum(shares * values, axis=0)
    return WeightedMean(mean, jnp.sqrt(jnp.sum((shares * (values - mean[None])) ** 2, axis=0)))


def mean_and_standard_error(values: Float[np.ndarray, "N"]) -> tuple[float, float]:
    """Return the mean over examples and its standard error sd/√N (infinite for N = 1), in float64."""
    values = np.asarray(values, np.float64)
    standard_error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return float(values.mean()), float(standard_error)
