"""Distributions over one event, as pytrees of arrays, and the divergence between them."""

from gen_jax.distributions.bernoulli import Bernoulli
from gen_jax.distributions.categorical import Categorical
from gen_jax.distributions.kl import kl_closed_form, kl_divergence
from gen_jax.distributions.multivariate_normal import MultivariateNormal
from gen_jax.distributions.normal import Normal
from gen_jax.distributions.normal_mixture import NormalMixture

__all__ = ["Bernoulli", "Categorical", "MultivariateNormal", "Normal", "NormalMixture", "kl_closed_form", "kl_divergence"]
