"""Likelihoods p(x|z): what the output of a decoder means."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from gen_jax.distributions import Bernoulli, Normal
from gen_jax.types import InputError, Params, Predictive

LOG_SCALE_BOUNDS = (-12.0, 12.0)  # σ from 6e-6 to 2e5: far outside what data have, and values and gradients stay finite


class Likelihood(NamedTuple):
    """How the output of a decoder becomes a distribution of x.

    Attributes:
        init: () -> the parameters that the likelihood itself has (an empty tuple where it has none).
        distribution: (params, decoder output) -> p(x|z).
    """

    init: Callable[[], Params]
    distribution: Callable[..., Predictive]


def bernoulli_likelihood() -> Likelihood:
    """Return p(x|z) = Bernoulli(logits = output), for binary x."""
    return Likelihood(init=lambda: (), distribution=lambda params, output: Bernoulli(output))


def gaussian_likelihood(scale: float, learned: bool = False) -> Likelihood:
    """Return p(x|z) = N(output, scale² I), normaliser included, for real x.

    Args:
        scale: σ; where it is learned, the value it starts from.
        learned: σ is one parameter, shared by all pixels, that training fits (Rybkin et al. 2021, arXiv:2006.13202).

    Raises:
        InputError: the scale is not a positive finite number.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"The scale of a Gaussian likelihood is {scale}: give a positive, finite number.")
    if learned:
        return Likelihood(
            init=lambda: {"log_scale": jnp.log(jnp.float32(scale))},
            distribution=lambda params, output: Normal(output, jnp.exp(jnp.clip(params["log_scale"], *LOG_SCALE_BOUNDS))),
        )
    return Likelihood(init=lambda: (), distribution=lambda params, output: Normal(output, jnp.full_like(output, scale)))
