"""The variational autoencoder with a Gaussian posterior and a standard normal prior (Kingma & Welling 2014, arXiv:1312.6114)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions import Normal
from gen_jax.types import VAE, Array, InputError, Key, Net, Params, Predictive
from gen_jax.vae.likelihoods import Likelihood

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -60.0, 20.0


def gaussian_vae(encoder: Net, decoder: Net, latent_dim: int, likelihood: Likelihood) -> VAE:
    """Return the VAE with q(z|x) = N(μ(x), diag σ²(x)), p(z) = N(0, I) and p(x|z) from the likelihood.

    Args:
        encoder: x (and context) -> [2, Z], the rows μ and log σ².
        decoder: z (and context) -> what the likelihood takes, of the shape of x.
        latent_dim: Z.
        likelihood: makes p(x|z) of the decoder's output.

    Raises:
        InputError: `latent_dim` is less than 1.
    """
    if latent_dim < 1:
        raise InputError(f"latent_dim is {latent_dim}: give 1 or more.")

    def init(key: Key, x: Array, context: Any = None) -> Params:
        encoder_key, decoder_key = jax.random.split(key)
        return {
            "encoder": encoder.init(encoder_key, x, context),
            "decoder": decoder.init(decoder_key, jnp.zeros(latent_dim), context),
            "likelihood": likelihood.init(),
        }

    def encode(params: Params, x: Array, context: Any = None) -> Normal:
        return gaussian_posterior(*encoder.apply(params["encoder"], x, context))

    def decode(params: Params, z: Array, context: Any = None) -> Predictive:
        return likelihood.distribution(params["likelihood"], decoder.apply(params["decoder"], z, context))

    def prior(params: Params, context: Any = None) -> Normal:
        return Normal(jnp.zeros(latent_dim), jnp.ones(latent_dim))

    return VAE(init, encode, decode, prior)


def gaussian_posterior(loc: Float[Array, "Z"], log_variance: Float[Array, "Z"]) -> Normal:
    """Return N(loc, diag exp(log_variance)) as an encoder puts it out."""
    # σ from 1e-13 to 2e4, under a prior of 1: far outside what training reaches, and values and gradients stay finite
    log_variance = jnp.clip(log_variance, MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)
    return Normal(loc, jnp.exp(0.5 * log_variance))
