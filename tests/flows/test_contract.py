"""Every bijection of the contract table against the laws that `check_bijection` holds it to."""

import pytest

from gen_jax.flows import check_bijection
from tests.contracts.bijections import CASES


@pytest.mark.parametrize("name", CASES)
def test_bijection_keeps_its_contract(name):
    case = CASES[name]
    check_bijection(case.bijection, case.params, case.x, case.context)
