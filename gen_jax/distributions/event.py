"""What all distributions do with a value: its shape is that of an event, and outside of the support its log-density is −∞."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool

from gen_jax.types import Array, InputError


def check_event(value: Any, shape: tuple[int, ...]) -> None:
    """Raise an InputError for a value of another shape, which would broadcast to a wrong number."""
    if jnp.shape(value) != shape:
        raise InputError(
            f"The value has shape {jnp.shape(value)}, and the distribution is over events of shape {shape}: give that, or vmap "
            "over more."
        )


def within(supported: Bool[Array, "*event"], log_prob: Array) -> Array:
    """Return log p(value), or −∞ where an element of the value is outside of the support."""
    return jnp.where(jnp.all(supported), log_prob, -jnp.inf)
