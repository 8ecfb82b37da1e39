"""Autoencoders, the baselines to a VAE: a code f(x) and a reconstruction g(f(x)), without a distribution.

- plain: minimise ‖x − g(f(x))‖².
- denoising (Vincent et al. 2008): corrupt x̃ ~ c(x̃|x), minimise ‖x − g(f(x̃))‖².
- contractive (Rifai et al. 2011): minimise ‖x − g(f(x))‖² + λ ‖∂f/∂x‖_F².
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, InputError, Key, Loss, Metrics, Net, Number, Params


class Autoencoder(NamedTuple):
    """A pair of maps, for one example.

    Attributes:
        init: (key, x) -> params.
        encode: (params, x) -> the code z = f(x).
        decode: (params, z) -> the reconstruction g(z), of the shape of x.
        corrupt: (key, x) -> x̃, the input of a denoising autoencoder; None for x itself.
    """

    init: Callable[[Key, Array], Params]
    encode: Callable[[Params, Array], Array]
    decode: Callable[[Params, Array], Array]
    corrupt: Callable[[Key, Array], Array] | None = None


def autoencoder(encoder: Net, decoder: Net, corrupt: Callable[[Key, Array], Array] | None = None) -> Autoencoder:
    """Return the autoencoder with nets x -> z and z -> x; with `corrupt`, a denoising one."""

    def init(key: Key, x: Array) -> Params:
        encoder_key, decoder_key = jax.random.split(key)
        params = encoder.init(encoder_key, x)
        return {"encoder": params, "decoder": decoder.init(decoder_key, encoder.apply(params, x))}

    return Autoencoder(
        init=init,
        encode=lambda params, x: encoder.apply(params["encoder"], x),
        decode=lambda params, z: decoder.apply(params["decoder"], z),
        corrupt=corrupt,
    )


def corrupted(model: Autoencoder, key: Key, x: Array) -> Array:
    """Return the encoder's input x̃, which is x unless the autoencoder is a denoising one."""
    return x if model.corrupt is None else model.corrupt(key, x)


def squared_error(model: Autoencoder, params: Params, key: Key, x: Array) -> Float[Array, ""]:
    """Return ‖x − g(f(x̃))‖², summed over pixels; see `corrupted` for x̃.

    Raises:
        InputError: the decoder returns another shape than that of x.
    """
    reconstruction = model.decode(params, model.encode(params, corrupted(model, key, x)))
    if reconstruction.shape != x.shape:
        raise InputError(f"The decoder returns {reconstruction.shape} and x is {x.shape}: make a decoder of that shape.")
    return jnp.sum((x - reconstruction) ** 2)


def autoencoder_loss(model: Autoencoder, contraction_weight: Number = 0.0) -> Loss:
    """Return the `Loss` of a batch with `x`: the mean of ‖x − g(f(x̃))‖² + λ ‖∂f/∂x‖_F², λ = `contraction_weight`."""

    def objective(params: Params, key: Key, x: Array) -> tuple[Array, Metrics]:
        error = squared_error(model, params, key, x)
        if not isinstance(contraction_weight, jax.Array) and contraction_weight == 0:
            return error, {"squared_error": error}
        norm = contraction(model, params, x)
        return error + contraction_weight * norm, {"squared_error": error, "contraction": norm}

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        keys = jax.random.split(key, len(batch.x))
        values, metrics = jax.vmap(objective, in_axes=(None, 0, 0))(params, keys, batch.x)
        return jnp.mean(values), (state, jax.tree.map(jnp.mean, metrics))

    return loss


def contraction(model: Autoencoder, params: Params, x: Array) -> Float[Array, ""]:
    """Return ‖∂f/∂x‖_F² at x, exactly, with one backward pass for each dimension of the code."""
    return jnp.sum(jax.jacrev(lambda x: model.encode(params, x))(x) ** 2)


def corrupt(kind: Literal["masking", "gaussian"], amount: Number, key: Key, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Draw x̃: set each value to 0 with probability `amount` (masking), or add noise of that standard deviation (gaussian).

    Raises:
        InputError: the amount is not a probability, or is negative (that of an array is not checked).
    """
    match kind:
        case "masking":
            if not isinstance(amount, jax.Array) and not 0 <= amount <= 1:
                raise InputError(f"amount is {amount}, and masking takes a probability: give 0 to 1.")
            return jnp.where(jax.random.bernoulli(key, amount, x.shape), 0.0, x)
        case "gaussian":
            if not isinstance(amount, jax.Array) and not 0 <= amount < math.inf:
                raise InputError(f"amount is {amount}, and Gaussian noise takes a standard deviation: give 0 or more.")
            return x + amount * jax.random.normal(key, x.shape)
