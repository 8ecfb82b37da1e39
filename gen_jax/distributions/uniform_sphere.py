"""The uniform distribution on the unit sphere."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.distributions.event import check_event
from gen_jax.types import Array, Key


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class UniformSphere:
    """The uniform distribution on S^{D−1} = {x ∈ R^D : |x| = 1}, a pytree without leaves.

    log p(x) = −log |S^{D−1}| = log Γ(D/2) − log 2 − (D/2) log π, per unit of area

    Attributes:
        dim: D ≥ 2, the dimension of the surrounding space.
    """

    dim: int

    @property
    def mean(self) -> Float[Array, "{self.dim}"]:
        """E[x] = 0, which is not on the sphere."""
        return jnp.zeros(self.dim)

    def sample(self, key: Key) -> Float[Array, "{self.dim}"]:
        """Draw ε / |ε|, ε ~ N(0, I)."""
        noise = jax.random.normal(key, (self.dim,))
        return noise / jnp.linalg.norm(noise)

    def sample_and_log_prob(self, key: Key) -> tuple[Float[Array, "{self.dim}"], Float[Array, ""]]:
        """Draw x and return (x, log p(x))."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def log_prob(self, value: Float[Array, "{self.dim}"]) -> Float[Array, ""]:
        """Return log p(value) in nats, the same for every value."""
        check_event(value, (self.dim,))
        return jnp.asarray(-log_sphere_area(self.dim), value.dtype)


def log_sphere_area(dim: int) -> float:
    """Return log |S^{dim−1}| = log(2 π^{dim/2} / Γ(dim/2)), the area of the unit sphere in R^dim."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)


def sphere_point(
    cosine: Float[Array, ""], sine: Float[Array, ""], loc: Float[Array, "D"], noise: Float[Array, "D"]
) -> Float[Array, "D"]:
    """Return cos θ loc + sin θ u, with u the direction of the noise's component orthogonal to loc.

    For isotropic noise, u is uniform on the unit sphere of the tangent space. Its derivative is that of the rotation which moves
    loc: du = −loc (dloc · u). Differentiating the projection (I − loc locᵀ) noise would be unbiased too, but contains
    1 / |projection|, whose variance is infinite in three dimensions. A Householder reflection from a fixed pole (Davidson et al.
    2018, arXiv:1804.00891) is singular at the pole.
    """
    fixed = jax.lax.stop_gradient(loc)
    tangent = noise - fixed * _dot(fixed, noise)
    # the rotation from `fixed` to `loc`; the two are equal in value, so it also removes rounding errors along loc
    tangent = tangent - (fixed + loc) * (_dot(loc, tangent) / (1 + _dot(fixed, loc)))
    length = jnp.linalg.norm(jax.lax.stop_gradient(tangent))  # constant under rotations
    direction = tangent / jnp.maximum(length, 1e-30)  # no 0/0 if the noise is parallel to loc
    return cosine * loc + sine * direction


def _dot(a: Float[Array, "D"], b: Float[Array, "D"]) -> Float[Array, ""]:
    return jnp.sum(a * b)  # not a matmul, which has a lower precision on GPU
