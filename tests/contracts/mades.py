"""Every MADE under test: each kind of output, depths 0 to 3, with and without direct links. Adding a row tests it for all."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import made
from gen_jax.made import MADE, Output, bernoulli_output, categorical_output, normal_mixture_output


class Case(NamedTuple):
    """A model with an example of its data."""

    dim: int
    hidden_sizes: tuple[int, ...]
    output: Output
    direct: bool = False
    activation: Any = jax.nn.relu

    @property
    def model(self) -> MADE:
        return made.made(self.dim, self.hidden_sizes, self.output, self.direct, self.activation)

    @property
    def params(self) -> Any:
        """Parameters well away from those of the start, so that every dependency is strong."""
        params = self.model.init(jax.random.key(1))
        leaves, treedef = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(2), len(leaves))
        return jax.tree.unflatten(treedef, [x + 0.5 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])

    @property
    def x(self) -> jax.Array:
        rng = np.random.default_rng(3)
        if self.output.dtype == jnp.int32:
            return jnp.asarray(rng.integers(0, self.output.num_params, self.dim), jnp.int32)
        values = rng.integers(0, 2, self.dim) if self.output.num_params == 1 else rng.normal(size=self.dim)
        return jnp.asarray(values, jnp.float32)


CASES = {
    "bernoulli": Case(7, (20,), bernoulli_output()),
    "bernoulli-tanh": Case(7, (20,), bernoulli_output(), activation=jnp.tanh),
    "bernoulli-narrowest": Case(7, (6, 6), bernoulli_output()),
    "bernoulli-three-layers": Case(6, (10, 20, 10), bernoulli_output()),
    "bernoulli-direct": Case(7, (20,), bernoulli_output(), direct=True),
    "bernoulli-direct-narrow": Case(9, (4, 5), bernoulli_output(), direct=True),
    "bernoulli-one-hot": Case(7, (20, 10), bernoulli_output(one_hot=True), direct=True),
    "bernoulli-links-alone": Case(7, (), bernoulli_output(), direct=True),
    "bernoulli-one-dimension": Case(1, (3,), bernoulli_output()),
    "bernoulli-several-blocks": Case(37, (40, 80), bernoulli_output()),
    "categorical": Case(5, (13,), categorical_output(3)),
    "categorical-direct": Case(5, (13, 9), categorical_output(3), direct=True),
    "normal-mixture": Case(5, (13,), normal_mixture_output(2)),
    "normal-mixture-several-blocks": Case(19, (40,), normal_mixture_output(2), activation=jnp.tanh),
}

# a row of each kind for the fast suite; `pytest -m slow` runs the others
FAST = {"bernoulli", "bernoulli-direct-narrow", "bernoulli-one-dimension", "categorical", "normal-mixture"}
ROWS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CASES]
