"""The aggregate posterior of 200 examples, whose sums a loop in float64 can take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from gen_jax.distributions import Beta, Normal, aggregate_density, log_prob_parts, rate_parts
from gen_jax.types import InputError

N, Z = 200, 3
RNG = np.random.default_rng(0)
LOC = (RNG.normal(size=(N, Z)) @ np.array([[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.01]])).astype(np.float32)
SCALE = np.tile(np.array([0.3, 0.4, 1.0], np.float32), (N, 1))
POSTERIORS = Normal(jnp.asarray(LOC), jnp.asarray(SCALE))
DRAWS = jnp.asarray(LOC + SCALE * RNG.normal(size=(N, Z)), jnp.float32)
PRIOR = Normal(jnp.zeros(Z), jnp.ones(Z))


def exact_parts():
    """By definition, in float64: sums over all 200 posteriors."""
    log_q = np.array([[stats.norm.logpdf(z, m, s) for m, s in zip(LOC, SCALE, strict=True)] for z in DRAWS])  # [i, m, Z]
    joint = logsumexp(log_q.sum(axis=-1), axis=1) - np.log(N)
    marginals = logsumexp(log_q, axis=1) - np.log(N)
    own = np.array([log_q[i, i].sum() for i in range(N)])
    parts = own - joint, joint - marginals.sum(axis=1), marginals - stats.norm.logpdf(DRAWS)
    return joint, [part.mean(axis=0) for part in parts]


JOINT, PARTS = exact_parts()


def test_all_examples_give_the_exact_sums():
    found = rate_parts(POSTERIORS, PRIOR, DRAWS)
    for part, exact in zip(found, PARTS, strict=True):
        np.testing.assert_allclose(part, exact, atol=2e-5)
    assert PARTS[0] < np.log(N)
    log_q = stats.norm.logpdf(DRAWS, LOC, SCALE).sum(axis=1)
    rate = (log_q - stats.norm.logpdf(DRAWS).sum(axis=1)).mean()
    np.testing.assert_allclose(sum(jnp.sum(part) for part in found), rate, rtol=1e-5)


def test_weights_of_a_minibatch_differ_by_a_constant_from_the_exact_sums_if_it_is_all():
    """1 / N² for 1 / N: log N more of mutual information, Z log N for log N less of the dimension-wise KL."""
    found = rate_parts(POSTERIORS, PRIOR, DRAWS, N, "weighted")
    np.testing.assert_allclose(found.mutual_information, PARTS[0] + np.log(N), atol=2e-5)
    np.testing.assert_allclose(found.total_correlation, PARTS[1] + (Z - 1) * np.log(N), atol=5e-5)
    np.testing.assert_allclose(found.dimension_wise_kl, PARTS[2] - np.log(N), atol=2e-5)


def test_the_stratified_estimate_of_a_density_has_the_right_mean_and_the_weighted_one_has_not():
    """Of q(z_0), over minibatches of 10 that hold example 0."""
    rng, num = np.random.default_rng(1), 4000
    rows = np.stack([np.append(0, rng.choice(np.arange(1, N), 9, replace=False)) for _ in range(num)])

    def of(estimator):
        one = lambda rows: aggregate_density(jax.tree.map(lambda a: a[rows], POSTERIORS), DRAWS[rows], N, estimator).joint[0]
        ratio = np.exp(np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(rows)), np.float64) - JOINT[0])
        return ratio.mean(), ratio.std() / num**0.5

    mean, error = of("stratified")
    assert error < 0.02
    assert abs(mean - 1) < 4 * error
    mean, error = of("weighted")
    assert mean < 1 - 20 * error


@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_a_minibatch_ranks_a_total_correlation(estimator):
    """Estimates from minibatches are biased, alike for both sets: that with dependent latents has the larger one."""
    independent = np.stack([RNG.permutation(LOC[:, j]) for j in range(Z)], axis=1)
    noise = np.asarray(DRAWS) - LOC

    def estimate(loc):
        rows = np.random.default_rng(2).permuted(np.tile(np.arange(N), (50, 1)), axis=1)[:, :64]
        one = lambda rows: rate_parts(
            Normal(jnp.asarray(loc)[rows], jnp.asarray(SCALE)[rows]), PRIOR, jnp.asarray(loc + noise)[rows], N, estimator
        )
        return float(jnp.mean(jax.vmap(one)(jnp.asarray(rows)).total_correlation))

    exact = float(rate_parts(POSTERIORS, PRIOR, DRAWS).total_correlation)
    moved = Normal(jnp.asarray(independent), POSTERIORS.scale)
    exact_independent = float(rate_parts(moved, PRIOR, jnp.asarray(independent + noise)).total_correlation)
    assert abs((estimate(LOC) - estimate(independent)) - (exact - exact_independent)) < 0.25 * (exact - exact_independent)


def test_many_examples_are_taken_in_pieces():
    """Of a normal aggregate with correlation ρ, the total correlation is −½ log(1 − ρ²)."""
    num, rho = 3000, 0.6
    rng = np.random.default_rng(3)
    loc = rng.multivariate_normal(np.zeros(2), np.array([[0.75, rho], [rho, 0.75]]), num).astype(np.float32)
    scale = np.full((num, 2), 0.5, np.float32)  # variances 1 in all
    draws = jnp.asarray(loc + scale * rng.normal(size=(num, 2)), jnp.float32)
    found = rate_parts(Normal(jnp.asarray(loc), jnp.asarray(scale)), Normal(jnp.zeros(2), jnp.ones(2)), draws)
    assert abs(float(found.total_correlation) + 0.5 * np.log(1 - rho**2)) < 0.05
    assert np.abs(found.dimension_wise_kl).max() < 0.02


def test_dimensions_of_a_beta_have_their_own_densities():
    beta = Beta(jnp.array([0.5, 2.0]), jnp.array([3.0, 1.0]))
    value = jnp.array([0.2, 0.7])
    np.testing.assert_allclose(log_prob_parts(beta, value), stats.beta.logpdf(value, [0.5, 2.0], [3.0, 1.0]), rtol=1e-5)


@pytest.mark.parametrize(("batch", "num_data"), [(20, 10), (1, 5)])
def test_a_batch_is_of_some_of_the_data(batch, num_data):
    with pytest.raises(InputError, match=f"A batch of {batch} of {num_data} examples"):
        aggregate_density(jax.tree.map(lambda a: a[:batch], POSTERIORS), DRAWS[:batch], num_data)
