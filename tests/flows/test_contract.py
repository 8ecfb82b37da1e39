"""Every bijection of the contract table against the laws that `check_bijection` holds it to."""

import chex
import jax
import numpy as np
import pytest

from gen_jax.flows import check_bijection
from tests.contracts.bijections import BIJECTIONS, CASES, ROWS
from tests.small import counting


@pytest.mark.parametrize("name", ROWS)
def test_bijection_keeps_its_contract(name):
    case = CASES[name]
    check_bijection(case.bijection, case.params, case.xs, case.context, num_derivatives=case.num_derivatives)


@pytest.mark.parametrize("name", BIJECTIONS)
def test_other_values_compile_nothing_anew(name):
    case = CASES[name]
    counted, traces = counting(
        lambda params, x, context: case.bijection.inverse_and_log_det(
            params, case.bijection.forward_and_log_det(params, x, context)[0], context
        )
    )
    there_and_back = jax.jit(counted)
    there_and_back(case.params, case.xs[0], case.context)
    there_and_back(jax.tree.map(lambda leaf: 0.9 * leaf, case.params), case.xs[1], case.context)
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["planar", "radial", "sylvester-orthogonal", "sylvester-householder", "coupling-affine", "maf"])
def test_arrays_of_numpy_are_taken_too(name):
    """As they come back from a file, in both directions (under jit: the tests' checker of types wants JAX's elsewhere)."""
    case = CASES[name]
    params, x = jax.tree.map(np.asarray, (case.params, case.xs[0]))
    for apply in (case.bijection.forward_and_log_det, case.bijection.inverse_and_log_det):
        expected = jax.jit(apply)(case.params, case.xs[0])
        chex.assert_trees_all_close(jax.jit(lambda x, apply=apply: apply(params, x))(x), expected, rtol=1e-5, atol=1e-6)
