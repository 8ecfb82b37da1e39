"""The MLP against the same sums in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.nets import MLP


def test_the_output_is_the_matrix_products(key):
    mlp = MLP((5, 4), (2, 3))
    x = jax.random.normal(key, (2, 3, 1))
    params = mlp.init(key, x)
    layers = [params["params"][f"Dense_{i}"] for i in range(3)]
    h = np.ravel(x)
    for layer in layers[:-1]:
        h = np.maximum(h @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), 0)
    expected = (h @ np.asarray(layers[-1]["kernel"]) + np.asarray(layers[-1]["bias"])).reshape(2, 3)
    np.testing.assert_allclose(mlp.apply(params, x), expected, rtol=1e-5, atol=1e-6)


def test_the_reference_sizes(key):
    """D→512→256→(μ, log σ²) and Z→256→512→D: the weights and biases by hand."""
    encoder = MLP((512, 256), (2, 20)).init(key, jnp.zeros((28, 28, 1)))
    decoder = MLP((256, 512), (28, 28, 1)).init(key, jnp.zeros(20))

    def count(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    assert count(encoder) == 785 * 512 + 513 * 256 + 257 * 40
    assert count(decoder) == 21 * 256 + 257 * 512 + 513 * 784


def test_a_context_is_more_input(key):
    mlp = MLP((4,), (3,), jnp.tanh)
    x, context = jnp.arange(2.0), jnp.arange(3.0)
    params = mlp.init(key, x, context)
    np.testing.assert_array_equal(mlp.apply(params, x, context), mlp.apply(params, jnp.concatenate([x, context])))
    assert np.any(mlp.apply(params, x, context) != mlp.apply(params, x, context + 1))
