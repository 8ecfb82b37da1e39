"""Every distribution under test. Adding a row tests it for all that the contract promises."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats

from gen_jax.distributions import (
    Bernoulli,
    Beta,
    DiscretisedLogistic,
    Mixture,
    MultivariateNormal,
    Normal,
    PowerSpherical,
    UniformSphere,
    VonMisesFisher,
)

REAL_EVENTS = np.random.default_rng(0).normal(size=(8, 3)) * 2
BINARY_EVENTS = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
UNIT_EVENTS = np.random.default_rng(1).uniform(0.01, 0.99, size=(8, 3))
PIXELS = np.concatenate([np.random.default_rng(2).integers(256, size=(6, 3)), [[0, 0, 255], [255, 255, 0]]]) / 255
SPHERE_EVENTS = REAL_EVENTS / np.linalg.norm(REAL_EVENTS, axis=1, keepdims=True)
POLE = np.array([2.0, -1.0, 2.0]) / 3
ALPHA, BETA = np.array([0.7, 2.0, 5.0]), np.array([1.5, 3.0, 0.9])
LOC = np.array([0.3, -1.2, 2.0])
SCALE = np.array([0.5, 2.0, 1.1])
TRIL = np.array([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [-0.3, 0.8, 1.5]])
LOGITS = np.array([0.4, -2.0, 3.0])


class Case(NamedTuple):
    """A distribution, its parameters in float64, the same in scipy, parameters far out, and events in its support."""

    family: Callable[..., Any]
    parameters: tuple[Any, ...]
    log_prob: Any  # scipy's, of one event
    mean: np.ndarray
    covariance: np.ndarray
    extreme: tuple[tuple[Any, ...], ...]
    events: np.ndarray = REAL_EVENTS

    @property
    def distribution(self) -> Any:
        return self.at(self.parameters)

    def at(self, parameters: tuple[Any, ...]) -> Any:
        return self.family(*jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), parameters))


def axial_covariance(pole: np.ndarray, cosine_mean: float, cosine_square: float) -> np.ndarray:
    """Of x on the sphere with a density in t = pole · x alone, from E[t] and E[t²]."""
    across = (1 - cosine_square) / (len(pole) - 1) * (np.eye(len(pole)) - np.outer(pole, pole))
    return (cosine_square - cosine_mean**2) * np.outer(pole, pole) + across


def discretised_masses(loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """[D, 256], differences of the logistic's cumulative distribution or of its complement, whichever is the smaller."""
    edges = ((np.arange(1, 256) - 0.5) / 255 - loc[:, None]) / scale[:, None]
    below = np.diff(np.pad(scipy.special.expit(edges), ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)
    above = -np.diff(np.pad(scipy.special.expit(-edges), ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0))), axis=1)
    return np.where(np.arange(256) / 255 < loc[:, None], below, above)


VMF_MEAN = 1 / np.tanh(4.0) - 1 / 4.0  # of the cosine, in three dimensions
POWER = scipy.stats.beta(1 + 4.0, 1)  # of (1 + cosine) / 2
MIXTURE = (np.array([0.5, -0.3]), Normal(np.stack([LOC, -LOC]), np.stack([SCALE, SCALE[::-1]])))
WEIGHTS = scipy.special.softmax(MIXTURE[0])
MIXTURE_MEAN = WEIGHTS @ MIXTURE[1].loc
PIXEL_LOC, PIXEL_SCALE = np.array([0.4, 0.5, 0.6]), np.array([0.03, 0.02, 0.03])
PIXEL_MASSES = discretised_masses(PIXEL_LOC, PIXEL_SCALE)
LEVELS = np.arange(256) / 255

CASES = {
    "normal": Case(
        Normal,
        (LOC, SCALE),
        lambda x: scipy.stats.norm(LOC, SCALE).logpdf(x).sum(),
        LOC,
        np.diag(SCALE**2),
        ((np.full(3, 1e4), np.full(3, 1e-10)), (np.full(3, -1e4), np.full(3, 1e10))),
    ),
    "normal-shared-scale": Case(
        Normal,
        (LOC, np.array(0.7)),
        lambda x: scipy.stats.norm(LOC, 0.7).logpdf(x).sum(),
        LOC,
        np.diag(np.full(3, 0.49)),
        ((np.full(3, 1e4), np.array(1e-10)),),
    ),
    "multivariate-normal": Case(
        MultivariateNormal,
        (LOC, TRIL),
        lambda x: scipy.stats.multivariate_normal(LOC, TRIL @ TRIL.T).logpdf(x),
        LOC,
        TRIL @ TRIL.T,
        ((np.full(3, 1e4), np.diag(np.full(3, 1e-8))), (np.full(3, 1e4), 1e8 * TRIL)),
    ),
    "bernoulli": Case(
        Bernoulli,
        (LOGITS,),
        lambda x: scipy.stats.bernoulli(1 / (1 + np.exp(-LOGITS))).logpmf(x).sum(),
        1 / (1 + np.exp(-LOGITS)),
        np.diag(np.exp(-LOGITS) / (1 + np.exp(-LOGITS)) ** 2),
        ((np.full(3, 1e4),), (np.full(3, -1e4),)),
        BINARY_EVENTS,
    ),
    "beta": Case(
        Beta,
        (ALPHA, BETA),
        lambda x: scipy.stats.beta(ALPHA, BETA).logpdf(x).sum(),
        ALPHA / (ALPHA + BETA),
        np.diag(scipy.stats.beta(ALPHA, BETA).var()),
        tuple((np.full(3, a), np.full(3, b)) for a, b in itertools.product((1e-2, 1e4), repeat=2)),
        UNIT_EVENTS,
    ),
    "von-mises-fisher": Case(
        VonMisesFisher,
        (POLE, np.array(4.0)),
        scipy.stats.vonmises_fisher(POLE, 4.0).logpdf,
        VMF_MEAN * POLE,
        axial_covariance(POLE, VMF_MEAN, 1 - 2 * VMF_MEAN / 4.0),
        ((POLE, np.array(1e-3)), (POLE, np.array(1e5)), (np.eye(2)[0], np.array(1e5)), (np.eye(128)[5], np.array(1e-3))),
        SPHERE_EVENTS,
    ),
    "power-spherical": Case(
        PowerSpherical,
        (POLE, np.array(4.0)),
        lambda x: POWER.logpdf((1 + POLE @ x) / 2) - np.log(4 * np.pi),
        (2 * POWER.mean() - 1) * POLE,
        axial_covariance(POLE, 2 * POWER.mean() - 1, 4 * POWER.moment(2) - 4 * POWER.mean() + 1),
        ((POLE, np.array(1e-3)), (POLE, np.array(1e5)), (np.eye(2)[0], np.array(1e5)), (np.eye(128)[5], np.array(1e-3))),
        SPHERE_EVENTS,
    ),
    "uniform-sphere": Case(
        partial(UniformSphere, 3), (), lambda x: -np.log(4 * np.pi), np.zeros(3), np.eye(3) / 3, ((),), SPHERE_EVENTS
    ),
    "mixture": Case(
        Mixture,
        MIXTURE,
        lambda x: scipy.special.logsumexp(scipy.stats.norm(*MIXTURE[1]).logpdf(x).sum(-1), b=WEIGHTS),
        MIXTURE_MEAN,
        np.einsum("m,mi,mj->ij", WEIGHTS, MIXTURE[1].loc, MIXTURE[1].loc)
        - np.outer(MIXTURE_MEAN, MIXTURE_MEAN)
        + np.diag(WEIGHTS @ MIXTURE[1].scale ** 2),
        ((np.array([1e4, -1e4]), Normal(np.full((2, 3), 1e4), np.full((2, 3), 1e-10))),),
    ),
    "discretised-logistic": Case(
        DiscretisedLogistic,
        (PIXEL_LOC, PIXEL_SCALE),
        lambda x: np.log(PIXEL_MASSES[range(3), np.round(255 * x).astype(int)]).sum(),
        PIXEL_MASSES @ LEVELS,
        np.diag(PIXEL_MASSES @ LEVELS**2 - (PIXEL_MASSES @ LEVELS) ** 2),
        tuple((np.full(3, loc), np.full(3, scale)) for loc, scale in itertools.product((-10.0, 0.5, 10.0), (1e-4, 1e3))),
        PIXELS,
    ),
}
LOCATION_SCALE = ["normal", "normal-shared-scale", "multivariate-normal"]
REPARAMETERISED = [name for name, case in CASES.items() if hasattr(case.distribution, "sample_and_log_prob")]
