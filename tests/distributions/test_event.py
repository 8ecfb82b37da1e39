"""Values of another shape are refused, and values outside of the support have a log-density of −∞."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jaxtyping import TypeCheckError

from gen_jax.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    DiscretisedLogistic,
    MultivariateNormal,
    Normal,
    NormalMixture,
    PowerSpherical,
    UniformSphere,
    VonMisesFisher,
    kl_divergence,
)
from gen_jax.types import InputError

POLE = jnp.array([1.0, 0.0])
OVER_TWO = {
    "normal": Normal(jnp.zeros(2), jnp.ones(2)),
    "multivariate-normal": MultivariateNormal(jnp.zeros(2), jnp.eye(2)),
    "normal-mixture": NormalMixture(*jnp.ones((3, 2, 4))),
    "bernoulli": Bernoulli(jnp.zeros(2)),
    "categorical": Categorical(jnp.zeros((2, 4))),
    "beta": Beta(jnp.ones(2), jnp.ones(2)),
    "discretised-logistic": DiscretisedLogistic(jnp.zeros(2), jnp.ones(())),
    "von-mises-fisher": VonMisesFisher(POLE, jnp.float32(2)),
    "power-spherical": PowerSpherical(POLE, jnp.float32(2)),
    "uniform-sphere": UniformSphere(2),
}


@pytest.mark.parametrize("name", OVER_TWO)
@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (3, 2)])
def test_a_value_of_another_shape_is_refused(name, shape):
    """Also one that would broadcast to a number. (Some are refused by the tests' checker of types before.)"""
    value = jnp.ones(shape, jnp.int32 if name == "categorical" else jnp.float32)
    with pytest.raises((InputError, TypeCheckError), match=r"over events of shape \(2,\)|parameter 'value'"):
        jax.eval_shape(OVER_TWO[name].log_prob, value)


@pytest.mark.parametrize("name", OVER_TWO)
def test_arrays_of_numpy_are_taken_too(name):
    """Under jit, since the tests' checker of types wants JAX's elsewhere."""
    value = np.array([1, 0], np.int32 if name == "categorical" else np.float32)
    distribution = jax.tree.map(np.asarray, OVER_TWO[name])
    expected = OVER_TWO[name].log_prob(jnp.asarray(value))
    np.testing.assert_allclose(jax.jit(lambda d, value: d.log_prob(value))(distribution, value), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("distribution", "outside"),
    [
        (Bernoulli(jnp.full(2, 3.0)), (-1.0, 2.0)),
        (Categorical(jnp.full((2, 3), -100.0)), (-1, 3)),
        (Beta(jnp.full(2, 0.5), jnp.full(2, 2.0)), (-0.1, 1.1)),
        (DiscretisedLogistic(jnp.zeros(2), jnp.ones(2)), (-0.1, 7.0)),
    ],
)
def test_outside_of_the_support_the_log_density_is_minus_infinity(distribution, outside):
    inside = distribution.sample(jax.random.key(0))
    assert np.isfinite(distribution.log_prob(inside))
    for value in outside:
        assert distribution.log_prob(inside.at[1].set(value)) == -np.inf


def test_a_beta_with_a_constant_factor_has_no_slope_at_its_ends():
    """Of Beta(1, 1) everywhere 0; of Beta(1, 3) at 0 that of 3 (1 − x)², and at 1 of Beta(2, 1) that of 2 x."""
    slope = jax.grad(lambda x, a, b: Beta(a[None], b[None]).log_prob(x[None]))
    for x, a, b, expected in ((0, 1, 1, 0), (1, 1, 1, 0), (0, 1, 3, -2), (1, 2, 1, 1)):
        np.testing.assert_allclose(slope(*map(jnp.float32, (x, a, b))), expected, atol=1e-6)
    for x, a, b in ((0.0, 1.0, 3.0), (1.0, 2.0, 1.0), (0.3, 1.0, 2.0)):
        found = Beta(jnp.array([a]), jnp.array([b])).log_prob(jnp.array([x]))
        np.testing.assert_allclose(found, scipy.stats.beta(a, b).logpdf(x), rtol=1e-5)


@pytest.mark.parametrize("q", [1e4, -1e4, 30.0, 0.1])
def test_the_divergence_of_bernoullis_at_large_logits_does_not_cancel(q):
    """KL of a coin that always falls on one side from a fair one is log 2."""
    p = 1 / (1 + np.exp(-np.float64(q))) if q > -700 else 0.0
    exact = sum(part * np.log(2 * part) for part in (p, 1 - p) if part > 0)
    np.testing.assert_allclose(kl_divergence(Bernoulli(jnp.array([q])), Bernoulli(jnp.zeros(1))), exact, rtol=1e-5, atol=1e-7)
