"""VAEs whose posterior is a flow (Rezende & Mohamed 2015, arXiv:1505.05770)."""

from typing import Any

import jax

from gen_jax.flows import Transformed
from gen_jax.types import VAE, Array, Bijection, InputError, Key, Net, Params
from gen_jax.vae.gaussian import gaussian_posterior, gaussian_vae
from gen_jax.vae.likelihoods import Likelihood


def flow_vae(
    encoder: Net, decoder: Net, latent_dim: int, likelihood: Likelihood, bijection: Bijection, context_dim: int = 0
) -> VAE:
    """Return the VAE with q(z|x) the distribution of z = f(z_0; c(x)), z_0 ~ N(μ(x), diag σ²(x)), and all else as `gaussian_vae`.

        ELBO = E_{z_0}[log p(x|z) + log p(z) − log N(z_0; μ, σ²) + log |det ∂f/∂z_0|]

    The encoder puts out what the flow depends on: nothing (the flow's parameters are global), the context of a network within the
    flow (`inverse_autoregressive(..., context_dim=C)`), or the parameters themselves (`amortise(f)`, C = `num_params(f)`).

    Args:
        encoder: x (and context) -> [2Z + C]: μ, log σ², c.
        decoder: as for `gaussian_vae`.
        latent_dim: Z.
        likelihood: as for `gaussian_vae`.
        bijection: f, forward from z_0 to z.
        context_dim: C.

    Raises:
        InputError: `latent_dim` is less than 1; or, when called, the encoder puts out another shape.
    """
    gaussian = gaussian_vae(encoder, decoder, latent_dim, likelihood)

    def init(key: Key, x: Array, context: Any = None) -> Params:
        flow_key, rest_key = jax.random.split(key)
        return gaussian.init(rest_key, x, context) | {"flow": bijection.init(flow_key)}

    def encode(params: Params, x: Array, context: Any = None) -> Transformed:
        output = encoder.apply(params["encoder"], x, context)
        if output.shape != (2 * latent_dim + context_dim,):
            raise InputError(
                f"encoder puts out {output.shape}, and {latent_dim} latents with a context of {context_dim} for the flow take "
                f"({2 * latent_dim + context_dim},): make an encoder of that output shape."
            )
        base = gaussian_posterior(output[:latent_dim], output[latent_dim : 2 * latent_dim])
        return Transformed(base, bijection, params["flow"], output[2 * latent_dim :] if context_dim else None)

    return VAE(init, encode, gaussian.decode, gaussian.prior)
