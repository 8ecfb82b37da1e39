"""What the tests of evaluation share."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Its own for each test, so that what a test draws does not depend on those before it."""
    return np.random.default_rng(0)
