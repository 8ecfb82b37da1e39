"""Mapping a function of one example over a data set, in bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping

from gen_jax.types import Array, Key, Params


def example_keys(key: Key, num_examples: int) -> jaxtyping.Key[Array, "N"]:
    """Return a key for each example, which depends only on `key` and the example's index."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(num_examples))


def map_examples(
    fn: Callable[[Params, Key, Any], Any], params: Params, keys: jaxtyping.Key[Array, "N"], examples: Any, chunk_size: int
) -> Any:
    """Return fn(params, key, example) for every example, stacked along the first axis: a loop over chunks, `vmap` within each.

    `examples` is a pytree of arrays with the examples along the first axis; `chunk_size` of them are in memory at once. Matrix
    products have float32 precision.
    """
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda row: fn(params, *row), (keys, examples), batch_size=chunk_size)
