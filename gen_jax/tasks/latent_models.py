"""The latents of a model, over many examples: draws of the prior, encoding and decoding, for every family that has latents."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.autoencoders import Autoencoder
from gen_jax.data import DataView, Split
from gen_jax.evaluate import example_keys, map_examples, posterior_mean
from gen_jax.gan import draw_latents
from gen_jax.tasks.task import AT_ONCE, compiled, refuse
from gen_jax.types import GAN, VAE, Array, DensityModel, Key, Params, context_of, split


def check_latents(model: Any) -> None:
    """Raise an InputError for a model that has no latents."""
    if not isinstance(model, VAE | GAN | Autoencoder):
        raise refuse(model, "move in a latent space, since it has none", "a VAE, a GAN or an autoencoder")


def latent_paths(model: Any) -> tuple[str, ...]:
    """Return which lines between latents stay in their support, the usual one first."""
    if isinstance(model, VAE) and model.latent is not None:
        return model.latent.paths
    return ("spherical", "linear") if isinstance(model, GAN) else ("linear",)


def draw_prior(model: Any, view: DataView, params: Params, key: Key, num: int, labels: Array | None) -> Any:
    """Return `num` latents of the prior.

    Raises:
        InputError: the model has no prior.
    """
    check_latents(model)
    if isinstance(model, Autoencoder):
        raise refuse(model, "draw examples, since it has no distribution", "a VAE, a GAN, a flow or a MADE")
    return _draw(model, view, params, key, labels, num=num)


@compiled
def _draw(model: Any, view: DataView, params: Params, key: Key, labels: Array | None, num: int) -> Any:
    if isinstance(model, GAN):
        return draw_latents(model.prior, key, num)
    return jax.vmap(lambda key, label: model.prior(params, label).sample(key))(jax.random.split(key, num), labels)


@compiled
def decode(model: Any, view: DataView, params: Params, key: Key, z: Any, labels: Array | None) -> Array:
    """Return examples in the data's range: the mean of p(x|z) of a VAE, G(z) of a GAN, whose layers may draw with `key`."""

    def one(row: tuple[Key, Any, Array | None]) -> Array:
        key, z, label = row
        match model:
            case VAE():
                x = model.decode(params, z, label).mean
            case GAN():
                x = model.generate(*split(params), key, z[None], None if label is None else label[None])[0][0]
            case _:
                x = model.decode(params, z)
        return view.from_model(x)

    keys = jax.random.split(key, len(jax.tree.leaves(z)[0]))
    return jax.lax.map(one, (keys, z, labels), batch_size=AT_ONCE)


@compiled
def encode(model: Any, view: DataView, params: Params, key: Key, examples: Split) -> Any:
    """Return a latent for each stored example: the mean of q(z|x) of a VAE, the code of an autoencoder."""

    def one(params: Params, key: Key, example: Split) -> Any:
        x = view.example(example.x)
        if isinstance(model, Autoencoder):
            return model.encode(params, x)
        return posterior_mean(model.encode(params, x, context_of(model, example.labels)), key)

    return map_examples(one, params, example_keys(key, len(examples.x)), examples, AT_ONCE)


def representation(model: Any, view: DataView, params: Params, key: Key, examples: Split) -> np.ndarray:
    """Return a vector for each stored example [N, F]: what `encode` returns, side by side; or features of another model.

    Of a MADE, the units of its last hidden layer under its first mask; of a GAN, the features of its discriminator.

    Raises:
        InputError: the model has none of these.
    """
    if isinstance(model, VAE | Autoencoder):
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(encode(model, view, params, key, examples))]
        return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    found = None
    if isinstance(model, GAN | DensityModel) and getattr(model, "packing", 1) == 1:
        found = _features(model, view, params, examples)
    if found is None:
        raise refuse(model, "represent examples, since it has no code and no features", "a VAE, an autoencoder, a MADE or a GAN")
    return np.asarray(found)


@compiled
def _features(model: Any, view: DataView, params: Params, examples: Split) -> Array | None:
    def one(example: Split) -> Array | None:
        x = view.example(example.x)
        if isinstance(model, DensityModel):
            return None if model.features is None else model.features(params, x)
        label = None if model.num_classes is None else example.labels[None]
        features = model.discriminate(*split(params), x[None], label)[0].features
        return None if features is None else features[0]

    return jax.lax.map(one, examples, batch_size=AT_ONCE)


def great_arc(start: Array, end: Array, t: Array) -> Array:
    """Return latents [S, Z] on sin((1 − t)θ)/sin θ · start + sin(tθ)/sin θ · end at t [S] in [0, 1], θ the angle between them.

    A straight line would pass nearer to 0 than draws of a prior in many dimensions ever are (White 2016, arXiv:1609.04468).
    """
    cosine = jnp.vdot(start, end) / jnp.maximum(jnp.linalg.norm(start) * jnp.linalg.norm(end), 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    # in the same direction, or in opposite ones (where no arc is the shortest), the arc is the line
    degenerate = jnp.sin(angle) < 1e-4
    sine = jnp.where(degenerate, 1.0, jnp.sin(angle))
    weights = jnp.sin(jnp.stack([1 - t, t], axis=1) * angle) / sine
    return jnp.where(degenerate, line(start, end, t), weights @ jnp.stack([start, end]))


def line(start: Array, end: Array, t: Array) -> Array:
    """Return (1 − t) start + t end [S, ...] at t [S]."""
    t = t.reshape(-1, *(1,) * start.ndim)
    return (1 - t) * start[None] + t * end[None]
