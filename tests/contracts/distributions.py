"""Every distribution under test. Adding a row tests it for all that the contract promises."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.stats

from gen_jax.distributions import Bernoulli, MultivariateNormal, Normal

LOC = np.array([0.3, -1.2, 2.0])
SCALE = np.array([0.5, 2.0, 1.1])
TRIL = np.array([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [-0.3, 0.8, 1.5]])
LOGITS = np.array([0.4, -2.0, 3.0])


class Case(NamedTuple):
    """A distribution, its parameters in float64, the same in scipy, and parameters far out."""

    family: Any
    parameters: tuple[np.ndarray, ...]
    log_prob: Any  # scipy's, of one event
    mean: np.ndarray
    covariance: np.ndarray
    extreme: tuple[tuple[np.ndarray, ...], ...]

    @property
    def distribution(self) -> Any:
        return self.family(*(jnp.asarray(p, jnp.float32) for p in self.parameters))


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
    ),
}
REPARAMETERISED = [name for name, case in CASES.items() if hasattr(case.family, "sample_and_log_prob")]
