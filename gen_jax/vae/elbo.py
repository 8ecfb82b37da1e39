"""The evidence lower bound of one example (Kingma & Welling 2014, arXiv:1312.6114).

    log p(x) = ELBO + KL(q(z|x) ‖ p(z|x)),    ELBO = E_q[log p(x|z)] − KL(q(z|x) ‖ p(z))

Everything that analyses or trains a VAE is a function over these terms; `jax.vmap` makes the batch.
"""

from typing import Any, NamedTuple

from jaxtyping import Float

from gen_jax.distributions import kl_closed_form
from gen_jax.types import VAE, Array, Distribution, Key, Params, Posterior


class ElboTerms(NamedTuple):
    """The two terms of the bound for one example, in nats; scalars, but for the axes that a `vmap` adds.

    Attributes:
        log_likelihood: log p(x|z) at one z ~ q(z|x); the distortion is its negative.
        kl: KL(q(z|x) ‖ p(z)), the rate: exact where a closed form is known, else log q(z|x) − log p(z) at the same z.
    """

    log_likelihood: Float[Array, "*batch"]
    kl: Float[Array, "*batch"]

    @property
    def elbo(self) -> Float[Array, "*batch"]:
        """A one-sample estimate of the lower bound on log p(x)."""
        return self.log_likelihood - self.kl

    @property
    def rate(self) -> Float[Array, "*batch"]:
        """The KL, as rate-distortion theory names it."""
        return self.kl

    @property
    def distortion(self) -> Float[Array, "*batch"]:
        """−log p(x|z)."""
        return -self.log_likelihood


def elbo_terms(vae: VAE, params: Params, key: Key, x: Array, context: Any = None) -> ElboTerms:
    """Return the terms of the ELBO of one example, at one posterior sample drawn with `key`."""
    posterior = vae.encode(params, x, context)
    z, log_q = posterior.sample_and_log_prob(key)
    log_likelihood = vae.decode(params, z, context).log_prob(x)
    return ElboTerms(log_likelihood, kl_term(posterior, vae.prior(params, context), z, log_q))


def kl_term(posterior: Posterior, prior: Distribution, z: Any, log_q: Float[Array, ""]) -> Float[Array, ""]:
    """Return KL(posterior ‖ prior) in closed form where there is one, else its one-sample estimate log q(z) − log p(z)."""
    exact = kl_closed_form(posterior, prior)
    return log_q - prior.log_prob(z) if exact is None else exact


def log_weight(vae: VAE, params: Params, key: Key, x: Array, context: Any = None) -> Float[Array, ""]:
    """Return log w = log p(x|z) + log p(z) − log q(z|x) at one z ~ q(z|x).

    E[w] = p(x), so that means of w estimate the marginal likelihood (Burda et al. 2016, arXiv:1509.00519).
    """
    z, log_q = vae.encode(params, x, context).sample_and_log_prob(key)
    return vae.decode(params, z, context).log_prob(x) + vae.prior(params, context).log_prob(z) - log_q
