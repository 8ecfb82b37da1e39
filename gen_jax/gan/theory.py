"""What theory says of the game: the best discriminator and the value it gives, gradients that vanish, and a game solved by hand.

Values and the optimal discriminator: Goodfellow et al. 2014 (arXiv:1406.2661). Vanishing gradients: Arjovsky and Bottou 2017
(arXiv:1701.04862). The Dirac-GAN: Mescheder et al. 2018 (arXiv:1801.04406).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from gen_jax.gan.losses import AdversarialLoss
from gen_jax.types import Array

LogDensities = Float[Array | np.ndarray, "N"]
"""Log-densities at the points of a grid, nats; −inf where there is no mass."""


def optimal_discriminator_logit(
    log_p_data: Float[Array, "*shape"], log_p_generator: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Return log p_d(x) − log p_g(x), the logit of D*(x) = p_d / (p_d + p_g), which is the best of the minimax game's for this G.

    It is ±inf where one of the two has no mass. Where neither has, any value is as good, and 0 is returned.
    """
    neither = jnp.isneginf(log_p_data) & jnp.isneginf(log_p_generator)
    return jnp.where(neither, 0, log_p_data) - jnp.where(neither, 0, log_p_generator)


def game_value(log_p: LogDensities, log_q: LogDensities, cell: float) -> float:
    """Return V(D*, G) = E_p[log D*(x)] + E_q[log (1 − D*(x))] = −2 log 2 + 2 JSD(p, q), by the midpoint rule in float64.

    Args:
        log_p: of the data, at the midpoints of N cells.
        log_q: of the generator, at the same points.
        cell: the length, area or volume of a cell.
    """
    (p, log_share_p), (q, log_share_q) = _masses_and_log_shares(log_p, log_q, cell)
    return float(np.sum(p * log_share_p) + np.sum(q * log_share_q))


def jensen_shannon(log_p: LogDensities, log_q: LogDensities, cell: float) -> float:
    """Return JSD = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½(p + q), in nats, by the midpoint rule in float64.

    The arguments are those of `game_value`. It is 0 for p = q, and log 2 for all pairs that share no mass, however far apart.
    """
    (p, log_share_p), (q, log_share_q) = _masses_and_log_shares(log_p, log_q, cell)
    return float(0.5 * np.sum(p * (np.log(2) + log_share_p)) + 0.5 * np.sum(q * (np.log(2) + log_share_q)))


def generator_gradient_norm(loss: AdversarialLoss, logit: Float[Array, ""]) -> Float[Array, ""]:
    """Return |d generator(l) / dl|, by which all that reaches the generator from this example is multiplied.

    It is σ(l) for the minimax loss, which is e^l where D wins, l → −∞; σ(−l) for the non-saturating one, which is then 1; |l − 1|
    for least squares, and 1 for Wasserstein and hinge.
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

    The data are the point 0, the generator's are the point θ, and D(x) = ψx. With a learning rate h and γ = `r1`:

        ψ ← ψ − h ∂/∂ψ [real(0) + fake(ψθ) + γ/2 (∂D/∂x)²] = ψ − h [fake'(ψθ) θ + γψ]
        θ ← θ − h ∂/∂θ generator(ψθ)                      = θ − h generator'(ψθ) ψ

    Both from the same (θ, ψ), or, alternating, ψ first and then θ with the new ψ. The paper's ψ has the other sign: its D is high
    for what is generated.
    """
    theta, psi = state

    def of_discriminator(psi: Array) -> Array:
        critic = lambda x: psi * x
        data = jnp.zeros_like(theta)
        return loss.real(critic(data)) + loss.fake(critic(theta)) + r1 / 2 * jnp.sum(jax.grad(critic)(data) ** 2)

    new_psi = psi - learning_rate * jax.grad(of_discriminator)(psi)
    seen = new_psi if alternating else psi
    return theta - learning_rate * jax.grad(lambda theta: loss.generator(seen * theta))(theta), new_psi


def dirac_gan_eigenvalues(
    loss: AdversarialLoss, learning_rate: float, r1: float = 0.0, alternating: bool = False
) -> Complex[np.ndarray, "2"]:
    """Return the eigenvalues of the Jacobian of `dirac_gan_step` at (0, 0), by automatic differentiation.

    An equilibrium is reached from nearby at a rate of max |eigenvalue| a step where that is below 1, and left where it is above.
    With c² = −fake'(0) generator'(0), so that c is ½ for minimax and non-saturating (the paper's f'(0)), 1 for Wasserstein and
    hinge, and 0 for least squares, they are:

    - simultaneous: 1 + hλ, where λ = −γ/2 ± √(γ²/4 − c²) are the eigenvalues of the gradient flow. Without R1 that is 1 ± ihc, of
      modulus √(1 + h²c²) > 1: the two spiral out. For 0 < γ < 2c the modulus is √(1 − hγ + h²c²), below 1 for h < γ/c².
    - alternating: τ/2 ± √(τ²/4 − (1 − hγ)), of sum τ = 2 − hγ − h²c² and product 1 − hγ. Without R1 they lie on the unit circle
      for hc ≤ 2: the two circle. With R1 and complex eigenvalues the modulus is √(1 − hγ). Were θ to go first, they would be
      the same.

    On the unit circle they decide nothing: alternating steps of minimax stay away. Those of the non-saturating loss come nearer,
    since its flow has d(r²)/dt = −2ψθ tanh(ψθ/2) for r² = θ² + ψ², but slower than at any rate: r² ≈ 8 / (nh) after n of them.
    """

    def step(state: Float[Array, "2"]) -> Float[Array, "2"]:
        return jnp.stack(dirac_gan_step(loss, (state[0], state[1]), learning_rate, r1, alternating))

    return np.linalg.eigvals(np.asarray(jax.jacobian(step)(jnp.zeros(2)), np.complex128))


def _masses_and_log_shares(
    log_p: LogDensities, log_q: LogDensities, cell: float
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return (p · cell, log p / (p + q)) where p has mass, and the same of q."""

    def of_first(log_p: np.ndarray, log_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = log_p > -np.inf
        return cell * np.exp(log_p[inside]), -np.logaddexp(0, log_q[inside] - log_p[inside])

    log_p, log_q = np.asarray(log_p, np.float64), np.asarray(log_q, np.float64)
    return of_first(log_p, log_q), of_first(log_q, log_p)
