"""The interfaces of the library, as types.

A model is a NamedTuple of pure functions; the caller holds its parameters, a pytree. Functions take **one example**, which
`jax.vmap` maps over a batch, except those of `BatchNet` and `GAN`.

Matrix products use the caller's precision. A GPU's default is TF32, with errors of 1e-3 nats in a log-density, so `gen_jax.tasks`
and `gen_jax.evaluate` run models under `jax.default_matmul_precision("highest")`. Do the same for any number you report.
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import jaxtyping
from jax.sharding import AxisType
from jaxtyping import Float

Array = jax.Array
Key = jaxtyping.Key[jax.Array, ""]
"""A typed PRNG key, from `jax.random.key(seed)`."""
Params = Any
"""A pytree of arrays."""
Number = float | Float[jax.Array, ""]
"""A number; or an array, such as one of many under a `vmap`, whose range is not checked."""
Metrics = dict[str, Any]
"""Numbers by name, from a training step or an evaluation."""


class InputError(ValueError):
    """An invalid setting, file or array from the user. The message says what was given, what is valid, and what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, the host's or a device's, of which JAX raises a RuntimeError."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return an error for a name that is not in `known`; it suggests the closest one."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}? " if near else ""
    return InputError(f"There is no {what} {name!r}. {hint}Known: {', '.join(known)}.")


@runtime_checkable
class Distribution(Protocol):
    """A distribution over one event (no batch axis), as a pytree of arrays."""

    def sample(self, key: Key) -> Any:
        """Draw one event."""

    def log_prob(self, value: Any) -> Float[Array, ""]:
        """Return the log-density (or log-mass) of one event, in nats."""


@runtime_checkable
class Predictive(Distribution, Protocol):
    """A distribution with a known mean, such as a decoder's p(x|z); figures show the mean."""

    @property
    def mean(self) -> Any:
        """E[x], of the shape of an event."""


@runtime_checkable
class Posterior(Distribution, Protocol):
    """A distribution that can be an approximate posterior: it draws z and computes its log-density in one pass."""

    def sample_and_log_prob(self, key: Key) -> tuple[Any, Float[Array, ""]]:
        """Return (z, log q(z)) for a reparameterised draw z ~ q."""


@runtime_checkable
class Net(Protocol):
    """A neural network for one example, with the `init` and `apply` of a Flax module."""

    @property
    def init(self) -> Callable[..., Params]:
        """(key, *inputs) -> params."""

    @property
    def apply(self) -> Callable[..., Any]:
        """(params, *inputs) -> output."""


class Variables(NamedTuple):
    """What a model's functions take as `params`, if the model has state besides its trainable parameters.

    The state is what gradients do not train, such as batch statistics, moving averages of a codebook, or fixed random masks.
    """

    params: Params
    state: Params


def join(params: Params, state: Params) -> Params:
    """Return what a model's functions take as `params`: `Variables`, or `params` itself if the state is ()."""
    return params if isinstance(state, tuple) and state == () else Variables(params, state)


def split(variables: Params) -> Variables:
    """Return the parameters and the state, () for a model without state: the inverse of `join`."""
    return variables if isinstance(variables, Variables) else Variables(variables, ())


Loss = Callable[..., tuple[Array, tuple[Params, Metrics]]]
"""(params, state, key, step, batch) -> (loss to minimise, (new state, metrics)).

Annealed weights depend on `step`; step = ∞ gives their final values. A state of `()` stays `()`.
"""


class VAE(NamedTuple):
    """A latent-variable model p(x|z) p(z) with an approximate posterior q(z|x), for one example x; z may be any pytree.

    Attributes:
        init: (key, x, context=None) -> params.
        encode: (params, x, context=None) -> the `Posterior` q(z|x).
        decode: (params, z, context=None) -> p(x|z), a `Predictive`.
        prior: (params, context=None) -> the `Distribution` p(z).
        latent: the `vae.Latent` if z is one vector, for interpolation and traversals of the latent space; else None.
        num_classes: C, if the context is a label from 0 to C − 1; else None.
    """

    init: Callable[..., Params]
    encode: Callable[..., Posterior]
    decode: Callable[..., Predictive]
    prior: Callable[..., Distribution]
    latent: Any = None
    num_classes: int | None = None


BATCH_AXIS = "batch"
"""Of a mesh of devices, the axis over which batches are cut."""


def as_batch(tree: Any) -> Any:
    """Return arrays of examples, cut by their first axis over the devices of a mesh in use that has `BATCH_AXIS`, of type Auto.

    Where there is none, or they do not divide the examples, the arrays stay as they are.
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if kinds.get(BATCH_AXIS) != AxisType.Auto:
        return tree
    divided = lambda leaf: jnp.ndim(leaf) > 0 and len(leaf) % mesh.shape[BATCH_AXIS] == 0
    cut = lambda leaf: jax.lax.with_sharding_constraint(leaf, jax.P(BATCH_AXIS)) if divided(leaf) else leaf
    return jax.tree.map(cut, tree)


def context_of(model: Any, labels: Any) -> Any:
    """Return the context of a model: the labels if it has classes, else None."""
    return None if getattr(model, "num_classes", None) is None else labels


class Bijection(NamedTuple):
    """An invertible map of one example, with the log-determinant of its Jacobian; see `gen_jax.flows`.

    In a flow, forward maps the base distribution to the data (or z_0 to z_K).

    Attributes:
        init: key -> params.
        forward_and_log_det: (params, x, context=None) -> (y, log |det ∂y/∂x|).
        inverse_and_log_det: (params, y, context=None) -> (x, log |det ∂x/∂y|).
    """

    init: Callable[[Key], Params]
    forward_and_log_det: Callable[..., tuple[Array, Float[Array, ""]]]
    inverse_and_log_det: Callable[..., tuple[Array, Float[Array, ""]]]


class DensityModel(NamedTuple):
    """A model with an exact density: a flow on data, or a MADE.

    Attributes:
        init: (key, x=None) -> params.
        log_prob: (params, x, context=None) -> log p(x) in nats.
        sample: (params, key, context=None) -> x.
        complete: (params, key, x, observed) -> `made.Completion`, x with its unobserved dimensions drawn given the observed ones;
            None if the model cannot do this.
        conditionals: (params, x, observed) -> log p(x_i | x_<i) of each dimension, in the order in which `complete` draws.
        features: (params, x) -> [F], hidden units as a representation of x; None if the model has none.
    """

    init: Callable[..., Params]
    log_prob: Callable[..., Float[Array, ""]]
    sample: Callable[..., Array]
    complete: Callable[..., Any] | None = None
    conditionals: Callable[..., Array] | None = None
    features: Callable[..., Float[Array, "F"]] | None = None


class Adversaries(NamedTuple):
    """A pair of values, one for each network of a GAN: parameters, states, losses or optimizers."""

    generator: Any
    discriminator: Any


class BatchNet(NamedTuple):
    """A neural network for a batch, which may use batch norm.

    Attributes:
        init: (key, *inputs) -> `Variables`.
        apply: (params, state, *inputs, train=False, key=None) -> (output, new state). With `train`, batch norm uses the
            statistics of the batch and updates its running averages; without, it uses these averages, and examples are
            independent. The key is for layers that draw noise.
    """

    init: Callable[..., Variables]
    apply: Callable[..., tuple[Any, Params]]


class DiscriminatorOutput(NamedTuple):
    """What a discriminator says of P examples or packs.

    Attributes:
        logits: [P], of the probability that each is real; their rank is checked by the losses.
        classes: class logits of an auxiliary classifier.
        features: what the last layer takes, as a representation of the examples.
    """

    logits: Float[Array, "..."]
    classes: Float[Array, "P C"] | None = None
    features: Float[Array, "P F"] | None = None


class Style(NamedTuple):
    """The two halves of a StyleGAN's generator.

    Attributes:
        num_layers: L.
        to_styles: (params, state, z [B, Z], labels [B]=None) -> w [B, W].
        synthesise: (params, state, key or None, w [B, L, W]) -> x [B, *event], with noise by the key, or without.
        mean: state -> w̄ [W], the mean of w.
    """

    num_layers: int
    to_styles: Callable[..., Float[Array, "B W"]]
    synthesise: Callable[..., Array]
    mean: Callable[[Params], Float[Array, "W"]]


class GAN(NamedTuple):
    """A generative adversarial network, on batches because of batch norm.

    `params` and `state` are `Adversaries`. A conditional model needs labels; any other takes none.

    Attributes:
        init: (key, x) -> `Variables`, for one example x.
        prior: the `Distribution` of z.
        generate: (params, state, key, z [B, ...], labels [B]=None, train=False) -> (x [B, *event], state); the key is for layers
            that draw noise.
        discriminate: (params, state, x [B, *event], labels [B]=None, train=False) -> (`DiscriminatorOutput`, state).
        packing: the number of examples in a pack, which the discriminator takes as one input.
        num_classes: C, if labels from 0 to C − 1 condition the model; else None.
        style: how its layers take styles; None for all but StyleGANs.
    """

    init: Callable[..., Variables]
    prior: Distribution
    generate: Callable[..., tuple[Array, Params]]
    discriminate: Callable[..., tuple[DiscriminatorOutput, Params]]
    packing: int = 1
    num_classes: int | None = None
    style: Style | None = None
