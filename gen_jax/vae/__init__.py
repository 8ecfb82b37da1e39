"""Variational autoencoders: the terms of the bound for one example, objectives over them, and the models."""

from gen_jax.vae.elbo import ElboTerms, elbo_terms, kl_term, log_weight
from gen_jax.vae.flow import flow_vae
from gen_jax.vae.gaussian import gaussian_vae
from gen_jax.vae.likelihoods import Likelihood, bernoulli_likelihood, gaussian_likelihood
from gen_jax.vae.objectives import negative_elbo

__all__ = [
    "ElboTerms",
    "Likelihood",
    "bernoulli_likelihood",
    "elbo_terms",
    "flow_vae",
    "gaussian_likelihood",
    "gaussian_vae",
    "kl_term",
    "log_weight",
    "negative_elbo",
]
