"""A function of one example, mapped over a data set in bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping

from gen_jax.types import Array, Key, Params


def example_keys(key: Key, num_examples: int) -> jaxtyping.Key[Array, "N"]:
    """Return a key for each example, which depends on `key` and the example's position alone."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(num_examples))


def map_examples(
    fn: Callable[[Params, Key, Any], Any],
    params: Params,
    keys: jaxtyping.Key[Array, "N"],
    examples: Any,
    chunk_size: int,
) -> Any:
    """Return fn(params, key, example) for every example, stacked: `vmap` within a chunk, a loop over chunks.

    Matrix products run at the highest precision, since on a GPU the default is coarser than float32. The result is a pytree with
    the structure of what `fn` returns, each leaf with the examples along its first axis: a table of columns.

    Args:
        fn: a pure function of one example, such as the terms of its ELBO.
        params: handed to every call.
        keys: one for each example; see `example_keys`.
        examples: a pytree of arrays with the examples along the first axis.
        chunk_size: how many examples are in memory at once.
    """
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda row: fn(params, *row), (keys, examples), batch_size=chunk_size)
