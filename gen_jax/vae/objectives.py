"""What is minimised: functions of one example over the terms of the ELBO. `train.batch_mean` makes a batch loss of one."""

from typing import Any

from jaxtyping import Float

from gen_jax.types import VAE, Array, Key, Metrics, Params
from gen_jax.vae.elbo import elbo_terms


def negative_elbo(vae: VAE, params: Params, key: Key, x: Array, context: Any = None) -> tuple[Float[Array, ""], Metrics]:
    """Return −ELBO of one example at one posterior sample (nats, summed over pixels and latents), and its terms."""
    terms = elbo_terms(vae, params, key, x, context)
    return -terms.elbo, {"elbo": terms.elbo, "rate": terms.rate, "distortion": terms.distortion}
