"""Theory of GANs: the optimal discriminator, the value of the game, vanishing gradients, and the Dirac-GAN.

Goodfellow et al. 2014 (arXiv:1406.2661); on vanishing gradients Arjovsky and Bottou 2017 (arXiv:1701.04862); on the Dirac-GAN
Mescheder et al. 2018 (arXiv:1801.04406).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from gen_jax.gan.losses import AdversarialLoss
from gen_jax.types import Array

LogDensities = Float[Array | np.ndarray, "N"]
"""Log-densities on a grid, in nats; −inf where the density is 0."""


def optimal_discriminator_logit(
    log_p_data: Float[Array, "*shape"], log_p_generator: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Return log p_d(x) − log p_g(x), the logit of the optimal D*(x) = p_d / (p_d + p_g) of the minimax game for this G.

    It is ±inf where one of the densities is 0. Where both are, any value is optimal, and 0 is returned.
    """
    neither = jnp.isneginf(log_p_data) & jnp.isneginf(log_p_generator)
    return jnp.where(neither, 0, log_p_data) - jnp.where(neither, 0, log_p_generator)


def game_value(log_p: LogDensities, log_q: LogDensities, cell: float) -> float:
    """Return V(D*, G) = E_p[log D*(x)] + E_q[log (1 − D*(x))] = −2 log 2 + 2 JSD(p, q), by the midpoint rule in float64.

    p is the data distribution and q the generator's, both at the midpoints of N grid cells; `cell` is the volume of a cell. The
    value is in nats (Goodfellow et al. 2014, arXiv:1406.2661, theorem 1).
    """
    return _integral(log_p, log_q, cell, offset=0.0)


def jensen_shannon(log_p: LogDensities, log_q: LogDensities, cell: float) -> float:
    """Return JSD = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½(p + q), in nats, for the arguments of `game_value`.

    It is 0 for p = q, and log 2 for any p and q with disjoint supports (Lin 1991, IEEE Transactions on Information Theory 37).

    Examples:
        >>> import numpy as np
        >>> from gen_jax.gan import jensen_shannon
        >>> half, cell = np.log(np.full(5, 2.0)), 0.1  # uniform on [0, ½], and on [½, 1]
        >>> p, q = np.concatenate([half, np.full(5, -np.inf)]), np.concatenate([np.full(5, -np.inf), half])
        >>> round(jensen_shannon(p, p, cell), 4), round(jensen_shannon(p, q, cell), 4)  # 0 and log 2
        (0.0, 0.6931)
    """
    return 0.5 * _integral(log_p, log_q, cell, offset=math.log(2))


def _integral(log_p: LogDensities, log_q: LogDensities, cell: float, offset: float) -> float:
    """Return ∫ p (log p/(p + q) + offset) + ∫ q (log q/(p + q) + offset)."""

    def first(log_p: np.ndarray, log_q: np.ndarray) -> float:
        inside = log_p > -np.inf
        log_share = -np.logaddexp(0, log_q[inside] - log_p[inside])
        return float(cell * np.sum(np.exp(log_p[inside]) * (log_share + offset)))

    log_p, log_q = np.asarray(log_p, np.float64), np.asarray(log_q, np.float64)
    return first(log_p, log_q) + first(log_q, log_p)


def generator_gradient_norm(loss: AdversarialLoss, logit: Float[Array, ""]) -> Float[Array, ""]:
    """Return |d generator(l) / dl|, the factor of this example's gradient in the generator's parameters.

    It is σ(l) for minimax (about e^l when D wins, l → −∞), σ(−l) for non-saturating (about 1 then), |l − 1| for least squares,
    and 1 for Wasserstein and hinge.
    """
    return jnp.abs(jax.grad(loss.generator)(logit))


def dirac_gan_step(
    loss: AdversarialLoss,
    state: tuple[Float[Array, ""], Float[Array, ""]],
    learning_rate: float,
    r1: float = 0.0,
    alternating: bool = False,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return (θ, ψ) after a gradient step of generator and discriminator of the Dirac-GAN, whose equilibrium is (0, 0).

    The data distribution is a point mass at 0, the generator's is one at θ, and D(x) = ψx. With a learning rate h and γ = `r1`:

        ψ ← ψ − h ∂/∂ψ [real(0) + fake(ψθ) + γ/2 (∂D/∂x)²] = ψ − h [fake'(ψθ) θ + γψ]
        θ ← θ − h ∂/∂θ generator(ψθ)                      = θ − h generator'(ψθ) ψ

    Both use the same (θ, ψ), or, if alternating, θ uses the new ψ. The paper's ψ has the opposite sign.
    """
    theta, psi = state

    def discriminator(psi: Array) -> Array:
        return loss.real(0 * psi) + loss.fake(psi * theta) + r1 / 2 * psi**2  # R1, as ∂D/∂x = ψ

    new_psi = psi - learning_rate * jax.grad(discriminator)(psi)
    psi = new_psi if alternating else psi
    return theta - learning_rate * jax.grad(lambda theta: loss.generator(psi * theta))(theta), new_psi


def dirac_gan_eigenvalues(
    loss: AdversarialLoss, learning_rate: float, r1: float = 0.0, alternating: bool = False
) -> Complex[np.ndarray, "2"]:
    """Return the eigenvalues of the Jacobian of `dirac_gan_step` at (0, 0), by automatic differentiation.

    Near the equilibrium, the distance to it is multiplied by max |eigenvalue| at each step. With c² = −fake'(0) generator'(0),
    where c is ½ for minimax and non-saturating (the paper's f'(0)), 1 for Wasserstein and hinge, 0 for least squares, they are:

    - simultaneous: 1 + hλ, where λ = −γ/2 ± √(γ²/4 − c²) are the eigenvalues of the gradient flow. Without R1 the modulus is
      √(1 + h²c²) > 1: the steps diverge. For 0 < γ < 2c it is √(1 − hγ + h²c²), below 1 for h < γ/c².
    - alternating: τ/2 ± √(τ²/4 − (1 − hγ)), with τ = 2 − hγ − h²c². Without R1 they lie on the unit circle for hc ≤ 2: the steps
      circle the equilibrium. With R1 and complex eigenvalues the modulus is √(1 − hγ).

    Modulus 1 does not decide convergence: alternating steps of minimax do not converge. Those of the non-saturating loss do, with
    r² = θ² + ψ² ≈ 8 / (nh) after n steps, because its flow has d(r²)/dt = −2ψθ tanh(ψθ/2). (The Dirac-GAN and the eigenvalues of
    simultaneous and alternating steps: Mescheder et al. 2018, arXiv:1801.04406.)

    Examples:
        >>> import numpy as np
        >>> from gen_jax import gan
        >>> simultaneous = gan.dirac_gan_eigenvalues(gan.WASSERSTEIN, learning_rate=0.1)
        >>> alternating = gan.dirac_gan_eigenvalues(gan.WASSERSTEIN, learning_rate=0.1, alternating=True)
        >>> [round(float(np.abs(values).max()), 4) for values in (simultaneous, alternating)]  # √1.01: away; 1: in circles
        [1.005, 1.0]
    """

    def step(state: Float[Array, "2"]) -> Float[Array, "2"]:
        return jnp.stack(dirac_gan_step(loss, (state[0], state[1]), learning_rate, r1, alternating))

    return np.linalg.eigvals(np.asarray(jax.jacobian(step)(jnp.zeros(2)), np.complex128))
