"""What the conditionals p(x_i | x_<i) of a MADE are: Bernoulli, categorical, or mixtures of Gaussians."""

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
        num_params: P, how many numbers the network puts out for each dimension.
        num_features: E, how many numbers it takes for each dimension.
        features: x [D] -> [D, E].
        distribution: raw parameters [P, D] -> the distribution of x [D].
        noise: (key, N) -> the noise of N draws along the first axis, made at once since it is slow to make bit by bit.
        draw: (raw [P], noise of one draw) -> one dimension of x, distributed as `distribution` says.
        check: (array, its name) -> None; raises an InputError for values that have no probability.
        dtype: of x.
    """

    num_params: int
    num_features: int
    features: Callable[[Array], Array]
    distribution: Callable[[Array], Distribution]
    noise: Callable[[Key, int], Any]
    draw: Callable[[Array, Any], Array]
    check: Callable[[Any, str], None]
    dtype: Any


def bernoulli_output(one_hot: bool = False) -> Output:
    """Return p(x_i | x_<i) = Bernoulli, from one logit, for x in {0, 1}.

    Args:
        one_hot: a dimension goes in as (x, 1 − x). An input that a mask hides looks like a 0; where masks change, this tells them
            apart, and does what the connectivity weights of the paper do (§4.3).
    """

    def check(x: Any, name: str) -> None:
        bad = np.asarray(x)[~np.isin(x, (0, 1))]
        if bad.size:
            raise InputError(f"{name} holds {bad.flat[0]:g}, and a Bernoulli MADE takes 0 and 1 only: binarise it.")

    return Output(
        num_params=1,
        num_features=2 if one_hot else 1,
        features=lambda x: jnp.stack([x, 1 - x], axis=-1) if one_hot else x[:, None],
        distribution=lambda raw: Bernoulli(raw[0]),
        noise=lambda key, num: jax.random.uniform(key, (num,)),
        draw=lambda raw, noise: (noise < jax.nn.sigmoid(raw[0])).astype(jnp.float32),
        check=check,
        dtype=jnp.float32,
    )


def categorical_output(num_categories: int) -> Output:
    """Return p(x_i | x_<i) = Categorical, from C logits, for integers x in 0 … C − 1, which go in one-hot.

    Raises:
        InputError: fewer than 2 categories.
    """
    if num_categories < 2:
        raise InputError(f"num_categories is {num_categories}: give 2 or more.")

    def check(x: Any, name: str) -> None:
        array = np.asarray(x)
        if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() < num_categories):
            raise InputError(
                f"{name} holds {array.dtype} from {array.min()} to {array.max()}, and a categorical MADE of {num_categories} "
                f"takes integers from 0 to {num_categories - 1}: number the categories so."
            )

    return Output(
        num_params=num_categories,
        num_features=num_categories,
        features=lambda x: jax.nn.one_hot(x, num_categories),
        distribution=lambda raw: Categorical(raw.T),
        noise=lambda key, num: jax.random.gumbel(key, (num, num_categories)),
        draw=lambda raw, noise: jnp.argmax(raw + noise).astype(jnp.int32),
        check=check,
        dtype=jnp.int32,
    )


def normal_mixture_output(num_components: int) -> Output:
    """Return p(x_i | x_<i) = Σ_m π_m N(μ_m, σ_m²), from M logits, means and log σ (bounded to ±10), for real x (standardise it).

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

    def check(x: Any, name: str) -> None:
        if not np.isfinite(x).all():
            raise InputError(f"{name} holds a NaN or an infinity: remove or mend it.")

    return Output(
        num_params=3 * num_components,
        num_features=1,
        features=lambda x: x[:, None],
        distribution=lambda raw: NormalMixture(*components(raw.T)),
        noise=noise,
        draw=draw,
        check=check,
        dtype=jnp.float32,
    )
