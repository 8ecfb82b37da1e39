"""Variational autoencoders: the terms of the bound for one example, objectives over them, and the models."""

from gen_jax.vae.completion import Chain, ChainCompletion, WeightedCompletions, complete_by_chain, weighted_completions
from gen_jax.vae.conditional import class_conditional
from gen_jax.vae.elbo import ElboTerms, elbo_terms, kl_term, log_weight
from gen_jax.vae.factor import factor_losses, with_discriminator
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
    Penalty,
    TermsObjective,
    capacity_objective,
    covariance_penalty,
    dreg_bound,
    elbo_loss,
    free_bits_objective,
    iwae_bound,
    iwae_loss,
    negative_elbo,
    total_correlation_penalty,
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
