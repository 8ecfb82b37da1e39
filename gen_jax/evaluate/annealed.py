"""Annealed importance sampling of log p(x) with Hamiltonian transitions, and the same path backwards: a bound from each side.

Neal 2001 (arXiv:physics/9803008); Wu et al. 2017 (arXiv:1611.04273); Grosse et al. 2015 (arXiv:1511.02543).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gen_jax.evaluate.likelihood import estimate_of
from gen_jax.types import Array, InputError, Key

Schedule = Literal["sigmoid", "linear"]
LogDensity = Callable[[Any], Float[Array, ""]]
ACCEPTANCE = 0.65  # of the transitions, to which step sizes are adapted (Wu et al. 2017)
FIRST_STEP_SIZE = 0.1
RATE = 0.1  # by which the logarithm of a step size follows the acceptance


class AnnealedEstimate(NamedTuple):
    """What C annealed chains say of one log-normaliser log Z, such as log p(x).

    Attributes:
        log_prob: forward, log (1/C) Σ w_c, whose expectation is a lower bound on log Z; backward, −log (1/C) Σ 1/w_c, whose
            expectation is an upper bound.
        standard_error: of `log_prob`, by the delta method from the spread of the chains (infinite for one chain).
        effective_sample_size: (Σ w)² / Σ w², between 1 and C; backward, of the 1/w.
        acceptance: of the transitions, a mean over chains and temperatures.
    """

    log_prob: Float[Array, ""]
    standard_error: Float[Array, ""]
    effective_sample_size: Float[Array, ""]
    acceptance: Float[Array, ""]


def temperatures(num: int, schedule: Schedule = "sigmoid") -> Float[Array, "N"]:
    """Return 0 = β_0 < β_1 < … < β_T = 1 for T = `num`: linear, or σ(4 (2t/T − 1)) moved and scaled to begin at 0 and end at 1.

    These are T + 1 numbers, of which chains pass through the last T. The sigmoid has more of them at both ends (Wu et al. 2017).

    Raises:
        InputError: `num` is less than 1.
    """
    if num < 1:
        raise InputError(f"The number of temperatures is {num}: give 1 or more.")
    t = jnp.linspace(0.0, 1.0, num + 1)
    if schedule == "linear":
        return t
    raw = jax.nn.sigmoid(4 * (2 * t - 1))
    return (raw - raw[0]) / (raw[-1] - raw[0])


class _Point(NamedTuple):
    """z as a vector, with log s(z), log e(z) and their gradients."""

    z: Array
    start: Array
    start_gradient: Array
    end: Array
    end_gradient: Array

    def value(self, beta: Array) -> Array:
        return (1 - beta) * self.start + beta * self.end

    def gradient(self, beta: Array) -> Array:
        return (1 - beta) * self.start_gradient + beta * self.end_gradient


@jax.default_matmul_precision("highest")
def annealed(
    log_start: LogDensity,
    log_end: LogDensity,
    sample: Callable[[Key], Any],
    key: Key,
    betas: Float[Array, "N"],
    *,
    num_chains: int = 16,
    num_leapfrog: int = 10,
    backward_from: Any = None,
) -> AnnealedEstimate:
    """Return an estimate of log Z, where `log_end` is the log of an unnormalised density e(z) with integral Z.

    Along f_β(z) = s(z)^(1−β) e(z)^β, from the normalised density s that `log_start` is of,

        w = Π_t f_{β_t}(z_{t−1}) / f_{β_{t−1}}(z_{t−1}),   z_0 ~ s,   z_t ~ T_t(· | z_{t−1}),

    where T_t leaves f_{β_t} as it is: `num_leapfrog` leapfrog steps with a fresh momentum, and Metropolis' test. E[w] = Z.
    Backward, the chains start at z_T ~ e / Z, take T_T, …, T_1 and the same products, and E[1/w] = 1/Z.

    The step size of each T_t is found by other chains, which go forward and adapt it to an acceptance of 65 % on their way. The
    chains that count have it fixed, independent of where they start, so that both expectations are exact.

    Estimates are in nats. Neal 2001 (arXiv:physics/9803008); Wu et al. 2017 (arXiv:1611.04273); backward, Grosse et al. 2015
    (arXiv:1511.02543).

    Args:
        log_start: z -> log s(z). For a VAE the prior p(z), or q(z|x). z is any pytree of real arrays without bounds.
        log_end: z -> log e(z). For a VAE log p(x, z), with Z = p(x).
        sample: key -> z ~ s.
        key: of all that is drawn.
        betas: as `temperatures` returns them.
        num_chains: C.
        num_leapfrog: leapfrog steps of a transition.
        backward_from: an exact draw z of e / Z, such as the z that x was drawn with from the model: return the upper bound, by
            chains backward from it. (The standard error leaves out that it could have been another draw.)

    Raises:
        InputError: a number of chains or leapfrog steps that is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.distributions import Normal
        >>> from gen_jax.evaluate import annealed, temperatures
        >>> x, prior = jnp.ones(1), Normal(jnp.zeros(1), jnp.ones(1))
        >>> log_joint = lambda z: Normal(z, jnp.ones(1)).log_prob(x) + prior.log_prob(z)
        >>> estimate = jax.jit(lambda key: annealed(prior.log_prob, log_joint, prior.sample, key, temperatures(50)))
        >>> log_p = Normal(jnp.zeros(1), jnp.full(1, 2**0.5)).log_prob(x)  # p(x) = N(0, 2)
        >>> bool(jnp.abs(estimate(jax.random.key(0)).log_prob - log_p) < 0.1)
        True
    """
    if num_chains < 1 or num_leapfrog < 1:
        raise InputError(f"num_chains is {num_chains} and num_leapfrog {num_leapfrog}: give 1 or more of each.")
    start_key, adapt_key, chain_key = jax.random.split(key, 3)
    _, to_tree = ravel_pytree(sample(start_key))
    backward = backward_from is not None
    start, end = (jax.value_and_grad(lambda z, f=f: f(to_tree(z))) for f in (log_start, log_end))
    at = lambda z: _Point(z, *start(z), *end(z))
    chains = jax.vmap(functools.partial(_transition, at, num_leapfrog), (0, 0, None, None))

    def begin(key: Key) -> _Point:
        return jax.vmap(lambda key: at(ravel_pytree(sample(key))[0]))(jax.random.split(key, num_chains))

    def adapt(state: tuple[_Point, Array], row: tuple[Key, Array]) -> tuple[tuple[_Point, Array], Array]:
        (points, log_step_size), (key, beta) = state, row
        points, acceptance = chains(jax.random.split(key, num_chains), points, beta, jnp.exp(log_step_size))
        return (points, log_step_size + RATE * (jnp.mean(acceptance) - ACCEPTANCE)), jnp.exp(log_step_size)

    def weigh(state: tuple[_Point, Array], row: tuple[Key, Array, Array, Array]) -> tuple[tuple[_Point, Array], Array]:
        (points, log_w), (key, beta, rise, step_size) = state, row
        moved, acceptance = chains(jax.random.split(key, num_chains), points, beta, step_size)
        at_rise = moved if backward else points
        return (moved, log_w + rise * (at_rise.end - at_rise.start)), jnp.mean(acceptance)

    rises, betas = jnp.diff(betas), betas[1:]
    first, second = (jax.random.split(key, len(betas) + 1) for key in (adapt_key, chain_key))
    points = begin(first[0])
    log_step_size = jnp.full_like(points.start, math.log(FIRST_STEP_SIZE), shape=())
    _, step_sizes = jax.lax.scan(adapt, (points, log_step_size), (first[1:], betas))
    if backward:
        z, _ = ravel_pytree(backward_from)
        points = jax.vmap(at)(jnp.broadcast_to(z, (num_chains, *z.shape)))
    else:
        points = begin(second[0])
    rows = (second[1:], betas, rises, step_sizes)
    (_, log_w), acceptance = jax.lax.scan(weigh, (points, jnp.zeros_like(points.start)), rows, reverse=backward)
    sign = -1 if backward else 1
    found = estimate_of(jax.nn.logsumexp(sign * log_w), jax.nn.logsumexp(2 * sign * log_w), num_chains)
    return AnnealedEstimate(sign * found.log_prob, found.standard_error, found.effective_sample_size, jnp.mean(acceptance))


def _transition(
    at: Callable[[Array], _Point], num_leapfrog: int, key: Key, point: _Point, beta: Array, step_size: Array
) -> tuple[_Point, Array]:
    """Return the next point of a chain under f_β, and the probability with which the proposal was to be accepted."""
    momentum_key, test_key = jax.random.split(key)
    momentum = jax.random.normal(momentum_key, point.z.shape)

    def leap(_: Array, state: tuple[_Point, Array]) -> tuple[_Point, Array]:
        point, momentum = state
        momentum = momentum + 0.5 * step_size * point.gradient(beta)
        point = at(point.z + step_size * momentum)
        return point, momentum + 0.5 * step_size * point.gradient(beta)

    proposed, last = jax.lax.fori_loop(0, num_leapfrog, leap, (point, momentum))
    gain = proposed.value(beta) - point.value(beta) - 0.5 * (jnp.sum(last**2) - jnp.sum(momentum**2))
    acceptance = jnp.where(jnp.isnan(gain), 0.0, jnp.exp(jnp.minimum(gain, 0.0)))
    accepted = jax.random.uniform(test_key) < acceptance
    return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, point), acceptance
