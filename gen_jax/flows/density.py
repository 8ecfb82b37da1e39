"""Distributions given by a base distribution and a bijection: flow densities of data, and flow posteriors."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Bijection, DensityModel, InputError, Key, Loss, Metrics, Params, Posterior


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Transformed:
    """The distribution of y = f(x) with x ~ base: log p(y) = log p_base(x) − log |det ∂f/∂x|, x = f⁻¹(y).

    A pytree, in which the bijection's functions are static.

    Attributes:
        base: the distribution of x.
        bijection: f.
        params: the parameters of f.
        context: the context of f, or None.
    """

    base: Posterior
    bijection: Bijection = dataclasses.field(metadata={"static": True})
    params: Params
    context: Any = None

    def sample(self, key: Key) -> Array:
        """Draw f(x)."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Float[Array, ""]]:
        """Draw y = f(x) and return (y, log p(y)), without inverting f."""
        x, log_prob = self.base.sample_and_log_prob(key)
        y, log_det = self.bijection.forward_and_log_det(self.params, x, self.context)
        return y, log_prob - log_det

    def log_prob(self, value: Array) -> Float[Array, ""]:
        """Return log p(value) in nats."""
        x, log_det = self.bijection.inverse_and_log_det(self.params, value, self.context)
        return self.base.log_prob(x) + log_det


def flow_density(base: Posterior, bijection: Bijection) -> DensityModel:
    """Return the density of data y = f(x), x ~ base (Rezende & Mohamed 2015; Papamakarios et al. 2021, arXiv:1912.02762).

        log p(y) = log p_base(x) − log |det ∂f/∂x|,   x = f⁻¹(y),   in nats

    For given parameters, `Transformed(base, bijection, params)` is the distribution itself.

    Args:
        base: the base distribution, without learned parameters.
        bijection: f, forward from the base to the data.

    Raises:
        InputError: (from `log_prob`) the example has not the shape of the base's samples.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax import flows
        >>> from gen_jax.distributions import Normal
        >>> model = flows.flow_density(Normal(jnp.zeros(1), jnp.ones(1)), flows.elementwise_affine(1))
        >>> params = {"shift": jnp.ones(1), "log_scale": jnp.log(2.0)[None]}  # y = 2 x + 1 ~ N(1, 2²)
        >>> x = jnp.array([4.0])
        >>> jnp.allclose(model.log_prob(params, x), Normal(jnp.ones(1), 2 * jnp.ones(1)).log_prob(x)).item()
        True
    """
    event_shape = jax.eval_shape(base.sample, jax.random.key(0)).shape

    def log_prob(params: Params, x: Array, context: Any = None) -> Float[Array, ""]:
        if x.shape != event_shape:
            raise InputError(f"x has shape {x.shape}, and the flow takes {event_shape}: give one example, or vmap over more.")
        return Transformed(base, bijection, params, context).log_prob(x)

    def sample(params: Params, key: Key, context: Any = None) -> Array:
        return Transformed(base, bijection, params, context).sample(key)

    return DensityModel(lambda key, x=None: bijection.init(key), log_prob, sample)


def energy_loss(base: Posterior, bijection: Bijection, energy: Callable[[Array], Array], annealing_steps: int = 1) -> Loss:
    """Return the `Loss` E_q[log q(z) + β U(z)] in nats, which fits the flow q to p(z) ∝ e^{−U(z)} without data.

    For β = 1 it is KL(q ‖ p) − log ∫ e^{−U}. β rises from 0.01 to 1 (Rezende & Mohamed 2015, §6.1). The expectation is over
    as many samples of q as the batch has examples.

    Args:
        base: the base distribution of q.
        bijection: the bijection of q.
        energy: U, a function of one z.
        annealing_steps: the number of steps over which β rises.
    """

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        q = Transformed(base, bijection, params)
        z, log_q = jax.vmap(q.sample_and_log_prob)(jax.random.split(key, len(batch.x)))
        u = jax.vmap(energy)(z)
        beta = jnp.minimum(1.0, 0.01 + step / annealing_steps)
        return jnp.mean(log_q + beta * u), (state, {"elbo": jnp.mean(-log_q - u)})

    return loss
