"""Likelihoods p(x|z), as functions of a decoder's output."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions import Bernoulli, DiscretisedLogistic, Normal
from gen_jax.types import InputError, Number, Params, Predictive

# values and gradients are finite within these bounds, and data stay far inside: σ from 6e-6 to 2e5, a logistic's from 9e-4 to 1e3
LOG_SCALE_BOUNDS, LOGISTIC_LOG_SCALE_BOUNDS = (-12.0, 12.0), (-7.0, 7.0)


class Likelihood(NamedTuple):
    """A distribution of x given the output of a decoder.

    Attributes:
        distribution: (params, decoder output) -> p(x|z).
        init: () -> the parameters of the likelihood itself; by default none.
    """

    distribution: Callable[..., Predictive]
    init: Callable[[], Params] = lambda: ()


def bernoulli_likelihood() -> Likelihood:
    """Return p(x|z) = Bernoulli(logits = output), for binary x.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gen_jax.vae import bernoulli_likelihood
        >>> likelihood = bernoulli_likelihood()
        >>> logits = jnp.log(jnp.array([1.0, 3.0]))
        >>> likelihood.distribution(likelihood.init(), logits).mean.round(4).tolist()
        [0.5, 0.75]
    """
    return Likelihood(lambda params, output: Bernoulli(output))


def gaussian_likelihood(scale: Number, learned: bool = False) -> Likelihood:
    """Return p(x|z) = N(output, scale² I), normaliser included, for real x.

    Args:
        scale: σ, or its initial value.
        learned: train σ, one parameter for all pixels (Rybkin et al. 2021, arXiv:2006.13202).

    Raises:
        InputError: the scale is not a positive finite number (that of an array is not checked).
    """
    _check_scale("a Gaussian", scale)
    if learned:
        return _with_learned_scale(Normal, scale, LOG_SCALE_BOUNDS)
    return Likelihood(lambda params, output: Normal(output, jnp.full_like(output, scale)))


def discretised_logistic_likelihood(scale: Number) -> Likelihood:
    """Return p(x|z) over the grey values {0, 1/255, …, 1}: the mass that a logistic about `output` has in each one's interval.

    It is a mass, not a density, so −log p(x) / (D log 2) is in bits per dimension (Kingma et al. 2016, arXiv:1606.04934).

    Args:
        scale: initial value of the logistic's scale, one trained parameter for all pixels.

    Raises:
        InputError: the scale is not a positive finite number (that of an array is not checked).
    """
    _check_scale("a discretised logistic", scale)
    return _with_learned_scale(DiscretisedLogistic, scale, LOGISTIC_LOG_SCALE_BOUNDS)


def _with_learned_scale(family: Callable[..., Predictive], scale: Number, log_bounds: tuple[float, float]) -> Likelihood:
    return Likelihood(
        distribution=lambda params, output: family(output, jnp.exp(jnp.clip(params["log_scale"], *log_bounds))),
        init=lambda: {"log_scale": jnp.log(jnp.float32(scale))},
    )


def _check_scale(what: str, scale: Number) -> None:
    if not isinstance(scale, jax.Array) and not (math.isfinite(scale) and scale > 0):
        raise InputError(f"The scale of {what} likelihood is {scale}: give a positive, finite number.")
