"""Mixtures: of distributions over one event, and of scalar normal distributions for each element."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions.event import check_event
from gen_jax.distributions.normal import HALF_LOG_2PI
from gen_jax.types import Array, Distribution, Key


class Mixture(NamedTuple):
    """x ~ Σ_m π_m p_m with π = softmax(logits): one component for the whole event (in `NormalMixture`, one for each element).

    log p(x) = log Σ_m π_m p_m(x)

    It can be a prior (as in Tomczak & Welling 2018, arXiv:1705.07120). It is not reparameterised, since no gradient passes
    through the choice of a component.

    Attributes:
        logits: [M], unnormalised log-probabilities of the components.
        components: a distribution with a leading axis of length M on each leaf, as `jax.vmap` makes it.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax.distributions import Mixture, Normal
        >>> components = Normal(jnp.array([[-1.0], [1.0]]), jnp.ones((2, 1)))  # two, each over vectors of size 1
        >>> p = Mixture(jnp.log(jnp.array([0.25, 0.75])), components)
        >>> p.mean.round(4).tolist(), round(p.log_prob(jnp.zeros(1)).item(), 4)  # at 0: −½ − ½ log 2π
        ([0.5], -1.4189)
    """

    logits: Float[Array, "M"]
    components: Any

    @property
    def mean(self) -> Any:
        """E[x] = Σ_m π_m E_m[x], for components that have a mean."""
        means = jax.vmap(lambda component: component.mean)(self.components)
        return jax.tree.map(lambda leaf: jnp.tensordot(jax.nn.softmax(self.logits), leaf, axes=1, precision="highest"), means)

    def sample(self, key: Key) -> Any:
        """Draw a component, then an event from it."""
        choice_key, event_key = jax.random.split(key)
        choice = jax.random.categorical(choice_key, self.logits)
        component: Distribution = jax.tree.map(lambda leaf: leaf[choice], self.components)
        return component.sample(event_key)

    def log_prob(self, value: Any) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        log_probs = jax.vmap(lambda component: component.log_prob(value))(self.components)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + log_probs)


class NormalMixture(NamedTuple):
    """Independent x_i ~ Σ_m π_im N(loc_im, scale_im²) with π_i = softmax(logits_i), over one event of any shape.

    log p(x) = Σ_i log Σ_m π_im N(x_i; loc_im, scale_im²)

    Attributes:
        logits: unnormalised log-probabilities of the components.
        loc: their means.
        scale: their standard deviations, positive.
    """

    logits: Float[Array, "*event M"]
    loc: Float[Array, "*event M"]
    scale: Float[Array, "*event M"]

    @property
    def mean(self) -> Float[Array, "*event"]:
        """E[x_i] = Σ_m π_im loc_im."""
        return jnp.sum(jax.nn.softmax(self.logits) * self.loc, axis=-1)

    def sample(self, key: Key) -> Float[Array, "*event"]:
        """Draw a component for each element, then a value from it."""
        component_key, noise_key = jax.random.split(key)
        chosen = jax.nn.one_hot(jax.random.categorical(component_key, self.logits), self.logits.shape[-1], dtype=self.loc.dtype)
        loc, scale = jnp.sum(chosen * self.loc, axis=-1), jnp.sum(chosen * self.scale, axis=-1)
        return loc + scale * jax.random.normal(noise_key, loc.shape, loc.dtype)

    def log_prob(self, value: Float[Array, "*event"]) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        check_event(value, self.loc.shape[:-1])
        standard = (value[..., None] - self.loc) / self.scale
        log_components = -0.5 * standard**2 - jnp.log(self.scale) - HALF_LOG_2PI
        return jnp.sum(jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + log_components, axis=-1))
