"""Flows against exact values: published equations, known densities, and what `check_bijection` must refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from gen_jax import flows
from gen_jax.data import Split
from gen_jax.densities import density_loss, with_event_shape
from gen_jax.distributions import MultivariateNormal, Normal
from gen_jax.flows.root import tanh_root
from gen_jax.nets import MLP, autoregressive_net, near_zero
from gen_jax.types import Bijection, InputError
from gen_jax.vae import bernoulli_likelihood, standard_normal, variational_autoencoder, with_flow
from tests.contracts.bijections import AFFINE, COUPLING, DIM, MAF, POINT, POINTS

STANDARD = Normal(jnp.zeros(DIM), jnp.ones(DIM))
STANDARD_PLANE = Normal(jnp.zeros(2), jnp.ones(2))


def test_planar_is_the_equation_of_the_paper():
    """û = u + (m(wᵀu) − wᵀu) w / ‖w‖² with m(x) = −1 + log(1 + eˣ), and log |1 + ûᵀψ| with ψ = tanh′(wᵀz + b) w."""
    rng = np.random.default_rng(0)
    u, w, z, b = rng.normal(size=3), rng.normal(size=3), rng.normal(size=3), 0.3
    m = -1 + np.log1p(np.exp(w @ u))
    u_hat = u + (m - w @ u) * w / (w @ w)
    wanted = z + u_hat * np.tanh(w @ z + b)
    psi = (1 - np.tanh(w @ z + b) ** 2) * w
    params = {"u": jnp.float32(u), "w": jnp.float32(w), "b": jnp.float32(b)}
    y, log_det = flows.planar(3).forward_and_log_det(params, jnp.float32(z))
    np.testing.assert_allclose(y, wanted, rtol=1e-5)
    np.testing.assert_allclose(log_det, np.log(abs(1 + u_hat @ psi)), rtol=1e-5)


def test_radial_is_the_equation_of_the_paper():
    """f(z) = z + β h(α, r)(z − z_0), log-det (D − 1) log(1 + βh) + log(1 + βh + βh′r), with β = −α + softplus(β̂)."""
    rng = np.random.default_rng(0)
    centre, z, alpha, raw = rng.normal(size=3), rng.normal(size=3), 0.7, -0.4
    r, beta = np.linalg.norm(z - centre), -alpha + np.log1p(np.exp(raw))
    h, slope = 1 / (alpha + r), -1 / (alpha + r) ** 2
    params = {"centre": jnp.float32(centre), "log_alpha": jnp.log(jnp.float32(alpha)), "raw_s": jnp.float32(raw)}
    y, log_det = flows.radial(3).forward_and_log_det(params, jnp.float32(z))
    np.testing.assert_allclose(y, z + beta * h * (z - centre), rtol=1e-5)
    np.testing.assert_allclose(log_det, 2 * np.log(1 + beta * h) + np.log(1 + beta * h + beta * slope * r), rtol=1e-5)


def test_sylvester_with_one_unit_is_planar():
    """Q = w / ‖w‖, R r̃ = ûᵀw-hat: with M = 1, f(z) = z + q r tanh(r̃ qᵀz + b)."""
    params = {
        "basis": jnp.array([[3.0], [0.0], [4.0]]),
        "outer": jnp.array([[0.4]]),
        "inner": jnp.array([[-0.7]]),
        "b": jnp.array([0.2]),
    }
    z, q = np.array([0.5, -1.0, 2.0]), np.array([0.6, 0.0, 0.8])
    r, r_inner = np.tanh(0.4), np.tanh(-0.7)
    a = r_inner * (q @ z) + 0.2
    y, log_det = flows.orthogonal_sylvester(3, 1).forward_and_log_det(params, jnp.float32(z))
    np.testing.assert_allclose(y, z + q * r * np.tanh(a), rtol=1e-5)
    np.testing.assert_allclose(log_det, np.log(1 + r * r_inner / np.cosh(a) ** 2), rtol=1e-5)


@pytest.mark.parametrize("make", [flows.orthogonal_sylvester, flows.householder_sylvester])
def test_sylvester_bases_are_orthonormal(make):
    """f − id lies in the span of Q and the Jacobian has det Π(1 + …) only if QᵀQ = I: seen through many directions at once."""
    bijection = make(6, 4)
    params = bijection.init(jax.random.key(0))
    jacobian = jax.jacobian(lambda z: bijection.forward_and_log_det(params, z)[0])(jnp.linspace(-1, 1, 6))
    np.testing.assert_allclose(
        np.linalg.slogdet(np.asarray(jacobian, np.float64))[1],
        bijection.forward_and_log_det(params, jnp.linspace(-1, 1, 6))[1],
        atol=1e-5,
    )


def test_the_spline_is_monotone_with_matching_slopes_at_its_knots():
    """Its slope integrates to the spline over a fine grid, and outside it is the identity."""
    spline = flows.rational_quadratic_spline(num_bins=5, bound=2.0)
    raw = jnp.asarray(np.random.default_rng(0).uniform(-3, 3, spline.num_params), jnp.float32)
    with jax.enable_x64(True):
        x = jnp.linspace(-2.5, 2.5, 20_001)
        y, log_slope = jax.vmap(spline.forward, in_axes=(None, 0))(jnp.asarray(np.asarray(raw, np.float64)), x)
    y, slope = np.asarray(y), np.exp(np.asarray(log_slope))
    assert (np.diff(y) > 0).all()
    integral = y[0] + np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(x))])
    np.testing.assert_allclose(integral, y, atol=1e-4)
    outside = np.abs(x) >= 2
    np.testing.assert_array_equal(y[outside], np.asarray(x)[outside])
    np.testing.assert_array_equal(slope[outside], 1)


def test_raw_parameters_of_zero_are_the_identity():
    for transformer in (flows.affine(), flows.rational_quadratic_spline()):
        y, log_slope = transformer.forward(jnp.zeros(transformer.num_params), jnp.float32(0.7))
        np.testing.assert_allclose((y, log_slope), (0.7, 0), atol=1e-6)


def test_the_elementary_bijections_have_their_closed_forms():
    x = jnp.array([0.2, 0.5, 0.9])
    y, log_det = flows.logit(0.05).forward_and_log_det((), x)
    p = 0.05 + 0.9 * np.asarray(x)
    np.testing.assert_allclose(y, np.log(p / (1 - p)), rtol=1e-5)
    np.testing.assert_allclose(log_det, np.log(0.9 / (p * (1 - p))).sum(), rtol=1e-5)
    y, log_det = flows.standardise(np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, 4.0])).forward_and_log_det((), x)
    np.testing.assert_allclose(y, (np.asarray(x) - [1, 2, 3]) / [2, 0.5, 4], rtol=1e-6)
    np.testing.assert_allclose(log_det, -np.log(4), rtol=1e-6)
    y, log_det = flows.permutation([2, 0, 1]).forward_and_log_det((), x)
    np.testing.assert_array_equal(y, x[jnp.array([2, 0, 1])])
    assert log_det == 0


def test_chain_applies_its_bijections_in_order():
    double = flows.elementwise_affine(2)
    params = (
        {"shift": jnp.zeros(2), "log_scale": jnp.log(jnp.array([2.0, 2.0]))},
        {"shift": jnp.ones(2), "log_scale": jnp.zeros(2)},
    )
    y, log_det = flows.chain(double, double).forward_and_log_det(params, jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(y, [3, 7])
    np.testing.assert_allclose(log_det, 2 * np.log(2), rtol=1e-6)


def test_a_stack_is_the_chain_of_its_layers():
    stack = flows.stack(flows.planar(DIM), 3)
    params = stack.init(jax.random.key(0))
    layers = tuple(jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(3))
    chain = flows.chain(*[flows.planar(DIM)] * 3)
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        wanted = getattr(chain, direction)(layers, POINT)
        for got, want in zip(getattr(stack, direction)(params, POINT), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_the_program_of_a_stack_does_not_grow_with_its_layers():
    def size(num_layers):
        stack = flows.stack(flows.chain(COUPLING, flows.reverse(DIM)), num_layers)
        params = jax.eval_shape(stack.init, jax.random.key(0))
        return len(str(jax.make_jaxpr(jax.grad(lambda p, x: stack.inverse_and_log_det(p, x)[1]))(params, POINT)).splitlines())

    assert size(32) == size(4)


def test_an_amortised_bijection_adds_its_context_to_its_parameters():
    inner = flows.planar(2)
    params = inner.init(jax.random.key(0))
    offset = jnp.arange(flows.num_params(inner), dtype=jnp.float32) / 10
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    wanted = inner.forward_and_log_det(unravel(flat + offset), POINT[:2])
    got = flows.amortise(inner).forward_and_log_det(params, POINT[:2], 100 * offset)
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-5)
    with pytest.raises(InputError, match=r"context is of shape \(2,\).*give \(5,\)"):
        flows.amortise(inner).forward_and_log_det(params, POINT[:2], jnp.zeros(2))


@pytest.mark.parametrize(
    "bijection", [flows.planar(DIM), flows.orthogonal_sylvester(DIM, 3), flows.invert(MAF)], ids=["planar", "sylvester", "maf"]
)
def test_gradients_through_an_implicit_inverse_are_those_of_finite_differences(bijection):
    """Of the inverse of planar and Sylvester flows, and of MAF's forward direction, with respect to parameters and point."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64) * 2), bijection.init(jax.random.key(0)))
        flat, unravel = jax.flatten_util.ravel_pytree((params, jnp.asarray(np.asarray(POINT, np.float64))))

        @jax.jit
        def scalar(flat):
            params, point = unravel(flat)
            x, log_det = bijection.inverse_and_log_det(params, point)
            return jnp.sum(jnp.sin(x)) + log_det

        gradient = np.asarray(jax.grad(scalar)(flat))
        direction = np.random.default_rng(0).normal(size=flat.shape)
        step = 1e-5
        difference = (scalar(flat + step * direction) - scalar(flat - step * direction)) / (2 * step)
        np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-6)


@pytest.mark.parametrize("s", [1e-18, 1e-8, 1e-3, 0.5, 0.999, 1.0, 1.001, 3.0, 7.0, 30.0, 1e3, 1e6, 1e10])
def test_the_root_along_a_unit_is_found_everywhere(s):
    """a + (s − 1) tanh a = t from the flattest to the steepest, as far as t itself is known."""
    rng = np.random.default_rng(0)
    wanted = np.concatenate([[0.0, 1e-10], *(size * rng.normal(size=2000) for size in (0.01, 1, 3, 50))])
    t = np.float32(wanted + (s - 1) * np.tanh(wanted))
    a = np.asarray(jax.jit(jax.vmap(tanh_root, in_axes=(None, 0)))(jnp.float32(s), t), np.float64)
    terms = np.abs(a) + abs(s - 1) * np.abs(np.tanh(a)) + np.abs(t)
    assert (np.abs(a + (np.float64(np.float32(s)) - 1) * np.tanh(a) - t) <= 1e-5 * terms + 1e-30).all()


def test_gradients_of_that_root_are_those_of_the_implicit_function_theorem():
    """To the second order, and at the flat point itself, where autodiff of a + (s − 1) tanh a cancels."""
    for s, t in ((1e-7, 0.0), (0.3, 0.8), (5.0, -2.0), (1e3, 400.0)):
        with jax.enable_x64(True):
            a = float(tanh_root(jnp.float64(s), jnp.float64(t)))
            second = jax.grad(jax.grad(tanh_root, argnums=1), argnums=1)(jnp.float64(s), jnp.float64(t))
        slope, curvature = np.tanh(a) ** 2 + s / np.cosh(a) ** 2, -2 * (s - 1) * np.tanh(a) / np.cosh(a) ** 2
        gradient = jax.grad(tanh_root, argnums=(0, 1))(jnp.float32(s), jnp.float32(t))
        np.testing.assert_allclose(gradient, (-np.tanh(a) / slope, 1 / slope), rtol=1e-4)
        np.testing.assert_allclose(second, -curvature / slope**3, rtol=1e-6)


def test_the_spline_holds_next_to_its_knots():
    """One float below and above every knot of bins of very different widths: rounding puts a value just outside its bin."""
    spline = flows.rational_quadratic_spline(num_bins=8, bound=5.0)
    raw = 5 * jax.random.normal(jax.random.key(0), (2000, spline.num_params))

    def knots(raw):
        widths = jax.nn.softmax(raw) * (1 - 8e-3) + 1e-3
        return 10 * jnp.cumsum(widths)[:-1] - 5

    for direction, part in ((spline.forward, raw[:, :8]), (spline.inverse, raw[:, 8:16])):
        at = np.asarray(jax.vmap(knots)(part))
        points = np.stack([np.nextafter(at, np.float32(-9)), at, np.nextafter(at, np.float32(9))], axis=-1).reshape(len(raw), -1)
        values, log_slopes = jax.jit(jax.vmap(jax.vmap(direction, in_axes=(None, 0))))(raw, jnp.asarray(points))
        assert np.isfinite(values).all()
        assert np.isfinite(log_slopes).all()
        assert np.abs(values).max() <= 5


def test_the_planar_inverse_is_the_root_that_scipy_finds():
    bijection = flows.planar(DIM)
    params = jax.tree.map(lambda leaf: 3 * leaf, bijection.init(jax.random.key(4)))
    x, _ = bijection.inverse_and_log_det(params, POINT)
    wanted = scipy.optimize.root(
        lambda v: np.asarray(bijection.forward_and_log_det(params, jnp.float32(v))[0]) - POINT, np.zeros(DIM)
    )
    np.testing.assert_allclose(x, wanted.x, atol=1e-4)


def test_an_affine_flow_density_is_the_normal_distribution_it_must_be():
    """y = A x + t with x ~ N(0, I): an affine chain whose density is N(t, A Aᵀ)."""
    scale, shift = jnp.array([0.5, 2.0, 1.5]), jnp.array([1.0, -1.0, 0.0])
    flow = flows.chain(flows.elementwise_affine(3), flows.permutation([1, 2, 0]))
    model = flows.flow_density(Normal(jnp.zeros(3), jnp.ones(3)), flow)
    params = ({"shift": shift, "log_scale": jnp.log(scale)}, ())
    point, order = jnp.array([0.3, -0.8, 1.2]), np.array([1, 2, 0])
    wanted = scipy.stats.norm(np.asarray(shift)[order], np.asarray(scale)[order]).logpdf(point).sum()
    np.testing.assert_allclose(model.log_prob(params, point), wanted, rtol=1e-5)
    draws = np.asarray(jax.vmap(lambda k: model.sample(params, k))(jax.random.split(jax.random.key(0), 4000)))
    for i in range(3):
        assert scipy.stats.kstest(draws[:, i], scipy.stats.norm(shift[order[i]], scale[order[i]]).cdf).pvalue > 1e-3


def test_transformed_returns_the_density_of_its_own_samples():
    base = MultivariateNormal(jnp.zeros(DIM), jnp.eye(DIM) + 0.3 * jnp.tri(DIM, k=-1))
    distribution = flows.Transformed(base, MAF, MAF.init(jax.random.key(0)))
    value, log_prob = distribution.sample_and_log_prob(jax.random.key(1))
    np.testing.assert_allclose(log_prob, distribution.log_prob(value), rtol=1e-4)
    # a pytree: it can be handed through jit and stacked by vmap
    leaves, treedef = jax.tree.flatten(distribution)
    np.testing.assert_allclose(jax.jit(lambda d: d.log_prob(value))(jax.tree.unflatten(treedef, leaves)), log_prob, rtol=1e-4)


@pytest.mark.parametrize("name", ["planar", "coupling", "maf", "spline"])
@pytest.mark.slow
def test_a_density_in_the_plane_integrates_to_the_share_of_draws(name):
    spline = flows.rational_quadratic_spline()
    layer = {
        "planar": flows.planar(2),
        "coupling": flows.chain(flows.coupling(MLP((8,), (2, 1)), 2, AFFINE), flows.reverse(2)),
        "maf": flows.chain(flows.masked_autoregressive(autoregressive_net(2, (8,), 2), 2, AFFINE), flows.reverse(2)),
        "spline": flows.chain(
            flows.coupling(MLP((8,), (spline.num_params, 1), output_init=near_zero), 2, spline), flows.reverse(2)
        ),
    }[name]
    model = flows.flow_density(Normal(jnp.zeros(2), jnp.ones(2)), flows.stack(layer, 3))
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(jax.random.key(0)))
    axis = jnp.linspace(-4, 4, 801)
    grid = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(jax.jit(jax.vmap(lambda x: model.log_prob(params, x)))(grid), dtype=np.float64)
    draws = jax.jit(jax.vmap(lambda k: model.sample(params, k)))(jax.random.split(jax.random.key(0), 20_000))
    share = np.mean(np.abs(draws).max(axis=1) < 4)
    assert share > 0.5
    np.testing.assert_allclose(density.sum() * 0.01**2, share, atol=0.003 + 4 * np.sqrt(share * (1 - share) / 20_000))


BROKEN = {
    "log_det": lambda f: f._replace(
        forward_and_log_det=lambda p, x, c=None: (f.forward_and_log_det(p, x)[0], f.forward_and_log_det(p, x)[1] + 1e-2)
    ),
    "round_trip": lambda f: f._replace(
        inverse_and_log_det=lambda p, y, c=None: (f.inverse_and_log_det(p, y)[0] * 1.01, f.inverse_and_log_det(p, y)[1])
    ),
    "gradient": lambda f: f._replace(
        forward_and_log_det=lambda p, x, c=None: (
            f.forward_and_log_det(p, x)[0],
            f.forward_and_log_det(p, x)[1] + jnp.sqrt(jnp.sum(0 * x)),
        )
    ),
    "gradient-stopped": lambda f: f._replace(
        forward_and_log_det=lambda p, x, c=None: f.forward_and_log_det(jax.lax.stop_gradient(p), x)
    ),
    "vmap": lambda f: f._replace(
        forward_and_log_det=lambda p, x, c=None: (
            f.forward_and_log_det(p, x)[0] + 0.1 * ("Batch" in type(x).__name__),
            f.forward_and_log_det(p, x)[1],
        )
    ),
    "float32": lambda f: f._replace(
        forward_and_log_det=lambda p, x, c=None: (
            f.forward_and_log_det(p, x)[0] + (x.dtype == jnp.float32) * 0.1,
            f.forward_and_log_det(p, x)[1],
        )
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("law", BROKEN)
def test_check_bijection_finds_what_is_broken(law):
    good = flows.elementwise_affine(DIM)
    params = good.init(jax.random.key(0))
    flows.check_bijection(good, params, POINTS)
    with pytest.raises(AssertionError, match=law.split("-")[0]):
        flows.check_bijection(BROKEN[law](good), params, POINTS)


def test_check_bijection_traces_a_bijection_once_for_all_its_parameters():
    good, traces = flows.elementwise_affine(DIM), []

    def forward(params, x, context=None):
        if isinstance(x, jax.core.Tracer):
            traces.append(None)
        return good.forward_and_log_det(params, x)

    counted = Bijection(good.init, forward, good.inverse_and_log_det)
    params = good.init(jax.random.key(0))
    flows.check_bijection(counted, params, POINTS)
    num = len(traces)
    assert num > 0
    flows.check_bijection(counted, jax.tree.map(lambda leaf: leaf + 1, params), 2 * POINTS)
    assert len(traces) == num


def test_check_bijection_finds_differences_between_jit_and_eager():
    good = flows.elementwise_affine(DIM)

    def forward(params, x, context=None):
        y, log_det = good.forward_and_log_det(params, x)
        return y + (0.0 if isinstance(x, jax.core.Tracer) else 0.1), log_det

    with pytest.raises(AssertionError, match="jit"):
        flows.check_bijection(Bijection(good.init, forward, good.inverse_and_log_det), good.init(jax.random.key(0)), POINTS)


def test_errors_name_the_argument():
    with pytest.raises(InputError, match="order is"):
        flows.permutation([0, 2, 2])
    for order in (np.array([0.0, 1.0]), np.array([[0], [1]]), np.array(0), []):
        with pytest.raises(InputError, match="order is"):
            flows.permutation(order)
    with pytest.raises(InputError, match=r"x ranges from -0.1 to 1, and logit takes values in \(-1.000002e-06, 1.000001\)"):
        flows.logit().forward_and_log_det((), jnp.array([-0.1, 1.0]))
    with pytest.raises(InputError, match=r"logit takes values in \(0, 1\)"):
        flows.logit(0.0).forward_and_log_det((), jnp.array([0.0, 0.5]))
    with pytest.raises(InputError, match="margin is"):
        flows.logit(0.5)
    with pytest.raises(InputError, match="std"):
        flows.standardise(np.zeros(2), np.array([1.0, 0.0]))
    with pytest.raises(InputError, match="dim is 0"):
        flows.planar(0)
    with pytest.raises(InputError, match="dim is 1: give 2"):
        flows.coupling(MLP((8,), (2, 1)), 1, AFFINE)
    with pytest.raises(InputError, match="num_units is 4: give a number from 1 to dim, 3"):
        flows.orthogonal_sylvester(3, 4)
    with pytest.raises(InputError, match="num_reflections is 0"):
        flows.householder_sylvester(3, 2, 0)
    with pytest.raises(InputError, match="num_bins is 1"):
        flows.rational_quadratic_spline(num_bins=1)
    with pytest.raises(InputError, match="bound is -1"):
        flows.rational_quadratic_spline(bound=-1.0)
    with pytest.raises(InputError, match="num_layers is 0"):
        flows.stack(flows.planar(2), 0)
    with pytest.raises(InputError, match="chain"):
        flows.chain()
    with pytest.raises(InputError, match="hidden_sizes"):
        autoregressive_net(5, (3,), 2)
    with pytest.raises(InputError, match="xs holds 1 examples"):
        flows.check_bijection(flows.planar(DIM), flows.planar(DIM).init(jax.random.key(0)), POINTS[:1])


def test_values_that_do_not_fit_are_refused():
    key = jax.random.key(0)
    with pytest.raises(InputError, match=r"x has shape \(3,\), and the bijection takes \(\)"):
        flows.standardise(np.array(0.5), np.array(0.1)).forward_and_log_det((), jnp.zeros(3))
    for bijection in (flows.standardise(np.zeros(2), np.ones(2)), flows.logit(), flows.permutation([1, 0])):
        with pytest.raises(InputError, match="x is of int32, and a bijection takes float32 or float64"):
            bijection.forward_and_log_det((), jnp.array([0, 1]))
    narrow = flows.coupling(MLP((4,), (1, 3)), DIM, AFFINE)
    with pytest.raises(InputError, match=r"net returns shape \(1, 3\), and the transformer takes 2 parameters for each of 3"):
        narrow.forward_and_log_det(narrow.init(key), POINT)
    other = flows.masked_autoregressive(autoregressive_net(DIM, (8,), 3), DIM, AFFINE)
    for direction in (other.forward_and_log_det, other.inverse_and_log_det):
        with pytest.raises(InputError, match=r"net returns shape \(3, 5\)"):
            direction(other.init(key), POINT)
    for make in (
        lambda: flows.coupling(MLP((4,), (2, 3)), DIM, AFFINE, context_dim=2),
        lambda: flows.masked_autoregressive(autoregressive_net(DIM, (8,), 2), DIM, AFFINE, context_dim=2),
    ):
        with pytest.raises(InputError, match="context is missing, and the bijection was made with context_dim 2"):
            make().forward_and_log_det(make().init(key), POINT)
        with pytest.raises(InputError, match=r"context is of shape \(3,\)"):
            make().forward_and_log_det(make().init(key), POINT, jnp.zeros(3))
    # under jit, where no error can be raised for a value
    assert np.isnan(jax.jit(flows.logit(0.05).forward_and_log_det)((), jnp.array([-0.06, 0.5]))[1])


def test_an_encoder_of_another_size_is_refused():
    for size in (3, 9):
        latent = with_flow(standard_normal(2), flows.planar(2))
        vae = variational_autoencoder(MLP((4,), (size,)), MLP((4,), (6,)), latent, bernoulli_likelihood())
        with pytest.raises(InputError, match=rf"encoder returns \({size},\), and the posterior takes \(4,\)"):
            vae.encode(vae.init(jax.random.key(0), jnp.zeros(6)), jnp.zeros(6))


@pytest.mark.parametrize(
    "make", [flows.planar, flows.radial, flows.elementwise_affine, lambda d: flows.orthogonal_sylvester(d, 2), flows.reverse]
)
def test_an_example_of_another_size_is_refused(make):
    bijection = make(3)
    params = bijection.init(jax.random.key(0))
    for direction in (bijection.forward_and_log_det, bijection.inverse_and_log_det):
        with pytest.raises(InputError, match=r"shape \(4,\).*takes \(3,\)"):
            direction(params, jnp.zeros(4))
    with pytest.raises(InputError, match=r"x has shape \(4,\)"):
        flows.flow_density(Normal(jnp.zeros(3), jnp.ones(3)), bijection).log_prob(params, jnp.zeros(4))


@pytest.mark.parametrize(
    ("annealing_steps", "step", "weight"),
    [(100, 0, 0.01), (100, 50, 0.51), (100, 99, 1.0), (100, 500, 1.0), (100, np.inf, 1.0), (1, 0, 0.01), (1, 1, 1.0)],
)
def test_the_loss_of_an_energy_is_log_q_and_the_weighted_energy(annealing_steps, step, weight):
    """By hand, of an affine flow: z = t + s ε is N(t, s²), whose log-density is SciPy's."""
    shift, scale, key = np.float32([1.0, -0.5]), np.float32([0.5, 2.0]), jax.random.key(1)
    params = {"shift": jnp.asarray(shift), "log_scale": jnp.log(scale)}
    noise = np.stack([STANDARD_PLANE.sample(k) for k in jax.random.split(key, 5)])
    z = shift + scale * noise
    log_q = scipy.stats.norm(shift, scale).logpdf(z).sum(-1)
    u = (z**4).sum(-1) - 3 * z[:, 0]
    loss = flows.energy_loss(
        STANDARD_PLANE, flows.elementwise_affine(2), lambda z: jnp.sum(z**4) - 3 * z[0], annealing_steps=annealing_steps
    )
    step = jnp.asarray(step, jnp.float32 if np.isinf(step) else jnp.int32)
    value, (state, metrics) = loss(params, (), key, step, Split(jnp.zeros((5, 2))))
    np.testing.assert_allclose(value, np.mean(log_q + weight * u), rtol=1e-5)
    np.testing.assert_allclose(metrics["elbo"], np.mean(-log_q - u), rtol=1e-5)
    assert state == ()


def test_the_loss_of_the_flows_own_energy_is_nothing_at_every_draw():
    """U = −log q: KL(q ‖ q) = 0, without noise; and of −log q − 1.5, whose Z is e^1.5, it is −1.5."""
    bijection = flows.stack(flows.planar(2), 2)
    params = jax.tree.map(lambda leaf: 2 * leaf, bijection.init(jax.random.key(0)))
    log_q = flows.Transformed(STANDARD_PLANE, bijection, params).log_prob
    for log_z in (0.0, 1.5):
        loss = flows.energy_loss(STANDARD_PLANE, bijection, lambda z, c=log_z: -log_q(z) - c, annealing_steps=10)
        value, (_, metrics) = loss(params, (), jax.random.key(1), jnp.float32(jnp.inf), Split(jnp.zeros((3, 2))))
        np.testing.assert_allclose((value, metrics["elbo"]), (-log_z, log_z), atol=1e-4)


def test_the_loss_of_a_density_is_minus_its_mean_log_prob():
    """Of N(t, s²) by SciPy, on vectors and on examples of another shape in row-major order."""
    shift, scale = np.float32([1.0, -0.5, 0.0, 2.0]), np.float32([0.5, 2.0, 1.0, 0.1])
    params = {"shift": jnp.asarray(shift), "log_scale": jnp.log(scale)}
    model = flows.flow_density(Normal(jnp.zeros(4), jnp.ones(4)), flows.elementwise_affine(4))
    xs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    mean = scipy.stats.norm(shift, scale).logpdf(xs).sum(-1).mean()
    for density, batch in ((model, xs), (with_event_shape(model, (2, 1, 2)), xs.reshape(3, 2, 1, 2))):
        value, (state, metrics) = density_loss(density)(params, (), jax.random.key(0), jnp.int32(0), Split(jnp.asarray(batch)))
        np.testing.assert_allclose((value, metrics["log_prob"]), (-mean, mean), rtol=1e-5)
        assert state == ()
        assert density.complete is None


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_refused(dtype):
    for flow in (flows.planar(3), flows.orthogonal_sylvester(3, 2), flows.stack(flows.planar(3), 2)):
        params = flow.init(jax.random.key(0))
        for direction in (flow.forward_and_log_det, flow.inverse_and_log_det):
            with pytest.raises(InputError, match="float16, and a bijection takes float32 or float64: convert it"):
                direction(jax.tree.map(lambda leaf: leaf.astype(dtype), params), jnp.zeros(3, dtype))


ORDERS = {
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "forward over reverse": jax.hessian,
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["maf", "iaf", "planar", "sylvester"])
def test_hessians_through_a_stack_and_a_loop_are_the_same_by_every_order(kind):
    """In the direction that is solved for; JAX drops custom derivatives of a scan there. Against differences of the gradient."""
    net = autoregressive_net(3, (8,), 2, activation=jnp.tanh)
    layer = {
        "maf": flows.masked_autoregressive(net, 3, flows.affine()),
        "iaf": flows.invert(flows.inverse_autoregressive(net, 3, flows.affine())),
        "planar": flows.invert(flows.planar(3)),
        "sylvester": flows.invert(flows.orthogonal_sylvester(3, 2)),
    }[kind]
    stacked = flows.stack(layer, 2)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: 3 * jnp.asarray(np.asarray(leaf, np.float64)), stacked.init(jax.random.key(0)))
        x = jnp.array([0.3, -0.7, 1.1])

        def f(x):
            y, log_det = stacked.forward_and_log_det(params, x)
            looped = jax.lax.map(
                lambda x: jnp.sum(jnp.sin(layer.forward_and_log_det(jax.tree.map(lambda p: p[0], params), x)[0])), x[None]
            )
            return jnp.sum(jnp.sin(y)) + log_det + looped[0]

        gradient = jax.jit(jax.grad(f))
        steps = 1e-5 * jnp.eye(3)
        differences = jnp.stack([gradient(x + step) - gradient(x - step) for step in steps]) / 2e-5
        assert np.abs(differences).max() > 0.1
        for hessian in ORDERS.values():
            np.testing.assert_allclose(jax.jit(hessian(f))(x), differences, atol=1e-7 * np.abs(differences).max())
        batched = jax.jit(jax.vmap(jax.hessian(f)))(jnp.stack([x, x + 1]))
        np.testing.assert_allclose(batched[0], differences, atol=1e-7 * np.abs(differences).max())


@pytest.mark.parametrize(("margin", "scale"), [(1e-3, 10.0), (1e-6, 10.0), (0.0, 30.0)])
def test_samples_squeezed_by_a_logit_have_a_finite_density(margin, scale):
    """Many of them round to the ends of the domain."""
    density = flows.flow_density(Normal(jnp.zeros(5), jnp.full(5, scale)), flows.invert(flows.logit(margin)))
    samples = jax.vmap(lambda key: density.sample((), key))(jax.random.split(jax.random.key(0), 200))
    assert np.isfinite(jax.vmap(lambda x: density.log_prob((), x))(samples)).all()
