"""Every VAE under test. Adding a row tests it for all that the contract promises."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax import flows
from gen_jax.distributions import MultivariateNormal, Normal
from gen_jax.nets import MLP, autoregressive_net
from gen_jax.types import VAE
from gen_jax.vae import bernoulli_likelihood, flow_vae, gaussian_likelihood, gaussian_vae

EVENT = (3, 2, 1)
BINARY = jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]).reshape(EVENT)
REAL = jnp.array([0.1, 0.9, 0.4, 0.0, 1.0, 0.3]).reshape(EVENT)


def mlp_vae(likelihood: Any) -> VAE:
    return gaussian_vae(MLP((5,), (2, 2)), MLP((5,), EVENT), latent_dim=2, likelihood=likelihood)


PLANAR = flows.stack(flows.planar(2), 2)
IAF = flows.inverse_autoregressive(autoregressive_net(2, (4,), 2, activation=jnp.tanh), 2, flows.affine(), context_dim=3)


def mlp_flow_vae(bijection: Any, context_dim: int) -> VAE:
    encoder = MLP((5,), (4 + context_dim,))
    return flow_vae(encoder, MLP((5,), EVENT), 2, bernoulli_likelihood(), bijection, context_dim)


class Case(NamedTuple):
    vae: VAE
    x: jax.Array
    context: Any = None


CASES = {
    "bernoulli": Case(mlp_vae(bernoulli_likelihood()), BINARY),
    "gaussian": Case(mlp_vae(gaussian_likelihood(0.5)), REAL),
    "gaussian-learned": Case(mlp_vae(gaussian_likelihood(0.5, learned=True)), REAL),
    "flow-global": Case(mlp_flow_vae(PLANAR, 0), BINARY),
    "flow-amortised": Case(mlp_flow_vae(flows.amortise(PLANAR), flows.num_params(PLANAR)), BINARY),
    "flow-iaf": Case(mlp_flow_vae(IAF, 3), BINARY),
    "bernoulli-context": Case(mlp_vae(bernoulli_likelihood()), BINARY, jnp.array([1.0, 0.0, 0.0])),
}


def linear_gaussian_vae(num_latents: int = 2, num_data: int = 5, scale: float = 0.6) -> tuple[VAE, MultivariateNormal]:
    """x = W z + b + σ ε: its marginal p(x) = N(b, W Wᵀ + σ² I), and its exact posterior as the encoder.

    q(z|x) = N(M⁻¹ Wᵀ (x − b), σ² M⁻¹) with M = Wᵀ W + σ² I (Bishop 2006, §12.2). `params["shift"]` moves the posterior's mean
    away from the exact one, and `params["widen"]` scales its width.
    """
    weights_key, bias_key = jax.random.split(jax.random.key(7))
    weights = jax.random.normal(weights_key, (num_data, num_latents))
    bias = jax.random.normal(bias_key, (num_data,))
    precision = weights.T @ weights + scale**2 * jnp.eye(num_latents)
    posterior_tril = jnp.linalg.cholesky(scale**2 * jnp.linalg.inv(precision))

    def init(key, x, context=None):
        return {"shift": jnp.zeros(num_latents), "widen": jnp.ones(())}

    def encode(params, x, context=None):
        loc = jnp.linalg.solve(precision, weights.T @ (x - bias))
        return MultivariateNormal(loc + params["shift"], params["widen"] * posterior_tril)

    def decode(params, z, context=None):
        return Normal(weights @ z + bias, jnp.full(num_data, scale))

    def prior(params, context=None):
        return Normal(jnp.zeros(num_latents), jnp.ones(num_latents))

    marginal = MultivariateNormal(bias, jnp.linalg.cholesky(weights @ weights.T + scale**2 * jnp.eye(num_data)))
    return VAE(init, encode, decode, prior), marginal
