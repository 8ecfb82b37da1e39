"""The aggregate posterior q(z) = (1/N) Σ_n q(z|x_n), and the parts of a mean KL that it gives.

    E_n KL(q(z|x_n) ‖ p(z)) = I(n; z) + KL(q(z) ‖ Π_j q(z_j)) + Σ_j KL(q(z_j) ‖ p(z_j))

Hoffman & Johnson 2016 (Workshop on Advances in Approximate Bayesian Inference); Chen et al. 2018 (arXiv:1802.04942).
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from gen_jax.distributions.beta import Beta
from gen_jax.distributions.discrete import Bernoulli, Categorical
from gen_jax.distributions.discretised_logistic import DiscretisedLogistic
from gen_jax.distributions.mixture import NormalMixture
from gen_jax.distributions.normal import Normal
from gen_jax.types import Array, InputError

Estimator = Literal["stratified", "weighted"]
ROWS = 64  # of z, whose densities under all posteriors are in memory at once
# whose dimensions are independent
Factorised = Normal | Beta | Bernoulli | Categorical | DiscretisedLogistic | NormalMixture


class RateParts(NamedTuple):
    """Estimates of the parts of a mean KL, in nats. Their sum is the mean of log q(z_i|x_i) − log p(z_i).

    Attributes:
        mutual_information: E[log q(z|x_n) − log q(z)], of which example n and its z: log N at most.
        total_correlation: E[log q(z) − Σ_j log q(z_j)], by which the latents depend on each other.
        dimension_wise_kl: E[log q(z_j) − log p(z_j)] for each latent j.
    """

    mutual_information: Float[Array, ""]
    total_correlation: Float[Array, ""]
    dimension_wise_kl: Float[Array, "Z"]


class AggregateDensity(NamedTuple):
    """The logarithms of estimates of q(z_i), and of q(z_ij) for each latent j, in nats."""

    joint: Float[Array, "B"]
    marginals: Float[Array, "B Z"]


def aggregate_density(
    posteriors: Factorised, z: Float[Array, "B Z"], num_data: int | None = None, estimator: Estimator = "stratified"
) -> AggregateDensity:
    """Estimate log q(z_i) and log q(z_ij) of z_i ~ q(z|x_i), from a batch of B among N examples, as log Σ_m w_im q(z_i|x_m).

    "stratified" has w_ii = 1/N, and (N − 1) / (N (B − 1)) for the others: the estimate of q(z_i) has the right expectation, and
    it is exact for B = N. (Chen et al. give one of the others another weight; over their orders this is the mean.) "weighted" has
    1 / (N B) for all of them: log q is too small by log B for posteriors far apart, and by log N for equal ones.

    Args:
        posteriors: q(z|x_m), stacked: leaves [B, Z].
        z: a draw of each.
        num_data: N; by default B.
        estimator: "stratified" or "weighted".

    Raises:
        InputError: N is less than B, or B is 1 and N is not.
    """
    if estimator not in get_args(Estimator):
        raise InputError(f"estimator is {estimator!r}: give {' or '.join(get_args(Estimator))}.")
    batch = len(z)
    num_data = batch if num_data is None else num_data
    if num_data < batch or batch == 1 < num_data:
        raise InputError(f"A batch of {batch} of {num_data} examples: give 2 or more of them, or all.")
    own = jnp.eye(batch, dtype=bool)
    if estimator == "weighted":
        weights = jnp.full((batch, batch), -np.log(num_data) - np.log(batch))
    else:
        others = np.log1p(-1 / num_data) - np.log(batch - 1) if batch > 1 else 0.0
        weights = jnp.where(own, -np.log(num_data), others)

    def of_one(row: tuple[Array, Array]) -> AggregateDensity:
        z, log_w = row
        log_q = jax.vmap(log_prob_parts, (0, None))(posteriors, z)  # [B, Z]
        return AggregateDensity(
            jax.nn.logsumexp(jnp.sum(log_q, axis=1) + log_w), jax.nn.logsumexp(log_q + log_w[:, None], axis=0)
        )

    if batch <= 2 * ROWS:  # a training step: no loop
        return jax.vmap(lambda *row: of_one(row))(z, weights)
    return jax.lax.map(of_one, (z, weights), batch_size=ROWS)


def rate_parts(
    posteriors: Factorised,
    prior: Factorised,
    z: Float[Array, "B Z"],
    num_data: int | None = None,
    estimator: Estimator = "stratified",
) -> RateParts:
    """Take the mean KL of a batch apart, at one draw of each posterior; arguments and errors are those of `aggregate_density`.

    E_n KL(q(z|x_n) ‖ p(z)) = I(n; z) + KL(q(z) ‖ Π_j q(z_j)) + Σ_j KL(q(z_j) ‖ p(z_j))        (Chen et al. 2018)
    """
    found = aggregate_density(posteriors, z, num_data, estimator)
    log_q = jnp.sum(jax.vmap(log_prob_parts)(posteriors, z), axis=1)
    log_p = jax.vmap(log_prob_parts, (None, 0))(prior, z)
    return RateParts(
        jnp.mean(log_q - found.joint),
        jnp.mean(found.joint - jnp.sum(found.marginals, axis=1)),
        jnp.mean(found.marginals - log_p, axis=0),
    )


def log_prob_parts(distribution: Factorised, value: Shaped[Array, "*event"]) -> Float[Array, "*event"]:
    """Return the log-density of each dimension of an event, in nats, where dimensions are independent."""

    def flat(leaf: Array) -> Array:  # a leaf may have an axis of its own after those of the event, such as the categories
        own = leaf.shape[value.ndim :]
        return jnp.broadcast_to(leaf, value.shape + own).reshape(-1, *own)

    parts = jax.vmap(lambda part, value: part.log_prob(value))(jax.tree.map(flat, distribution), value.reshape(-1))
    return parts.reshape(value.shape)
