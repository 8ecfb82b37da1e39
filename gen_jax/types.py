"""The contracts of the library: what a distribution and a model are, as types.

A model is a NamedTuple of pure functions; its parameters are a plain pytree that the caller holds. Everything here is for
**one example**: `jax.vmap` makes the batch.

A model's own functions multiply matrices at the precision of their caller, which on a GPU is TF32 by default (errors of 1e-3 nats
in a log-density). `gen_jax.tasks` and `gen_jax.evaluate` run them in float32 precision; do so yourself with
`jax.default_matmul_precision("highest")` where you report what they return.
"""

import difflib
from collections.abc import Callable, Iterable
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


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not among the known ones; it suggests the nearest."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}? " if near else ""
    return InputError(f"There is no {what} {name!r}. {hint}Known: {', '.join(known)}.")


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
    """A distribution that can be an approximate posterior: it draws z and returns its density in one pass."""

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


class Variables(NamedTuple):
    """What the functions of a model take as its parameters, where it carries more than gradients train.

    Attributes:
        params: what gradients train.
        state: what they do not: batch statistics, a codebook's averages, masks that were drawn once.
    """

    params: Params
    state: Params


def join(params: Params, state: Params) -> Params:
    """Return what a model's functions take: `Variables`, or the parameters alone where the state is ()."""
    return params if isinstance(state, tuple) and state == () else Variables(params, state)


def split(variables: Params) -> Variables:
    """Return the parameters and the state, which is () where there is none: the inverse of `join`."""
    return variables if isinstance(variables, Variables) else Variables(variables, ())


Loss = Callable[..., tuple[Array, tuple[Params, Metrics]]]
"""(params, state, key, step, batch) -> (what to minimise, (the state after the step, metrics)), of a batch at a step of training.

What is annealed depends on the step, and has its final value at a step of infinity. A state that is `()` stays so.
"""


class VAE(NamedTuple):
    """A latent-variable model p(x|z) p(z) with an approximate posterior q(z|x), for one example x.

    `z` may be any pytree, as long as posterior, prior and decoder agree on it.

    Attributes:
        init: (key, x, context=None) -> params.
        encode: (params, x, context=None) -> the `Posterior` q(z|x).
        decode: (params, z, context=None) -> p(x|z), a `Predictive`.
        prior: (params, context=None) -> the `Distribution` p(z).
        latent: the `vae.Latent`, where z is one vector: for what moves about in the latent space.
        num_classes: C, where the context is a label from 0 to C − 1.
    """

    init: Callable[..., Params]
    encode: Callable[..., Posterior]
    decode: Callable[..., Predictive]
    prior: Callable[..., Distribution]
    latent: Any = None
    num_classes: int | None = None


def context_of(model: Any, labels: Any) -> Any:
    """Return what a model is conditioned on: the labels where it has classes, else None."""
    return None if getattr(model, "num_classes", None) is None else labels


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
        init: (key, x=None) -> params.
        log_prob: (params, x, context=None) -> log p(x) of one example, in nats.
        sample: (params, key, context=None) -> one example.
        complete: (params, key, x, observed) -> `made.Completion`, x with what is not observed drawn given the rest; None for a
            model that cannot.
    """

    init: Callable[..., Params]
    log_prob: Callable[..., Float[Array, ""]]
    sample: Callable[..., Array]
    complete: Callable[..., Any] | None = None


class Adversaries(NamedTuple):
    """A thing of the generator and of the discriminator: their parameters, their states, their losses, their optimizers."""

    generator: Any
    discriminator: Any


class BatchNet(NamedTuple):
    """A neural network on a batch, which may normalise by it.

    Attributes:
        init: (key, *inputs) -> `Variables`.
        apply: (params, state, *inputs, train=False, key=None) -> (output, new state). In training, normalisation is by the batch
            and the averages move; otherwise it is by the averages, and every example of the batch is on its own. The key is for
            layers that draw noise.
    """

    init: Callable[..., Variables]
    apply: Callable[..., tuple[Any, Params]]


class DiscriminatorOutput(NamedTuple):
    """What a discriminator returns.

    Attributes:
        logits: of "these are real", [P], one for each pack of examples (an example, where there is no packing).
        classes: of an auxiliary classifier, logits of the classes [P, C]; else None.
    """

    logits: Float[Array, "..."]  # of rank 1, which the losses check
    classes: Float[Array, "P C"] | None = None


class GAN(NamedTuple):
    """A generative adversarial network, on batches: a batch norm needs the batch.

    `params` and `state` are `Adversaries`. Labels are given where the model is conditional, and only there.

    Attributes:
        init: (key, x) -> `Variables`, for one example x.
        prior: the `Distribution` of z.
        generate: (params, state, key, z [B, ...], labels [B]=None, train=False) -> (x [B, *event], state); the key is for layers
            that draw noise.
        discriminate: (params, state, x [B, *event], labels [B]=None, train=False) -> (`DiscriminatorOutput` of B / packing packs,
            state).
        packing: how many examples the discriminator sees as one.
        num_classes: C, where the model takes labels from 0 to C − 1.
    """

    init: Callable[..., Variables]
    prior: Distribution
    generate: Callable[..., tuple[Array, Params]]
    discriminate: Callable[..., tuple[DiscriminatorOutput, Params]]
    packing: int = 1
    num_classes: int | None = None
