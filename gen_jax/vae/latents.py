"""Latent variables of a VAE: a prior p(z) with the family of posteriors q(z|x) on the same space."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Float

from gen_jax.distributions import Beta, Mixture, Normal, PowerSpherical, UniformSphere, VonMisesFisher
from gen_jax.flows import Transformed
from gen_jax.types import Array, Bijection, Distribution, InputError, Key, Net, Params, Posterior, join, split

# Values and gradients are finite within these bounds, and training stays far inside: σ from 1e-13 to 2e4 in a posterior, but from
# 6e-6 in a prior, whose density divides by it.
POSTERIOR_LOG_VARIANCES, PRIOR_LOG_VARIANCES = (-60.0, 20.0), (-24.0, 20.0)


class Latent(NamedTuple):
    """A prior and a family of posteriors.

    Attributes:
        dim: Z, the size of the vector z.
        encoder_shape: the shape of the encoder's output.
        posterior: (params, encoder output) -> q(z|x).
        prior: (params, context=None) -> p(z); the params are `Variables` if there are fixed arrays.
        unbounded: z may be any vector of R^Z, as a flow over it requires.
        from_square: (u, v) -> z, under which a uniform (u, v) on the unit square has the prior's distribution; None where z does
            not have two degrees of freedom.
        move: (z, i, value) -> z with latent i set to a value, within the support: for traversals.
        init: (key, context=None) -> the parameters of prior and posterior themselves; by default none.
        fixed: () -> arrays of the prior that are not trained; by default none.
        paths: which lines between two z stay in the support: linear, spherical (a great arc), or both.
    """

    dim: int
    encoder_shape: tuple[int, ...]
    posterior: Callable[[Params, Array], Posterior]
    prior: Callable[..., Distribution]
    unbounded: bool
    from_square: Callable[..., Array] | None
    move: Callable[..., Array] = lambda z, i, value: z.at[i].set(value)
    init: Callable[..., Params] = lambda key, context=None: ()
    fixed: Callable[[], Params] = lambda: ()
    paths: tuple[str, ...] = ("spherical", "linear")


def standard_normal(dim: int) -> Latent:
    """Return p(z) = N(0, I) with q(z|x) = N(μ, diag σ²) from [2, Z]: the rows μ and log σ² (Kingma & Welling 2014).

    Raises:
        InputError: `dim` is less than 1.
    """
    _check_dim(dim)
    return Latent(
        dim=dim,
        encoder_shape=(2, dim),
        posterior=lambda params, output: gaussian_posterior(*output),
        prior=lambda params, context=None: Normal(jnp.zeros(dim), jnp.ones(dim)),
        unbounded=True,
        from_square=(lambda u, v: ndtri(jnp.stack([u, v]))) if dim == 2 else None,
    )


def gaussian_posterior(loc: Float[Array, "Z"], log_variance: Float[Array, "Z"]) -> Normal:
    """Return N(loc, diag exp(log_variance)), with the variance bounded as in a posterior."""
    return Normal(loc, jnp.exp(0.5 * jnp.clip(log_variance, *POSTERIOR_LOG_VARIANCES)))


def gaussian_prior(loc: Float[Array, "*event"], log_variance: Float[Array, "*event"]) -> Normal:
    """Return N(loc, diag exp(log_variance)), with the variance bounded as in a prior."""
    return Normal(loc, jnp.exp(0.5 * jnp.clip(log_variance, *PRIOR_LOG_VARIANCES)))


def conditional_normal(dim: int, net: Net) -> Latent:
    """Return p(z|y) = N(μ(y), diag σ²(y)), with the posteriors of `standard_normal` (Sohn et al. 2015).

    Args:
        dim: Z.
        net: context -> [2, Z], the rows μ and log σ².

    Raises:
        InputError: `dim` is less than 1; or, when called, the context is missing.
    """

    def required(context: Any) -> Any:
        if context is None:
            raise InputError("context is missing, and this model is conditional: give it, such as a one-hot label.")
        return context

    return standard_normal(dim)._replace(
        prior=lambda params, context=None: gaussian_prior(*net.apply(params, required(context))),
        from_square=None,
        init=lambda key, context=None: net.init(key, required(context)),
    )


def normal_mixture(mixture: Mixture, learned: bool) -> Latent:
    """Return p(z) = Σ_m π_m N(μ_m, diag σ_m²), with the posteriors of `standard_normal`.

    Args:
        mixture: of `Normal` over [M, Z].
        learned: train it, starting from `mixture`.
    """
    normal = standard_normal(mixture.components.loc.shape[-1])
    if not learned:
        fixed = lambda: jax.tree.map(jnp.copy, mixture)  # since training donates what it is given
        return normal._replace(prior=lambda params, context=None: split(params).state, from_square=None, fixed=fixed)
    start = (mixture.logits, mixture.components.loc, 2 * jnp.log(mixture.components.scale))

    def prior(params: Params, context: Any = None) -> Mixture:
        logits, *moments = params
        return Mixture(logits, gaussian_prior(*moments))

    return normal._replace(prior=prior, from_square=None, init=lambda key, context=None: jax.tree.map(jnp.copy, start))


def von_mises_fisher(dim: int) -> Latent:
    """Return p(z) uniform on the unit sphere of R^Z, with q(z|x) = vMF(μ, κ) (Davidson et al. 2018, arXiv:1804.00891).

    The encoder returns [Z + 1]: μ is the first Z, normalised, and κ = 1 + softplus of the last.

    Raises:
        InputError: `dim` is less than 2.
    """
    return _spherical(dim, VonMisesFisher)


def power_spherical(dim: int) -> Latent:
    """Return `von_mises_fisher` with the power spherical posterior (De Cao & Aziz 2020, arXiv:2006.04437).

    Raises:
        InputError: `dim` is less than 2.
    """
    return _spherical(dim, PowerSpherical)


def _spherical(dim: int, family: Any) -> Latent:
    if dim < 2:
        raise InputError(f"latent_dim is {dim}, and a sphere needs the 2 coordinates of a circle or more: give 2 or more.")

    def posterior(params: Params, output: Float[Array, "Z_and_1"]) -> Posterior:
        direction, raw = output[:dim], output[dim]
        # divide by the largest entry first: its square could overflow or underflow
        direction = direction / jnp.maximum(jax.lax.stop_gradient(jnp.max(jnp.abs(direction))), 1e-30)
        squared = jnp.sum(direction**2)
        axis = jnp.zeros(dim).at[0].set(1.0)
        loc = jnp.where(squared > 0, direction / jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), axis)
        return family(loc, jnp.minimum(1.0 + jax.nn.softplus(raw), 1e5))

    def move(z: Float[Array, "Z"], i: Array, value: Array) -> Float[Array, "Z"]:
        others = z.at[i].set(0.0)
        others = others / jnp.maximum(jnp.sqrt(jnp.sum(others**2)), 1e-6)
        return (others * jnp.sqrt(jnp.maximum(1 - value**2, 0))).at[i].set(value)

    def from_square(u: Array, v: Array) -> Float[Array, "3"]:
        longitude, height = 2 * jnp.pi * u, 2 * v - 1  # zones of equal height have equal areas (Archimedes)
        radius = jnp.sqrt(1 - height**2)
        return jnp.stack([radius * jnp.cos(longitude), radius * jnp.sin(longitude), height])

    return Latent(
        dim=dim,
        encoder_shape=(dim + 1,),
        posterior=posterior,
        prior=lambda params, context=None: UniformSphere(dim),
        unbounded=False,
        move=move,
        from_square=from_square if dim == 3 else None,
        paths=("spherical",),
    )


def beta(dim: int) -> Latent:
    """Return p(z) uniform on (0, 1)^Z with q(z|x) = Π_i Beta(α_i, β_i), α and β = 0.01 + softplus of [2, Z].

    Raises:
        InputError: `dim` is less than 1.
    """
    _check_dim(dim)

    def posterior(params: Params, output: Float[Array, "2 Z"]) -> Beta:
        # gradients are accurate in float32 from 1e-2 to 1e4; the lower bound is smooth, since training reaches it and must return
        return Beta(*jnp.minimum(1e-2 + jax.nn.softplus(output), 1e4))

    return Latent(
        dim=dim,
        encoder_shape=(2, dim),
        posterior=posterior,
        prior=lambda params, context=None: Beta(jnp.ones(dim), jnp.ones(dim)),
        unbounded=False,
        from_square=(lambda u, v: jnp.stack([u, v])) if dim == 2 else None,
        paths=("linear",),
    )


def with_flow(latent: Latent, bijection: Bijection, context_dim: int = 0) -> Latent:
    """Return the prior of `latent` with the posterior of z = f(z_0; c(x)), z_0 ~ q_0(z_0|x), that of `latent` (arXiv:1505.05770).

        ELBO = E_{z_0}[log p(x|z) + log p(z) − log q_0(z_0) + log |det ∂f/∂z_0|]

    The encoder returns one vector: the parameters of q_0, then C numbers for the flow. They are the context of its networks
    (`inverse_autoregressive(..., context_dim=C)`) or its parameters (`amortise(f)`, C = `num_params(f)`). Without them (C = 0),
    the flow does not depend on x.

    Args:
        latent: p(z) and q_0.
        bijection: f, forward from z_0 to z.
        context_dim: C.

    Raises:
        InputError: the support of the prior is not R^Z, so that a flow would leave it.
    """
    if not latent.unbounded:
        raise InputError(
            "A flow needs latents that may be any vector: give standard_normal, conditional_normal or normal_mixture."
        )
    size = math.prod(latent.encoder_shape)

    def init(key: Key, context: Any = None) -> Params:
        latent_key, flow_key = jax.random.split(key)
        return {"latent": latent.init(latent_key, context), "flow": bijection.init(flow_key)}

    def posterior(params: Params, output: Array) -> Transformed:
        base = latent.posterior(params["latent"], output[:size].reshape(latent.encoder_shape))
        return Transformed(base, bijection, params["flow"], output[size:] if context_dim else None)

    def prior(params: Params, context: Any = None) -> Distribution:
        own, fixed = split(params)
        return latent.prior(join(own["latent"], fixed), context)

    return latent._replace(encoder_shape=(size + context_dim,), init=init, posterior=posterior, prior=prior)


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise InputError(f"latent_dim is {dim}: give 1 or more.")
