"""What the likelihoods make of a decoder's output."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.nets import MLP
from gen_jax.types import InputError
from gen_jax.vae import bernoulli_likelihood, gaussian_likelihood, gaussian_vae

OUTPUT = jnp.array([0.2, -1.0, 0.8])
X = np.array([0.0, 1.0, 1.0])


def test_bernoulli_reads_logits():
    likelihood = bernoulli_likelihood()
    log_prob = likelihood.distribution(likelihood.init(), OUTPUT).log_prob(jnp.asarray(X))
    np.testing.assert_allclose(log_prob, scipy.stats.bernoulli(1 / (1 + np.exp(-OUTPUT))).logpmf(X).sum(), rtol=1e-6)


@pytest.mark.parametrize("learned", [False, True])
def test_gaussian_has_its_normaliser(learned):
    likelihood = gaussian_likelihood(0.3, learned)
    log_prob = likelihood.distribution(likelihood.init(), OUTPUT).log_prob(jnp.asarray(X))
    np.testing.assert_allclose(log_prob, scipy.stats.norm(OUTPUT, 0.3).logpdf(X).sum(), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(InputError, match="positive, finite"):
        gaussian_likelihood(scale)


def test_an_impossible_latent_size_is_refused():
    with pytest.raises(InputError, match="latent_dim is 0"):
        gaussian_vae(MLP((), (2, 0)), MLP((), (3,)), 0, bernoulli_likelihood())
