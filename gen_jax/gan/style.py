"""StyleGAN (Karras et al. 2019, arXiv:1812.04948; second version 2020, arXiv:1912.04958): a GAN whose layers take styles.

A mapping network turns z into w, and each layer of the synthesis network takes a w of its own as its style.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.gan.growing import GrowingGAN, alpha_of, by_level, full_size, growing_gan
from gen_jax.gan.latents import draw_latents
from gen_jax.gan.model import one_hot_labels
from gen_jax.nets import Stage
from gen_jax.types import GAN, Adversaries, Array, BatchNet, Distribution, Key, Loss, Number, Params, Style, Variables

MEAN_DECAY = 0.995
"""Of w̄ over steps, as in the authors' code."""
PATH_DECAY = 0.99
"""Of the mean path length over the steps that measure it."""


def style_gan(
    mapping: BatchNet,
    synthesis: BatchNet,
    discriminator: BatchNet,
    prior: Distribution,
    event_shape: tuple[int, int, int],
    num_stages: int,
    num_classes: int | None = None,
    mixing: Number = 0.9,
    grows: bool = True,
) -> GrowingGAN:
    """Return a StyleGAN, which may grow; its `whole` has a `Style` (Karras et al. 2019, arXiv:1812.04948).

    In training, an example takes a second w from a random layer on with probability `mixing`, so that layers do not rely on
    each other's styles (§3.1).

    Args:
        mapping: (z [B, Z], one-hot labels or None) -> w [B, W].
        synthesis: (w [B, L, W], `Stage`) -> x [B, P, P, D], for L = 2 S layers.
        discriminator: as in `growing_gan`.
        prior: p(z).
        event_shape: (height, width, D) of the data.
        num_stages: S.
        num_classes: C, if labels from 0 to C − 1 condition the model; else None.
        mixing: the probability.
        grows: as in `growing_gan`.

    Raises:
        InputError: as `growing_gan`.
    """
    generator = _style_generator(mapping, synthesis, prior, num_stages, mixing)
    gan = growing_gan(generator, discriminator, prior, event_shape, num_stages, num_classes, grows)

    def to_styles(params: Adversaries, state: Adversaries, z: Array, labels: Array | None = None) -> Float[Array, "B W"]:
        context = (one_hot_labels(num_classes, labels, len(z)) or (None,))[0]
        return _mapped(mapping, params.generator, state.generator["net"], z, context)

    def synthesise(params: Adversaries, state: Adversaries, key: Key | None, w: Float[Array, "B L W"]) -> Float[Array, "B P Q D"]:
        net, level = state.generator["net"], state.generator["level"]

        def of_stage(number: int) -> Array:
            stage = Stage(number, alpha_of(number, level) if grows else None)
            return full_size(synthesis.apply(params.generator["synthesis"], net["synthesis"], w, stage, key=key)[0], event_shape)

        return by_level(of_stage, level, num_stages, grows)

    mean = lambda state: state.generator["net"]["mean_w"]
    return gan._replace(whole=gan.whole._replace(style=Style(2 * num_stages, to_styles, synthesise, mean)))


def _style_generator(mapping: BatchNet, synthesis: BatchNet, prior: Distribution, num_stages: int, mixing: Number) -> BatchNet:
    num_layers = 2 * num_stages

    def init(key: Key, z: Array, context: Array | None, stage: Stage) -> Variables:
        keys = jax.random.split(key)
        first = mapping.init(keys[0], z, context)
        w = mapping.apply(*first, z, context)[0]
        second = synthesis.init(keys[1], _for_layers(w, num_layers), stage)
        state = {"mean_w": jnp.zeros(w.shape[1:]), "path_length": jnp.zeros(())}
        return Variables(
            {"mapping": first.params, "synthesis": second.params}, state | {"mapping": first.state, "synthesis": second.state}
        )

    def apply(
        params: Params, state: Params, z: Array, context: Array | None, stage: Stage, train: bool = False, key: Key | None = None
    ) -> tuple[Array, Params]:
        w = _mapped(mapping, params, state, z, context)
        styles, noise_key = _for_layers(w, num_layers), key
        if train:
            assert key is not None
            noise_key, z_key, layer_key = jax.random.split(key, 3)
            other = _mapped(mapping, params, state, draw_latents(prior, z_key, len(z)), context)
            first = first_other_layers(layer_key, len(z), 2 * (stage.number + 1), mixing)
            styles = jnp.where((jnp.arange(num_layers)[None] < first[:, None])[..., None], styles, other[:, None])
            batch_mean = jax.lax.stop_gradient(jnp.mean(w, axis=0))
            state = state | {"mean_w": MEAN_DECAY * state["mean_w"] + (1 - MEAN_DECAY) * batch_mean}
        x, after = synthesis.apply(params["synthesis"], state["synthesis"], styles, stage, train=train, key=noise_key)
        return x, state | {"synthesis": after}

    return BatchNet(init, apply)


def _mapped(mapping: BatchNet, params: Params, state: Params, z: Array, context: Array | None) -> Float[Array, "B W"]:
    return mapping.apply(params["mapping"], state["mapping"], z, context)[0]


def _for_layers(w: Float[Array, "B W"], num_layers: int) -> Float[Array, "B L W"]:
    return jnp.broadcast_to(w[:, None], (len(w), num_layers, w.shape[1]))


def first_other_layers(key: Key, num: int, num_layers: int, mixing: Number) -> Array:
    """Return for each of `num` examples the first layer with another style: uniform in 1 … L − 1, or L if none is mixed."""
    coin_key, layer_key = jax.random.split(key)
    mixed = jax.random.bernoulli(coin_key, mixing, (num,))
    return jnp.where(mixed, jax.random.randint(layer_key, (num,), 1, num_layers), num_layers)


def truncated(w: Float[Array, "B L W"], mean: Float[Array, "W"], psi: float, cutoff: int | None = None) -> Float[Array, "B L W"]:
    """Return w̄ + ψ (w − w̄) in the layers before `cutoff`, by default in all (StyleGAN, arXiv:1812.04948, §B)."""
    shortened = mean[None, None] + psi * (w - mean[None, None])
    return shortened if cutoff is None else jnp.where((jnp.arange(w.shape[1]) < cutoff)[None, :, None], shortened, w)


def path_lengths(synthesise: Callable[[Array], Array], key: Key, w: Float[Array, "B L W"]) -> Float[Array, "B"]:
    """Return √(mean over layers of ‖∂⟨x, y⟩ / ∂w‖²) of each example, x = synthesise(w), y ~ N(0, I) / √(pixels).

    StyleGAN 2, arXiv:1912.04958, §3.2.
    """

    def projected(w: Array) -> Array:
        x = synthesise(w)
        return jnp.sum(x * jax.random.normal(key, x.shape)) * (x.shape[1] * x.shape[2]) ** -0.5

    return jnp.sqrt(jnp.mean(jnp.sum(jax.grad(projected)(w) ** 2, axis=2), axis=1) + 1e-12)


def path_regularised(loss: Loss, gan: GAN, weight: float, every: int) -> Loss:
    """Return the loss of a StyleGAN's generator with n · weight · E[(length − a)²] at every n-th step (arXiv:1912.04958, eq. 4).

    a is a moving average of the lengths, in the state, and no gradient goes through it. Lengths are those of half a batch.
    """
    style = gan.style
    assert style is not None

    def regularised(params: Adversaries, state: Adversaries, key: Key, step: Array, batch: Any) -> Any:
        value, (after, metrics) = loss(params, state, key, step, batch)
        num, before = max(1, len(batch[0]) // 2), state.generator["net"]["path_length"]
        labels = None if gan.num_classes is None else batch[1][:num]
        z_key, noise_key, y_key = jax.random.split(jax.random.fold_in(key, len(batch[0]) + 1), 3)

        def measured() -> tuple[Array, Array]:
            w = style.to_styles(params, state, draw_latents(gan.prior, z_key, num), labels)
            styles = _for_layers(w, style.num_layers)
            lengths = path_lengths(lambda styles: style.synthesise(params, state, noise_key, styles), y_key, styles)
            mean = before + (1 - PATH_DECAY) * (jax.lax.stop_gradient(jnp.mean(lengths)) - before)
            return every * jnp.mean((lengths - mean) ** 2), mean

        penalty, mean = jax.lax.cond(step % every == 0, measured, lambda: (jnp.zeros(()), before))
        net = after.generator["net"] | {"path_length": mean}
        after = after._replace(generator=after.generator | {"net": net})
        return value + weight * penalty, (after, {**metrics, "path_length": mean})

    return regularised
