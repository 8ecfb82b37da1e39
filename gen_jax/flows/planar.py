"""Planar and radial flows (Rezende & Mohamed 2015, arXiv:1505.05770)."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.flows.base import Result, check_dim, checked_bijection
from gen_jax.flows.root import tanh_root, tanh_slope
from gen_jax.types import Array, Bijection, Key, Params

FLOOR = 1e-18  # keeps slopes positive where softplus underflows, and their inverse squares finite in float32
MAX_LOG_ALPHA = 15.0  # α from 3e-7 to 3e6


def planar(dim: int) -> Bijection:
    """Return f(z) = z + û tanh(a), a = wᵀz + b (Rezende & Mohamed 2015, arXiv:1505.05770).

        log |det ∂f/∂z| = log(1 + wᵀû sech²a) = log(tanh²a + s sech²a)

    û = u + (s − 1 − wᵀu) w / ‖w‖² with s = softplus(wᵀu) > 0, hence wᵀû = s − 1, makes f invertible (the paper's appendix A.1).
    The inverse finds a as the root of a + (s − 1) tanh a = wᵀy + b; then z = y − û tanh a. For w = 0, f is the translation by
    u tanh b.

    Raises:
        InputError: `dim` is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax import flows
        >>> f, z = flows.planar(2), jnp.array([1.0, -1.0])
        >>> params = f.init(jax.random.key(0))
        >>> jacobian = jax.jit(jax.jacobian(lambda z: f.forward_and_log_det(params, z)[0]))(z)
        >>> jnp.allclose(f.forward_and_log_det(params, z)[1], jnp.linalg.slogdet(jacobian)[1], atol=1e-5).item()
        True
    """
    check_dim(dim)

    def init(key: Key) -> Params:
        u_key, w_key = jax.random.split(key)
        scale = 1 / jnp.sqrt(dim)
        return {
            "u": 0.1 * scale * jax.random.normal(u_key, (dim,)),
            "w": scale * jax.random.normal(w_key, (dim,)),
            "b": jnp.zeros(()),
        }

    def constrained(params: Params) -> tuple[Array, Array, Array, Array]:
        """Return û, w, b and s."""
        u, w, b = params["u"], params["w"], params["b"]
        largest = jnp.max(jnp.abs(w))
        zero = largest < 1e-12  # û grows as 1 / ‖w‖, and its gradient as 1 / ‖w‖²
        w = jnp.where(zero, 0, w)
        direction = w / jnp.where(zero, 1, largest)  # so that no square overflows or underflows
        norm2 = jnp.where(zero, 1, jnp.sum(direction**2))
        product = jnp.dot(w, u, precision="highest")
        s = jnp.where(zero, 1, jax.nn.softplus(product) + FLOOR)
        along = (s - 1 - product) / (norm2 * jnp.where(zero, 1, largest))
        return u + along * direction, w, b, s

    def forward(params: Params, x: Float[Array, "D"]) -> Result:
        u, w, b, s = constrained(params)
        a = jnp.dot(w, x, precision="highest") + b
        return x + u * jnp.tanh(a), jnp.log(tanh_slope(a, s))

    def inverse(params: Params, y: Float[Array, "D"]) -> Result:
        u, w, b, s = constrained(params)
        a = tanh_root(s, jnp.dot(w, y, precision="highest") + b)
        return y - u * jnp.tanh(a), -jnp.log(tanh_slope(a, s))

    return checked_bijection((dim,), init, forward, inverse)


def radial(dim: int) -> Bijection:
    """Return f(z) = z + β (z − z_0) / (α + r), r = ‖z − z_0‖, with α > 0 and β = s − α, s > 0 (the paper's appendix A.2).

        log |det ∂f/∂z| = (D − 1) log((r + s) / (α + r)) + log((r² + 2αr + αs) / (α + r)²)

    The inverse solves ρ = ‖y − z_0‖ = r (r + s) / (α + r), a quadratic in r. The paper is that of `planar`.

    Raises:
        InputError: `dim` is less than 1.
    """
    check_dim(dim)

    def init(key: Key) -> Params:
        centre_key, scale_key = jax.random.split(key)
        return {
            "centre": 0.1 * jax.random.normal(centre_key, (dim,)),
            "log_alpha": jnp.zeros(()),
            "raw_s": jnp.log(jnp.expm1(1.0)) + 0.1 * jax.random.normal(scale_key, ()),
        }

    def constrained(params: Params) -> tuple[Array, Array, Array]:
        """Return z_0, α and s."""
        alpha = jnp.exp(jnp.clip(params["log_alpha"], -MAX_LOG_ALPHA, MAX_LOG_ALPHA))
        return params["centre"], alpha, jax.nn.softplus(params["raw_s"]) + FLOOR

    def log_det(r: Array, alpha: Array, s: Array) -> Float[Array, ""]:
        ratio = jnp.log(r + s) - jnp.log(alpha + r)
        return (dim - 1) * ratio + jnp.log(r * (r + 2 * alpha) + alpha * s) - 2 * jnp.log(alpha + r)

    def forward(params: Params, x: Float[Array, "D"]) -> Result:
        centre, alpha, s = constrained(params)
        r = _norm(x - centre)
        return centre + (x - centre) * ((r + s) / (alpha + r)), log_det(r, alpha, s)

    def inverse(params: Params, y: Float[Array, "D"]) -> Result:
        centre, alpha, s = constrained(params)
        rho = _norm(y - centre)
        # the positive root of r² + (s − ρ) r − ρα = 0, in the form whose terms do not cancel
        half = 0.5 * (s - rho)
        root = jnp.sqrt(half**2 + rho * alpha + FLOOR)
        r = jnp.where(half > 0, rho * alpha / jnp.where(half > 0, half + root, 1), root - half)
        return centre + (y - centre) * ((alpha + r) / (r + s)), -log_det(r, alpha, s)

    return checked_bijection((dim,), init, forward, inverse)


def _norm(x: Float[Array, "D"]) -> Float[Array, ""]:
    """‖x‖, with gradient 0 at x = 0."""
    squares = jnp.sum(x**2)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
