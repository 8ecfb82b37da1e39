"""Distributions over one event, as pytrees of arrays, and the KL divergence between them."""

from gen_jax.distributions.aggregate import (
    AggregateDensity,
    Estimator,
    Factorised,
    RateParts,
    aggregate_density,
    log_prob_parts,
    rate_parts,
)
from gen_jax.distributions.bessel import log_bessel_i
from gen_jax.distributions.beta import Beta
from gen_jax.distributions.discrete import Bernoulli, Categorical
from gen_jax.distributions.discretised_logistic import DiscretisedLogistic
from gen_jax.distributions.kl import kl_divergence, kl_parts
from gen_jax.distributions.markov_chain import MarkovChain
from gen_jax.distributions.mixture import Mixture, NormalMixture
from gen_jax.distributions.normal import MultivariateNormal, Normal
from gen_jax.distributions.power_spherical import PowerSpherical
from gen_jax.distributions.uniform_sphere import UniformSphere
from gen_jax.distributions.von_mises_fisher import VonMisesFisher
