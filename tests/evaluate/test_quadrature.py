"""Integrals on a grid against closed forms."""

import jax.numpy as jnp
import numpy as np

from gen_jax.distributions import Normal, kl_divergence
from gen_jax.evaluate import kl_on_grid, log_density_on_grid, square_grid


def test_the_kl_on_a_grid_is_the_closed_form():
    q, p = Normal(jnp.array([0.5, -0.3]), jnp.array([0.8, 1.1])), Normal(jnp.zeros(2), jnp.array([1.0, 1.3]))
    points, cell = square_grid(8.0, 400)
    log_q, log_p = log_density_on_grid(q.log_prob, points), log_density_on_grid(p.log_prob, points) + 3.0  # p is not normalised
    kl, log_z, mass = kl_on_grid(log_q, log_p, cell)
    np.testing.assert_allclose(kl, kl_divergence(q, p), rtol=1e-4)
    np.testing.assert_allclose((log_z, mass), (3.0, 1.0), rtol=1e-5)


def test_the_first_row_of_the_grid_is_the_top_one():
    points, cell = square_grid(1.0, 2)
    np.testing.assert_allclose(points, [[-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])
    assert cell == 1.0
