"""Variational autoencoders: the terms of the bound for one example, objectives over them, and the models."""

from gen_jax.vae.conditional import on_labels
from gen_jax.vae.elbo import ElboTerms, elbo_terms, kl_term, log_weight
from gen_jax.vae.hierarchical import bottom_up_vae, deep_latent_gaussian, ladder_vae
from gen_jax.vae.latents import (
    Latent,
    beta,
    conditional_normal,
    normal_mixture,
    power_spherical,
    standard_normal,
    von_mises_fisher,
    with_flow,
)
from gen_jax.vae.likelihoods import Likelihood, bernoulli_likelihood, discretised_logistic_likelihood, gaussian_likelihood
from gen_jax.vae.model import gaussian_vae, variational_autoencoder
from gen_jax.vae.objectives import (
    TermsObjective,
    capacity_objective,
    dreg_bound,
    elbo_loss,
    free_bits_objective,
    iwae_bound,
    iwae_loss,
    negative_elbo,
)
from gen_jax.vae.vector_quantised import (
    Codebook,
    CodePrior,
    Quantised,
    nearest_codes,
    perplexity,
    updated_codebook,
    vector_quantised_loss,
    vector_quantised_vae,
)

__all__ = [
    "CodePrior",
    "Codebook",
    "ElboTerms",
    "Latent",
    "Likelihood",
    "Quantised",
    "TermsObjective",
    "bernoulli_likelihood",
    "beta",
    "bottom_up_vae",
    "capacity_objective",
    "conditional_normal",
    "deep_latent_gaussian",
    "discretised_logistic_likelihood",
    "dreg_bound",
    "elbo_loss",
    "elbo_terms",
    "free_bits_objective",
    "gaussian_likelihood",
    "gaussian_vae",
    "iwae_bound",
    "iwae_loss",
    "kl_term",
    "ladder_vae",
    "log_weight",
    "nearest_codes",
    "negative_elbo",
    "normal_mixture",
    "on_labels",
    "perplexity",
    "power_spherical",
    "standard_normal",
    "updated_codebook",
    "variational_autoencoder",
    "vector_quantised_loss",
    "vector_quantised_vae",
    "von_mises_fisher",
    "with_flow",
]
