"""Completing an example of which a VAE knows a part: Markov chains over z and what is missing."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

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
        InputError: less than one step.
    """
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps}: give 1 or more.")
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
