"""Mixtures of distributions of one kind."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Distribution, Key


class Mixture(NamedTuple):
    """x ~ Σ_m π_m p_m with π = softmax(logits): one component is chosen for the whole event.

    log p(x) = log Σ_m π_m p_m(x)

    It can be a prior (as of Tomczak & Welling 2018, arXiv:1705.07120) or stand for data; it is not reparameterised, since no
    gradient passes through the choice. `NormalMixture` differs: there every element of the event chooses for itself.

    Attributes:
        logits: [M], of the components.
        components: a distribution, each leaf of which has a first axis of length M, as `jax.vmap` over parameters makes it.
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
