"""Second derivatives of samples with implicit derivatives: their mean is the second derivative of the expectation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from gen_jax.distributions import Beta, PowerSpherical, VonMisesFisher
from gen_jax.types import InputError

KEYS = jax.random.split(jax.random.key(0), 4000)


def second_cosine_moment(dim: int):
    """κ -> E[cos² θ] of von Mises-Fisher, by quadrature."""

    def moment(concentration: float) -> float:
        density = lambda angle: np.exp(concentration * np.cos(angle)) * np.sin(angle) ** (dim - 2)
        squares = scipy.integrate.quad(lambda angle: density(angle) * np.cos(angle) ** 2, 0, np.pi, epsabs=1e-13)[0]
        return squares / scipy.integrate.quad(density, 0, np.pi, epsabs=1e-13)[0]

    return moment


def second_moment_of_twice_beta_minus_one(b: float):
    def moment(concentration: float) -> float:
        beta = scipy.stats.beta(b + concentration, b)
        return 4 * (beta.var() + beta.mean() ** 2) - 4 * beta.mean() + 1

    return moment


# parameter -> distribution, E[x_1²] as a function of it, the parameter
CASES = {
    "von-mises-fisher-circle": (lambda k: VonMisesFisher(jnp.eye(2)[0], k), second_cosine_moment(2), 1.0),
    "von-mises-fisher-3": (lambda k: VonMisesFisher(jnp.eye(3)[0], k), second_cosine_moment(3), 0.5),
    "von-mises-fisher-5": (lambda k: VonMisesFisher(jnp.eye(5)[0], k), second_cosine_moment(5), 2.0),
    "power-spherical": (lambda k: PowerSpherical(jnp.eye(3)[0], k), second_moment_of_twice_beta_minus_one(1.0), 0.5),
    "beta": (lambda a: Beta(a[None], jnp.array([2.0])), lambda a: scipy.stats.beta(a, 2).moment(2), 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_have_the_mean_of_the_expectations(name):
    distribution, moment, at = CASES[name]
    step = 1e-2
    exact = np.dot([-1, 16, -30, 16, -1], [moment(at + i * step) for i in (-2, -1, 0, 1, 2)]) / (12 * step**2)
    square = lambda parameter, key: distribution(parameter).sample(key)[0] ** 2
    over = lambda hessian: jax.jit(jax.vmap(lambda key: hessian(lambda p: square(p, key))(jnp.float32(at))))(KEYS)
    found = np.asarray(over(jax.hessian), np.float64)
    np.testing.assert_allclose(found, over(lambda f: jax.jacfwd(jax.jacfwd(f))), rtol=1e-3, atol=1e-3 * np.abs(found).max())
    assert abs(found.mean() - exact) < 4 * found.std() / np.sqrt(len(found))
    if name.startswith("von"):  # in reverse, JAX's own derivative of a gamma variable raises
        by_reverse = over(lambda f: jax.grad(jax.grad(f)))
        np.testing.assert_allclose(by_reverse, found, rtol=1e-3, atol=1e-3 * np.abs(found).max())


@pytest.mark.slow
def test_a_second_derivative_through_a_loop_is_right_or_raises():
    square = lambda p, key: VonMisesFisher(jnp.eye(3)[0], p).sample(key)[0] ** 2
    looped = lambda p: jnp.mean(jax.lax.map(lambda key: square(p, key), KEYS[:10]))
    batched = lambda p: jnp.mean(jax.vmap(lambda key: square(p, key))(KEYS[:10]))
    at = jnp.float32(0.5)
    np.testing.assert_allclose(jax.grad(jax.jacfwd(looped))(at), jax.grad(jax.grad(batched))(at), rtol=1e-4)
    with pytest.raises(InputError, match=r"use jax\.vmap in place"):
        jax.grad(jax.grad(looped))(at)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.hessian(looped)(at)
