"""Sums of latents."""

import jax.numpy as jnp
import numpy as np

from gen_jax.gan import analogy, analogy_of_styles


def test_an_analogy_is_the_sum_of_means_at_the_norm_of_draws():
    like, without, base = (
        jnp.array(rows, jnp.float32) for rows in ([[4, 0, 0, 0], [2, 0, 0, 0]], [[1, 0, 0, 0]], [[0, 3, 0, 0]])
    )
    np.testing.assert_array_equal(analogy_of_styles(like, without, base), [2, 3, 0, 0])
    # (3 − 1 + 0, 3, 0, 0), of norm √13, brought to √4
    np.testing.assert_allclose(analogy(like, without, base), np.array([2, 3, 0, 0]) * 2 / np.sqrt(13), rtol=1e-6)
