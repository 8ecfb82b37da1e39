"""What tasks need of a model with latents, whichever family it is of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.autoencoders import Autoencoder
from gen_jax.data import DataView, Split
from gen_jax.evaluate import example_keys, map_examples, posterior_mean
from gen_jax.gan import draw_latents
from gen_jax.tasks.task import AT_ONCE, once_for_each_model, refuse
from gen_jax.types import GAN, VAE, Array, Key, Params, context_of, split


class LatentModel(NamedTuple):
    """A model's latents, over many examples; each function is compiled once. Examples are in the data's range.

    Attributes:
        draw: (params, key, num, labels or None) -> `num` latents of the prior; raises an InputError where there is none.
        draws: whether there is one.
        decode: (params, key, latents, labels or None) -> examples, for z the mean of p(x|z) of a VAE, G(z) of a GAN; the key is
            for noise in layers.
        encode: (params, key, stored examples) -> a latent each, the posterior's mean of a VAE; None for a GAN.
        paths: which lines between latents stay in their support, the usual one first.
    """

    draw: Callable[..., Any]
    draws: bool
    decode: Callable[..., Array]
    encode: Callable[..., Any] | None
    paths: tuple[str, ...]


@once_for_each_model
def latent_model(model: Any, view: DataView) -> LatentModel:
    """Return a model's latents, or raise an InputError for a model that has none."""
    match model:
        case VAE():
            paths = model.latent.paths if model.latent is not None else ("linear",)
            draw = jax.jit(_prior_draws(model), static_argnums=2)
            return LatentModel(draw, True, _decoder(_mean(model), view), _vae_encoder(model, view), paths)
        case GAN():
            draw = jax.jit(lambda params, key, num, labels: draw_latents(model.prior, key, num), static_argnums=2)
            return LatentModel(draw, True, _decoder(_generate(model), view), None, ("spherical", "linear"))
        case Autoencoder():

            def draw_nothing(*args: Any) -> Any:
                raise refuse(model, "draw examples, since it has no distribution", "a VAE, a GAN, a flow or a MADE")

            decode = lambda params, key, z, label: model.decode(params, z)
            encode = lambda params, key, example: model.encode(params, view.example(example.x))
            return LatentModel(draw_nothing, False, _decoder(decode, view), _encoder(encode), ("linear",))
        case _:
            raise refuse(model, "move in a latent space, since it has none", "a VAE, a GAN or an autoencoder")


def _prior_draws(vae: VAE) -> Callable[..., Any]:
    def draw(params: Params, key: Key, num: int, labels: Array | None) -> Any:
        one = lambda key, label: vae.prior(params, label).sample(key)
        return jax.vmap(one)(jax.random.split(key, num), labels)

    return draw


def _mean(vae: VAE) -> Callable[..., Array]:
    return lambda params, key, z, label: vae.decode(params, z, label).mean


def _generate(gan: GAN) -> Callable[..., Array]:
    def generate(variables: Params, key: Key, z: Array, label: Array | None) -> Array:
        labels = None if label is None else label[None]
        return gan.generate(*split(variables), key, z[None], labels)[0][0]

    return generate


def _decoder(decode: Callable[..., Array], view: DataView) -> Callable[..., Array]:
    @jax.jit
    @jax.default_matmul_precision("highest")
    def over_examples(params: Params, key: Key, z: Any, labels: Array | None) -> Array:
        num = len(jax.tree.leaves(z)[0])
        row = (jax.random.split(key, num), z, labels)
        return jax.lax.map(lambda row: view.from_model(decode(params, *row)), row, batch_size=AT_ONCE)

    return over_examples


def _encoder(encode: Callable[..., Any]) -> Callable[..., Any]:
    @jax.jit
    def over_examples(params: Params, key: Key, examples: Split) -> Any:
        return map_examples(encode, params, example_keys(key, len(examples.x)), examples, AT_ONCE)

    return over_examples


def _vae_encoder(vae: VAE, view: DataView) -> Callable[..., Any]:
    def encode(params: Params, key: Key, example: Split) -> Any:
        posterior = vae.encode(params, view.example(example.x), context_of(vae, example.labels))
        return posterior_mean(posterior, key)

    return _encoder(encode)


def great_arc(start: Array, end: Array, steps: int) -> Array:
    """Return latents [S, Z] along sin((1 − t)θ)/sin θ · start + sin(tθ)/sin θ · end for t from 0 to 1, θ the angle between them.

    A straight line would pass nearer to 0 than draws of a prior in many dimensions ever are (White 2016, arXiv:1609.04468).
    """
    cosine = jnp.vdot(start, end) / jnp.maximum(jnp.linalg.norm(start) * jnp.linalg.norm(end), 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    t = jnp.linspace(0.0, 1.0, steps)[:, None]
    # where the two point the same way (or opposite ways, where no arc is the shortest) the arc is the line
    degenerate = jnp.sin(angle) < 1e-4
    sine = jnp.where(degenerate, 1.0, jnp.sin(angle))
    on_arc = (jnp.sin((1 - t) * angle) * start[None] + jnp.sin(t * angle) * end[None]) / sine
    return jnp.where(degenerate, line(start, end, steps), on_arc)


def line(start: Array, end: Array, steps: int) -> Array:
    """Return [S, ...] along the straight line from `start` to `end`."""
    t = jnp.linspace(0.0, 1.0, steps).reshape(-1, *(1,) * start.ndim)
    return (1 - t) * start[None] + t * end[None]
