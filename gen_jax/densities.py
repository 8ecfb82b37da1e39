"""Helpers for models with an exact density (flows, MADE): maximum likelihood, and examples of any shape."""

from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.types import Array, DensityModel, InputError, Key, Loss, Metrics, Params, join


def density_loss(model: DensityModel) -> Loss:
    """Return the `Loss` −mean log p(x) of a batch with `x`, in nats.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax import flows
        >>> from gen_jax.data import Split
        >>> from gen_jax.densities import density_loss
        >>> from gen_jax.distributions import Normal
        >>> model = flows.flow_density(Normal(jnp.zeros(2), jnp.ones(2)), flows.elementwise_affine(2))
        >>> params = model.init(jax.random.key(0))  # of the identity
        >>> loss, batch = jax.jit(density_loss(model)), Split(jnp.zeros((5, 2)))
        >>> value, _ = loss(params, (), jax.random.key(1), jnp.int32(0), batch)
        >>> round(value.item(), 4)  # log 2π
        1.8379
    """

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        log_prob = jnp.mean(jax.vmap(lambda x: model.log_prob(join(params, state), x))(batch.x))
        return -log_prob, (state, {"log_prob": log_prob})

    return loss


def with_event_shape(model: DensityModel, event_shape: tuple[int, ...]) -> DensityModel:
    """Return a density of vectors [D] as a density of examples of the given shape, flattened in row-major order.

    Raises:
        InputError: (from the functions that take an example) it has another shape.
    """

    def flat(x: Array) -> Array:
        if x.shape != event_shape:
            raise InputError(f"x has shape {x.shape}, and the model takes {event_shape}: give one example, or vmap over more.")
        return jnp.ravel(x)

    def complete(params: Params, key: Key, x: Array, observed: Any) -> Any:
        assert model.complete is not None
        completion = model.complete(params, key, flat(x), flat(jnp.asarray(observed)))
        return completion._replace(x=completion.x.reshape(event_shape))

    def conditionals(params: Params, x: Array, observed: Any) -> Array:
        assert model.conditionals is not None
        return model.conditionals(params, flat(x), flat(jnp.asarray(observed))).reshape(event_shape)

    def features(params: Params, x: Array) -> Array:
        assert model.features is not None
        return model.features(params, flat(x))

    return DensityModel(
        init=model.init,
        log_prob=lambda params, x, context=None: model.log_prob(params, flat(x), context),
        sample=lambda params, key, context=None: model.sample(params, key, context).reshape(event_shape),
        complete=complete if model.complete else None,
        conditionals=conditionals if model.conditionals else None,
        features=features if model.features else None,
    )
