"""Objectives: functions of the ELBO's terms, bounds from several samples, and the batch losses made of them.

`elbo_loss` applies an objective to the terms of each example and averages, or to the mean terms of the batch. For `negative_elbo`
the two are the same.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions import Factorised, Normal, aggregate_density
from gen_jax.types import VAE, Array, InputError, Key, Loss, Metrics, Params, join
from gen_jax.vae.elbo import ElboTerms, log_weight, terms_and_draw

TermsObjective = Callable[[ElboTerms, Array], Array]
"""(terms, training step) -> what to minimise, in nats; at a step of infinity, with its final weights."""


Penalty = Callable[[Any, Array], Array]
"""(q(z|x) of a batch, with leaves [B, Z]; a z of each, [B, Z]) -> what is added to the objective, in nats."""


def negative_elbo(terms: ElboTerms, beta: Float[Array, ""] | float = 1.0) -> Float[Array, ""]:
    """Return −log p(x|z) + β KL in nats, which is −ELBO for β = 1.

    Another constant β makes the β-VAE (Higgins et al. 2017). KL warm-up, a β that rises from 0 to 1 over the first steps, keeps
    latents from collapsing before the decoder can use them (Bowman et al. 2016, arXiv:1511.06349).

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax.vae import ElboTerms, negative_elbo
        >>> terms = ElboTerms(log_likelihood=jnp.float32(-3.0), kl_parts=jnp.array([0.5, 1.5]))
        >>> negative_elbo(terms).item(), negative_elbo(terms, beta=4.0).item()
        (5.0, 11.0)
    """
    return terms.distortion + beta * terms.kl


def capacity_objective(
    terms: ElboTerms,
    gamma: float | Float[Array, ""],
    capacity: float | Float[Array, ""],
    huber_width: float | Float[Array, ""] = 0.0,
) -> Float[Array, ""]:
    """Return −log p(x|z) + γ |KL − C| for a capacity of C nats (Burgess et al. 2018, arXiv:1804.03599).

    With a batch's mean terms, the mean rate is held at C; with one example's terms, the rate of each. The latter needs a KL in
    closed form, since the |·| of a one-sample estimate is biased by its noise.

    A width w > 0 puts √((KL − C)² + w²) − w, the pseudo-Huber loss over w, in place of |KL − C|. At every step the gradient of
    |KL − C| is plus or minus that of the KL, and under a large γ Adam, which divides by the size of gradients, takes small steps
    in all else. The rounded one comes to rest: with λ = −d(distortion)/d(KL) < γ, at KL = C + wλ / √(γ² − λ²).
    """
    off = terms.kl - capacity
    met = (off == 0) & (jnp.asarray(huber_width) == 0)  # where |x| has no derivative: 0 is taken; jax 0.12 has NaN
    root = jnp.where(met, 0.0, jnp.hypot(jnp.where(met, 1.0, off), huber_width))
    return terms.distortion + gamma * (root - huber_width)


def free_bits_objective(terms: ElboTerms, free_nats: float | Float[Array, ""]) -> Float[Array, ""]:
    """Return −log p(x|z) + Σ_g max(λ, KL_g) over the parts g of the KL, for λ free nats each.

    With a batch's mean terms this is the objective of Kingma et al. 2016 (arXiv:1606.04934, appendix C.8). With one example's it
    needs a KL in closed form, since the maximum with a one-sample estimate is biased by its noise.
    """
    return terms.distortion + jnp.sum(jnp.maximum(free_nats, terms.kl_parts), axis=-1)


def total_correlation_penalty(weight: float | Float[Array, ""]) -> Penalty:
    """Return w TC, with TC = E[log q(z) − Σ_j log q(z_j)] as if the batch were all of the data (`distributions.rate_parts`).

    With −ELBO and w = β − 1 this is β-TCVAE (Chen et al. 2018, arXiv:1802.04942). From their estimator, of weights 1 / (N B), it
    differs by a constant, which has no gradient. Of posteriors far apart it is (Z − 1) log B, whatever the data.
    """

    def penalty(posteriors: Factorised, z: Float[Array, "B Z"]) -> Float[Array, ""]:
        found = aggregate_density(posteriors, z)
        return weight * jnp.mean(found.joint - jnp.sum(found.marginals, axis=1))

    return penalty


def covariance_penalty(
    off_diagonal: float | Float[Array, ""], diagonal: float | Float[Array, ""], of: Literal["means", "draws"] = "means"
) -> Penalty:
    """Return λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)², C a covariance over the batch (Kumar et al. 2018, arXiv:1711.00848).

    Of "means", C = Cov[μ(x)] (DIP-VAE-I); of "draws", C = Cov[μ(x)] + E[diag σ²(x)], the covariance of q(z) (DIP-VAE-II).

    Raises:
        InputError: `of` is neither; or, when called, q(z|x) is not normal.
    """
    if of not in ("means", "draws"):
        raise InputError(f"of is {of!r}: give means or draws.")

    def penalty(posteriors: Normal, z: Float[Array, "B Z"]) -> Float[Array, ""]:
        if not isinstance(posteriors, Normal):
            raise InputError(f"q(z|x) is {type(posteriors).__name__}, and this penalty takes a normal one: use another.")
        centred = posteriors.loc - jnp.mean(posteriors.loc, axis=0, keepdims=True)
        covariance = centred.T @ centred / len(z)
        if of == "draws":
            covariance += jnp.diag(jnp.mean(posteriors.scale**2, axis=0))
        variances = jnp.diagonal(covariance)
        return off_diagonal * (jnp.sum(covariance**2) - jnp.sum(variances**2)) + diagonal * jnp.sum((variances - 1) ** 2)

    return penalty


def iwae_bound(vae: VAE, params: Params, key: Key, x: Array, num_samples: int, context: Any = None) -> Float[Array, ""]:
    """Return L_K = log (1/K) Σ_k w_k of one example, in nats, with w as in `log_weight` (Burda et al. 2016, arXiv:1509.00519).

    Its mean grows with K from the ELBO to log p(x).

    Raises:
        InputError: K is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, gaussian_vae, iwae_bound
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> bound = jax.jit(lambda key: iwae_bound(vae, params, key, jnp.ones(3), num_samples=8))
        >>> round(bound(jax.random.key(1)).item(), 4)  # here log p(x) = −3 log 2
        -2.0794
    """
    _check_num_samples(num_samples)
    log_w = jax.vmap(lambda key: log_weight(vae, params, key, x, context))(jax.random.split(key, num_samples))
    return jax.nn.logsumexp(log_w) - math.log(num_samples)


def dreg_bound(vae: VAE, params: Params, key: Key, x: Array, num_samples: int, context: Any = None) -> Float[Array, ""]:
    """Return `iwae_bound` with the doubly reparameterised gradient (Tucker et al. 2019, arXiv:1810.04152).

    With normalised weights v_k = w_k / Σ_j w_j, θ the parameters where p depends on them, and φ where z and q do:

        ∂L/∂θ = Σ_k v_k ∂log w_k/∂θ,    ∂L/∂φ = Σ_k v_k² (∂log w_k/∂z_k) (∂z_k/∂φ)

    The second has the expectation of the usual gradient, and a signal-to-noise ratio that grows with K instead of falling. For
    small K its variance may be larger.

    Raises:
        InputError: K is less than 1.
    """
    _check_num_samples(num_samples)
    posterior = vae.encode(params, x, context)
    z, _ = jax.vmap(posterior.sample_and_log_prob)(jax.random.split(key, num_samples))
    z, zeros = _weigh_path(z, jnp.zeros(num_samples, x.dtype))
    prior, density = vae.prior(params, context), jax.lax.stop_gradient(posterior)

    def log_w(z: Any) -> Array:
        return vae.decode(params, z, context).log_prob(x) + prior.log_prob(z) - density.log_prob(z)

    return jax.nn.logsumexp(jax.vmap(log_w)(z) + zeros) - math.log(num_samples)


@jax.custom_vjp
def _weigh_path(z: Any, zeros: Float[Array, "K"]) -> tuple[Any, Float[Array, "K"]]:
    """The identity, whose backward pass multiplies the gradient into z_k by v_k.

    The caller adds the zeros to log w, so that the gradient with respect to them is c v, with c the gradient of the bound.
    """
    return z, zeros


def _weigh_path_forward(z: Any, zeros: Array) -> tuple[tuple[Any, Array], None]:
    return (z, zeros), None


def _weigh_path_backward(_: None, gradients: tuple[Any, Array]) -> tuple[Any, Array]:
    into_z, into_zeros = gradients
    total = jnp.sum(into_zeros)
    v = into_zeros / jnp.where(total == 0, 1, total)
    return jax.tree.map(lambda g: g * v.reshape(-1, *(1,) * (g.ndim - 1)), into_z), into_zeros


_weigh_path.defvjp(_weigh_path_forward, _weigh_path_backward)


def elbo_loss(
    vae: VAE,
    objective: TermsObjective = lambda terms, step: negative_elbo(terms),
    objective_of: Literal["example", "batch-mean"] = "example",
    num_samples: int = 1,
    penalty: Penalty | None = None,
) -> Loss:
    """Return the `Loss` of an objective, for a batch with `x` and, as the context, `labels` (or None).

    By default it is −mean ELBO in nats. Its metrics are means of the ELBO, the rate (KL) and the distortion (−log p(x|z)).

    Args:
        vae: the model.
        objective: a function of the terms.
        objective_of: apply it to each example's terms and average, or to the batch's mean terms.
        num_samples: samples of z for each example, over which its terms are averaged.
        penalty: of the batch's posteriors, added to the objective and reported as `penalty`.

    Raises:
        InputError: `num_samples` is less than 1, or not 1 where there is a penalty; (when called) there is a penalty,
            and the latents are not independent given x.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.data import Split
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, elbo_loss, gaussian_vae
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> loss, batch = jax.jit(elbo_loss(vae)), Split(jnp.ones((5, 3)))
        >>> value, (state, metrics) = loss(params, (), jax.random.key(1), jnp.int32(0), batch)
        >>> round(value.item(), 4), sorted(metrics)  # 3 log 2
        (2.0794, ['distortion', 'elbo', 'rate'])
    """
    _check_num_samples(num_samples)
    if penalty is not None and num_samples != 1:
        raise InputError(f"num_samples is {num_samples}, and the penalty takes one sample of each posterior: give 1.")

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        def of_example(key: Key, x: Array, context: Any) -> tuple[ElboTerms, Any, Any]:
            of_sample = lambda k: terms_and_draw(vae, join(params, state), k, x, context)
            keys = jax.random.split(key, num_samples)
            if num_samples == 1:  # an axis of one sample costs transposed copies of the gradients, a tenth of a step
                return of_sample(keys[0])
            return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(lambda k: of_sample(k)[0])(keys)), None, None

        terms, posteriors, z = jax.vmap(of_example)(jax.random.split(key, len(batch.x)), batch.x, batch.labels)
        mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), terms)
        if objective_of == "batch-mean":
            value = objective(mean, step)
        else:
            value = jnp.mean(jax.vmap(objective, in_axes=(0, None))(terms, step))
        if penalty is None:
            return value, (state, mean.metrics)
        if not isinstance(posteriors, Factorised):
            raise InputError(f"q(z|x) is {type(posteriors).__name__}, and the penalty takes a normal one of independent latents.")
        added = penalty(posteriors, z)
        return value + added, (state, mean.metrics | {"penalty": added})

    return loss


def iwae_loss(vae: VAE, num_samples: int, doubly_reparameterised: bool = False) -> Loss:
    """Return the `Loss` −mean L_K of a batch as for `elbo_loss`, with the gradient of IWAE or DReG.

    Raises:
        InputError: `num_samples` is less than 1.
    """
    _check_num_samples(num_samples)
    bound = dreg_bound if doubly_reparameterised else iwae_bound

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        of_one = lambda k, x, c: bound(vae, join(params, state), k, x, num_samples, c)
        mean = jnp.mean(jax.vmap(of_one)(jax.random.split(key, len(batch.x)), batch.x, batch.labels))
        return -mean, (state, {"bound": mean})

    return loss


def _check_num_samples(num_samples: int) -> None:
    if num_samples < 1:
        raise InputError(f"num_samples is {num_samples}: give 1 or more.")
