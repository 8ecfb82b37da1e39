"""Latent traversals: each latent of an example varied over its range."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.tasks.evaluation import describe
from gen_jax.tasks.latent_models import decode, draw_prior, encode
from gen_jax.tasks.task import Outcome, Subject, check_count, first, refuse
from gen_jax.types import VAE, Array, InputError, Key, Params

NUM_DRAWS, NUM_RATED = 10_000, 500  # of the prior, for a latent's range; examples whose KL is shown


def traverse(model: Any, params: Params, key: Key, example: Split, steps: int = 11, *, view: DataView = DataView()) -> Array:
    """Return [Z, steps, *event]: the means of p(x|z), each latent of one example moved over equal steps of prior probability.

    The stored example is of shape [1, ...]; a conditional model decodes for its label.

    Raises:
        InputError: the model has no single latent vector.
    """
    check_count("steps", steps, 2)
    if not isinstance(model, VAE) or model.latent is None:
        raise refuse(model, "traverse latents, since it has no single latent vector to move along", "a VAE that has one")
    latent = model.latent
    one_key, prior_key, decode_key = jax.random.split(key, 3)
    label = None if model.num_classes is None else example.labels
    repeated = lambda num: None if label is None else jnp.repeat(label, num)
    z = encode(model, view, params, one_key, example)[0]
    draws = draw_prior(model, view, params, prior_key, NUM_DRAWS, repeated(NUM_DRAWS))
    places = jnp.quantile(draws, (jnp.arange(steps) + 0.5) / steps, axis=0)
    moved = jax.vmap(jax.vmap(latent.move, in_axes=(None, None, 0)), in_axes=(None, 0, 1))(z, jnp.arange(latent.dim), places)
    flat = moved.reshape(-1, latent.dim)
    x = decode(model, view, params, decode_key, flat, repeated(len(flat)))
    return x.reshape(latent.dim, steps, *x.shape[1:])


def perform(subject: Subject, *, example: int = 0, steps: int = 11) -> Outcome:
    """Decode each latent of a test example over its range, of a VAE with one latent vector.

    Args:
        subject: the run.
        example: Index of the test example, from which the other latents come.
        steps: Values of each latent.
    """
    test = subject.load().test
    if not 0 <= example < len(test.x):
        raise InputError(
            f"example is {example}, and {subject.data} has {len(test.x)} test examples: give 0 to {len(test.x) - 1}."
        )
    one = jax.tree.map(lambda leaf: leaf[example : example + 1], test).on_device()
    x = subject.call(traverse, one, steps)

    key = jax.random.fold_in(subject.key, 3)
    parts = describe(subject.model, subject.view, subject.params, key, first(test, NUM_RATED))["kl_parts"].mean(axis=0)
    parts = np.asarray(parts)
    by_latent = len(parts) == len(x)
    order = np.argsort(-parts) if by_latent else np.arange(len(x))
    names = [f"z{i + 1}" + (f"  {parts[i]:.2f}" if by_latent else "") for i in order]
    title = "each latent over its range under the prior" + (",\nwith its mean KL in nats" if by_latent else "")
    figure = plots.image_grid(x[order].reshape(-1, *x.shape[2:]), steps, title, row_names=names)
    return Outcome(f"traversal-{example}", f"{len(x)} latents, one in each row", {"traversal": figure}, np.asarray(x))
