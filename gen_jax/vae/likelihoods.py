"""Likelihoods p(x|z): what the output of a decoder means."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from gen_jax.distributions import Bernoulli, DiscretisedLogistic, Normal
from gen_jax.types import InputError, Params, Predictive

# far outside what data have, and values and gradients stay finite: σ from 6e-6 to 2e5, and a logistic's scale from 9e-4 to 1e3
LOG_SCALE_BOUNDS, LOGISTIC_LOG_SCALE_BOUNDS = (-12.0, 12.0), (-7.0, 7.0)


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
    _check_scale("a Gaussian", scale)
    if learned:
        return Likelihood(
            init=lambda: {"log_scale": jnp.log(jnp.float32(scale))},
            distribution=lambda params, output: Normal(output, jnp.exp(jnp.clip(params["log_scale"], *LOG_SCALE_BOUNDS))),
        )
    return Likelihood(init=lambda: (), distribution=lambda params, output: Normal(output, jnp.full_like(output, scale)))


def discretised_logistic_likelihood(scale: float) -> Likelihood:
    """Return p(x|z) over the grey values {0, 1/255, …, 1}: a logistic about `output`, of the mass of each value's interval.

    It is a mass, not a density, so that −log p(x) / (D log 2) are bits per dimension (Kingma et al. 2016, arXiv:1606.04934).

    Args:
        scale: where the logistic's scale starts from: one parameter, shared by all pixels, that training fits.

    Raises:
        InputError: the scale is not a positive finite number.
    """
    _check_scale("a discretised logistic", scale)
    return Likelihood(
        init=lambda: {"log_scale": jnp.log(jnp.float32(scale))},
        distribution=lambda params, output: DiscretisedLogistic(
            output, jnp.exp(jnp.clip(params["log_scale"], *LOGISTIC_LOG_SCALE_BOUNDS))
        ),
    )


def _check_scale(what: str, scale: float) -> None:
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"The scale of {what} likelihood is {scale}: give a positive, finite number.")
