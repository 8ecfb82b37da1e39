"""Penalties of a discriminator: the squared norm of its gradient in x, at chosen points.

Gradient penalty: Gulrajani et al. 2017 (arXiv:1704.00028). Zero-centred at the same points: Thanh-Tung et al. 2019
(arXiv:1902.03984). R1 and R2: Mescheder et al. 2018 (arXiv:1801.04406).

Every penalty is a function (critic, key, real, fake) -> [] of a batch, where the critic maps examples [B, ...] to logits [B]. The
gradient in one example is that of the sum of all logits: the paper's, where a logit depends on its own example alone; a
discriminator with minibatch statistics adds what its example does to the others' logits. None has a factor of its own: the caller
multiplies by its weight, which is the λ of the first two papers (10 in Gulrajani et al.) and γ/2 for the γ of Mescheder et al.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, InputError, Key

Critic = Callable[[Array], Array]
"""x [B, ...] -> D(x), logits [B]."""
Penalty = Callable[[Critic, Key, Array, Array], Array]
"""(critic, key, real [B, ...], fake [B, ...]) -> []."""


def gradient_norms_squared(critic: Critic, x: Float[Array, "B *event"]) -> Float[Array, "B"]:
    """Return ‖∇_x D(x)‖² at each example."""
    gradients = jax.grad(lambda x: jnp.sum(critic(x)))(x)
    return jnp.sum(gradients**2, axis=range(1, x.ndim))


def gradient_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return E[(‖∇D(x̂)‖ − 1)²] at x̂ = ε real + (1 − ε) fake, ε ~ U(0, 1) once for each example (Gulrajani et al. 2017).

    The norm is √(‖∇D(x̂)‖² + 10⁻¹²), whose derivatives are finite where the gradient is zero.

    Raises:
        InputError: the two batches differ in shape.
    """
    squared = gradient_norms_squared(critic, _between(key, real, fake))
    return jnp.mean((jnp.sqrt(squared + 1e-12) - 1) ** 2)


def zero_centred_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return E‖∇D(x̂)‖² at the x̂ of `gradient_penalty` (Thanh-Tung et al. 2019).

    Raises:
        InputError: the two batches differ in shape.
    """
    return jnp.mean(gradient_norms_squared(critic, _between(key, real, fake)))


def r1_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return E‖∇D(x)‖² at the real examples: R1 of Mescheder et al. 2018, but for its factor γ/2. It draws nothing."""
    return jnp.mean(gradient_norms_squared(critic, real))


def r2_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return E‖∇D(x)‖² at the generated ones: R2 of Mescheder et al. 2018, but for its factor γ/2. It draws nothing."""
    return jnp.mean(gradient_norms_squared(critic, fake))


PENALTIES: dict[str, Penalty] = {
    "gradient-penalty": gradient_penalty,
    "zero-centred": zero_centred_penalty,
    "r1": r1_penalty,
    "r2": r2_penalty,
}
"""By their names on a command line."""


def _between(key: Key, real: Array, fake: Array) -> Array:
    # [B, 28, 28] and [B, 28, 28, 1] would broadcast into examples of a third shape
    if real.shape != fake.shape:
        raise InputError(f"real has shape {real.shape} and fake {fake.shape}: give as many examples of one shape.")
    keys = jax.random.split(key, len(real))
    weight = jax.vmap(lambda k: jax.random.uniform(k, dtype=real.dtype))(keys).reshape(-1, *(1,) * (real.ndim - 1))
    return weight * real + (1 - weight) * fake
