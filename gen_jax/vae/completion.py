"""Completing an example of which a VAE knows a part: Markov chains over z and what is missing, and importance weights."""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from gen_jax.distributions import Factorised, Mixture, log_prob_parts
from gen_jax.types import VAE, Array, InputError, Key, Params

Chain = Literal["metropolis", "gibbs"]


class ChainCompletion(NamedTuple):
    """An example whose missing dimensions are the end of a Markov chain.

    Attributes:
        x: the observed dimensions unchanged.
        acceptance: of the proposals of z, a mean over the second half of the steps; 1 for pseudo-Gibbs, which takes all.
    """

    x: Array
    acceptance: Float[Array, "*batch"]


class WeightedCompletions(NamedTuple):
    """K completions of an example that follow p(x_missing | x_observed) if they are taken with their weights.

    Attributes:
        log_weights: log w_k in nats, with E[w_k] = p(x_observed).
        x: the observed dimensions unchanged, the others drawn.
        means: x with the expectation of what was drawn last in place of that draw, where it is known: of a VAE, E[x|z_k].
    """

    log_weights: Float[Array, "K"]
    x: Float[Array, "K *event"]
    means: Float[Array, "K *event"]

    def resample(self, key: Key, num: int) -> Float[Array, "{num} *event"]:
        """Draw `num` of the x with replacement, each with probability w_k / Σ w (Rubin 1988).

        For K to infinity they are draws of p(x_missing | x_observed). They repeat if the effective sample size is small.
        """
        return self.x[jax.random.categorical(key, self.log_weights, shape=(num,))]


def complete_by_chain(
    vae: VAE,
    params: Params,
    key: Key,
    x: Float[Array, "*event"],
    observed: Bool[Array, "*event"],
    num_steps: int = 100,
    chain: Chain = "metropolis",
    context: Any = None,
) -> ChainCompletion:
    """Return x with the dimensions that are not observed drawn given the others.

    From x_missing ~ p(x|z) at a z of the prior, each step proposes z' ~ q(z|x) and then draws x_missing ~ p(x_missing | z), whose
    dimensions are independent given z. "gibbs" takes every z', as if q(z|x) were the posterior (pseudo-Gibbs; Rezende et al.
    2014, appendix F): its limit is wrong by as much as q is. "metropolis" accepts z' with probability

        min(1, p(x|z') p(z') q(z|x) / (p(x|z) p(z) q(z'|x))),

    and has the limit p(x_missing | x_observed) (Metropolis within Gibbs; Mattei & Frellsen 2018, arXiv:1802.04826). The first
    half of its steps take every z', as they propose: from a z of the prior few proposals would be accepted.

    Args:
        vae: of latents with a density q(z|x) anywhere.
        params: what its functions take.
        key: of the chain.
        x: [*event], of which the values that are not observed are ignored.
        observed: True where x is known.
        num_steps: of the chain.
        chain: "metropolis" or "gibbs".
        context: such as a label.

    Raises:
        InputError: less than one step, or no such chain.
    """
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps}: give 1 or more.")
    if chain not in get_args(Chain):
        raise InputError(f"chain is {chain!r}: give {' or '.join(get_args(Chain))}.")
    prior = vae.prior(params, context)

    def fill(key: Key, z: Any) -> Array:
        return jnp.where(observed, x, vae.decode(params, z, context).sample(key))

    num_first = num_steps // 2

    def step(state: tuple[Any, Array], row: tuple[Array, Key]) -> tuple[tuple[Any, Array], Array]:
        (z, x), (i, key) = state, row
        propose_key, test_key, fill_key = jax.random.split(key, 3)
        posterior = vae.encode(params, x, context)
        proposal = posterior.sample(propose_key)
        if chain == "gibbs":
            return (proposal, fill(fill_key, proposal)), jnp.ones(())
        weight = lambda z: vae.decode(params, z, context).log_prob(x) + prior.log_prob(z) - posterior.log_prob(z)
        acceptance = jnp.where(i < num_first, 1.0, jnp.exp(jnp.minimum(weight(proposal) - weight(z), 0.0)))
        accepted = jax.random.uniform(test_key) < acceptance
        z = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposal, z)
        return (z, fill(fill_key, z)), acceptance

    start_key, fill_key, chain_key = jax.random.split(key, 3)
    z = prior.sample(start_key)
    rows = (jnp.arange(num_steps), jax.random.split(chain_key, num_steps))
    (_, x), acceptance = jax.lax.scan(step, (z, fill(fill_key, z)), rows)
    return ChainCompletion(x, jnp.mean(acceptance[num_first:]))


def weighted_completions(
    vae: VAE,
    params: Params,
    key: Key,
    x: Float[Array, "*event"],
    observed: Bool[Array, "*event"],
    fillings: Float[Array, "M *event"],
    num_samples: int = 1000,
    context: Any = None,
    chunk_size: int = 1000,
) -> WeightedCompletions:
    """Return K completions x_k ~ p(x_missing | z_k) with importance weights of their z_k.

    The z_k come from the encoder, which needs a whole example, at M fillings of the missing dimensions:

        z_k ~ r(z) = (1/M) Σ_m q(z | x_observed, filling_m),   w_k = p(x_observed | z_k) p(z_k) / r(z_k)

    Then E[w_k] = p(x_observed) for any fillings, if they are fixed (zeros, in Mattei & Frellsen 2019, arXiv:1812.02633) or drawn
    with another key than `key`: made from the x_k that are averaged, they would bias it. Weights vary least where r is close to
    p(z | x_observed): the ends of pseudo-Gibbs chains from many starts are good fillings, and one filling alone is a poor one, as
    q(z|x) is narrower than the posterior of less than x.

    Args:
        vae: whose p(x|z) has independent dimensions, and q(z|x) a density anywhere.
        params: what its functions take.
        key: of the draws.
        x: [*event], of which the values that are not observed are ignored.
        observed: True where x is known.
        fillings: [M, *event], of which the values that are observed are ignored.
        num_samples: K.
        context: such as a label.
        chunk_size: samples that are drawn side by side.

    Raises:
        InputError: K or the chunk size is less than 1, or p(x|z) is of a kind whose dimensions are not known to be independent.
    """
    if num_samples < 1 or chunk_size < 1:
        raise InputError(f"num_samples is {num_samples} and chunk_size {chunk_size}: give 1 or more of each.")
    encode = lambda filling: vae.encode(params, jnp.where(observed, x, filling), context)
    proposal, prior = Mixture(jnp.zeros(len(fillings)), jax.vmap(encode)(fillings)), vae.prior(params, context)
    known = jnp.ravel(observed)

    def one(key: Key) -> tuple[Array, Array, Array]:
        z_key, x_key = jax.random.split(key)
        z = proposal.sample(z_key)
        predictive = vae.decode(params, z, context)
        if not isinstance(predictive, Factorised):
            raise InputError(
                f"p(x|z) is a {type(predictive).__name__}, and what is known of x is weighed by dimensions that are independent: "
                f"give one of {', '.join(kind.__name__ for kind in Factorised.__args__)}."
            )
        log_likelihood = jnp.sum(jnp.where(known, jnp.ravel(log_prob_parts(predictive, x)), 0.0))  # flat, for speed on CPU
        log_weight = log_likelihood + prior.log_prob(z) - proposal.log_prob(z)
        fill = lambda values: jnp.where(observed, x, values)
        return log_weight, fill(predictive.sample(x_key)), fill(predictive.mean)

    keys = jax.random.split(key, num_samples)
    return WeightedCompletions(*jax.lax.map(one, keys, batch_size=min(chunk_size, num_samples)))
