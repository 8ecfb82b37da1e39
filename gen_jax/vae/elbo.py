"""The evidence lower bound of one example (Kingma & Welling 2014, arXiv:1312.6114).

    log p(x) = ELBO + KL(q(z|x) ‖ p(z|x)),    ELBO = E_q[log p(x|z)] − KL(q(z|x) ‖ p(z))

What trains or analyses a VAE is a function of these terms; `jax.vmap` makes the batch.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions import MarkovChain, kl_parts
from gen_jax.types import VAE, Array, Distribution, Key, Metrics, Params, Posterior


class ElboTerms(NamedTuple):
    """The two terms of the bound for one example, in nats.

    Attributes:
        log_likelihood: log p(x|z) at one z ~ q(z|x).
        kl_parts: KL(q(z|x) ‖ p(z)) by part: each latent where they are independent, each layer of a hierarchical model, or the
            whole. In closed form where it is known, else log q(z|x) − log p(z) at z. Where q and p draw the layers in opposite
            orders, only the sum over layers is a KL, and a part may be negative.
    """

    log_likelihood: Float[Array, "*batch"]
    kl_parts: Float[Array, "*batch G"]

    @property
    def kl(self) -> Float[Array, "*batch"]:
        """KL(q(z|x) ‖ p(z)), the rate."""
        return jnp.sum(self.kl_parts, axis=-1)

    @property
    def elbo(self) -> Float[Array, "*batch"]:
        """A one-sample estimate of the ELBO."""
        return self.log_likelihood - self.kl

    @property
    def distortion(self) -> Float[Array, "*batch"]:
        """−log p(x|z)."""
        return -self.log_likelihood

    @property
    def metrics(self) -> Metrics:
        """The metrics that training reports."""
        return {"elbo": self.elbo, "rate": self.kl, "distortion": self.distortion}


def elbo_terms(vae: VAE, params: Params, key: Key, x: Array, context: Any = None) -> ElboTerms:
    """Return the terms of the ELBO of one example, in nats, at one z ~ q(z|x) (Kingma & Welling 2014, arXiv:1312.6114).

        ELBO = E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)) ≤ log p(x)

    The KL is in closed form where it is known. The context, such as a label, is that of a conditional model.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, elbo_terms, gaussian_vae
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> terms = elbo_terms(vae, params, jax.random.key(1), jnp.ones(3))
        >>> terms.kl.item(), round(terms.elbo.item(), 4)  # the bound is tight: log p(x) = −3 log 2
        (0.0, -2.0794)
    """
    return terms_and_draw(vae, params, key, x, context)[0]


def terms_and_draw(vae: VAE, params: Params, key: Key, x: Array, context: Any = None) -> tuple[ElboTerms, Posterior, Any]:
    """Return the terms, q(z|x) and the sample that they are at."""
    posterior = vae.encode(params, x, context)
    z, log_q = posterior.sample_and_log_prob(key)
    log_likelihood = vae.decode(params, z, context).log_prob(x)
    return ElboTerms(log_likelihood, kl_term(posterior, vae.prior(params, context), z, log_q)), posterior, z


def kl_term(posterior: Posterior, prior: Distribution, z: Any, log_q: Float[Array, ""]) -> Float[Array, "G"]:
    """Return KL(posterior ‖ prior) by part, in nats: in closed form if known, else estimated by log q − log p at z.

    Two Markov chains in the same order give, for each layer, the KL of its conditionals given the layers before it in z. In
    opposite orders they give log q − log p of each layer's conditionals at z, whose sum estimates the KL.
    """
    if isinstance(posterior, MarkovChain) and isinstance(prior, MarkovChain):
        layers = list(zip(posterior.conditionals(z), prior.conditionals(z), z, strict=True))
        if len(layers) > 1 and posterior.last_first != prior.last_first:
            return jnp.stack([q.log_prob(part) - p.log_prob(part) for q, p, part in layers])
        return jnp.stack([jnp.sum(kl_term(q, p, part, q.log_prob(part))) for q, p, part in layers])
    exact = kl_parts(posterior, prior)
    return jnp.reshape(log_q - prior.log_prob(z), (1,)) if exact is None else exact


def log_weight(vae: VAE, params: Params, key: Key, x: Array, context: Any = None) -> Float[Array, ""]:
    """Return log w = log p(x|z) + log p(z) − log q(z|x) of one example at one z ~ q(z|x), in nats.

    E[w] = p(x), so that means of w estimate the marginal likelihood (Burda et al. 2016, arXiv:1509.00519), if q(z|x) has mass
    wherever p(x, z) has. For the point mass of a VQ-VAE, log w = log p(x, z) is a lower bound on log p(x).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, gaussian_vae, log_weight
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> round(log_weight(vae, params, jax.random.key(1), jnp.ones(3)).item(), 4)  # here log p(x) = −3 log 2 at every z
        -2.0794
    """
    z, log_q = vae.encode(params, x, context).sample_and_log_prob(key)
    return vae.decode(params, z, context).log_prob(x) + vae.prior(params, context).log_prob(z) - log_q
