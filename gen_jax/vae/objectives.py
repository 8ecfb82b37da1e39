"""What is minimised: functions of one example over the terms of the ELBO. `train.batch_mean` makes a batch loss of one."""

from typing import Any

from jaxtyping import Float

from gen_jax.types import VAE, Array, Key, Metrics, Params
from gen_jax.vae.elbo import elbo_terms


def negative_elbo(
    vae: VAE, params: Params, key: Key, x: Array, context: Any = None, kl_weight: Float[Array, ""] | float = 1.0
) -> tuple[Float[Array, ""], Metrics]:
    """Return −log p(x|z) + w KL of one example at one posterior sample (nats, summed over pixels and latents), and the terms.

    With a weight w of 1 that is −ELBO. Warm-up raises w from 0 to 1 over the first steps, so that no latents are given up before
    the decoder can use them (Bowman et al. 2016, arXiv:1511.06349; Sønderby et al. 2016, arXiv:1602.02282). The metrics are those
    of the ELBO, whatever w is.
    """
    terms = elbo_terms(vae, params, key, x, context)
    return terms.distortion + kl_weight * terms.kl, {"elbo": terms.elbo, "rate": terms.rate, "distortion": terms.distortion}
