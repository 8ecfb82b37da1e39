"""Every VAE under test. Adding a row tests it for all that the contract promises, under every objective."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from gen_jax import flows
from gen_jax.distributions import Mixture, MultivariateNormal, Normal
from gen_jax.made import categorical_output, ensemble, made
from gen_jax.nets import MLP, autoregressive_net
from gen_jax.types import VAE
from gen_jax.vae import (
    Latent,
    bernoulli_likelihood,
    beta,
    bottom_up_vae,
    class_conditional,
    conditional_normal,
    deep_latent_gaussian,
    discretised_logistic_likelihood,
    gaussian_likelihood,
    gaussian_vae,
    ladder_vae,
    normal_mixture,
    power_spherical,
    standard_normal,
    variational_autoencoder,
    vector_quantised_vae,
    von_mises_fisher,
    with_flow,
)

EVENT = (3, 2, 1)
BINARY = jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]).reshape(EVENT)
REAL = jnp.array([0.1, 0.9, 0.4, 0.0, 1.0, 0.3]).reshape(EVENT)
GREY = jnp.round(255 * REAL) / 255


def mlp_vae(latent: Latent, likelihood: Any = None) -> VAE:
    encoder, decoder = MLP((5,), latent.encoder_shape), MLP((5,), EVENT)
    return variational_autoencoder(encoder, decoder, latent, likelihood or bernoulli_likelihood())


PLANAR = flows.stack(flows.planar(2), 2)
IAF = flows.inverse_autoregressive(autoregressive_net(2, (4,), 2, activation=jnp.tanh), 2, flows.affine(), context_dim=3)
MIXTURE = Mixture(jnp.array([0.3, -0.2]), Normal(jnp.array([[0.5, -1.0], [-0.4, 0.8]]), jnp.array([[1.0, 0.7], [0.5, 1.2]])))
CODE_MADE = made(2, (), categorical_output(3), direct=True)
CODES = ensemble(CODE_MADE, lambda index: CODE_MADE.degrees)


def three_layers(kind: str) -> VAE:
    """Of four, three and two latents."""
    decoder, likelihood, dims = MLP((5,), EVENT), bernoulli_likelihood(), (4, 3, 2)
    from_here, from_above = [MLP((5,), (2, dim)) for dim in dims], [MLP((4,), (2, dim)) for dim in dims[:-1]]
    match kind:
        case "bottom-up":
            return bottom_up_vae(from_here, from_above, decoder, dims, likelihood)
        case "ladder":
            trunk, heads = [MLP((size,), None) for size in (6, 5, 4)], [MLP((), (2, dim)) for dim in dims]
            return ladder_vae(trunk, heads, from_above, decoder, dims, likelihood)
        case _:
            injections, transforms = [MLP((), (size,)) for size in (5, 4, 3)], [MLP((size,), (size,)) for size in (5, 4)]
            return deep_latent_gaussian(from_here, transforms, injections, decoder, dims, likelihood)


class Case(NamedTuple):
    vae: VAE
    x: jax.Array
    context: Any = None
    # draws that are differentiated implicitly are no smooth function of the parameters at one key, though right in the mean
    smooth: bool = True
    edges: bool = False  # a draw in a hundred may be at an end of (0, 1), where float32 is coarse
    point: bool = False  # its posterior is a point: nothing is drawn
    far: float = 1e2  # by which parameters are multiplied; what a chain of nets puts out grows as a power of it, beyond float32


CASES = {
    "bernoulli": Case(gaussian_vae(MLP((5,), (2, 2)), MLP((5,), EVENT), 2, bernoulli_likelihood()), BINARY),
    "gaussian": Case(mlp_vae(standard_normal(2), gaussian_likelihood(0.5)), REAL),
    "gaussian-learned": Case(mlp_vae(standard_normal(2), gaussian_likelihood(0.5, learned=True)), REAL),
    "discretised-logistic": Case(mlp_vae(standard_normal(2), discretised_logistic_likelihood(0.2)), GREY),
    "flow-global": Case(mlp_vae(with_flow(standard_normal(2), PLANAR)), BINARY),
    "flow-amortised": Case(mlp_vae(with_flow(standard_normal(2), flows.amortise(PLANAR), flows.num_params(PLANAR))), BINARY),
    "flow-mixture": Case(mlp_vae(with_flow(normal_mixture(MIXTURE, learned=False), PLANAR)), BINARY),
    "flow-iaf": Case(mlp_vae(with_flow(standard_normal(2), IAF, 3)), BINARY),
    "mixture": Case(mlp_vae(normal_mixture(MIXTURE, learned=False)), BINARY),
    "mixture-learned": Case(mlp_vae(normal_mixture(MIXTURE, learned=True), gaussian_likelihood(0.5)), REAL),
    "von-mises-fisher": Case(mlp_vae(von_mises_fisher(3)), BINARY, smooth=False),
    "von-mises-fisher-circle": Case(mlp_vae(von_mises_fisher(2), gaussian_likelihood(0.5)), REAL, smooth=False),
    "power-spherical": Case(mlp_vae(power_spherical(3), discretised_logistic_likelihood(0.2)), GREY, smooth=False),
    "beta": Case(mlp_vae(beta(2)), BINARY, smooth=False, edges=True),
    "conditional-prior": Case(class_conditional(mlp_vae(conditional_normal(2, MLP((), (2, 2)))), 3), BINARY, jnp.int32(2)),
    "context": Case(mlp_vae(standard_normal(2)), BINARY, jnp.array([1.0, 0.0, 0.5])),
    "bottom-up": Case(three_layers("bottom-up"), BINARY, far=3.0),
    "ladder": Case(three_layers("ladder"), BINARY, far=3.0),
    "deep-latent-gaussian": Case(three_layers("deep"), BINARY),
    "vector-quantised": Case(
        vector_quantised_vae(MLP((5,), (2, 2)), MLP((5,), EVENT), 3, (2,), bernoulli_likelihood(), CODES),
        BINARY,
        smooth=False,
        point=True,
    ),
}
# a row for the fast suite; `pytest -m slow` runs the others
FAST = {"bernoulli"}
ROWS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CASES]


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
