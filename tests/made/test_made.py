"""MADE: its structure by gradients, its density by summing it up, its sampling against the plain loop and the density."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax import made
from gen_jax.data import Split
from gen_jax.densities import density_loss, with_event_shape
from gen_jax.made import bernoulli_output, categorical_output, draw_by_passes, normal_mixture_output
from gen_jax.nets import Degrees, MaskedMLP, check_hidden_sizes, draw_degrees, lost_dependencies, natural_degrees
from gen_jax.types import InputError, Variables
from tests.contracts.mades import CASES, ROWS
from tests.small import fast_first


def network(case) -> MaskedMLP:
    return MaskedMLP(case.hidden_sizes, case.output.num_params, case.direct, case.activation)


def shuffled(case) -> Degrees:
    return draw_degrees(jax.random.key(5), case.model.degrees)


@pytest.mark.parametrize("name", ROWS)
def test_outputs_depend_on_the_inputs_of_a_lower_degree_and_on_no_others(name):
    case = CASES[name]
    net, params = network(case), case.params

    @jax.jit
    def derivatives(degrees):
        def one(key):
            keys = jax.random.split(key, 2)
            noisy = jax.tree.map(lambda leaf: leaf + jax.random.normal(keys[0], leaf.shape), params)
            features = jax.random.normal(keys[1], (case.dim, case.output.num_features))
            return jax.jacobian(lambda f: net.apply(noisy, f, degrees))(features)

        # over a few parameters and inputs, since a ReLU may be shut at one of them
        return jax.vmap(one)(jax.random.split(jax.random.key(0), 10))

    for degrees in (case.model.degrees, shuffled(case)):
        largest = np.abs(derivatives(degrees)).max(axis=(0, 1, 4))  # [output, input]
        degree = np.asarray(degrees.inputs)
        allowed = degree[:, None] > degree[None, :]
        assert (largest[~allowed] == 0).all()
        assert (largest[allowed] > 0).all()
        assert lost_dependencies(degrees, case.direct).pairs == []


def mask_modes(model):
    natural, key = model.degrees, jax.random.key(4)
    return {
        "fixed": (lambda index: natural, 1),
        "fixed-ordering": (lambda index: made.with_ordering(natural, np.roll(np.arange(12)[::-1], 5)), 1),
        "orderings": (made.shuffled_masks(key, natural, connectivity=False), 3),
        "connectivities": (made.shuffled_masks(key, natural, ordering=False), 3),
        "both": (made.shuffled_masks(key, natural), 8),
    }


@pytest.mark.parametrize("mode", ["fixed", "fixed-ordering", "orderings", "connectivities", "both"])
@pytest.mark.parametrize(("direct", "one_hot"), [(False, False), pytest.param(True, True, marks=pytest.mark.slow)])
def test_probabilities_of_all_inputs_sum_to_one(mode, direct, one_hot):
    model = made.made(12, (25, 30), bernoulli_output(one_hot), direct)
    masks, num_masks = mask_modes(model)[mode]
    density = made.ensemble(model, masks, num_masks)
    params = density.init(jax.random.key(0))
    params = params._replace(params=jax.tree.map(lambda leaf: 2 * leaf, params.params))
    inputs = jnp.array(list(itertools.product((0.0, 1.0), repeat=12)))
    log_probs = np.asarray(jax.jit(jax.vmap(density.log_prob, in_axes=(None, 0)))(params, inputs), np.float64)
    np.testing.assert_allclose(np.exp(log_probs).sum(), 1, rtol=1e-5)
    assert log_probs.std() > 0.1


def test_an_ensemble_is_the_mean_of_the_densities_of_its_masks():
    case = CASES["bernoulli"]
    masks = made.shuffled_masks(jax.random.key(4), case.model.degrees)
    each = [case.model.log_prob(case.params, masks(m), case.x) for m in range(5)]
    assert np.std(each) > 0.1
    wanted = np.log(np.mean(np.exp(np.asarray(each, np.float64))))
    density = made.ensemble(case.model, masks, 5)
    params = density.init(jax.random.key(0))._replace(params=case.params)
    np.testing.assert_allclose(density.log_prob(params, case.x), wanted, rtol=1e-5)


def test_a_loss_goes_through_the_masks_of_the_ensemble_in_turn_or_takes_fresh_ones():
    case = CASES["bernoulli"]
    masks = made.shuffled_masks(jax.random.key(4), case.model.degrees)
    state = made.ensemble(case.model, masks, 3).init(jax.random.key(0)).state
    batch = Split(jnp.stack([case.x, 1 - case.x]))
    seen = set()
    for fresh, step, index in ((None, 0, 0), (None, 1, 1), (None, 8, 2), (masks, 0, 3), (masks, 8, 11)):
        loss = jax.jit(made.made_loss(case.model, fresh))
        value, (after, metrics) = loss(case.params, state, jax.random.key(1), jnp.int32(step), batch)
        wanted = np.mean([case.model.log_prob(case.params, masks(index), x) for x in batch.x])
        np.testing.assert_allclose((value, metrics["log_prob"]), (-wanted, wanted), rtol=1e-5)
        chex.assert_trees_all_equal(after, state)
        seen.add(round(float(value), 4))
    assert len(seen) == 5  # the masks differ


def test_a_loss_at_a_step_of_infinity_is_one_of_the_ensembles():
    """As validation asks for it: of one of its masks, or of more of them at once."""
    case = CASES["bernoulli"]
    masks = made.shuffled_masks(jax.random.key(4), case.model.degrees)
    state = made.ensemble(case.model, masks, 3).init(jax.random.key(0)).state
    infinity = jnp.float32(jnp.inf)
    value, _ = made.made_loss(case.model)(case.params, state, jax.random.key(1), infinity, Split(case.x[None]))
    of_masks = [-case.model.log_prob(case.params, masks(index), case.x) for index in range(3)]
    assert np.min(of_masks) - 1e-4 <= value <= np.max(of_masks) + 1e-4


@pytest.mark.slow
def test_the_loss_of_images_is_that_of_their_vectors():
    case = CASES["bernoulli-three-layers"]
    state = made.ensemble(case.model, lambda m: case.model.degrees).init(jax.random.key(0)).state
    xs = jnp.stack([case.x, 1 - case.x])
    values = [
        made.made_loss(case.model)(case.params, state, jax.random.key(1), jnp.int32(0), Split(batch))[0]
        for batch in (xs, xs.reshape(2, 3, 2, 1))
    ]
    assert values[0] == values[1]


def test_the_masks_of_an_ensemble_are_its_state():
    """Stacked; the state counts, not the function that it was drawn by."""
    case = CASES["bernoulli"]
    masks = made.shuffled_masks(jax.random.key(4), case.model.degrees)
    density = made.ensemble(case.model, masks, 3)
    params, state = density.init(jax.random.key(0))
    chex.assert_trees_all_equal(params, case.model.init(jax.random.key(0)))
    for index in range(3):
        chex.assert_trees_all_equal(jax.tree.map(lambda leaf, i=index: leaf[i], state), masks(index))
    others = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(masks(index) for index in (7, 8, 9)))
    each = np.array([case.model.log_prob(params, masks(index), case.x) for index in (7, 8, 9)], np.float64)
    found = density.log_prob(Variables(params, others), case.x)
    np.testing.assert_allclose(found, np.log(np.mean(np.exp(each))), rtol=1e-5)
    observed, key = np.arange(7) < 3, jax.random.key(5)
    after = [np.subtract.outer(masks(index).inputs, masks(index).inputs) < 0 for index in (7, 8, 9)]  # [D, D]: row before column
    unused = [(pairs & ~observed[:, None] & observed[None]).sum() for pairs in after]
    best = int(np.argmin(unused))
    found = density.complete(Variables(params, others), key, case.x, observed)
    assert (found.mask, found.unused, found.exact) == (best, unused[best], unused[best] == 0)
    np.testing.assert_array_equal(found.x, case.model.complete(params, masks(7 + best), key, case.x, observed))
    with pytest.raises(InputError, match="give bool"):
        density.complete(Variables(params, others), key, case.x, np.True_)


@pytest.mark.slow
def test_a_density_of_images_is_that_of_their_vectors():
    case = CASES["bernoulli-three-layers"]
    flat = made.ensemble(case.model, lambda m: case.model.degrees)
    images = with_event_shape(flat, (3, 2, 1))
    params, x = flat.init(jax.random.key(0))._replace(params=case.params), case.x
    flat, images = (model._replace(log_prob=jax.jit(model.log_prob), sample=jax.jit(model.sample)) for model in (flat, images))
    assert images.log_prob(params, x.reshape(3, 2, 1)) == flat.log_prob(params, x)
    key = jax.random.key(5)
    np.testing.assert_array_equal(images.sample(params, key), flat.sample(params, key).reshape(3, 2, 1))
    observed = np.arange(6) < 3
    drawn = images.complete(params, key, x.reshape(3, 2, 1), observed.reshape(3, 2, 1))
    wanted = flat.complete(params, key, x, observed)
    chex.assert_trees_all_equal(drawn, wanted._replace(x=wanted.x.reshape(3, 2, 1)))
    xs = jnp.stack([x, 1 - x])
    value, (state, metrics) = density_loss(images)(*params, key, jnp.int32(0), Split(xs.reshape(2, 3, 2, 1)))
    mean = np.mean([case.model.log_prob(case.params, case.model.degrees, x) for x in xs])
    np.testing.assert_allclose((value, metrics["log_prob"]), (-mean, mean), rtol=1e-5)
    chex.assert_trees_all_equal(state, params.state)
    with pytest.raises(InputError, match=r"x has shape \(6,\), and the model takes \(3, 2, 1\)"):
        images.log_prob(params, x)
    with pytest.raises(InputError, match=r"x has shape \(6,\), and the model takes \(3, 2, 1\)"):
        images.complete(params, key, x.reshape(3, 2, 1), observed)
    assert with_event_shape(flat._replace(complete=None), (3, 2, 1)).complete is None


@pytest.mark.slow
def test_what_cannot_occur_has_no_probability_where_no_error_can_be_raised():
    for name, x in (("bernoulli", 0.5), ("categorical", 3), ("categorical", -1), ("normal-mixture", np.inf)):
        case = CASES[name]
        xs = jnp.stack([case.x, case.x.at[1].set(x)])
        log_probs = jax.vmap(case.model.log_prob, in_axes=(None, None, 0))(case.params, case.model.degrees, xs)
        assert np.isfinite(log_probs[0])
        assert log_probs[1] == -jnp.inf


def test_a_categorical_made_sums_to_one():
    model = made.made(4, (9,), categorical_output(3))
    inputs = jnp.array(list(itertools.product(range(3), repeat=4)), jnp.int32)
    params = jax.tree.map(lambda leaf: 2 * leaf, model.init(jax.random.key(0)))
    log_probs = jax.vmap(lambda x: model.log_prob(params, model.degrees, x))(inputs)
    np.testing.assert_allclose(np.exp(log_probs).sum(), 1, rtol=1e-5)


@pytest.mark.slow
def test_a_mixture_made_integrates_to_one():
    model = made.made(2, (9,), normal_mixture_output(3), activation=jnp.tanh)
    params = model.init(jax.random.key(0))
    axis = jnp.linspace(-12, 12, 400)
    grid = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = jnp.exp(jax.vmap(lambda x: model.log_prob(params, model.degrees, x))(grid))
    np.testing.assert_allclose(density.sum() * (axis[1] - axis[0]) ** 2, 1, rtol=1e-4)


@pytest.mark.parametrize("name", ROWS)
def test_cached_sampling_draws_what_the_plain_loop_draws(name):
    case = CASES[name]
    degrees, params, net = shuffled(case), case.params, network(case)
    keys = jax.random.split(jax.random.key(6), 20)
    nothing, x = jnp.zeros(case.dim, bool), jnp.zeros(case.dim, case.output.dtype)
    fast = jax.jit(jax.vmap(lambda k: case.model.sample(params, degrees, k)))(keys)
    plain = jax.jit(jax.vmap(lambda k: draw_by_passes(net, case.output, params, degrees, k, x, nothing)))(keys)
    if case.output.num_params == 1 or case.output.dtype == jnp.int32:
        np.testing.assert_array_equal(fast, plain)
    else:  # chains of real values carry rounding on from one dimension to the next
        np.testing.assert_allclose(fast, plain, rtol=1e-3, atol=1e-3)
    assert len(np.unique(np.asarray(fast), axis=0)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bernoulli", "bernoulli-several-blocks", "categorical-direct"])
def test_completion_draws_what_the_plain_loop_draws(name):
    """With observed dimensions in between, at the front and at the end of the ordering."""
    case = CASES[name]
    degrees, params, net = shuffled(case), case.params, network(case)
    observed = jnp.asarray(np.arange(case.dim) % 3 == 1)
    keys = jax.random.split(jax.random.key(6), 20)
    fast = jax.jit(jax.vmap(lambda k: case.model.complete(params, degrees, k, case.x, observed)))(keys)
    plain = jax.jit(jax.vmap(lambda k: draw_by_passes(net, case.output, params, degrees, k, case.x, observed)))(keys)
    np.testing.assert_array_equal(fast, plain)
    np.testing.assert_array_equal(np.asarray(fast)[:, observed], np.broadcast_to(case.x[observed], (20, int(observed.sum()))))
    assert len(np.unique(np.asarray(fast), axis=0)) > 1


@pytest.mark.parametrize("name", fast_first(["categorical", "bernoulli-direct"]))
def test_samples_have_the_probabilities_that_the_model_gives(name):
    """A chi-squared test of 4,000 draws of three dimensions, from the ensemble of four masks."""
    case = CASES[name]._replace(dim=3)
    masks = made.shuffled_masks(jax.random.key(4), case.model.degrees)
    density = made.ensemble(case.model, masks, 4)
    params = density.init(jax.random.key(0))._replace(params=case.params)
    draws = jax.jit(jax.vmap(lambda k: density.sample(params, k)))(jax.random.split(jax.random.key(8), 4000))
    num = max(case.output.num_params, 2)
    inputs = np.array(list(itertools.product(range(num), repeat=3)))
    log_probs = jax.vmap(lambda x: density.log_prob(params, x))(jnp.asarray(inputs, case.output.dtype))
    probs = np.exp(np.asarray(log_probs, np.float64))
    counts = np.bincount(np.asarray(draws, int) @ num ** np.arange(3)[::-1], minlength=len(inputs))
    enough = probs * 4000 > 5
    assert scipy.stats.chisquare(counts[enough], probs[enough] / probs[enough].sum() * counts[enough].sum()).pvalue > 1e-3


@pytest.mark.slow
def test_samples_of_a_mixture_follow_its_first_conditional():
    case = CASES["normal-mixture"]
    params = case.params
    draws = jax.vmap(lambda k: case.model.sample(params, case.model.degrees, k)[0])(jax.random.split(jax.random.key(8), 2000))
    raw = network(case).apply(params, jnp.zeros((case.dim, 1)), case.model.degrees)[:, 0]
    weights, loc, scale = np.exp(raw[:2]) / np.exp(raw[:2]).sum(), raw[2:4], np.exp(raw[4:6])
    assert (
        scipy.stats.kstest(
            draws, lambda x: sum(w * scipy.stats.norm(m, s).cdf(x) for w, m, s in zip(weights, loc, scale, strict=True))
        ).pvalue
        > 1e-3
    )


@pytest.mark.slow
def test_completions_are_draws_from_the_conditional():
    """Where the observed dimensions come first in the ordering of a mask, p(missing | observed) = p(x) / Σ_missing p(x)."""
    case = CASES["bernoulli"]
    params, model = case.params, case.model
    ordering = [4, 1, 6, 0, 2, 3, 5]
    degrees = made.with_ordering(model.degrees, ordering)
    observed = jnp.zeros(7, bool).at[jnp.array(ordering[:4])].set(True)
    x = jnp.array([1.0, 0.0, 9.0, 9.0, 1.0, 9.0, 1.0])  # what stands in the missing places does not matter

    density = made.ensemble(model, lambda m: degrees)
    variables = density.init(jax.random.key(0))._replace(params=params)
    result = jax.vmap(lambda key: density.complete(variables, key, x, observed))(jax.random.split(jax.random.key(0), 4000))
    assert bool(result.exact.all())
    assert int(result.unused.max()) == 0
    known = np.asarray(observed)
    np.testing.assert_array_equal(np.asarray(result.x)[:, known], np.broadcast_to(np.asarray(x)[known], (4000, 4)))
    rests = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    inputs = np.tile(np.asarray(x), (8, 1))
    inputs[:, ~known] = rests
    log_probs = np.asarray(jax.vmap(lambda v: model.log_prob(params, degrees, v))(jnp.asarray(inputs)), np.float64)
    wanted = np.exp(log_probs) / np.exp(log_probs).sum()
    counts = np.bincount(np.asarray(result.x)[:, ~known].astype(int) @ np.array([4, 2, 1]), minlength=8)
    assert scipy.stats.chisquare(counts, 4000 * wanted).pvalue > 1e-3


def test_completion_chooses_the_ordering_with_the_least_that_is_unused():
    model = CASES["bernoulli"].model
    params = CASES["bernoulli"].params
    orderings = [[6, 5, 4, 3, 2, 1, 0], [2, 0, 1, 3, 4, 5, 6], [0, 1, 3, 2, 4, 5, 6]]
    inputs = jnp.array([made.with_ordering(model.degrees, o).inputs for o in orderings])
    hidden = tuple(map(jnp.asarray, model.degrees.hidden))
    observed = np.array([True, True, False, True, False, False, False])

    def completed(num_masks):
        density = made.ensemble(model, lambda m: Degrees(inputs[m], hidden), num_masks)
        variables = density.init(jax.random.key(0))._replace(params=params)
        return density.complete(variables, jax.random.key(0), jnp.zeros(7), observed)

    result, first_two = completed(3), completed(2)
    assert (int(result.mask), bool(result.exact), int(result.unused)) == (2, True, 0)
    # of ordering 1 the observed 0, 1 and 3 come after the missing 2; of ordering 0 they come after 3 or 4 missing ones each
    assert (int(first_two.mask), bool(first_two.exact), int(first_two.unused)) == (1, False, 3)


@pytest.mark.parametrize("name", ROWS)
def test_contract_of_log_prob(name):
    """float32 = float64, vmap = loop, jit = eager, one compilation for all masks, finite gradients at extreme parameters."""
    case = CASES[name]
    model, params, degrees = case.model, case.params, shuffled(case)
    chex.clear_trace_counter()
    log_prob = jax.jit(chex.assert_max_traces(model.log_prob, n=1))
    values = [log_prob(params, degrees, x) for x in (case.x, case.x[::-1])]
    log_prob(params, draw_degrees(jax.random.key(99), case.model.degrees), case.x)
    np.testing.assert_allclose(values[0], model.log_prob(params, degrees, case.x), rtol=1e-5)
    batch = jax.jit(jax.vmap(model.log_prob, in_axes=(None, None, 0)))(params, degrees, jnp.stack([case.x, case.x[::-1]]))
    np.testing.assert_allclose(batch, values, rtol=1e-5)
    with jax.enable_x64(True):
        params64 = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), params)
        x64 = jnp.asarray(np.asarray(case.x, np.float64)) if case.output.dtype == jnp.float32 else case.x
        np.testing.assert_allclose(values[0], jax.jit(model.log_prob)(params64, degrees, x64), rtol=1e-4)
    gradient = jax.jit(jax.grad(model.log_prob))
    for factor in (1e3, -1e3):
        extreme = gradient(jax.tree.map(lambda leaf, f=factor: f * leaf, params), degrees, case.x)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(extreme))


@pytest.mark.parametrize("name", ROWS)
def test_conditionals_add_up_to_log_prob_and_depend_on_what_comes_first(name):
    """In a sum over the dimensions, and by the first k of them alone, whatever the others are."""
    case, degrees = CASES[name], shuffled(CASES[name])
    conditionals = jax.jit(lambda x: case.model.conditionals(case.params, degrees, x))
    found = conditionals(case.x)
    assert jnp.sum(found) == pytest.approx(float(case.model.log_prob(case.params, degrees, case.x)), rel=1e-5)
    num = case.dim // 2
    first = np.argsort(np.asarray(degrees.inputs))[:num]
    other = jnp.zeros_like(case.x).at[first].set(case.x[first])
    np.testing.assert_allclose(conditionals(other)[first], found[first], rtol=1e-5, atol=1e-6)


def test_draws_of_degrees_are_permutations_and_differ():
    degrees = natural_degrees(6, (11, 7))
    draws = [draw_degrees(jax.random.key(i), degrees) for i in range(3)]
    for drawn in draws:
        for wanted, got in zip(jax.tree.leaves(degrees), jax.tree.leaves(drawn), strict=True):
            np.testing.assert_array_equal(np.sort(got), wanted)
    assert len({str(drawn) for drawn in draws}) == 3
    only_ordering = draw_degrees(jax.random.key(0), degrees, connectivity=False)
    chex.assert_trees_all_equal(only_ordering.hidden, tuple(map(jnp.asarray, degrees.hidden)))
    only_connectivity = draw_degrees(jax.random.key(0), degrees, ordering=False)
    np.testing.assert_array_equal(only_connectivity.inputs, degrees.inputs)


def test_lost_dependencies_are_those_that_cycled_degrees_of_a_narrow_layer_lose():
    """Degrees 1, 2, 3 for 6 dimensions: no hidden unit sees inputs 4 and 5 (counted from 1), so that both are dead."""
    report = lost_dependencies(Degrees(np.arange(1, 7), (np.array([1, 2, 3]),)))
    assert report.dead_inputs == [3, 4]
    assert set(report.pairs) == {(4, 3), (5, 3), (5, 4)}
    assert lost_dependencies(Degrees(np.arange(1, 7), (np.array([1, 2, 3]),)), direct=True).pairs == []
    # spread over 1 … 5 instead, none is dead, but neighbours are still lost
    spread = lost_dependencies(natural_degrees(6, (3,)))
    assert spread.dead_inputs == [4]
    assert (5, 4) in spread.pairs


def test_errors_name_the_argument():
    output = bernoulli_output()
    with pytest.raises(InputError, match=r"hidden_sizes is \(8,\).*loses dependencies.*Give 9 or more, or direct=True"):
        made.made(10, (8,), output)
    made.made(10, (8,), output, direct=True)
    with pytest.raises(InputError, match="hidden_sizes is"):
        check_hidden_sizes(10, (0,), direct=True)
    with pytest.raises(InputError, match="dim is 0"):
        made.made(0, (8,), output)
    model = made.made(3, (4,), output)
    params = model.init(jax.random.key(0))
    with pytest.raises(InputError, match=r"x has shape \(4,\), and the model has 3"):
        model.log_prob(params, model.degrees, jnp.zeros(4))
    with pytest.raises(InputError, match=r"x holds 0.5 \(float32\), and this MADE takes 0 and 1 only: binarise it"):
        model.log_prob(params, model.degrees, jnp.array([0.0, 0.5, 1.0]))
    with pytest.raises(InputError, match="ordering is"):
        made.with_ordering(model.degrees, [0, 1, 1])
    with pytest.raises(InputError, match="num_masks is 0"):
        made.ensemble(model, lambda m: model.degrees, 0)
    with pytest.raises(InputError, match=r"observed is bool\(2,\): give bool\(3,\)"):
        model.complete(params, model.degrees, jax.random.key(0), jnp.zeros(3), jnp.zeros(2, bool))
    with pytest.raises(InputError, match=r"degrees\.hidden\[0\] is \[1 1 1 1\]"):
        model.sample(params, Degrees(model.degrees.inputs, (np.array([1, 1, 1, 1]),)), jax.random.key(0))
    with pytest.raises(InputError, match=r"degrees\.inputs is \[1 1 3\]"):
        model.log_prob(params, Degrees(np.array([1, 1, 3]), model.degrees.hidden), jnp.zeros(3))
    with pytest.raises(InputError, match=r"degrees have shapes \(\(3,\), \(5,\)\): give \(\(3,\), \(4,\)\)"):
        made.ensemble(model, lambda m: natural_degrees(3, (5,)), 2)
    with pytest.raises(InputError, match=r"observed is int32\(3,\): give bool\(3,\)"):
        model.complete(params, model.degrees, jax.random.key(0), jnp.zeros(3), jnp.array([1, 0, 1]))
    with pytest.raises(InputError, match="x, where it is observed, holds 7"):
        model.complete(params, model.degrees, jax.random.key(0), jnp.array([0.5, 7, 1]), jnp.array([False, True, True]))
    density = made.ensemble(model, lambda m: model.degrees)
    with pytest.raises(InputError, match="context is given"):
        density.log_prob(density.init(jax.random.key(0)), jnp.zeros(3), jnp.zeros(2))
    with pytest.raises(InputError, match=r"observed is bool\(4,\): give bool\(3,\)"):
        density.complete(density.init(jax.random.key(0)), jax.random.key(0), jnp.zeros(3), jnp.zeros(4, bool))
    with pytest.raises(InputError, match="num_categories is 1"):
        categorical_output(1)
    with pytest.raises(InputError, match="num_components is 0"):
        normal_mixture_output(0)
    with pytest.raises(InputError, match="integers from 0 to 2"):
        categorical_output(3).check(np.array([0, 3]), "x")
    with pytest.raises(InputError, match=r"float32.*integers from 0 to 2"):
        categorical_output(3).check(np.array([0.0, 1.0], np.float32), "x")
    with pytest.raises(InputError, match=r"nan.*finite numbers"):
        normal_mixture_output(1).check(np.array([0, np.nan]), "x")
