"""The vector-quantised VAE (van den Oord et al. 2017, arXiv:1711.00937), with a density over its codes as the prior.

At each place i of a grid, the encoder's vector h_i(x) is replaced by the nearest of K vectors e_k: code k_i, z_i = e_{k_i}. The
posterior is the point mass on these codes, so that for any prior p(k) of the codes, such as a MADE,

    log p(x) ≥ ELBO = log p(x|z) + log p(k)

The gradient of log p(x|z) goes straight through to h, the vectors e follow the h that are nearest to them, and a commitment loss
keeps h close to e.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from gen_jax.types import (
    VAE,
    Array,
    DensityModel,
    InputError,
    Key,
    Loss,
    Metrics,
    Net,
    Number,
    Params,
    Predictive,
    Variables,
    join,
    split,
)
from gen_jax.vae.elbo import elbo_terms
from gen_jax.vae.likelihoods import Likelihood


class Codebook(NamedTuple):
    """The state of a VQ-VAE whose codebook follows moving averages.

    Attributes:
        vectors: e.
        shares: n_k, the moving average of the share of all h with code k.
        sums: m_k, that of the sum of these h, divided by the number of all h.
        prior: the state of the prior over codes, or ().
    """

    vectors: Float[Array, "K D"]
    shares: Float[Array, "K"]
    sums: Float[Array, "K D"]
    prior: Params = ()


class Quantised(NamedTuple):
    """The point mass at the vectors e of a codebook that are nearest to the encoder's h."""

    features: Float[Array, "*grid D"]
    codebook: Float[Array, "K D"]

    @property
    def codes(self) -> Int[Array, "*grid"]:
        """k_i = argmin_k ‖h_i − e_k‖²."""
        return nearest_codes(self.features, self.codebook)

    @property
    def mean(self) -> Float[Array, "*grid D"]:
        """e_{k_i}, with the gradient of h_i (straight through)."""
        nearest = self.codebook[self.codes]
        return self.features + jax.lax.stop_gradient(nearest - self.features)

    def sample(self, key: Key) -> Float[Array, "*grid D"]:
        """Return `mean`."""
        return self.mean

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "*grid D"], Float[Array, ""]]:
        """Return (`mean`, 0)."""
        return self.mean, jnp.zeros(())

    def log_prob(self, value: Float[Array, "*grid D"]) -> Float[Array, ""]:
        """Return 0 for a `value` with the same codes, else −∞."""
        return jnp.where(jnp.all(nearest_codes(value, self.codebook) == self.codes), 0.0, -jnp.inf)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CodePrior:
    """The distribution of e_k for codes k, in row-major order, from a density over vectors of integers."""

    density: DensityModel = dataclasses.field(metadata={"static": True})
    params: Params
    codebook: Float[Array, "K D"]
    grid: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def sample(self, key: Key) -> Float[Array, "*grid D"]:
        """Draw codes and return their vectors e_k."""
        return self.codebook[self.density.sample(self.params, key).reshape(self.grid)]

    def log_prob(self, value: Float[Array, "*grid D"]) -> Float[Array, ""]:
        """Return log p(k) of the codes of `value`, in nats."""
        return self.density.log_prob(self.params, jnp.ravel(nearest_codes(value, self.codebook)))


def nearest_codes(features: Float[Array, "*grid D"], codebook: Float[Array, "K D"]) -> Int[Array, "*grid"]:
    """Return argmin_k ‖h − e_k‖² = argmin_k ‖e_k‖² − 2 hᵀe_k, about the mean of the codebook, since far from 0 that cancels."""
    centre = jnp.mean(codebook, axis=0)
    codebook = codebook - centre[None]
    products = jnp.matmul(features.reshape(-1, len(centre)) - centre[None], codebook.T, precision="highest")
    codes = jnp.argmin(jnp.sum(codebook**2, axis=-1)[None, :] - 2 * products, axis=-1)
    return codes.astype(jnp.int32).reshape(features.shape[:-1])


def vector_quantised_vae(
    encoder: Net,
    decoder: Net,
    num_codes: int,
    grid: tuple[int, ...],
    likelihood: Likelihood,
    prior: DensityModel,
    learned: bool = False,
) -> VAE:
    """Return the VQ-VAE as a `VAE`, whose z are the vectors of the codes.

    Its functions take `Variables` with a `Codebook` as the state; if `learned`, e is `params["codebook"]` instead.

    Args:
        encoder: x -> [*grid, D].
        decoder: [*grid, D] -> what the likelihood takes.
        num_codes: K.
        grid: the shape of the codes, such as (7, 7).
        likelihood: p(x|z).
        prior: of the codes, integers 0 … K − 1, in row-major order.
        learned: train the codebook by gradients (eq. 3 of the paper) instead of moving averages of h (appendix A.1).

    Raises:
        InputError: K is less than 2; or, when called, the encoder returns another grid, or a context is given.
    """
    if num_codes < 2:
        raise InputError(f"num_codes is {num_codes}: give 2 or more.")

    def init(key: Key, x: Array, context: Any = None) -> Params:
        encoder_key, decoder_key, code_key, prior_key = jax.random.split(key, 4)
        encoder_params = encoder.init(encoder_key, x)
        features = encoder.apply(encoder_params, x)
        vectors = jax.random.normal(code_key, (num_codes, features.shape[-1]))
        density, density_state = split(prior.init(prior_key))
        params = {"encoder": encoder_params, "decoder": decoder.init(decoder_key, features), "prior": density}
        params["likelihood"] = likelihood.init()
        if learned:
            return join(params | {"codebook": vectors}, density_state)
        return Variables(
            params, Codebook(vectors, jnp.full(num_codes, 1 / num_codes, vectors.dtype), vectors / num_codes, density_state)
        )

    def encode(variables: Params, x: Array, context: Any = None) -> Quantised:
        if context is not None:
            raise InputError("context is given, and this model has none: leave it out.")
        params, vectors, _ = _codebook(variables)
        features = encoder.apply(params["encoder"], x)
        if features.shape[:-1] != grid:
            raise InputError(f"encoder returns {features.shape}, and the grid is {grid}: make the two agree.")
        return Quantised(features, vectors)

    def decode(variables: Params, z: Array, context: Any = None) -> Predictive:
        params, _ = split(variables)
        return likelihood.distribution(params["likelihood"], decoder.apply(params["decoder"], z))

    def code_prior(variables: Params, context: Any = None) -> CodePrior:
        params, vectors, density_state = _codebook(variables)
        return CodePrior(prior, join(params["prior"], density_state), vectors, grid)

    return VAE(init, encode, decode, code_prior)


def _codebook(variables: Params) -> tuple[Params, Array, Params]:
    """The parameters, the vectors, and the state of the prior."""
    params, state = split(variables)
    return (params, state.vectors, state.prior) if isinstance(state, Codebook) else (params, params["codebook"], state)


def vector_quantised_loss(vae: VAE, commitment: Number = 0.25, decay: Number = 0.99) -> Loss:
    """Return the `Loss` of a VQ-VAE, for a batch with `x`.

    It is the mean over examples of

        −log p(x|z) − log p(k) + β Σ_i ‖h_i − sg(e_{k_i})‖² [+ Σ_i ‖sg(h_i) − e_{k_i}‖²]

    with sg the stopped gradient (eq. 3 of the paper, plus −log p(k)). The last term is for a codebook that gradients train; any
    other follows the batch by `updated_codebook`.

    Args:
        vae: from `vector_quantised_vae`.
        commitment: β.
        decay: of the moving averages.
    """

    def objective(variables: Params, key: Key, x: Array) -> tuple[Array, Metrics, Array]:
        terms = elbo_terms(vae, variables, key, x)
        posterior: Any = vae.encode(variables, x)  # `Quantised`
        nearest = posterior.codebook[posterior.codes]
        held = jnp.sum((posterior.features - jax.lax.stop_gradient(nearest)) ** 2)
        value = terms.distortion + terms.kl + commitment * held
        if not isinstance(split(variables).state, Codebook):
            value += jnp.sum((jax.lax.stop_gradient(posterior.features) - nearest) ** 2)
        return value, {**terms.metrics, "quantisation_error": held}, posterior.features

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        keys = jax.random.split(key, len(batch.x))
        values, metrics, features = jax.vmap(objective, in_axes=(None, 0, 0))(join(params, state), keys, batch.x)
        if isinstance(state, Codebook):
            restart_key = jax.random.fold_in(key, len(batch.x))
            state = updated_codebook(state, restart_key, jax.lax.stop_gradient(features), decay)
        return jnp.mean(values), (state, jax.tree.map(jnp.mean, metrics))

    return loss


def updated_codebook(codebook: Codebook, key: Key, features: Float[Array, "..."], decay: Number = 0.99) -> Codebook:
    """Return the codebook after a batch of features h, [..., D].

    Shares n_k and sums m_k are moving averages, and e_k = m_k / n_k (appendix A.1 of the paper). A dead code, n_k < 0.03 / K,
    restarts at a random h of the batch, with the share 1/K.
    """
    num_codes, dim = codebook.vectors.shape
    features = features.reshape(-1, dim)
    chosen = jax.nn.one_hot(nearest_codes(features, codebook.vectors), num_codes)
    mean = jnp.matmul(chosen.T, features, precision="highest") / len(features)
    shares = decay * codebook.shares + (1 - decay) * jnp.mean(chosen, axis=0)
    sums = decay * codebook.sums + (1 - decay) * mean
    dead = shares < 0.03 / num_codes
    fresh = jax.random.choice(key, features, (num_codes,))
    return codebook._replace(
        vectors=jnp.where(dead[:, None], fresh, sums / jnp.where(dead, 1.0, shares)[:, None]),
        shares=jnp.where(dead, 1 / num_codes, shares),
        sums=jnp.where(dead[:, None], fresh / num_codes, sums),
    )


def perplexity(codes: Int[Array, "..."], num_codes: int) -> Float[Array, ""]:
    """Return exp(−Σ_k s_k log s_k) for the shares s_k of the codes: the effective number of codes in use, from 1 to K."""
    shares = jnp.bincount(jnp.ravel(codes), length=num_codes) / codes.size
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(shares, shares)))
