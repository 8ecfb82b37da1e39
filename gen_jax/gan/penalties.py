"""Penalties on the gradient of a discriminator in its input x.

Gradient penalty: Gulrajani et al. 2017 (arXiv:1704.00028). Zero-centred: Thanh-Tung et al. 2019 (arXiv:1902.03984). R1 and R2:
Mescheder et al. 2018 (arXiv:1801.04406).

Gradients are those of the sum of the logits of a batch. They equal the gradients of each logit in its own example, unless the
discriminator uses statistics of the batch. The caller multiplies a penalty by its weight: λ in the first two papers (10 in
Gulrajani et al.), γ/2 in Mescheder et al. Penalties at points between real and generated examples raise an InputError if the two
batches differ in shape.
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
    """Return E[(‖∇D(x̂)‖ − 1)²] at x̂ = ε real + (1 − ε) fake, with one ε ~ U(0, 1) for each example (arXiv:1704.00028).

    The norm is √(‖∇D(x̂)‖² + 10⁻¹²), whose derivatives are finite where the gradient is zero.

    Raises:
        InputError: `real` and `fake` differ in shape.
    """
    squared = gradient_norms_squared(critic, _interpolate(key, real, fake))
    return jnp.mean((jnp.sqrt(squared + 1e-12) - 1) ** 2)


def zero_centred_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return E‖∇D(x̂)‖² at the x̂ of `gradient_penalty` (Thanh-Tung et al. 2019, arXiv:1902.03984).

    Raises:
        InputError: `real` and `fake` differ in shape.
    """
    return jnp.mean(gradient_norms_squared(critic, _interpolate(key, real, fake)))


def r1_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return E‖∇D(x)‖² at real examples: R1, without its factor γ/2 (arXiv:1801.04406). The key is not used."""
    return jnp.mean(gradient_norms_squared(critic, real))


def r2_penalty(critic: Critic, key: Key, real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """Return E‖∇D(x)‖² at generated examples: R2, without its factor γ/2 (arXiv:1801.04406). The key is not used."""
    return jnp.mean(gradient_norms_squared(critic, fake))


PENALTIES: dict[str, Penalty] = {
    "gradient-penalty": gradient_penalty,
    "zero-centred": zero_centred_penalty,
    "r1": r1_penalty,
    "r2": r2_penalty,
}
"""By their names on a command line."""


def _interpolate(key: Key, real: Array, fake: Array) -> Array:
    # [B, 28, 28] and [B, 28, 28, 1] would broadcast to another shape
    if real.shape != fake.shape:
        raise InputError(f"real has shape {real.shape} and fake {fake.shape}: give equal shapes.")
    keys = jax.random.split(key, len(real))
    weight = jax.vmap(lambda k: jax.random.uniform(k, dtype=real.dtype))(keys).reshape(-1, *(1,) * (real.ndim - 1))
    return weight * real + (1 - weight) * fake
