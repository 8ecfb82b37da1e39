"""What holds a discriminator down: the squared norm of its gradient in x, at chosen points, or a bound on its weights.

Gradient penalty: Gulrajani et al. 2017 (arXiv:1704.00028). Zero-centred at the same points: Thanh-Tung et al. 2019
(arXiv:1902.03984). R1 and R2: Mescheder et al. 2018 (arXiv:1801.04406). Clipping: Arjovsky et al. 2017 (arXiv:1701.07875).

Every penalty is a function (critic, key, real, fake) -> [] of one example of the data and one generated, where a critic maps an
example to its logit, []. None has a factor of its own: the caller multiplies by its weight, which is the λ of the first
two papers (10 in Gulrajani et al.) and γ/2 for the γ of Mescheder et al. A discriminator that normalises over the batch is no
function of one example, unless its batch statistics are held.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, InputError, Key, Params

Critic = Callable[[Array], Array]
"""x -> D(x), a logit, []; x is one example of any shape."""
Penalty = Callable[[Critic, Key, Array, Array], Array]
"""(critic, key, real, fake) -> [], of one real and one generated example."""


def gradient_norm_squared(critic: Critic, x: Float[Array, "*event"]) -> Float[Array, ""]:
    """Return ‖∇_x D(x)‖²."""
    return jnp.sum(jax.grad(critic)(x) ** 2)


def gradient_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return (‖∇D(x̂)‖ − 1)² at x̂ = ε real + (1 − ε) fake, ε ~ U(0, 1) once for the example (Gulrajani et al. 2017).

    The norm is √(‖∇D(x̂)‖² + 10⁻¹²), whose derivatives are finite where the gradient is zero.

    Raises:
        InputError: the two examples differ in shape.
    """
    squared = gradient_norm_squared(critic, _between(key, real, fake))
    return (jnp.sqrt(squared + 1e-12) - 1) ** 2


def zero_centred_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return ‖∇D(x̂)‖² at the x̂ of `gradient_penalty` (Thanh-Tung et al. 2019).

    Raises:
        InputError: the two examples differ in shape.
    """
    return gradient_norm_squared(critic, _between(key, real, fake))


def r1_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return ‖∇D(x)‖² at the real example: R1 of Mescheder et al. 2018, but for its factor γ/2. It draws nothing."""
    return gradient_norm_squared(critic, real)


def r2_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return ‖∇D(x)‖² at the generated example: R2 of Mescheder et al. 2018, but for its factor γ/2. It draws nothing."""
    return gradient_norm_squared(critic, fake)


PENALTIES: dict[str, Penalty] = {
    "gradient-penalty": gradient_penalty,
    "zero-centred": zero_centred_penalty,
    "r1": r1_penalty,
    "r2": r2_penalty,
}
"""By their names on a command line."""


def clip_weights(params: Params, bound: float) -> Params:
    """Return the parameters with every number moved into [−bound, bound] (Arjovsky et al. 2017, where the bound is 0.01).

    Raises:
        InputError: the bound is not positive.
    """
    if not bound > 0:
        raise InputError(f"bound is {bound}: give a positive number.")
    return jax.tree.map(lambda leaf: jnp.clip(leaf, -bound, bound), params)


def _between(key: Key, real: Array, fake: Array) -> Array:
    # [28, 28] and [28, 28, 1] would broadcast into an example of a third shape
    if real.shape != fake.shape:
        raise InputError(
            f"real has shape {real.shape} and fake {fake.shape}: give one example each, of one shape; vmap over more."
        )
    weight = jax.random.uniform(key, dtype=real.dtype)
    return weight * real + (1 - weight) * fake
