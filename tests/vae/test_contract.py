"""The contract of a VAE, for every row of the table, under every objective: a test a row, since a row is compiled once."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.data import Split
from gen_jax.types import Distribution, Posterior, join, split
from gen_jax.vae import (
    capacity_objective,
    dreg_bound,
    elbo_loss,
    elbo_terms,
    free_bits_objective,
    iwae_bound,
    iwae_loss,
    log_weight,
    negative_elbo,
    vector_quantised_loss,
)
from tests.contracts.vaes import CASES, ROWS, Case
from tests.small import counting

NUM, KEY, STEP = 20_000, jax.random.key(0), jnp.int32(7)
BETA, GAMMA, CAPACITY, FREE = 1.5, 2.0, 0.1, 0.05


def every_objective(terms, step):
    """A sum of objectives, by factors that tell them apart: a sum, so that it is traced once."""
    held = capacity_objective(terms, GAMMA, CAPACITY * step)
    return negative_elbo(terms, BETA) + 3.0 * held + 7.0 * free_bits_objective(terms, FREE)


def losses_of(vae):
    return {
        "example": elbo_loss(vae, every_objective, "example", num_samples=2),
        "batch-mean": elbo_loss(vae, every_objective, "batch-mean", num_samples=2),
        "iwae": iwae_loss(vae, 3),
        "dreg": iwae_loss(vae, 3, doubly_reparameterised=True),
    }


def batch_of_two(x, context):
    return Split(jnp.stack([x, 1 - x]), jax.tree.map(lambda c: jnp.stack([c, c]), context))


class Found(NamedTuple):
    """What is measured of a row, and the compiled functions that measured it."""

    case: Case
    params: Any
    draws: Any
    gradient: Any
    losses: dict[str, Any]
    far_out: list[Any]
    draw: Any
    batch: Any
    traces: tuple[list[None], list[None]]


def measured(case: Case) -> Found:
    """Everything that the laws look at, by two functions that are compiled once."""
    vae, x, context, *_ = case

    def draw(params, key):
        posterior, prior = vae.encode(params, x, context), vae.prior(params, context)
        z, log_q = posterior.sample_and_log_prob(jax.random.fold_in(key, 1))  # none of those that the terms draw
        return {
            "ratio": log_q - prior.log_prob(z),
            "log_q_gap": log_q - posterior.log_prob(z),
            "terms": elbo_terms(vae, params, key, x, context),
            "weight": log_weight(vae, params, jax.random.fold_in(key, 2), x, context),
            "iwae": iwae_bound(vae, params, key, x, 3, context),
            "dreg": dreg_bound(vae, params, key, x, 3, context),
        }

    def draws(params, keys):
        return jax.vmap(draw, in_axes=(None, 0))(params, keys)

    losses = losses_of(vae)

    def batch(params, key, factor):
        """The value of every loss, and the gradient of their sum: a NaN in one is a NaN in it."""
        examples, (params, state) = batch_of_two(x, context), split(params)

        def total(params):
            found = {label: loss(params, state, key, STEP, examples) for label, loss in losses.items()}
            return sum(value for value, _ in found.values()), {label: value for label, (value, _) in found.items()}

        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(jax.tree.map(lambda p: factor * p, params))
        return values, gradient

    (draws, of_draws), (batch, of_batch) = counting(draws), counting(batch)
    draws, batch = jax.jit(draws), jax.jit(batch)
    params = vae.init(KEY, x, context)
    values, gradient = batch(params, KEY, 1.0)
    far_out = [batch(params, KEY, factor) for factor in (0.0, case.far)]
    in_float64 = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), draws(params, jax.random.split(KEY, NUM)))
    return Found(case, params, in_float64, gradient, values, far_out, draws, batch, (of_draws, of_batch))


@pytest.mark.parametrize("name", ROWS)
def test_contract(name):
    case = CASES[name]
    found = measured(case)
    the_kl_is_the_mean_of_the_log_ratio(found)
    the_elbo_is_the_mean_log_weight(found)
    the_density_of_a_draw_is_its_log_prob(found)
    the_objectives_are_their_formulas(found)
    more_samples_tighten_the_bound_and_both_gradients_have_one_value(found)
    every_parameter_has_a_gradient(found)
    values_and_gradients_are_finite_also_far_out(found)
    vmap_is_a_loop_and_the_second_call_compiles_nothing(found)
    every_draw_has_its_own_noise(found)
    if case.smooth:
        the_gradient_is_the_finite_difference(case)


@pytest.mark.parametrize("name", ROWS)
def test_a_loss_returns_a_state_like_the_one_that_it_was_given(name):
    """Of the same structure, shapes and dtypes, beside a number and numbers; traced alone."""
    vae, x, context, *_ = CASES[name]
    own = {"vector-quantised": vector_quantised_loss(vae)} if CASES[name].point else {}
    params, state = split(jax.eval_shape(vae.init, KEY, x, context))
    for label, loss in (losses_of(vae) | own).items():
        value, (after, metrics) = jax.eval_shape(loss, params, state, KEY, STEP, batch_of_two(x, context))
        chex.assert_trees_all_equal_structs(after, state)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
        numbers = {"loss": value, **metrics}
        assert all((number.shape, number.dtype) == ((), jnp.float32) for number in numbers.values()), (label, numbers)


def the_kl_is_the_mean_of_the_log_ratio(found: Found) -> None:
    # in closed form, equal for every key; otherwise an estimate by another draw, whose mean is compared
    difference = found.draws["ratio"] - found.draws["terms"].kl
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(NUM) + 1e-5
    vae, x, context, *_ = found.case
    assert isinstance(vae.encode(found.params, x, context), Posterior)
    assert isinstance(vae.prior(found.params, context), Distribution)


def the_elbo_is_the_mean_log_weight(found: Found) -> None:
    """E_q[log w] = ELBO, whatever form the KL has in it."""
    difference = found.draws["weight"] - found.draws["terms"].log_likelihood + found.draws["terms"].kl_parts.sum(-1)
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(NUM) + 1e-5


def the_density_of_a_draw_is_its_log_prob(found: Found) -> None:
    gap = np.abs(found.draws["log_q_gap"])
    assert np.median(gap) < 1e-5
    assert worst(found.case, gap) < 1e-3


def worst(case: Case, gaps: np.ndarray) -> float:
    return np.quantile(gaps, 0.99) if case.edges else gaps.max()


def the_objectives_are_their_formulas(found: Found) -> None:
    """By NumPy, of the terms at the keys that a loss draws with."""
    vae, x, context, *_ = found.case
    terms = jax.jit(
        jax.vmap(
            lambda key, image: jax.vmap(lambda k: elbo_terms(vae, found.params, k, image, context))(jax.random.split(key, 2))
        )
    )(jax.random.split(KEY, 2), jnp.stack([x, 1 - x]))
    distortion, parts = (np.asarray(part, np.float64).mean(1) for part in (-terms.log_likelihood, terms.kl_parts))
    of_mean = distortion.mean(keepdims=True), parts.mean(0, keepdims=True)
    for of, d, kl in (("example", distortion, parts), ("batch-mean", *of_mean)):
        elbo = d + BETA * kl.sum(1)
        capacity = d + GAMMA * np.abs(kl.sum(1) - CAPACITY * int(STEP))
        free_bits = d + np.maximum(kl, FREE).sum(1)
        np.testing.assert_allclose(found.losses[of], np.mean(elbo + 3 * capacity + 7 * free_bits), rtol=1e-5, err_msg=of)


def more_samples_tighten_the_bound_and_both_gradients_have_one_value(found: Found) -> None:
    iwae, dreg, weight = (found.draws[name] for name in ("iwae", "dreg", "weight"))
    assert worst(found.case, np.abs(iwae - dreg)) < 1e-3
    np.testing.assert_allclose(found.losses["iwae"], found.losses["dreg"], rtol=1e-3)
    assert iwae.mean() - weight.mean() > -4 * np.sqrt((iwae.var() + weight.var()) / NUM) - 1e-5


def every_parameter_has_a_gradient(found: Found) -> None:
    for path, gradient in jax.tree.leaves_with_path(found.gradient):
        assert np.any(gradient != 0), f"{jax.tree_util.keystr(path)} does not move the loss"


def values_and_gradients_are_finite_also_far_out(found: Found) -> None:
    chex.assert_tree_all_finite((found.losses, found.gradient, found.far_out))


def the_gradient_is_the_finite_difference(case: Case) -> None:
    vae, x, context, *_ = case
    params, state = split(vae.init(KEY, x, context))
    direction = jax.tree.map(lambda p: jax.random.normal(KEY, p.shape), params)
    with jax.enable_x64(True):
        in_float64 = lambda leaf: jnp.asarray(np.asarray(leaf, np.float64))
        params, direction, x, state = jax.tree.map(in_float64, (params, direction, x, state))

        def loss(t):
            moved = jax.tree.map(lambda p, d: p + t * d, params, direction)
            return -elbo_terms(vae, join(moved, state), KEY, x, context).elbo

        loss_and_slope = jax.jit(jax.value_and_grad(loss))
        numeric = (loss_and_slope(1e-5)[0] - loss_and_slope(-1e-5)[0]) / 2e-5
        np.testing.assert_allclose(loss_and_slope(0.0)[1], numeric, rtol=1e-5)


def vmap_is_a_loop_and_the_second_call_compiles_nothing(found: Found) -> None:
    vae, x, context, *_ = found.case
    keys = jax.random.split(KEY, NUM)
    one = jax.jit(lambda key: elbo_terms(vae, found.params, key, x, context))
    for i in (0, 1, 7):
        expected = jax.tree.map(lambda leaf, i=i: leaf[i], found.draws["terms"])
        chex.assert_trees_all_close(one(keys[i]), expected, rtol=1e-4, atol=1e-5)
    found.draw(jax.tree.map(jnp.copy, found.params), jax.random.split(jax.random.key(1), NUM))
    again = found.batch(jax.tree.map(jnp.copy, found.params), KEY, 1.0)
    chex.assert_trees_all_equal(again, (found.losses, found.gradient))
    assert [len(traces) for traces in found.traces] == [1, 1]


def every_draw_has_its_own_noise(found: Found) -> None:
    values = found.draws["terms"].log_likelihood
    if found.case.point:
        assert np.ptp(values) == 0  # its posterior is a point
    else:
        assert len(np.unique(values)) > 0.9 * NUM
