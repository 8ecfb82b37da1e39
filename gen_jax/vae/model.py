"""The VAE with one latent vector, made of an encoder, a decoder, a latent variable and a likelihood."""

from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.types import VAE, Array, Distribution, InputError, Key, Net, Params, Posterior, Predictive, join, split
from gen_jax.vae.latents import Latent, standard_normal
from gen_jax.vae.likelihoods import Likelihood


def variational_autoencoder(encoder: Net, decoder: Net, latent: Latent, likelihood: Likelihood) -> VAE:
    """Return the VAE with q(z|x) and p(z) from the latent variable and p(x|z) from the likelihood.

    A context y, the second input of both nets, makes it conditional: q(z|x, y) and p(x|z, y) (Sohn et al. 2015).

    Args:
        encoder: x (and context) -> an array of the latent's `encoder_shape`.
        decoder: z (and context) -> what the likelihood takes.
        latent: q(z|x) and p(z); its fixed arrays are the state of `Variables`.
        likelihood: p(x|z).

    Raises:
        InputError: (when called) the encoder returns another shape.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, variational_autoencoder, von_mises_fisher
        >>> latent = von_mises_fisher(3)
        >>> encoder, decoder = MLP((8,), latent.encoder_shape), MLP((8,), (4,))
        >>> vae = variational_autoencoder(encoder, decoder, latent, bernoulli_likelihood())
        >>> posterior = vae.encode(vae.init(jax.random.key(0), jnp.ones(4)), jnp.ones(4))
        >>> round(jnp.linalg.norm(posterior.sample(jax.random.key(1))).item(), 4)  # on the unit sphere
        1.0
    """

    def init(key: Key, x: Array, context: Any = None) -> Params:
        encoder_key, decoder_key, latent_key = jax.random.split(key, 3)
        params = {
            "encoder": encoder.init(encoder_key, x, context),
            "decoder": decoder.init(decoder_key, jnp.zeros(latent.dim), context),
            "latent": latent.init(latent_key, context),
            "likelihood": likelihood.init(),
        }
        return join(params, latent.fixed())

    def encode(variables: Params, x: Array, context: Any = None) -> Posterior:
        params, _ = split(variables)
        output = encoder.apply(params["encoder"], x, context)
        if output.shape != latent.encoder_shape:
            raise InputError(
                f"encoder returns {output.shape}, and the posterior takes {latent.encoder_shape}: make an encoder of that shape."
            )
        return latent.posterior(params["latent"], output)

    def decode(variables: Params, z: Array, context: Any = None) -> Predictive:
        params, _ = split(variables)
        return likelihood.distribution(params["likelihood"], decoder.apply(params["decoder"], z, context))

    def prior(variables: Params, context: Any = None) -> Distribution:
        params, fixed = split(variables)
        return latent.prior(join(params["latent"], fixed), context)

    return VAE(init, encode, decode, prior, latent)


def gaussian_vae(encoder: Net, decoder: Net, latent_dim: int, likelihood: Likelihood) -> VAE:
    """Return the VAE with q(z|x) = N(μ(x), diag σ²(x)) and p(z) = N(0, I) (Kingma & Welling 2014, arXiv:1312.6114).

    Args:
        encoder: x (and context) -> [2, Z], the rows μ and log σ².
        decoder: z (and context) -> what the likelihood takes.
        latent_dim: Z.
        likelihood: p(x|z).

    Raises:
        InputError: `latent_dim` is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, gaussian_vae
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> vae.encode(params, jnp.ones(3)).scale.tolist(), vae.decode(params, jnp.zeros(1)).mean.tolist()
        ([1.0], [0.5, 0.5, 0.5])
    """
    return variational_autoencoder(encoder, decoder, standard_normal(latent_dim), likelihood)
