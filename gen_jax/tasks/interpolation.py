"""Going from one latent to another, and decoding on the way."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.tasks.latent_models import great_arc, latent_model, line
from gen_jax.tasks.task import Outcome, Subject, Task, check_count, first, labels_in_turn, refuse
from gen_jax.types import Array, InputError, Key, Params

Path = Literal["linear", "spherical"]


def interpolate(
    model: Any,
    params: Params,
    key: Key,
    num: int = 10,
    steps: int = 10,
    *,
    path: Path | None = None,
    examples: Split | None = None,
    view: DataView = DataView(),
) -> Array:
    """Return [num, steps, *event]: `num` paths from one latent to another, decoded.

    Args:
        model: a `VAE`, a `GAN` or an `Autoencoder`.
        params: what its functions take.
        key: of the draws.
        num: how many paths. Of a conditional model each has one label: i modulo C, or that of its first example.
        steps: latents on each, with both ends.
        path: a straight line, or a great arc; by default an arc, where the latents have both.
        examples: 2 · num stored examples, whose latents are the ends in pairs; by default, the ends are drawn from the prior.
        view: how the model sees them.

    Raises:
        InputError: the model has no latents, or this path would leave their support, or there are too few examples.
    """
    check_count("num", num)
    check_count("steps", steps, 2)
    latents = latent_model(model, view)
    if path is not None and path not in latents.paths:
        raise InputError(
            f"path is {path}, which leaves where the latents of this model can be: use {' or '.join(latents.paths)}."
        )
    along = great_arc if (path or latents.paths[0]) == "spherical" else line
    ends_key, decode_key = jax.random.split(key)
    labels = labels_in_turn(model, num)
    if examples is None:
        ends = latents.draw(params, ends_key, 2 * num, None if labels is None else jnp.repeat(labels, 2))
    elif latents.encode is None:
        raise refuse(model, "interpolate between examples, since it encodes none", "no examples, or a VAE or an autoencoder")
    elif len(examples.x) < 2 * num:
        raise InputError(f"There are {len(examples.x)} examples for the ends of {num} paths: give {2 * num}.")
    else:
        examples = first(examples, 2 * num)
        ends = latents.encode(params, ends_key, examples)
        labels = None if labels is None else examples.labels[::2]

    def paths_of(leaf: Array) -> Array:
        pairs = leaf.reshape(num, 2, *leaf.shape[1:])
        return jax.vmap(lambda pair: along(pair[0], pair[1], steps))(pairs).reshape(num * steps, *leaf.shape[1:])

    decoded = latents.decode(
        params, decode_key, jax.tree.map(paths_of, ends), None if labels is None else jnp.repeat(labels, steps)
    )
    return decoded.reshape(num, steps, *decoded.shape[1:])


@dataclass(frozen=True, kw_only=True)
class InterpolateOptions:
    """Go from one latent to another of a trained run, and decode on the way."""

    num: int = 10
    """How many paths."""
    steps: int = 10
    """Latents on each path, with both ends."""
    path: Path | None = None
    """A straight line, or a great arc; by default an arc, where the latents have both."""
    ends: Literal["prior", "test"] | None = None
    """Whether ends are drawn from the prior, or are latents of test examples; by default the prior, where there is one."""
    seed: int = 0
    """Seed of the draw."""


def perform(subject: Subject, options: InterpolateOptions) -> Outcome:
    """Interpolate, and draw a path in each row."""
    from_data = (options.ends or ("prior" if latent_model(subject.model, subject.view).draws else "test")) == "test"
    examples = first(subject.load().test, 2 * options.num) if from_data else None
    found = interpolate(
        subject.model,
        subject.params,
        subject.key,
        options.num,
        options.steps,
        path=options.path,
        examples=examples,
        view=subject.view,
    )
    title = "each row: from one latent to another" + (", of one label" if getattr(subject.model, "num_classes", None) else "")
    figure = plots.image_grid(found.reshape(-1, *found.shape[2:]), options.steps, title)
    return Outcome(f"interpolation-{options.seed}", f"{options.num} paths", {"interpolation": figure}, np.asarray(found))


TASK = Task(InterpolateOptions, perform)
