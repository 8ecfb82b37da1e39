"""A recipe whose validation is known exactly: after E epochs of one step it reports −(aim − 3)² − 1/E."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.recipes import Experiment, Recipe, Settings, Sizes, view_of


class Counter(NamedTuple):
    """A model whose parameters count the steps."""

    init: Callable


@dataclasses.dataclass(frozen=True, kw_only=True)
class CounterSettings(Settings):
    """What the score depends on, and what it does not."""

    aim: float = 1.0
    width: int = 1
    hidden_sizes: Sizes = (2,)


def build(settings: CounterSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment: each step adds 1 to each parameter. An aim of 99 diverges at once."""

    def loss(params, state, key, step, batch):
        value = -jnp.sum(params["steps"]) + (jnp.nan if settings.aim == 99 else 0.0)
        return value, (state, {"loss": value})

    @jax.jit
    def validate(params, key, examples):
        return {"valid_score": -((settings.aim - 3.0) ** 2) - 1 / params["steps"][0]}

    init = lambda key, x: {"steps": jnp.zeros(settings.width)}
    return Experiment(Counter(init), loss, lambda num: optax.sgd(1.0), view_of(settings, event_shape), validate=validate)


RECIPE = Recipe("a known score", CounterSettings(epoch_steps=1, epochs=2, batch_size=4, binarise="none"), build)
