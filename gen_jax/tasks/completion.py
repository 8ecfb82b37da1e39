"""Completing examples of which a part is missing."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.tasks.task import Outcome, Subject, Task, check_count, first, once_for_each_model, refuse
from gen_jax.types import Array, DensityModel, Key, Params

Observed = Literal["upper", "lower", "left", "right", "random"]


def complete(
    model: Any,
    params: Params,
    key: Key,
    examples: Split,
    observed: Array | np.ndarray,
    num: int = 4,
    *,
    view: DataView = DataView(),
) -> Any:
    """Return `num` completions of each example, a `made.Completion` of arrays [num, N, ...].

    Args:
        model: a `DensityModel` that can complete, such as a MADE.
        params: what its functions take.
        key: of the draws.
        examples: stored examples; what stands in the missing places is not looked at.
        observed: of the shape of one example, True where it is known.
        num: draws for each example.
        view: how the model sees them.

    Raises:
        InputError: the model cannot complete examples.
    """
    check_count("num", num)
    return _completer(model, view)(params, jax.random.split(key, num), examples.on_device().x, jnp.asarray(observed))


@once_for_each_model
def _completer(model: Any, view: DataView) -> Any:
    if not isinstance(model, DensityModel) or model.complete is None:
        raise refuse(model, "complete examples", "a MADE")
    draw = model.complete

    @jax.jit
    def over_examples(params: Params, keys: Array, x: Array, observed: Array) -> Any:
        seen = jax.vmap(view.example)(x)
        one = lambda key, x: draw(params, key, x, observed)
        found = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(keys, seen)
        return found._replace(x=view.from_model(found.x))

    return over_examples


def observed_part(which: Observed, shape: tuple[int, ...], key: Key) -> np.ndarray:
    """Return which numbers of an example are known: half of its rows or columns, or each with probability ½."""
    if which == "random" or len(shape) == 0:
        return np.asarray(jax.random.bernoulli(key, 0.5, shape))
    axis = 1 if which in ("left", "right") and len(shape) > 1 else 0
    place = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    known = place < shape[axis] // 2
    return np.broadcast_to(known if which in ("upper", "left") else ~known, shape)


@dataclass(frozen=True, kw_only=True)
class CompleteOptions:
    """Hide a part of test examples, and draw it anew given the rest: of a MADE."""

    num: int = 10
    """How many test examples: the first ones."""
    draws: int = 4
    """Completions of each."""
    observed: Observed = "upper"
    """What the model is given: the upper, lower, left or right half, or a random half."""
    seed: int = 0
    """Seed of the draw."""


def perform(subject: Subject, options: CompleteOptions) -> Outcome:
    """Complete, and draw the examples, what is observed of them, and the completions."""
    check_count("num", options.num)
    examples = first(subject.load().test, options.num)
    x = jax.vmap(subject.view.read)(examples.x)
    draw_key, mask_key = jax.random.split(subject.key)
    observed = observed_part(options.observed, x.shape[1:], mask_key)
    found = complete(subject.model, subject.params, draw_key, examples, observed, options.draws, view=subject.view)
    mask, exact, unused = int(found.mask[0, 0]), bool(found.exact[0, 0]), int(found.unused[0, 0])  # equal for all of them
    how = f"exact under mask {mask}" if exact else f"not exact: mask {mask} has {unused} pairs out of order"
    rows = jnp.concatenate([x[None], jnp.where(observed[None], x, 0.5)[None], found.x]).reshape(-1, *x.shape[1:])
    title = f"test examples; what is observed of them ({options.observed});\ncompletions ({how})"
    figures = {"completions": plots.image_grid(rows, len(x), title)}
    return Outcome(f"completions-{options.observed}-{options.seed}", how, figures, np.asarray(found.x))


TASK = Task(CompleteOptions, perform)
