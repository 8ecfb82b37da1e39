"""The vector-quantised VAE (van den Oord et al. 2017, arXiv:1711.00937), with a density over its codes as the prior.

The encoder's vectors h_i(x), one at each place of a grid, are replaced by the nearest of K vectors e_k: code k_i, z_i = e_{k_i}.
The posterior is the point mass on these codes, so that

    log p(x) ≥ ELBO = log p(x|z) + log p(k)

is a bound, for any prior over the codes; a MADE makes one from which one can sample. Three more things are trained beside it:
gradients of log p(x|z) go straight through to h, the vectors e follow the h that chose them, and h is held to them.
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
    Params,
    Predictive,
    Variables,
    join,
    split,
)
from gen_jax.vae.elbo import elbo_terms
from gen_jax.vae.likelihoods import Likelihood

DEAD_BELOW = 0.03  # of the share that every code would have, were all used alike


class Codebook(NamedTuple):
    """The state of a VQ-VAE: its codebook with the averages that move it.

    Attributes:
        vectors: e.
        shares: n_k, of all h that chose each code.
        sums: m_k, of these h, in units of all h.
        prior: the state of the density of the codes, or ().
    """

    vectors: Float[Array, "K D"]
    shares: Float[Array, "K"]
    sums: Float[Array, "K D"]
    prior: Params = ()


class Quantised(NamedTuple):
    """The point mass at the vectors of a codebook that are nearest to an encoder's; its log-mass is 0.

    Attributes:
        features: h, the encoder's.
        codebook: e.
    """

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
        """Return 0 where `value` has the codes of the point mass, else −∞."""
        same = jnp.all(nearest_codes(value, self.codebook) == self.codes)
        return jnp.where(same, 0.0, -jnp.inf)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CodePrior:
    """The distribution of e_k with the codes k, row by row, from a density over vectors of integers.

    Attributes:
        density: over the codes.
        params: of the density.
        codebook: e.
        grid: the shape of the codes.
    """

    density: DensityModel = dataclasses.field(metadata={"static": True})
    params: Params
    codebook: Float[Array, "K D"]
    grid: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def sample(self, key: Key) -> Float[Array, "*grid D"]:
        """Draw codes and return their vectors."""
        return self.codebook[self.density.sample(self.params, key).reshape(self.grid)]

    def log_prob(self, value: Float[Array, "*grid D"]) -> Float[Array, ""]:
        """Return log p(k) of the codes of `value`, in nats."""
        return self.density.log_prob(self.params, jnp.ravel(nearest_codes(value, self.codebook)))


def nearest_codes(features: Float[Array, "*grid D"], codebook: Float[Array, "K D"]) -> Int[Array, "*grid"]:
    """Return argmin_k ‖h − e_k‖², of ‖e_k‖² − 2 hᵀe_k."""
    products = jnp.matmul(features.reshape(-1, features.shape[-1]), codebook.T, precision="highest")
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

    Its functions take `Variables`: the state is the `Codebook`, or, where gradients train that, e is `params["codebook"]`.

    Args:
        encoder: x -> [*grid, D].
        decoder: [*grid, D] -> what the likelihood takes.
        num_codes: K.
        grid: the places that a code is chosen for, such as (7, 7).
        likelihood: makes p(x|z) of the decoder's output.
        prior: of the codes, row by row: integers 0 … K − 1.
        learned: gradients train the codebook (eq. 3 of the paper), and not moving averages of h (its appendix A.1).

    Raises:
        InputError: K is less than 2; or, when called, the encoder's grid is another one, or a context is given.
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
    """Return the parameters, the vectors, and the state of the prior of codes."""
    params, state = split(variables)
    return (params, state.vectors, state.prior) if isinstance(state, Codebook) else (params, params["codebook"], state)


def vector_quantised_loss(vae: VAE, commitment: float = 0.25, decay: float = 0.99) -> Loss:
    """Return the `Loss` of a VQ-VAE, for a batch with `x`.

    It is the mean over examples of

        −log p(x|z) − log p(k) + β Σ_i ‖h_i − sg(e_{k_i})‖² [+ Σ_i ‖sg(h_i) − e_{k_i}‖²]

    with sg the stopped gradient (eq. 3 of the paper, and the prior's part); the last term where gradients train the codebook.
    Otherwise the codebook follows the batch by `updated_codebook`.

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
        value = terms.distortion + terms.rate + commitment * held
        if not isinstance(split(variables).state, Codebook):
            value += jnp.sum((jax.lax.stop_gradient(posterior.features) - nearest) ** 2)
        return value, {**terms.metrics, "quantisation_error": held}, posterior.features

    def loss(params: Params, state: Params, key: Key, step: Array, batch: Any) -> tuple[Array, tuple[Params, Metrics]]:
        keys = jax.random.split(key, len(batch.x))
        values, metrics, features = jax.vmap(objective, in_axes=(None, 0, 0))(join(params, state), keys, batch.x)
        if isinstance(state, Codebook):
            own_key = jax.random.fold_in(key, len(batch.x))  # none of the examples' keys
            state = updated_codebook(state, own_key, jax.lax.stop_gradient(features), decay)
        return jnp.mean(values), (state, jax.tree.map(jnp.mean, metrics))

    return loss


def updated_codebook(codebook: Codebook, key: Key, features: Float[Array, "..."], decay: float = 0.99) -> Codebook:
    """Return the codebook after the features h of a batch, [..., D].

    Shares n_k and sums m_k follow the batch's by moving averages, and e_k = m_k / n_k (appendix A.1 of the paper). A code that is
    dead, n_k < 0.03 / K, restarts at a random h of the batch, with the share 1/K.
    """
    num_codes, dim = codebook.vectors.shape
    features = features.reshape(-1, dim)
    chosen = jax.nn.one_hot(nearest_codes(features, codebook.vectors), num_codes)
    mean = jnp.matmul(chosen.T, features, precision="highest") / len(features)
    shares = decay * codebook.shares + (1 - decay) * jnp.mean(chosen, axis=0)
    sums = decay * codebook.sums + (1 - decay) * mean
    dead = shares < DEAD_BELOW / num_codes
    fresh = jax.random.choice(key, features, (num_codes,))
    return codebook._replace(
        vectors=jnp.where(dead[:, None], fresh, sums / jnp.where(dead, 1.0, shares)[:, None]),
        shares=jnp.where(dead, 1 / num_codes, shares),
        sums=jnp.where(dead[:, None], fresh / num_codes, sums),
    )


def perplexity(codes: Int[Array, "..."], num_codes: int) -> Float[Array, ""]:
    """Return exp(−Σ_k s_k log s_k) of the shares s_k of all codes: how many codes are in use, as it were; between 1 and K."""
    shares = jnp.bincount(jnp.ravel(codes), length=num_codes) / codes.size
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(shares, shares)))
