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

    def sample(self, key: Key) -> Any:
        """Draw one event."""
        ...

    def log_prob(self, value: Any) -> Float[Array, ""]:
        """Return the log-density (or log-mass) of one event, in nats."""
        ...


@runtime_checkable
class Predictive(Distribution, Protocol):
    """A distribution whose mean is known: what a decoder makes of z, and what is shown of it."""

    @property
    def mean(self) -> Any:
        """E[x], an event."""
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
        decode: (params, z, context=None) -> p(x|z), a `Predictive`.
        prior: (params, context=None) -> the `Distribution` p(z).
    """

    init: Callable[..., Params]
    encode: Callable[..., Posterior]
    decode: Callable[..., Predictive]
    prior: Callable[..., Distribution]


class Bijection(NamedTuple):
    """An invertible map of one example, with the log-determinant of its Jacobian; see `gen_jax.flows`.

    In a flow, forward leads from the base distribution to the data (or from z_0 to z_K).

    Attributes:
        init: key -> params.
        forward_and_log_det: (params, x, context=None) -> (y, log |det ∂y/∂x|).
        inverse_and_log_det: (params, y, context=None) -> (x, log |det ∂x/∂y|).
    """

    init: Callable[[Key], Params]
    forward_and_log_det: Callable[..., tuple[Array, Float[Array, ""]]]
    inverse_and_log_det: Callable[..., tuple[Array, Float[Array, ""]]]


class DensityModel(NamedTuple):
    """A model whose density is known exactly: a flow on data, or a MADE.

    Attributes:
        init: key -> params.
        log_prob: (params, x, context=None) -> log p(x) of one example, in nats.
        sample: (params, key, context=None) -> one example.
    """

    init: Callable[[Key], Params]
    log_prob: Callable[..., Float[Array, ""]]
    sample: Callable[..., Array]


class Player(NamedTuple):
    """The variables of one side of an adversarial game.

    Attributes:
        params: what its loss trains.
        statistics: what its network carries along: averages of batch normalisation, vectors of spectral
            normalisation. Often empty.
    """

    params: Params
    statistics: Params


class Game(NamedTuple):
    """A thing of each of the two players: their variables, the states of their optimizers."""

    generator: Any
    discriminator: Any


class BatchNet(NamedTuple):
    """A neural network on a batch, which may normalise by it.

    Attributes:
        init: (key, *inputs) -> Player.
        apply: (player, *inputs, train) -> (output, new statistics). In training, normalisation is by the batch and the averages
            move; otherwise it is by the averages, and every example of the batch is on its own.
    """

    init: Callable[..., Player]
    apply: Callable[..., tuple[Any, Params]]


class Verdict(NamedTuple):
    """What a discriminator says of each decision.

    Attributes:
        logits: of "of the data", [P].
        classes: of an auxiliary classifier, logits of the classes [P, C]; else None.
    """

    logits: Float[Array, "..."]  # of rank 1, which the losses see to
    classes: Float[Array, "P C"] | None = None


class GAN(NamedTuple):
    """A generative adversarial network, on batches: a batch norm needs the batch.

    Labels are given where the model is conditional, and only there.

    Attributes:
        init: (key, x) -> Game of two Players, for one example x.
        prior: the `Distribution` of z.
        generate: (generator, z [B, ...], labels [B] or None, train=False) -> (x [B, *event], new statistics).
        discriminate: (discriminator, x [B, *event], labels [B] or None, train=False) -> (`Verdict` of B / packing decisions,
            new statistics).
        packing: how many examples a decision of the discriminator is about.
    """

    init: Callable[..., Game]
    prior: Distribution
    generate: Callable[..., tuple[Array, Params]]
    discriminate: Callable[..., tuple[Verdict, Params]]
    packing: int = 1
