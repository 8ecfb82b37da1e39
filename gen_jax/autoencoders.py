"""Autoencoders, the baselines to a VAE: a code f(x) and a reconstruction g(f(x)), and no distribution. For one example.

- plain: minimise ‖x − g(f(x))‖².
- denoising (Vincent et al. 2008): corrupt x̃ ~ c(x̃|x), minimise ‖x − g(f(x̃))‖².
- contractive (Rifai et al. 2011): minimise ‖x − g(f(x))‖² + λ ‖∂f/∂x‖_F².
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, InputError, Key, Net, Params


class Autoencoder(NamedTuple):
    """A pair of maps, for one example.

    Attributes:
        init: (key, x) -> params.
        encode: (params, x) -> the code z = f(x).
        decode: (params, z) -> the reconstruction g(z), of the shape of x.
    """

    init: Callable[[Key, Array], Params]
    encode: Callable[[Params, Array], Array]
    decode: Callable[[Params, Array], Array]


def autoencoder(encoder: Net, decoder: Net) -> Autoencoder:
    """Return the autoencoder of two nets, x -> z and z -> x."""

    def init(key: Key, x: Array) -> Params:
        encoder_key, decoder_key = jax.random.split(key)
        params = encoder.init(encoder_key, x)
        return {"encoder": params, "decoder": decoder.init(decoder_key, encoder.apply(params, x))}

    return Autoencoder(
        init=init,
        encode=lambda params, x: encoder.apply(params["encoder"], x),
        decode=lambda params, z: decoder.apply(params["decoder"], z),
    )


def squared_error(model: Autoencoder, params: Params, x: Array, seen: Array | None = None) -> Float[Array, ""]:
    """Return ‖x − g(f(x̃))‖², summed over pixels, for what the model is shown of x: x̃ = `seen`, or x itself."""
    reconstruction = model.decode(params, model.encode(params, x if seen is None else seen))
    if reconstruction.shape != x.shape:
        raise InputError(f"The decoder puts out {reconstruction.shape} and x is {x.shape}: make a decoder of that shape.")
    return jnp.sum((x - reconstruction) ** 2)


def contraction(model: Autoencoder, params: Params, x: Array) -> Float[Array, ""]:
    """Return ‖∂f/∂x‖_F² at x, exactly, by as many backward passes as the code has dimensions."""
    return jnp.sum(jax.jacrev(lambda x: model.encode(params, x))(x) ** 2)


def corrupt(kind: Literal["masking", "gaussian"], amount: float, key: Key, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Draw x̃: each value set to 0 with probability `amount` (masking), or with noise of that standard deviation added (gaussian).

    Raises:
        InputError: the amount is no probability, or negative.
    """
    match kind:
        case "masking":
            if not 0 <= amount <= 1:
                raise InputError(f"amount is {amount}, and masking takes a probability: give 0 to 1.")
            return jnp.where(jax.random.bernoulli(key, amount, x.shape), 0.0, x)
        case "gaussian":
            if not 0 <= amount < math.inf:
                raise InputError(f"amount is {amount}, and Gaussian noise takes a standard deviation: give 0 or more.")
            return x + amount * jax.random.normal(key, x.shape)
