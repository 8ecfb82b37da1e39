"""KL(q ‖ p): closed forms against numpyro's and against Monte Carlo."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest

from gen_jax.distributions import (
    Bernoulli,
    Beta,
    MultivariateNormal,
    Normal,
    PowerSpherical,
    UniformSphere,
    VonMisesFisher,
    kl_divergence,
    kl_parts,
)
from gen_jax.types import InputError
from tests.contracts.distributions import ALPHA, BETA, LOC, LOGITS, POLE, SCALE, TRIL
from tests.small import fast_first

F32 = jnp.float32
NORMAL = Normal(jnp.asarray(LOC, F32), jnp.asarray(SCALE, F32))
STANDARD = Normal(jnp.zeros(3), jnp.ones(3))
BETAS = Beta(jnp.asarray(ALPHA, F32), jnp.asarray(BETA, F32))
VMF = VonMisesFisher(jnp.asarray(POLE, F32), F32(4.0))
FULL = MultivariateNormal(jnp.asarray(LOC[::-1].copy(), F32), jnp.asarray(TRIL, F32))
TRIL_2 = np.array([[0.7, 0.0, 0.0], [-0.1, 1.2, 0.0], [0.4, 0.2, 0.9]])
FULL_2 = MultivariateNormal(jnp.asarray(LOC, F32), jnp.asarray(TRIL_2, F32))


def numpyro(d):
    match d:
        case Normal(loc, scale):
            return npd.MultivariateNormal(loc, scale_tril=jnp.diag(scale))
        case MultivariateNormal(loc, tril):
            return npd.MultivariateNormal(loc, scale_tril=tril)


PAIRS = {
    "normal, standard": (NORMAL, STANDARD),
    "standard, normal": (STANDARD, NORMAL),
    "full, full": (FULL, FULL_2),
    "normal, full": (NORMAL, FULL),
    "full, normal": (FULL, NORMAL),
    "bernoulli, bernoulli": (Bernoulli(jnp.asarray(LOGITS, F32)), Bernoulli(jnp.array([1.0, -1.0, 0.5]))),
    "beta, beta": (
        Beta(jnp.asarray(ALPHA, F32), jnp.asarray(BETA, F32)),
        Beta(jnp.array([1.0, 1.5, 8.0]), jnp.array([1.0, 4.0, 0.8])),
    ),
    "vmf, uniform": (VMF, UniformSphere(3)),
    "vmf, vmf": (VMF, VonMisesFisher(jnp.array([0.0, 0.6, 0.8]), jnp.float32(2.0))),
    "power spherical, uniform": (PowerSpherical(VMF.loc, VMF.concentration), UniformSphere(3)),
}
NORMAL_PAIRS = list(PAIRS)[:5]


@pytest.mark.parametrize("pair", NORMAL_PAIRS)
def test_the_closed_form_is_numpyros(pair):
    q, p = PAIRS[pair]
    np.testing.assert_allclose(kl_divergence(q, p), npd.kl_divergence(numpyro(q), numpyro(p)), rtol=2e-5)


def test_the_bernoulli_form_is_the_sum_over_all_events():
    q, p = PAIRS["bernoulli, bernoulli"]
    events = jnp.array(list(itertools.product([0.0, 1.0], repeat=3)))
    log_q, log_p = jax.vmap(q.log_prob)(events), jax.vmap(p.log_prob)(events)
    np.testing.assert_allclose(kl_divergence(q, p), jnp.sum(jnp.exp(log_q) * (log_q - log_p)), rtol=1e-5)


@pytest.mark.parametrize("pair", fast_first(reversed(PAIRS), 5))
def test_the_closed_form_is_the_limit_of_monte_carlo(pair, key):
    q, p = PAIRS[pair]
    x = jax.jit(jax.vmap(q.sample))(jax.random.split(key, 50_000))
    ratios = np.asarray(jax.jit(jax.vmap(lambda x: q.log_prob(x) - p.log_prob(x)))(x), np.float64)
    assert abs(ratios.mean() - kl_divergence(q, p)) < 3 * ratios.std() / np.sqrt(len(ratios))


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if not pair.startswith("power")])
def test_a_distribution_has_no_divergence_from_itself(pair):
    q, _ = PAIRS[pair]
    np.testing.assert_allclose(kl_divergence(q, q), 0.0, atol=1e-6)


def test_the_normal_form_has_the_variance_and_not_its_inverse():
    """½(μ² + σ² − 1 − log σ²), the formula of the paper, by hand: μ = 1, σ = 2."""
    kl = kl_divergence(Normal(jnp.array([1.0]), jnp.array([2.0])), Normal(jnp.array([0.0]), jnp.array([1.0])))
    np.testing.assert_allclose(kl, 0.5 * (1 + 4 - 1 - np.log(4)), rtol=1e-6)


def test_a_shared_scale_counts_once_a_dimension():
    wide = Normal(jnp.zeros(3), jnp.float32(2.0))
    np.testing.assert_allclose(kl_divergence(wide, STANDARD), 3 * 0.5 * (4 - 1 - np.log(4)), rtol=1e-6)


def test_a_narrow_posterior_has_a_finite_divergence_and_gradient():
    value, gradient = jax.value_and_grad(lambda s: kl_divergence(Normal(jnp.zeros(1), s), Normal(jnp.zeros(1), jnp.ones(1))))(
        jnp.array([1e-25])
    )
    np.testing.assert_allclose(value, -0.5 + 25 * np.log(10), rtol=1e-5)
    assert np.isfinite(gradient).all()


class Laplace(npd.Laplace):
    """A distribution from elsewhere, for which no closed form is known here."""

    def log_prob(self, value):
        return super().log_prob(value).sum()


def test_monte_carlo_stands_in_where_there_is_no_closed_form(key):
    """KL(Laplace(0, 1) ‖ N(0, 1)) = −1 − log 2 + ½ log 2π + ½ E[x²] = −log 2 + ½ log 2π."""
    laplace, normal = Laplace(jnp.zeros(1), jnp.ones(1)), Normal(jnp.zeros(1), jnp.ones(1))
    assert kl_parts(laplace, normal) is None
    with pytest.raises(InputError, match="pass a key"):
        kl_divergence(laplace, normal)
    estimate = kl_divergence(laplace, normal, key, num_samples=100_000)
    # Var[log q − log p] = Var[x²/2 − |x|] = 5 − ... < 4, so that four standard errors are below 0.03
    assert abs(estimate - (-np.log(2) + 0.5 * np.log(2 * np.pi))) < 0.03
