"""FactorVAE (Kim & Mnih 2018, arXiv:1802.05983): a total correlation by the density ratio of a discriminator, as a game.

    −ELBO + γ E_{q(z)}[D(z)],    D(z) = the logit of the probability that z is of q(z) and not of Π_j q(z_j)

At the best D, D(z) = log q(z) / Π_j q(z_j), and the mean is the total correlation.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import VAE, Adversaries, Array, InputError, Key, Metrics, Net, Params, Variables, join, split
from gen_jax.vae.objectives import elbo_loss


def with_discriminator(vae: VAE, discriminator: Net) -> VAE:
    """Return the VAE that holds a discriminator of its latents, z -> [1], beside its own parameters: `Adversaries` of both."""

    def init(key: Key, x: Array, context: Any = None) -> Variables:
        vae_key, disc_key, z_key = jax.random.split(key, 3)
        variables = vae.init(vae_key, x, context)
        z = vae.encode(variables, x, context).sample(z_key)
        params, state = split(variables)
        return Variables(Adversaries(params, discriminator.init(disc_key, z)), Adversaries(state, ()))

    def of_own(function: Any) -> Any:
        return lambda variables, *args, **kwargs: function(join(*(part.generator for part in variables)), *args, **kwargs)

    return vae._replace(init=init, encode=of_own(vae.encode), decode=of_own(vae.decode), prior=of_own(vae.prior))


def factor_losses(vae: VAE, discriminator: Net, gamma: float | Float[Array, ""]) -> Adversaries:
    """Return the losses of both, in nats: of the VAE, with weight γ; of D, by logistic regression (Kim & Mnih 2018).

        −ELBO + γ E_{q(z)}[D(z)],        ½ E_{q(z)}[softplus(−D(z))] + ½ E_{Π_j q(z_j)}[softplus(D(z))]

    D tells the draws of one half of the batch from those of the other half, in which each latent is permuted over examples.

    Raises:
        InputError: (when called) the batch has 1 example, or the latents are not independent given x.
    """

    def of_vae(
        params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any
    ) -> tuple[Array, tuple[Adversaries, Metrics]]:
        penalty = lambda posteriors, z: gamma * jnp.mean(_logits(discriminator, params.discriminator, z))
        value, (own, metrics) = elbo_loss(vae, penalty=penalty)(params.generator, state.generator, key, step, batch)
        return value, (state._replace(generator=own), metrics)

    def of_discriminator(
        params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any
    ) -> tuple[Array, tuple[Adversaries, Metrics]]:
        draw_key, order_key = jax.random.split(key)
        variables = join(params.generator, state.generator)
        draw = lambda key, x, y: vae.encode(variables, x, y).sample(key)
        z = jax.vmap(draw)(jax.random.split(draw_key, len(batch.x)), batch.x, batch.labels)
        half = len(z) // 2
        if not half:
            raise InputError("The batch has 1 example, and its two halves are compared: give a batch size of 2 or more.")
        logits = _logits(discriminator, params.discriminator, jnp.concatenate([z[:half], permuted(order_key, z[half:])]))
        of_joint, of_product = jax.nn.softplus(-logits[:half]), jax.nn.softplus(logits[half:])
        value = 0.5 * (jnp.mean(of_joint) + jnp.mean(of_product))
        return value, (state, {"discriminator_loss": value})

    return Adversaries(of_vae, of_discriminator)


def permuted(key: Key, z: Float[Array, "B Z"]) -> Float[Array, "B Z"]:
    """Return draws of Π_j q(z_j) from draws of q(z): each latent in an order of its own."""
    return jax.random.permutation(key, z, axis=0, independent=True)


def _logits(discriminator: Net, params: Params, z: Float[Array, "B Z"]) -> Float[Array, "B"]:
    return jax.vmap(lambda z: discriminator.apply(params, z)[0])(z)
