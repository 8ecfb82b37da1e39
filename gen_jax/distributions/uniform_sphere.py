"""The uniform distribution on the unit sphere."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Key


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class UniformSphere:
    """The uniform distribution on S^{D−1} = {x ∈ R^D : |x| = 1}, a pytree without leaves.

    log p(x) = −log |S^{D−1}| = log Γ(D/2) − log 2 − (D/2) log π, per unit of area

    Attributes:
        dim: D ≥ 2, of the space around the sphere.
    """

    dim: int

    @property
    def mean(self) -> Float[Array, "{self.dim}"]:
        """E[x] = 0, which is no point of the sphere."""
        return jnp.zeros(self.dim)

    def sample(self, key: Key) -> Float[Array, "{self.dim}"]:
        """Draw the direction of ε ~ N(0, I)."""
        noise = jax.random.normal(key, (self.dim,))
        return noise / jnp.linalg.norm(noise)

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "{self.dim}"], Float[Array, ""]]:
        """Draw x and return (x, log p(x))."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def log_prob(self, value: Float[Array, "{self.dim}"]) -> Float[Array, ""]:
        """Return log p(value) in nats, the same for every value."""
        return jnp.asarray(-log_sphere_area(self.dim), value.dtype)


def log_sphere_area(dim: int) -> float:
    """Return log |S^{dim−1}| = log(2 π^{dim/2} / Γ(dim/2)), the area of the unit sphere in R^dim."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)


def sphere_point(
    cosine: Float[Array, ""], sine: Float[Array, ""], loc: Float[Array, "D"], noise: Float[Array, "D"]
) -> Float[Array, "D"]:
    """Return cos θ loc + sin θ u, with u the direction of the part of the noise that is orthogonal to loc.

    For isotropic noise, u is uniform on the unit sphere of the tangent space. Its derivative in loc is that of the rotation that
    takes one loc to the next: du = −loc (dloc · u). To differentiate the projection (I − loc locᵀ) noise instead would be
    unbiased too, but by 1 / |projection|, which has no variance in three dimensions; and a Householder reflection from a fixed
    pole (Davidson et al. 2018, arXiv:1804.00891) has a singularity at it.
    """
    fixed = jax.lax.stop_gradient(loc)
    tangent = noise - fixed * _dot(fixed, noise)
    # the rotation from `fixed` to `loc`, which at equality takes off what rounding has left along loc
    tangent = tangent - (fixed + loc) * (_dot(loc, tangent) / (1 + _dot(fixed, loc)))
    length = jnp.linalg.norm(jax.lax.stop_gradient(tangent))  # which a rotation keeps
    direction = tangent / jnp.maximum(length, 1e-30)  # 0/0 if the noise is parallel to loc
    return cosine * loc + sine * direction


def _dot(a: Float[Array, "D"], b: Float[Array, "D"]) -> Float[Array, ""]:
    return jnp.sum(a * b)  # not a matmul, whose default precision a GPU lowers
