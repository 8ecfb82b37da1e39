"""The contracts of the library: what a distribution and a model are, as types.

A model is a NamedTuple of pure functions; its parameters are a plain pytree that the caller holds. Everything here is for
**one example**: `jax.vmap` makes the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jaxtyping
from jaxtyping import Float

Array = jax.Array
Key = jaxtyping.Key[jax.Array, ""]
"""A typed key, as `jax.random.key(seed)` makes it."""
Params = Any
"""A pytree of arrays."""
Metrics = dict[str, Any]
"""Named numbers that a step or an evaluation reports."""


class InputError(ValueError):
    """Bad input from outside: a setting, a file, an array. The message says what was given, what was wanted, what to do."""


@runtime_checkable
class Distribution(Protocol):
    """A pytree of arrays that stands for a distribution over one event (no batch axis)."""

    @property
    def mean(self) -> Any:
        """E[x], an event."""
        ...

    def sample(self, key: Key) -> Any:
        """Draw one event."""
        ...

    def log_prob(self, value: Any) -> Float[Array, ""]:
        """Return the log-density (or log-mass) of one event, in nats."""
        ...


@runtime_checkable
class Posterior(Distribution, Protocol):
    """A distribution that can be an approximate posterior: it draws z and prices the draw in one pass."""

    def sample_and_log_prob(self, key: Key) -> tuple[Any, Float[Array, ""]]:
        """Return (z, log q(z)) for z ~ q, with gradients through z (reparameterised)."""
        ...


@runtime_checkable
class Net(Protocol):
    """What a model constructor asks of a neural network: Flax's `init` and `apply`, for one example."""

    @property
    def init(self) -> Callable[..., Params]:
        """(key, *inputs) -> params."""
        ...

    @property
    def apply(self) -> Callable[..., Any]:
        """(params, *inputs) -> output."""
        ...


class VAE(NamedTuple):
    """A latent-variable model p(x|z) p(z) with an approximate posterior q(z|x), for one example x.

    `z` may be any pytree, as long as posterior, prior and decoder agree on it.

    Attributes:
        init: (key, x, context=None) -> params.
        encode: (params, x, context=None) -> the `Posterior` q(z|x).
        decode: (params, z, context=None) -> the `Distribution` p(x|z).
        prior: (params, context=None) -> the `Distribution` p(z).
    """

    init: Callable[..., Params]
    encode: Callable[..., Posterior]
    decode: Callable[..., Distribution]
    prior: Callable[..., Distribution]
