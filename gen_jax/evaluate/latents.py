"""Statistics of the approximate posterior."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from gen_jax.types import Array, Key, Posterior, Predictive


def active_units(posterior_means: Float[Array | np.ndarray, "N Z"], threshold: float = 0.01) -> Bool[Array, "Z"]:
    """Return which latent units are active: Var_x(E_q[z_u | x]) > threshold (Burda et al. 2016, arXiv:1509.00519, §5.2)."""
    return jnp.var(posterior_means, axis=0) > threshold


def posterior_mean(posterior: Posterior, key: Key, num_samples: int = 100) -> Any:
    """Return E_q[z]: exactly if the posterior has a `mean`, else by Monte Carlo (for a flow or a hierarchy)."""
    if isinstance(posterior, Predictive):
        return posterior.mean
    draws = jax.vmap(posterior.sample)(jax.random.split(key, num_samples))
    return jax.tree.map(lambda z: jnp.mean(z, axis=0), draws)
