"""What is particular to single models: merged layers, labels, spheres; and the input that they refuse."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax import flows
from gen_jax.data import Split
from gen_jax.distributions import Mixture, Normal, UniformSphere
from gen_jax.nets import MLP
from gen_jax.types import InputError, Variables, context_of, join, split
from gen_jax.vae import (
    bernoulli_likelihood,
    beta,
    bottom_up_vae,
    class_conditional,
    conditional_normal,
    deep_latent_gaussian,
    discretised_logistic_likelihood,
    elbo_loss,
    elbo_terms,
    gaussian_likelihood,
    kl_term,
    ladder_vae,
    log_weight,
    normal_mixture,
    power_spherical,
    standard_normal,
    variational_autoencoder,
    von_mises_fisher,
    with_flow,
)
from gen_jax.vae.hierarchical import _merged
from tests.contracts.vaes import BINARY, CASES, EVENT, mlp_vae


def test_a_ladder_merges_by_precision():
    """The product of two normal densities, normalised by quadrature."""
    a, b = Normal(jnp.array([0.5]), jnp.array([0.7])), Normal(jnp.array([-1.0]), jnp.array([1.9]))
    grid = jnp.linspace(-8.0, 8.0, 4001)[:, None]
    product = np.exp(np.asarray(jax.vmap(lambda z: a.log_prob(z) + b.log_prob(z))(grid), np.float64))
    product /= np.trapezoid(product, grid[:, 0])
    ours = np.exp(jax.vmap(_merged(a, b).log_prob)(grid))
    np.testing.assert_allclose(ours, product, rtol=1e-3, atol=1e-6)


def test_a_ladders_posterior_is_its_prior_where_the_data_say_nothing(key):
    """With μ̂_1, log σ̂_1² put out as 0, huge: q(z_1|z_2, x) = p(z_1|z_2), and that layer's KL is nothing."""
    vae, x, *_ = CASES["ladder"]
    params = vae.init(key, x)
    net_params, head = params["encoder"][0]
    silent = jax.tree.map(jnp.zeros_like, head)
    silent["params"]["Dense_0"]["bias"] = jnp.array([0.0, 0, 0, 0, 20, 20, 20, 20])
    params["encoder"][0] = (net_params, silent)
    posterior, prior = vae.encode(params, x), vae.prior(params)
    z = posterior.sample(key)
    q, p = posterior.conditionals(z)[0], prior.conditionals(z)[0]
    np.testing.assert_allclose(q.loc, p.loc, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(q.scale, p.scale, rtol=1e-4)


def test_a_label_is_its_one_hot(key):
    plain = mlp_vae(standard_normal(2))
    labelled = class_conditional(plain, 4)
    params = labelled.init(key, BINARY, jnp.int32(0))
    for label in range(4):
        a = labelled.encode(params, BINARY, jnp.int32(label)).loc
        np.testing.assert_array_equal(a, plain.encode(params, BINARY, jnp.eye(4)[label]).loc)
    assert not np.array_equal(a, labelled.encode(params, BINARY, jnp.int32(0)).loc)
    assert (labelled.latent, labelled.num_classes) == (plain.latent, 4)
    assert (context_of(labelled, 3), context_of(plain, 3)) == (3, None)


def test_the_labels_of_a_batch_are_the_context_of_a_loss(key):
    vae = CASES["conditional-prior"].vae
    params, x, labels = vae.init(key, BINARY, jnp.int32(0)), jnp.stack([BINARY, 1 - BINARY, BINARY]), jnp.array([2, 0, 1])
    keys = [jax.random.split(k, 1)[0] for k in jax.random.split(key, 3)]  # of the one sample of each example
    terms = [elbo_terms(vae, params, *of) for of in zip(keys, x, labels, strict=True)]
    value, (state, metrics) = elbo_loss(vae)(params, (), key, jnp.int32(0), Split(x, labels))
    np.testing.assert_allclose(value, -np.mean([t.elbo for t in terms]), rtol=1e-5)
    for name, term in {"elbo": "elbo", "rate": "kl", "distortion": "distortion"}.items():
        np.testing.assert_allclose(metrics[name], np.mean([getattr(t, term) for t in terms]), rtol=1e-5)
    assert state == ()


def test_a_state_of_nothing_is_left_out_and_any_other_is_joined():
    params = {"w": jnp.ones(2)}
    assert join(params, ()) is params
    assert split(params) == Variables(params, ())
    assert join(params, {"n": 1}) == split(Variables(params, {"n": 1})) == Variables(params, {"n": 1})
    assert split((params, {"n": 1})) == Variables((params, {"n": 1}), ())  # a pair of parameters is no state
    for pair in (Variables((), {"n": 1}), Variables(params, MIXTURE), Variables(params, {})):  # {} is not ()
        chex.assert_trees_all_equal(split(join(*pair)), pair)


def test_traversals_stay_in_the_support():
    z, i = jnp.array([0.6, 0.0, 0.8]), jnp.int32(1)
    for value in jnp.array([-0.96, 0.0, 0.96]):
        moved = von_mises_fisher(3).move(z, i, value)
        np.testing.assert_allclose(jnp.sum(moved**2), 1.0, rtol=1e-5)
        np.testing.assert_allclose(moved[1], value, atol=1e-6)
        np.testing.assert_allclose(moved[0] / moved[2], 0.75, rtol=1e-5)  # the others keep their direction
        np.testing.assert_array_equal(standard_normal(3).move(z, i, value), z.at[1].set(value))


def test_a_map_of_the_square_covers_the_prior_evenly():
    """Octants of the sphere have an eighth of the unit square each."""
    u, v = (np.arange(100) + 0.5)[:, None] / 100 * np.ones((1, 100)), np.ones((100, 1)) * (np.arange(100) + 0.5) / 100
    z = jax.vmap(jax.vmap(von_mises_fisher(3).from_square))(jnp.asarray(u), jnp.asarray(v)).reshape(-1, 3)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=-1), 1.0, rtol=1e-5)
    octant = (np.asarray(z) > 0) @ np.array([1, 2, 4])
    np.testing.assert_array_equal(np.bincount(octant), 1250)


def test_that_map_is_the_inverse_of_the_distribution_function():
    """Of N(0, I) by SciPy; of the uniform distribution the identity; of others, and of other sizes, there is none."""
    u, v = jnp.float32(0.9), jnp.float32(0.2)
    np.testing.assert_allclose(standard_normal(2).from_square(u, v), scipy.stats.norm.ppf([0.9, 0.2]), rtol=1e-5)
    np.testing.assert_array_equal(beta(2).from_square(u, v), np.float32([0.9, 0.2]))
    mixture = Mixture(jnp.zeros(2), Normal(jnp.zeros((2, 2)), jnp.ones((2, 2))))
    without = (standard_normal(3), beta(1), von_mises_fisher(2), power_spherical(4), conditional_normal(2, MLP((), (2, 2))))
    for latent in (*without, normal_mixture(mixture, learned=True), normal_mixture(mixture, learned=False)):
        assert latent.from_square is None


def test_paths_are_those_that_stay_in_the_support():
    """Half the way along a line is within the sphere, and half the way along an arc may be outside of the cube."""
    for latent in (standard_normal(2), with_flow(standard_normal(2), flows.planar(2)), normal_mixture(MIXTURE, learned=False)):
        assert latent.paths == ("spherical", "linear")
    assert von_mises_fisher(3).paths == power_spherical(3).paths == ("spherical",)
    assert beta(2).paths == ("linear",)


@pytest.mark.parametrize("output", [np.zeros(4), np.full(4, 1e25), np.full(4, -1e-30), np.array([3e38, 0, 0, -3e38])])
def test_any_output_of_an_encoder_makes_a_direction(output):
    latent = von_mises_fisher(3)

    def terms(output):
        posterior = latent.posterior((), output)
        return posterior.loc, posterior.concentration

    loc, concentration = terms(jnp.asarray(output, jnp.float32))
    np.testing.assert_allclose(jnp.linalg.norm(loc), 1.0, rtol=1e-5)
    assert 1 <= concentration <= 1e5
    jacobian = jax.jacobian(terms)(jnp.asarray(output, jnp.float32))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jacobian) if np.abs(output).max() > 1e-20)


def test_the_prior_of_a_sphere_is_uniform():
    assert von_mises_fisher(5).prior(()) == UniformSphere(5)


MIXTURE = Mixture(jnp.zeros(2), Normal(jnp.zeros((2, 3)), jnp.ones((2, 3))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: standard_normal(0), "latent_dim is 0: give 1 or more"),
        (lambda: beta(0), "latent_dim is 0: give 1 or more"),
        (lambda: von_mises_fisher(1), "latent_dim is 1, and a sphere needs"),
        (lambda: power_spherical(1), "latent_dim is 1, and a sphere needs"),
        (lambda: class_conditional(mlp_vae(standard_normal(2)), 1), "num_classes is 1: give 2 or more"),
        (lambda: CASES["conditional-prior"].vae.encode({}, BINARY), "context is missing"),
        (lambda: CASES["conditional-prior"].vae.encode({}, BINARY, 3), "context is 3, and the model has 3 classes"),
        (lambda: CASES["conditional-prior"].vae.encode({}, BINARY, jnp.int32(-1)), "context is -1"),
        (lambda: CASES["conditional-prior"].vae.encode({}, BINARY, 1.5), "context is 1.5"),
        (lambda: CASES["conditional-prior"].vae.encode({}, BINARY, jnp.arange(2)), "give one whole number from 0 to 2"),
        (lambda: with_flow(von_mises_fisher(3), flows.planar(3)), "A flow needs latents that may be any vector"),
        (lambda: with_flow(beta(3), flows.planar(3)), "A flow needs latents that may be any vector"),
        (lambda: conditional_normal(2, MLP((), (2, 2))).prior({}), "context is missing"),
        (lambda: bottom_up_vae([MLP((), (2, 2))], [], MLP((), EVENT), (2, 2), bernoulli_likelihood()), "inference has 1 nets"),
        (lambda: bottom_up_vae([], [], MLP((), EVENT), (), bernoulli_likelihood()), "latent_dims is"),
        (
            lambda: ladder_vae(
                [MLP((4,), None)], [MLP((), (2, 2))], [MLP((), (2, 2))], MLP((), EVENT), (2,), bernoulli_likelihood()
            ),
            "generation has 1 nets, and 1 layers of latents take 0",
        ),
        (
            lambda: variational_autoencoder(MLP((), (2, 3)), MLP((), EVENT), standard_normal(2), bernoulli_likelihood()).encode(
                {"encoder": MLP((), (2, 3)).init(jax.random.key(0), BINARY), "latent": ()}, BINARY
            ),
            r"encoder returns \(2, 3\), and the posterior takes \(2, 2\)",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_learned_mixture_starts_where_it_is_put(key):
    learned = normal_mixture(MIXTURE, learned=True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), learned.prior(learned.init(key)), MIXTURE)


@pytest.mark.slow
def test_a_mixture_that_is_not_learned_is_the_state_and_has_no_parameters(key):
    vae = CASES["mixture"].vae
    params, state = vae.init(key, BINARY)
    chex.assert_trees_all_equal(state, vae.latent.fixed())
    assert params["latent"] == ()
    assert CASES["mixture-learned"].vae.latent.fixed() == standard_normal(2).fixed() == ()
    # it is the state that counts, so that a run goes on with the mixture that it began with
    other = jax.tree.map(lambda leaf: leaf + 0.3, state)
    chex.assert_trees_all_equal(vae.prior(Variables(params, other)), other)
    z = jnp.array([0.2, -0.4])
    weights, (loc, scale) = np.exp(other.logits) / np.exp(other.logits).sum(), other.components
    exact = np.log(sum(w * np.prod(scipy.stats.norm(m, s).pdf(z)) for w, m, s in zip(weights, loc, scale, strict=True)))
    np.testing.assert_allclose(vae.prior(Variables(params, other)).log_prob(z), exact, rtol=1e-5)
    _, (after, _) = elbo_loss(vae)(params, other, key, jnp.int32(0), Split(BINARY[None]))
    chex.assert_trees_all_equal(after, other)


def test_training_leaves_the_mixture_that_a_model_was_made_of(key):
    """A compiled epoch takes over the buffers of its state, and the model makes a second one."""
    mixture = jax.tree.map(jnp.copy, MIXTURE)
    vae = variational_autoencoder(MLP((), (2, 3)), MLP((), EVENT), normal_mixture(mixture, learned=False), bernoulli_likelihood())
    first = vae.init(key, BINARY)
    expected = jax.tree.map(np.array, first)
    jax.jit(lambda variables: jax.tree.map(lambda leaf: leaf + 1, variables), donate_argnums=0)(first)
    chex.assert_trees_all_equal(vae.init(key, BINARY), expected)


def test_a_posterior_against_a_mixture_has_the_kl_of_quadrature(key):
    """KL(N(0.3, 0.6²) ‖ ½ N(−1, 0.5²) + ½ N(2, 1.5²)), of which the model sees one draw at a time."""
    prior = Mixture(jnp.zeros(2), Normal(jnp.array([[-1.0], [2.0]]), jnp.array([[0.5], [1.5]])))
    q = Normal(jnp.array([0.3]), jnp.array([0.6]))
    grid = np.linspace(-6, 7, 20_001)
    density = scipy.stats.norm(0.3, 0.6).pdf(grid)
    mixture = 0.5 * scipy.stats.norm(-1, 0.5).pdf(grid) + 0.5 * scipy.stats.norm(2, 1.5).pdf(grid)
    exact = np.trapezoid(density * (np.log(density) - np.log(mixture)), grid)

    def draw(key):
        z, log_q = q.sample_and_log_prob(key)
        return kl_term(q, prior, z, log_q)[0]

    draws = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(key, 20_000)), np.float64)
    assert abs(draws.mean() - exact) < 3 * draws.std() / np.sqrt(len(draws))


LATENTS = {
    "normal": standard_normal(3),
    "mixture": normal_mixture(MIXTURE, learned=False),
    "mixture-learned": normal_mixture(MIXTURE, learned=True),
    "von-mises-fisher": von_mises_fisher(3),
    "power-spherical": power_spherical(3),
    "beta": beta(3),
}
LIKELIHOODS = {
    "bernoulli": bernoulli_likelihood(),
    "gaussian": gaussian_likelihood(0.5),
    "gaussian-learned": gaussian_likelihood(0.5, learned=True),
    "discretised-logistic": discretised_logistic_likelihood(0.2),
}


@pytest.mark.slow
@pytest.mark.parametrize("latent", LATENTS)
def test_every_prior_goes_with_every_likelihood(latent, key):
    """The mean log-weight is the ELBO, and gradients stay finite, at ordinary parameters and far out."""
    vaes = {name: mlp_vae(LATENTS[latent], likelihood) for name, likelihood in LIKELIHOODS.items()}
    params = {name: vae.init(key, BINARY) for name, vae in vaes.items()}

    @jax.jit
    def differences(params, keys):
        def one(name, key):
            first, second = jax.random.split(key)
            return log_weight(vaes[name], params[name], first, BINARY) - elbo_terms(vaes[name], params[name], second, BINARY).elbo

        return {name: jax.vmap(functools.partial(one, name))(keys) for name in vaes}

    @jax.jit
    def gradient(variables, factor):
        own = {name: split(v).params for name, v in variables.items()}
        state = {name: split(v).state for name, v in variables.items()}

        def loss(own):
            return sum(elbo_terms(vae, join(own[name], state[name]), key, BINARY).elbo for name, vae in vaes.items())

        return jax.value_and_grad(loss)(jax.tree.map(lambda p: factor * p, own))

    for name, values in differences(params, jax.random.split(key, 10_000)).items():
        values = np.asarray(values, np.float64)
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values)), name
    chex.assert_tree_all_finite([gradient(params, factor) for factor in (0.0, 1.0, 1e2)])


def linear(weight: float, bias: float, log_variance: float | None = None):
    """A net that has no parameters: z -> w z + b, or of a normal variable with that mean, [2, 1]."""

    class Linear:
        init = staticmethod(lambda key, *inputs: {})

        @staticmethod
        def apply(params, z, context=None):
            mean = weight * jnp.ravel(z)[:1] + bias
            return mean if log_variance is None else jnp.stack([mean, jnp.full(1, log_variance)])

    return Linear()


def test_two_linear_layers_have_the_likelihood_of_their_normal_distribution(key):
    """z_2 ~ N(0, 1), z_1 | z_2 ~ N(0.7 z_2 − 0.2, 0.6²), x | z_1 ~ N(1.5 z_1 + 0.4, 0.5²): x ~ N(0.1, 2.25 · 0.85 + 0.25)."""
    generation, decoder = [linear(0.7, -0.2, 2 * np.log(0.6))], linear(1.5, 0.4)
    inference = [linear(0.5, 0.0, 0.0), linear(0.4, 0.0, 0.0)]
    vae = bottom_up_vae(inference, generation, decoder, (1, 1), gaussian_likelihood(0.5))
    x = jnp.array([1.3])
    params = vae.init(key, x)
    log_w = jax.jit(jax.vmap(lambda k: log_weight(vae, params, k, x)))(jax.random.split(key, 50_000))
    w = np.exp(np.asarray(log_w, np.float64))
    exact = scipy.stats.norm(0.1, np.sqrt(2.25 * (0.49 + 0.36) + 0.25)).pdf(1.3)
    assert abs(w.mean() - exact) < 3 * w.std() / np.sqrt(len(w))


def test_a_deep_latent_gaussian_decodes_as_its_equations_say(key):
    """h_2 = G_2 z_2, h_1 = T_1(h_2) + G_1 z_1, and the decoder's mean of h_1."""
    transforms, injections = [linear(-3.0, 0.5)], [linear(2.0, 0.0), linear(5.0, 0.0)]
    recognition = [linear(1.0, 0.0, 0.0), linear(1.0, 0.0, 0.0)]
    vae = deep_latent_gaussian(recognition, transforms, injections, linear(1.5, 0.4), (1, 1), gaussian_likelihood(0.5))
    params = vae.init(key, jnp.zeros(1))
    z_1, z_2 = 0.3, -1.1
    h_1 = (-3.0 * (5.0 * z_2) + 0.5) + 2.0 * z_1
    decoded = vae.decode(params, (jnp.array([z_1]), jnp.array([z_2]))).mean
    np.testing.assert_allclose(decoded, [1.5 * h_1 + 0.4], rtol=1e-6)
