"""Latent variables: a prior p(z), with the family of posteriors q(z|x) that matches it. What a VAE is built from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Float

from gen_jax.distributions import Beta, Mixture, Normal, PowerSpherical, UniformSphere, VonMisesFisher
from gen_jax.flows import Transformed
from gen_jax.types import Array, Bijection, Distribution, InputError, Key, Net, Params, Posterior, join, split

# Far outside what training reaches; within, values and gradients stay finite. σ from 1e-13 to 2e4 of a posterior; of a prior, by
# which differences are divided, from 6e-6.
POSTERIOR_LOG_VARIANCES, PRIOR_LOG_VARIANCES = (-60.0, 20.0), (-24.0, 20.0)


class Latent(NamedTuple):
    """A prior and what makes a posterior of an encoder's output.

    Attributes:
        dim: Z, the size of the vector z.
        encoder_shape: the shape of what the encoder returns.
        init: (key, context) -> the parameters that prior and posterior have themselves (an empty tuple where they have none).
        posterior: (params, encoder output) -> q(z|x).
        prior: (params, context) -> p(z); the params are `Variables` where there are fixed arrays.
        unbounded: z may be any vector of R^Z: what a flow over it, or a variance of its means, takes for granted.
        move: (z, i, value) -> z with latent i set to a value, and inside the support: for traversals.
        from_square: (u, v) -> z, a map of the unit square onto the latent space, under which a uniform (u, v) has the prior's
            distribution, where z has two degrees of freedom; else None.
        fixed: () -> arrays of the prior that belong to the model and that nothing trains; () where there are none.
        paths: which lines from one z to another stay in the support: linear, spherical (a great arc), or both.
    """

    dim: int
    encoder_shape: tuple[int, ...]
    init: Callable[..., Params]
    posterior: Callable[[Params, Array], Posterior]
    prior: Callable[..., Distribution]
    unbounded: bool
    move: Callable[..., Array]
    from_square: Callable[..., Array] | None
    fixed: Callable[[], Params] = lambda: ()
    paths: tuple[str, ...] = ("spherical", "linear")


def standard_normal(dim: int) -> Latent:
    """Return p(z) = N(0, I) with q(z|x) = N(μ, diag σ²), of [2, Z]: the rows μ and log σ² (Kingma & Welling 2014)."""
    _check_dim(dim, 1)
    return Latent(
        dim=dim,
        encoder_shape=(2, dim),
        init=lambda key, context=None: (),
        posterior=lambda params, output: gaussian_posterior(*output),
        prior=lambda params, context=None: Normal(jnp.zeros(dim), jnp.ones(dim)),
        unbounded=True,
        move=lambda z, i, value: z.at[i].set(value),
        from_square=(lambda u, v: ndtri(jnp.stack([u, v]))) if dim == 2 else None,
    )


def gaussian_posterior(loc: Float[Array, "Z"], log_variance: Float[Array, "Z"]) -> Normal:
    """Return N(loc, diag exp(log_variance)) as an encoder puts it out."""
    return Normal(loc, jnp.exp(0.5 * jnp.clip(log_variance, *POSTERIOR_LOG_VARIANCES)))


def gaussian_prior(loc: Float[Array, "*event"], log_variance: Float[Array, "*event"]) -> Normal:
    """Return N(loc, diag exp(log_variance)) as a net or a parameter gives it for a prior."""
    return Normal(loc, jnp.exp(0.5 * jnp.clip(log_variance, *PRIOR_LOG_VARIANCES)))


def conditional_normal(dim: int, net: Net) -> Latent:
    """Return p(z|y) = N(μ(y), diag σ²(y)), with the posteriors of `standard_normal` (Sohn et al. 2015).

    Args:
        dim: Z.
        net: context -> [2, Z], the rows μ and log σ².
    """

    def prior(params: Params, context: Any = None) -> Normal:
        return gaussian_prior(*net.apply(params, _required(context)))

    return standard_normal(dim)._replace(
        init=lambda key, context: net.init(key, _required(context)), prior=prior, from_square=None
    )


def _required(context: Any) -> Any:
    """Return a context, or raise an InputError where there is none."""
    if context is None:
        raise InputError(
            "context is missing, and this model is conditional: give what it is conditioned on, such as a one-hot label."
        )
    return context


def normal_mixture(mixture: Mixture, learned: bool) -> Latent:
    """Return p(z) = Σ_m π_m N(μ_m, diag σ_m²), with the posteriors of `standard_normal`.

    Args:
        mixture: of `Normal` over [M, Z].
        learned: whether training fits it, starting from what is given.
    """
    start = (mixture.logits, mixture.components.loc, 2 * jnp.log(mixture.components.scale))

    def prior(params: Params, context: Any = None) -> Mixture:
        own, fixed = split(params)
        if not learned:
            return fixed
        logits, *moments = own
        return Mixture(logits, gaussian_prior(*moments))

    def init(key: Key, context: Any = None) -> Params:
        return jax.tree.map(jnp.copy, start) if learned else ()

    normal = standard_normal(mixture.components.loc.shape[-1])
    return normal._replace(
        init=init, prior=prior, from_square=None, fixed=lambda: () if learned else jax.tree.map(jnp.copy, mixture)
    )


def von_mises_fisher(dim: int) -> Latent:
    """Return p(z) uniform on the unit sphere of R^Z, with q(z|x) = vMF(μ, κ) (Davidson et al. 2018, arXiv:1804.00891).

    Of the encoder's [Z + 1], μ is the first Z, normalised, and κ = 1 + softplus of the last.

    Raises:
        InputError: `dim` is less than 2.
    """
    return _spherical(dim, VonMisesFisher)


def power_spherical(dim: int) -> Latent:
    """Return `von_mises_fisher` with the power spherical posterior (De Cao & Aziz 2020, arXiv:2006.04437)."""
    return _spherical(dim, PowerSpherical)


def _spherical(dim: int, family: Any) -> Latent:
    if dim < 2:
        raise InputError(f"latent_dim is {dim}, and a sphere needs the 2 coordinates of a circle or more: give 2 or more.")

    def posterior(params: Params, output: Float[Array, "Z_and_1"]) -> Posterior:
        direction, raw = output[:dim], output[dim]
        # the largest entry out first: the square of a large one would overflow, that of a small one vanish
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
        longitude, height = 2 * jnp.pi * u, 2 * v - 1  # Archimedes: equal heights have equal areas
        radius = jnp.sqrt(1 - height**2)
        return jnp.stack([radius * jnp.cos(longitude), radius * jnp.sin(longitude), height])

    return Latent(
        dim=dim,
        encoder_shape=(dim + 1,),
        init=lambda key, context=None: (),
        posterior=posterior,
        prior=lambda params, context=None: UniformSphere(dim),
        unbounded=False,
        move=move,
        from_square=from_square if dim == 3 else None,
        paths=("spherical",),
    )


def beta(dim: int) -> Latent:
    """Return p(z) uniform on (0, 1)^Z, Beta(1, 1), with q(z|x) = Π_i Beta(α_i, β_i), α and β = 0.01 + softplus of [2, Z]."""
    _check_dim(dim, 1)

    def posterior(params: Params, output: Float[Array, "2 Z"]) -> Beta:
        # float32 has gradients from 1e-2 to 1e4; a smooth lower bound, since training reaches it and must come back
        return Beta(*jnp.minimum(1e-2 + jax.nn.softplus(output), 1e4))

    return Latent(
        dim=dim,
        encoder_shape=(2, dim),
        init=lambda key, context=None: (),
        posterior=posterior,
        prior=lambda params, context=None: Beta(jnp.ones(dim), jnp.ones(dim)),
        unbounded=False,
        move=lambda z, i, value: z.at[i].set(value),
        from_square=(lambda u, v: jnp.stack([u, v])) if dim == 2 else None,
        paths=("linear",),
    )


def with_flow(latent: Latent, bijection: Bijection, context_dim: int = 0) -> Latent:
    """Return the prior of `latent` with q(z|x) that of z = f(z_0; c(x)), z_0 ~ the posterior of `latent` (arXiv:1505.05770).

        ELBO = E_{z_0}[log p(x|z) + log p(z) − log q_0(z_0) + log |det ∂f/∂z_0|]

    The encoder returns what q_0 takes, flat, and C numbers more that the flow depends on: none (the flow's parameters are
    global), the context of a network within the flow (`inverse_autoregressive(..., context_dim=C)`), or the parameters themselves
    (`amortise(f)`, C = `num_params(f)`).

    Args:
        latent: the base.
        bijection: f, forward from z_0 to z.
        context_dim: C.

    Raises:
        InputError: the latent variable is not of all of R^Z, where a flow would lead out of the prior's support.
    """
    if not latent.unbounded:
        raise InputError(
            "A flow needs latents that may be any vector: give standard_normal, conditional_normal or normal_mixture."
        )
    size = jnp.zeros(latent.encoder_shape).size

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


def _check_dim(dim: int, least: int) -> None:
    if dim < least:
        raise InputError(f"latent_dim is {dim}: give {least} or more.")
