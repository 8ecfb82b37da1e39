"""Paths between latents, and their sums."""

import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.gan import analogy, interpolate


def test_an_interpolation_keeps_the_norm_and_goes_at_an_even_pace():
    start, end = jnp.array([3.0, 0.0, 0.0]), jnp.array([0.0, 3.0, 0.0])
    path = np.asarray(interpolate(start, end, 4))
    angles = np.arange(4) * np.pi / 6
    np.testing.assert_allclose(path, 3 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1), atol=1e-6)


@pytest.mark.parametrize("end", [jnp.array([2.0, 4.0]), jnp.array([-1.0, -2.0]), jnp.array([1.0, 2.0])])
def test_along_one_direction_it_is_a_line(end):
    start = jnp.array([1.0, 2.0])
    path = np.asarray(interpolate(start, end, 3))
    np.testing.assert_allclose(path, np.stack([start, (start + end) / 2, end]), atol=1e-5)


def test_an_analogy_is_the_sum_of_means_at_the_norm_of_draws():
    like, without, base = (
        jnp.array(rows, jnp.float32) for rows in ([[4, 0, 0, 0], [2, 0, 0, 0]], [[1, 0, 0, 0]], [[0, 3, 0, 0]])
    )
    # (3 − 1 + 0, 3, 0, 0), of norm √13, brought to √4
    np.testing.assert_allclose(analogy(like, without, base), np.array([2, 3, 0, 0]) * 2 / np.sqrt(13), rtol=1e-6)
