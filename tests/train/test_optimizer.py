"""Learning rates at the steps where they are known."""

import numpy as np
import pytest

from gen_jax.train import adam, learning_rate_schedule
from gen_jax.types import InputError


def test_the_iwae_schedule_is_the_papers():
    """3^i epochs at 1e-3 · 10^(−i/7), i = 0…7, with 7 steps an epoch: the first and the last step of each stage."""
    steps = 7
    rate = learning_rate_schedule("iwae", 1e-3, 3280 * steps)
    first = 0
    for i in range(8):
        last = first + 3**i * steps - 1
        np.testing.assert_allclose([rate(first), rate(last)], 1e-3 * 10 ** (-i / 7), rtol=1e-5)
        first = last + 1
    assert first == 3280 * steps


def test_the_cosine_schedule():
    rate = learning_rate_schedule("cosine", 2.0, 100)
    np.testing.assert_allclose([rate(0), rate(50), rate(25), rate(100)], [2.0, 1.0, 1 + np.sqrt(0.5), 0.0], atol=1e-6)


def test_the_constant_schedule():
    assert learning_rate_schedule("constant", 0.5, 10)(7) == 0.5


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(InputError, match="learning rate"):
        learning_rate_schedule("constant", rate, 10)


def test_weight_decay_shrinks_parameters_beside_the_step_of_adam():
    """AdamW's first step: Adam's, which is the learning rate in the direction of the gradient's sign, and λ η p."""
    params, gradient = np.array([2.0, -3.0, 0.5], np.float32), np.array([0.3, 10.0, -1e-3], np.float32)
    optimizer = adam(1e-2, weight_decay=0.5)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(updates, -1e-2 * (np.sign(gradient) + 0.5 * params), rtol=1e-4)


def test_an_impossible_weight_decay_is_refused():
    with pytest.raises(InputError, match="weight_decay is nan"):
        adam(1e-3, weight_decay=float("nan"))


def test_an_impossible_clip_norm_is_refused():
    with pytest.raises(InputError, match="clip_norm is 0"):
        adam(1e-3, clip_norm=0.0)
