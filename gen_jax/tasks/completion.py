"""Completing examples with a part missing."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.tasks.task import Outcome, Subject, check_choice, check_count, compiled, first, refuse
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
    """Return `num` completions of each stored example by a MADE, a `made.Completion` of arrays [num, N, ...].

    `observed` has the shape of one example and is True where it is known; the values in the other places are ignored.

    Raises:
        InputError: the model cannot complete examples.
    """
    check_count("num", num)
    if not isinstance(model, DensityModel) or model.complete is None:
        raise refuse(model, "complete examples", "a MADE")
    return _complete(model, view, params, jax.random.split(key, num), examples.on_device().x, jnp.asarray(observed))


@compiled
def _complete(model: Any, view: DataView, params: Params, keys: Array, x: Array, observed: Array) -> Any:
    one = lambda key, x: model.complete(params, key, x, observed)
    found = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(keys, jax.vmap(view.example)(x))
    return found._replace(x=view.from_model(found.x))


def observed_part(which: Observed, shape: tuple[int, ...], key: Key) -> np.ndarray:
    """Return which values of an example are known: half of its rows or columns, or each with probability ½."""
    check_choice("observed", which, Observed)
    if which == "random" or len(shape) == 0:
        return np.asarray(jax.random.bernoulli(key, 0.5, shape))
    axis = 1 if which in ("left", "right") and len(shape) > 1 else 0
    place = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    known = place < shape[axis] // 2
    return np.broadcast_to(known if which in ("upper", "left") else ~known, shape)


def perform(subject: Subject, *, num: int = 10, draws: int = 4, observed: Observed = "upper", seed: int = 0) -> Outcome:
    """Hide a part of test examples and draw it given the rest, with a MADE.

    Args:
        subject: the run.
        num: Number of test examples, from the first.
        draws: Completions of each example.
        observed: What the model is given: the upper, lower, left or right half, or a random half.
        seed: Seed of the draw.
    """
    check_count("num", num)
    examples = first(subject.load().test, num)
    x = jax.vmap(subject.view.read)(examples.x)
    draw_key, mask_key = jax.random.split(subject.key)
    known = observed_part(observed, x.shape[1:], mask_key)
    found = subject._replace(key=draw_key).call(complete, examples, known, draws)
    mask, exact, unused = int(found.mask[0, 0]), bool(found.exact[0, 0]), int(found.unused[0, 0])  # equal for all of them
    how = f"exact under mask {mask}" if exact else f"not exact: mask {mask} has {unused} pairs out of order"
    rows = jnp.concatenate([x[None], jnp.where(known[None], x, 0.5)[None], found.x]).reshape(-1, *x.shape[1:])
    title = f"test examples; the observed part ({observed});\ncompletions ({how})"
    figures = {"completions": plots.image_grid(rows, len(x), title)}
    return Outcome(f"completions-{observed}-{seed}", how, figures, np.asarray(found.x))
