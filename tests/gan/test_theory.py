"""The theory of the game: values against SciPy's integrals, and the Dirac-GAN's closed forms against its trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm, wasserstein_distance

from gen_jax.gan import (
    HINGE,
    LEAST_SQUARES,
    LOSSES,
    MINIMAX,
    NON_SATURATING,
    WASSERSTEIN,
    dirac_gan_eigenvalues,
    dirac_gan_step,
    game_value,
    generator_gradient_norm,
    jensen_shannon,
    optimal_discriminator_logit,
)

GRID = np.linspace(-15, 15, 6001)
CELL = GRID[1] - GRID[0]


def log_uniform(x: np.ndarray, low: float) -> np.ndarray:
    """Return the log-density of U(low, low + 1)."""
    return np.where((x > low) & (x < low + 1), 0.0, -np.inf)


# values


@pytest.mark.parametrize("loc", [0.3, 2.0, 9.0])
def test_the_value_and_the_divergence_of_two_normals_are_scipys_integrals(loc):
    log_p, log_q = norm.logpdf(GRID), norm.logpdf(GRID, loc, 0.7)
    p, q = norm(0, 1).pdf, norm(loc, 0.7).pdf
    kl_to_middle = lambda a, b: lambda x: a(x) * (np.log(2) - np.log1p(b(x) / a(x)))
    span = {"points": (0, loc), "epsabs": 1e-11, "epsrel": 1e-11, "limit": 500}
    # where the other density has underflowed, the integrand has too
    expected = 0.5 * quad(kl_to_middle(p, q), -12, 12, **span)[0] + 0.5 * quad(kl_to_middle(q, p), loc - 9, loc + 9, **span)[0]
    np.testing.assert_allclose(jensen_shannon(log_p, log_q, CELL), expected, rtol=1e-7)
    np.testing.assert_allclose(game_value(log_p, log_q, CELL), -2 * np.log(2) + 2 * expected, rtol=1e-7)


def test_a_perfect_generator_has_the_value_minus_log_four():
    log_p = norm.logpdf(GRID)
    np.testing.assert_allclose(game_value(log_p, log_p, CELL), -np.log(4), rtol=1e-12)
    np.testing.assert_allclose(jensen_shannon(log_p, log_p, CELL), 0, atol=1e-15)


def test_of_overlapping_uniforms_the_divergence_is_the_share_they_do_not_share():
    """U(0, 1) and U(s, 1 + s): where both have mass log D is −log 2, elsewhere 0, so that JSD = s log 2."""
    middles = (np.arange(30_000) + 0.5) / 10_000
    for shift in (0.0, 0.25, 0.8, 1.0):
        found = jensen_shannon(log_uniform(middles, 0), log_uniform(middles, shift), 1e-4)
        np.testing.assert_allclose(found, shift * np.log(2), rtol=1e-9, atol=1e-12)


def test_between_disjoint_uniforms_the_divergence_is_flat_where_the_wasserstein_distance_grows():
    middles = (np.arange(10_000) + 0.5) / 1000
    draws = np.random.default_rng(0).uniform(size=1000)
    for shift in (1.0, 2.0, 4.0, 8.0):
        log_p, log_q = log_uniform(middles, 0), log_uniform(middles, shift)
        np.testing.assert_allclose(jensen_shannon(log_p, log_q, 1e-3), np.log(2), rtol=1e-9)
        np.testing.assert_allclose(game_value(log_p, log_q, 1e-3), 0, atol=1e-12)
        np.testing.assert_allclose(wasserstein_distance(draws, draws + shift), shift, rtol=1e-9)


def test_the_best_discriminator_is_the_share_of_the_data():
    x = np.array([-3.0, 0.0, 0.7, 5.0])
    log_p, log_q = (jnp.asarray(norm.logpdf(x, *at), jnp.float32) for at in ((0, 1), (1, 2)))
    share = norm.pdf(x) / (norm.pdf(x) + norm.pdf(x, 1, 2))
    np.testing.assert_allclose(expit(optimal_discriminator_logit(log_p, log_q)), share, rtol=1e-5)


def test_the_best_discriminator_is_sure_where_one_has_no_mass_and_undecided_where_neither_has():
    log_p, log_q = jnp.array([0.0, -jnp.inf, -jnp.inf]), jnp.array([-jnp.inf, 0.0, -jnp.inf])
    np.testing.assert_array_equal(optimal_discriminator_logit(log_p, log_q), [np.inf, -np.inf, 0])
    gradient = jax.grad(lambda p: optimal_discriminator_logit(p, log_q)[2])(log_p)
    assert np.isfinite(gradient).all()


def test_no_discriminator_does_better_than_the_best():
    """V at logits l* + t δ has its greatest value at t = 0: its derivative is zero there, and its second negative."""
    log_p, log_q = norm.logpdf(GRID), norm.logpdf(GRID, 1, 1.5)
    best, bend = log_p - log_q, np.sin(3 * GRID)

    def value(t):
        logits = best + t * bend
        log_d, log_not_d = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
        return CELL * np.sum(np.exp(log_p) * log_d + np.exp(log_q) * log_not_d)

    at_best = game_value(log_p, log_q, CELL)
    np.testing.assert_allclose(value(0), at_best, rtol=1e-12)
    np.testing.assert_allclose((value(1e-4) - value(-1e-4)) / 2e-4, 0, atol=1e-8)
    assert all(value(t) < at_best for t in (-1.0, -0.1, 0.1, 1.0))


# gradients that vanish


def test_where_the_discriminator_wins_only_the_saturating_gradient_vanishes():
    for logit in (-5.0, -20.0, -80.0):
        sizes = {name: float(generator_gradient_norm(loss, jnp.float32(logit))) for name, loss in LOSSES.items()}
        np.testing.assert_allclose(sizes["minimax"], expit(logit), rtol=1e-5)
        np.testing.assert_allclose(sizes["minimax"], np.exp(logit), rtol=1.01 * np.exp(logit) + 1e-5)
        np.testing.assert_allclose(sizes["non-saturating"], expit(-logit), rtol=1e-6)
        np.testing.assert_allclose(sizes["least-squares"], 1 - logit, rtol=1e-6)
        assert sizes["wasserstein"] == sizes["hinge"] == 1


def test_where_it_is_undecided_the_two_gradients_of_the_generator_agree():
    for loss in (MINIMAX, NON_SATURATING):
        np.testing.assert_allclose(generator_gradient_norm(loss, jnp.float32(0)), 0.5, rtol=1e-6)


# the Dirac-GAN

STRENGTHS = [
    (MINIMAX, 0.5),
    pytest.param(NON_SATURATING, 0.5, marks=pytest.mark.slow),
    (WASSERSTEIN, 1.0),
    pytest.param(HINGE, 1.0, marks=pytest.mark.slow),
    (LEAST_SQUARES, 0.0),
]
SETTINGS = [(0.1, 0.0), (0.3, 0.6), (0.2, 2.5), (1.5, 0.0)]


def assert_same_pair(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare by sum and product: of a pair that is nearly double, the two values themselves have half the digits."""
    np.testing.assert_allclose(found.sum(), expected.sum(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.prod(), expected.prod(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rate", "gamma"), SETTINGS)
@pytest.mark.parametrize(("loss", "c"), STRENGTHS)
def test_simultaneous_eigenvalues_are_those_of_the_flow(loss, c, rate, gamma):
    flow = -gamma / 2 + np.array([1, -1]) * np.emath.sqrt(gamma**2 / 4 - c**2 + 0j)
    found = dirac_gan_eigenvalues(loss, rate, gamma)
    assert_same_pair(found, 1 + rate * flow)
    if gamma == 0:
        np.testing.assert_allclose(np.abs(found), np.sqrt(1 + rate**2 * c**2), rtol=1e-6)


@pytest.mark.parametrize(("rate", "gamma"), SETTINGS)
@pytest.mark.parametrize(("loss", "c"), STRENGTHS)
def test_alternating_eigenvalues_are_the_closed_form(loss, c, rate, gamma):
    half = (2 - rate * gamma - (rate * c) ** 2) / 2
    found = dirac_gan_eigenvalues(loss, rate, gamma, alternating=True)
    assert_same_pair(found, half + np.array([1, -1]) * np.emath.sqrt(half**2 - (1 - rate * gamma) + 0j))
    if gamma == 0:
        np.testing.assert_allclose(np.abs(found), 1, rtol=1e-6)


def test_alternating_steps_leave_the_circle_where_they_are_too_long():
    """hc ≤ 2: for minimax, h ≤ 4."""
    np.testing.assert_allclose(np.abs(dirac_gan_eigenvalues(MINIMAX, 3.9, alternating=True)), 1, rtol=1e-5)
    assert np.abs(dirac_gan_eigenvalues(MINIMAX, 4.1, alternating=True)).max() > 1.1


def trajectory(loss, start, num_steps: int, rate: float, gamma: float = 0.0, alternating: bool = False) -> np.ndarray:
    """Return the states (θ, ψ) of each step, [T + 1, 2], in float64."""

    def step(state, _):
        return dirac_gan_step(loss, state, rate, gamma, alternating), jnp.stack(state)

    state, states = jax.lax.scan(step, tuple(jnp.float32(s) for s in start), length=num_steps)
    return np.concatenate([np.asarray(states, np.float64), [np.asarray(jnp.stack(state), np.float64)]])


def modulus_of_a_step(states: np.ndarray) -> float:
    """Return √det of the linear map that leads from state to state, by the areas that successive ones span: |det| a step."""
    areas = np.abs(states[:-1, 0] * states[1:, 1] - states[:-1, 1] * states[1:, 0])
    return (areas[-1] / areas[0]) ** (0.5 / (len(areas) - 1))


@pytest.mark.parametrize("loss", [MINIMAX, NON_SATURATING, WASSERSTEIN, HINGE])
def test_simultaneous_steps_spiral_out_at_the_rate_of_their_eigenvalues(loss):
    states = trajectory(loss, (1e-3, 0), 300, 0.2)
    distances = np.linalg.norm(states, axis=1)
    modulus = np.abs(dirac_gan_eigenvalues(loss, 0.2)).max()
    assert modulus > 1
    np.testing.assert_allclose(distances, 1e-3 * modulus ** np.arange(301), rtol=2e-3)
    assert distances[-1] > 4 * distances[0]


def size(states: np.ndarray, rate: float, c: float) -> np.ndarray:
    """Return θ² − hc θψ + ψ², which a step that alternates keeps, near the equilibrium."""
    theta, psi = states.T
    return theta**2 - rate * c * theta * psi + psi**2


@pytest.mark.parametrize(("loss", "c"), STRENGTHS[:4])
def test_nearby_alternating_steps_circle(loss, c):
    states = trajectory(loss, (1e-3, 0), 1000, 0.2, alternating=True)
    np.testing.assert_allclose(size(states, 0.2, c), 1e-6, rtol=1e-3)


@pytest.mark.parametrize("loss", [MINIMAX, WASSERSTEIN])
def test_from_far_the_alternating_steps_of_a_zero_sum_game_come_no_nearer(loss):
    distances = np.linalg.norm(trajectory(loss, (1.0, 1.0), 2000, 0.1, alternating=True), axis=1)
    np.testing.assert_allclose(distances, np.sqrt(2), rtol=0.1)


def test_from_far_those_of_the_non_saturating_game_come_nearer_and_ever_more_slowly():
    """Along its flow d(θ² + ψ²)/dt = −2ψθ tanh(ψθ/2); for small r² = θ² + ψ², over a turn, d(1/r²)/dt = 1/8."""
    inverse = 1 / size(trajectory(NON_SATURATING, (1.0, 1.0), 4000, 0.1, alternating=True), 0.1, 0.5)
    np.testing.assert_allclose((inverse[4000] - inverse[2000]) / (0.1 * 2000), 1 / 8, rtol=0.02)


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("loss", [MINIMAX, NON_SATURATING, WASSERSTEIN, HINGE])
def test_with_r1_they_converge_at_the_rate_of_their_eigenvalues(loss, alternating):
    modulus = np.abs(dirac_gan_eigenvalues(loss, 0.2, 0.6, alternating)).max()
    nearby = trajectory(loss, (1e-3, 0), 200, 0.2, 0.6, alternating)
    assert modulus < 0.98
    np.testing.assert_allclose(modulus_of_a_step(nearby), modulus, rtol=1e-4)
    far = np.linalg.norm(trajectory(loss, (1.0, 1.0), 1000, 0.2, 0.6, alternating), axis=1)
    assert far[-1] < 1e-6


def test_a_step_by_hand():
    """θ = 1, ψ = 0.5, h = 0.1, γ = 2 of minimax: ψ falls by 0.1 (σ(½) + 1), θ rises by 0.1 σ(ψ) ψ with the ψ that it sees."""
    state = (jnp.float32(1.0), jnp.float32(0.5))
    new_psi = 0.5 - 0.1 * (expit(0.5) + 2 * 0.5)
    np.testing.assert_allclose(dirac_gan_step(MINIMAX, state, 0.1, 2.0), (1 + 0.1 * expit(0.5) * 0.5, new_psi), rtol=1e-6)
    np.testing.assert_allclose(
        dirac_gan_step(MINIMAX, state, 0.1, 2.0, alternating=True), (1 + 0.1 * expit(new_psi) * new_psi, new_psi), rtol=1e-6
    )
