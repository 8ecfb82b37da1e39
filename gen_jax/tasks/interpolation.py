"""Interpolating between latents, decoded."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.autoencoders import Autoencoder
from gen_jax.data import DataView, Split
from gen_jax.tasks.latent_models import check_latents, decode, draw_prior, encode, great_arc, latent_paths, line
from gen_jax.tasks.styles import Space, draw_styles, style_of, synthesise
from gen_jax.tasks.task import Outcome, Subject, check_choice, check_count, first, labels_in_turn, refuse
from gen_jax.types import GAN, Array, InputError, Key, Params

Path = Literal["linear", "spherical"]
Ends = Literal["prior", "test"]


def interpolate(
    model: Any,
    params: Params,
    key: Key,
    num: int = 10,
    steps: int = 10,
    *,
    path: Path | None = None,
    examples: Split | None = None,
    space: Space = "z",
    view: DataView = DataView(),
) -> Array:
    """Return [num, steps, *event]: paths from one latent to another of a `VAE`, a `GAN` or an `Autoencoder`, decoded.

    Each path has `steps` latents, both ends included. The ends are the latents of 2 · num stored examples, in pairs; by default
    they are draws of the prior. The path is a straight line or a great arc; by default an arc, where both stay in the support of
    the latents. Path i of a conditional model is for label i modulo C, or for that of its first example. In the space w of a
    StyleGAN, the ends are the styles of draws of the prior, the path is straight, and there is no noise.

    Raises:
        InputError: the model has no latents, or this path would leave their support, or there are too few examples.
    """
    check_count("num", num)
    check_count("steps", steps, 2)
    check_latents(model)
    check_choice("space", space, Space)
    if space == "w":
        return _between_styles(model, params, key, num, steps, path, examples, view)
    if path is not None and path not in latent_paths(model):
        raise InputError(
            f"path is {path}, which leaves where the latents of this model can be: use {' or '.join(latent_paths(model))}."
        )
    along = great_arc if (path or latent_paths(model)[0]) == "spherical" else line
    ends_key, decode_key = jax.random.split(key)
    t, labels = jnp.linspace(0.0, 1.0, steps), labels_in_turn(model, num)
    if examples is None:
        ends = draw_prior(model, view, params, ends_key, 2 * num, None if labels is None else jnp.repeat(labels, 2))
    elif isinstance(model, GAN):
        raise refuse(model, "interpolate between examples, since it encodes none", "no examples, or a VAE or an autoencoder")
    elif len(examples.x) < 2 * num:
        raise InputError(f"There are {len(examples.x)} examples for the ends of {num} paths: give {2 * num}.")
    else:
        examples = first(examples, 2 * num)
        ends = encode(model, view, params, ends_key, examples)
        labels = None if labels is None else examples.labels[::2]

    def paths_of(leaf: Array) -> Array:
        found = jax.vmap(lambda pair: along(*pair, t))(leaf.reshape(num, 2, *leaf.shape[1:]))
        return found.reshape(num * steps, *leaf.shape[1:])

    labels = None if labels is None else jnp.repeat(labels, steps)
    decoded = decode(model, view, params, decode_key, jax.tree.map(paths_of, ends), labels)
    return decoded.reshape(num, steps, *decoded.shape[1:])


def _between_styles(
    model: Any, params: Params, key: Key, num: int, steps: int, path: Path | None, examples: Split | None, view: DataView
) -> Array:
    style_of(model, "interpolate in w")
    if path == "spherical" or examples is not None:
        raise InputError("space is w, in which paths are straight and between draws: leave path and ends out, or give space z.")
    labels = labels_in_turn(model, num)
    w = draw_styles(model, params, key, 2 * num, None if labels is None else jnp.repeat(labels, 2), view=view)
    paths = jax.vmap(lambda pair: line(*pair, jnp.linspace(0.0, 1.0, steps)))(w.reshape(num, 2, *w.shape[1:]))
    x = synthesise(model, view, params, None, paths.reshape(num * steps, *w.shape[1:]))
    return x.reshape(num, steps, *x.shape[1:])


def perform(
    subject: Subject,
    *,
    num: int = 10,
    steps: int = 10,
    path: Path | None = None,
    space: Space = "z",
    ends: Ends | None = None,
    seed: int = 0,
) -> Outcome:
    """Decode paths from one latent to another of a trained run.

    Args:
        subject: the run.
        num: Number of paths.
        steps: Latents on each path, with both ends.
        path: A straight line, or a great arc; by default an arc, where the latents have both.
        space: Between latents z, or between styles w of a StyleGAN.
        ends: Whether ends are drawn from the prior, or are latents of test examples; by default the prior, where there is one.
        seed: Seed of the draw.
    """
    if ends is not None:
        check_choice("ends", ends, Ends)
    from_data = ends == "test" or (ends is None and isinstance(subject.model, Autoencoder))
    examples = first(subject.load().test, 2 * num) if from_data else None
    found = subject.call(interpolate, num, steps, path=path, examples=examples, space=space)
    title = "each row: from one latent to another" + (", of one label" if getattr(subject.model, "num_classes", None) else "")
    figure = plots.image_grid(found.reshape(-1, *found.shape[2:]), steps, title)
    return Outcome(
        f"interpolation-{'w-' if space == 'w' else ''}{seed}", f"{num} paths", {"interpolation": figure}, np.asarray(found)
    )
