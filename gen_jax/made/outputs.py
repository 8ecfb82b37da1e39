"""The conditionals p(x_i | x_<i) of a MADE: Bernoulli, categorical, or mixtures of normal distributions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax.distributions import Bernoulli, Categorical, NormalMixture
from gen_jax.types import Array, Distribution, InputError, Key

MAX_LOG_SCALE = 10.0  # scales from 5e-5 to 2e4


class Output(NamedTuple):
    """A kind of conditional.

    Attributes:
        num_params: P, the number of network outputs for each dimension.
        num_features: E, the number of network inputs for each dimension.
        features: x [D] -> the inputs [D, E].
        distribution: outputs [P, D] -> the distribution of x [D].
        noise: (key, N) -> the noise of N draws, along the first axis of each leaf. All at once, which is faster.
        draw: (outputs [P], noise of one draw) -> one dimension of x, distributed as in `distribution`.
        contains: x of any shape -> elementwise, whether the value is in the support.
        values: the support in words, for error messages.
        dtype: of x.
    """

    num_params: int
    num_features: int
    features: Callable[[Array], Array]
    distribution: Callable[[Array], Distribution]
    noise: Callable[[Key, int], Any]
    draw: Callable[[Array, Any], Array]
    contains: Callable[[Any], Any]
    values: str
    dtype: Any

    def check(self, x: Any, name: str) -> None:
        """Raise an InputError for a value outside the support."""
        array = np.asarray(x)  # works under a trace too, if x is a constant
        bad = array[~np.broadcast_to(self.contains(array), array.shape)]
        if bad.size:
            raise InputError(f"{name} holds {bad.flat[0]:g} ({bad.dtype}), and this MADE takes {self.values}.")


def bernoulli_output(one_hot: bool = False) -> Output:
    """Return p(x_i | x_<i) = Bernoulli, from one logit, for x in {0, 1}.

    Args:
        one_hot: the network's inputs are (x, 1 − x), not x alone, so that x = 0 differs from a masked input. Use it where masks
            change. (For the same purpose, the paper has conditioning weights on the masks, §4.3.)
    """
    return Output(
        num_params=1,
        num_features=2 if one_hot else 1,
        features=lambda x: jnp.stack([x, 1 - x], axis=-1) if one_hot else x[:, None],
        distribution=lambda raw: Bernoulli(raw[0]),
        noise=lambda key, num: jax.random.uniform(key, (num,)),
        draw=lambda raw, noise: (noise < jax.nn.sigmoid(raw[0])).astype(jnp.float32),
        contains=lambda x: (x == 0) | (x == 1),
        values="0 and 1 only: binarise it",
        dtype=jnp.float32,
    )


def categorical_output(num_categories: int) -> Output:
    """Return p(x_i | x_<i) = Categorical, from C logits, for integers x in 0 … C − 1, one-hot in the input.

    Raises:
        InputError: fewer than 2 categories.
    """
    if num_categories < 2:
        raise InputError(f"num_categories is {num_categories}: give 2 or more.")

    def contains(x: Any) -> Any:
        return (x >= 0) & (x < num_categories) & jnp.issubdtype(x.dtype, jnp.integer)

    return Output(
        num_params=num_categories,
        num_features=num_categories,
        features=lambda x: jax.nn.one_hot(x, num_categories),
        distribution=lambda raw: Categorical(raw.T),
        noise=lambda key, num: jax.random.gumbel(key, (num, num_categories)),
        draw=lambda raw, noise: jnp.argmax(raw + noise).astype(jnp.int32),
        contains=contains,
        values=f"integers from 0 to {num_categories - 1}: convert it",
        dtype=jnp.int32,
    )


def normal_mixture_output(num_components: int) -> Output:
    """Return p(x_i | x_<i) = Σ_m π_m N(μ_m, σ_m²), from M logits, means and log σ (bounded to ±10), for standardised real x.

    Raises:
        InputError: fewer than 1 component.
    """
    if num_components < 1:
        raise InputError(f"num_components is {num_components}: give 1 or more.")

    def components(raw: Float[Array, "*dims P"]) -> tuple[Array, Array, Array]:
        """Return logits, means and scales."""
        logits, loc, log_scale = jnp.split(raw, 3, axis=-1)
        return logits, loc, jnp.exp(jnp.clip(log_scale, -MAX_LOG_SCALE, MAX_LOG_SCALE))

    def noise(key: Key, num: int) -> tuple[Array, Array]:
        component_key, normal_key = jax.random.split(key)
        return jax.random.gumbel(component_key, (num, num_components)), jax.random.normal(normal_key, (num,))

    def draw(raw: Float[Array, "P"], noise: tuple[Array, Array]) -> Float[Array, ""]:
        logits, loc, scale = components(raw)
        chosen = jax.nn.one_hot(jnp.argmax(logits + noise[0]), num_components)
        return jnp.sum(chosen * loc) + jnp.sum(chosen * scale) * noise[1]

    return Output(
        num_params=3 * num_components,
        num_features=1,
        features=lambda x: x[:, None],
        distribution=lambda raw: NormalMixture(*components(raw.T)),
        noise=noise,
        draw=draw,
        contains=lambda x: abs(x) < jnp.inf,
        values="finite numbers: remove the others",
        dtype=jnp.float32,
    )
