"""What the styles of a StyleGAN do: mixed, truncated, and beside the noise (Karras et al. 2019, arXiv:1812.04948, §3 and §B)."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView
from gen_jax.evaluate import mean_and_standard_error
from gen_jax.gan import draw_latents, truncated
from gen_jax.tasks.latent_models import great_arc, line
from gen_jax.tasks.sample_quality import classifier_of
from gen_jax.tasks.task import Outcome, Subject, check_count, compiled, labels_in_turn, refuse
from gen_jax.types import GAN, Array, Key, Params, Style, split

Space = Literal["z", "w"]
"""Latents of a StyleGAN: before its mapping network, or after it."""
PSIS = (1.0, 0.7, 0.5, 0.3, 0.0, -0.5)
BLOCK = 4  # pixels along a side of what counts as coarse structure


def style_of(model: Any, what: str) -> Style:
    """Return the two halves of a StyleGAN's generator, or raise an InputError for a model whose layers take no styles."""
    if not isinstance(model, GAN) or model.style is None:
        raise refuse(model, f"{what}, since its layers take no styles", "a StyleGAN")
    return model.style


def draw_styles(model: Any, params: Params, key: Key, num: int, labels: Any = None, *, view: DataView = DataView()) -> Array:
    """Return w [num, L, W] of draws of the prior, one style for all layers of each; of labels in turn, where there are classes.

    Raises:
        InputError: the model has no styles, or not these labels.
    """
    style_of(model, "draw styles")
    check_count("num", num)
    return _draw(model, view, params, key, labels_in_turn(model, num, labels), num=num)


@compiled
def _draw(model: GAN, view: DataView, params: Params, key: Key, labels: Array | None, num: int) -> Array:
    style = style_of(model, "draw styles")
    return for_layers(model, style.to_styles(*split(params), draw_latents(model.prior, key, num), labels))


@compiled
def synthesise(model: GAN, view: DataView, params: Params, key: Key | None, w: Array) -> Array:
    """Return the images [N, *event] of styles [N, L, W] in the data's range; with noise by the key, or without.

    Raises:
        InputError: the model has no styles.
    """
    style = style_of(model, "synthesise")

    def one(row: tuple[Key | None, Array]) -> Array:
        return view.from_model(style.synthesise(*split(params), row[0], row[1][None])[0])

    keys = None if key is None else jax.random.split(key, len(w))
    return jax.lax.map(one, (keys, w), batch_size=100)


def mixed(coarse: Array, fine: Array, first: int, last: int) -> Array:
    """Return styles [N, L, W] that are those of `fine` in the layers first … last − 1, and of `coarse` in the others."""
    layers = jnp.arange(coarse.shape[1])
    return jnp.where(((layers >= first) & (layers < last))[None, :, None], fine, coarse)


def layer_bands(num_layers: int) -> dict[str, tuple[int, int]]:
    """Return the first layer of coarse, middle and fine styles, and the first after them: of few stages, some are left out.

    Coarse styles are those of the first third of the stages, rounded, and fine ones of the last.
    """
    stages = num_layers // 2
    one, two = 2 * max(1, round(stages / 3)), 2 * max(2, round(2 * stages / 3))
    bands = {"coarse": (0, one), "middle": (one, min(two, num_layers)), "fine": (two, num_layers)}
    return {name: (first, last) for name, (first, last) in bands.items() if first < last}


def noise_effect(
    model: Any, params: Params, key: Key, w: Array, draws: int = 32, *, view: DataView = DataView()
) -> dict[str, np.ndarray]:
    """Return what the noise does to the images of styles [N, L, W]: without it, their mean over draws, and standard deviations.

    `std` [N, *event] is of pixels, `coarse_std` of means over blocks of 4 × 4 pixels.

    Raises:
        InputError: the model has no styles.
    """
    style_of(model, "add noise")
    without = synthesise(model, view, params, None, w)
    drawn = jnp.stack([synthesise(model, view, params, one, w) for one in jax.random.split(key, draws)])
    height, width = (size // BLOCK * BLOCK for size in drawn.shape[2:4])
    blocks = drawn[:, :, :height, :width].reshape(*drawn.shape[:2], height // BLOCK, BLOCK, width // BLOCK, BLOCK, -1)
    found = {
        "without": without,
        "mean": drawn.mean(axis=0),
        "std": drawn.std(axis=0),
        "coarse_std": blocks.mean(axis=(3, 5)).std(axis=0),
    }
    return {name: np.asarray(value) for name, value in found.items()}


def feature_path_lengths(
    model: Any,
    params: Params,
    key: Key,
    features: Callable[[Array], np.ndarray],
    num: int = 1000,
    step: float = 1e-2,
    *,
    view: DataView = DataView(),
) -> dict[str, tuple[float, float]]:
    """Return E‖φ(x(t + ε)) − φ(x(t))‖²/ε² between draws of a StyleGAN, "z" and "w": (mean, standard error) over `num` paths.

    The smoother and straighter a space, the shorter its paths. In z they are great arcs, in w lines; t ~ U(0, 1 − ε), and there
    is no noise. The papers' perceptual path length (§4.1) has features φ of a VGG network; these are the caller's.

    Args:
        model: a StyleGAN without labels.
        params: what its functions take.
        key: for what is drawn.
        features: images [N, *event] in the data's range -> [N, F].
        num: number of paths.
        step: ε.
        view: how the model sees the data.
    """
    style_of(model, "measure paths of styles")
    ends_key, t_key = jax.random.split(key)
    z = draw_latents(model.prior, ends_key, 2 * num).reshape(num, 2, -1)
    t = jax.random.uniform(t_key, (num, 1), maxval=1 - step) + jnp.array([[0.0, step]])
    at = {"z": _styles(model, view, params, jax.vmap(lambda pair, t: great_arc(*pair, t))(z, t).reshape(2 * num, -1))}
    ends = _styles(model, view, params, z.reshape(2 * num, -1)).reshape(num, 2, -1)
    at["w"] = jax.vmap(lambda pair, t: line(*pair, t))(ends, t).reshape(2 * num, -1)
    found = {}
    for space, w in at.items():
        of_images = features(synthesise(model, view, params, None, for_layers(model, w)))
        change = np.float64(of_images).reshape(num, 2, -1)
        found[space] = mean_and_standard_error(np.sum((change[:, 1] - change[:, 0]) ** 2, axis=1) / step**2)
    return found


@compiled
def _styles(model: GAN, view: DataView, params: Params, z: Array) -> Array:
    return style_of(model, "map latents").to_styles(*split(params), z)


def for_layers(model: Any, w: Array) -> Array:
    """Return w [N, W] as styles [N, L, W], one for all layers of each example."""
    return jnp.broadcast_to(w[:, None], (len(w), style_of(model, "synthesise").num_layers, w.shape[1]))


def perform(subject: Subject, *, num: int = 8, seed: int = 0) -> Outcome:
    """Mix and truncate the styles of a StyleGAN, show what its noise does, and measure how smooth its latent spaces are.

    Three figures: images with the coarse, middle or fine styles of others; styles drawn towards their mean, w̄ + ψ (w − w̄); and
    images without noise, two draws of it, and the standard deviation of pixels over draws, with the numbers beside it. Where a
    classifier of the data can be trained, path lengths by its features in z and in w.

    Args:
        subject: the run.
        num: Number of images in a row.
        seed: Seed of the draw.
    """
    model, view, params = subject.model, subject.view, subject.params
    style = style_of(model, "mix styles")
    check_count("num", num, 2)
    styles_key, noise_key, again_key, effect_key, paths_key = jax.random.split(subject.key, 5)
    w = draw_styles(model, params, styles_key, 2 * num, view=view)
    show = lambda w: synthesise(model, view, params, noise_key, w)
    of_a, of_b = w[:num], w[num:]

    images, names = [show(of_a)], ["A"]
    for band, (first, last) in layer_bands(w.shape[1]).items():
        for row in range(min(3, num)):
            source = jnp.broadcast_to(of_b[row][None], of_a.shape)
            images.append(show(mixed(of_a, source, first, last)))
            names.append(f"{band} of B{row + 1}")
    images.append(show(of_b))
    mixing = jnp.concatenate(images)

    mean = style.mean(split(params).state)
    truncation = jnp.concatenate([show(truncated(of_a, mean, psi)) for psi in PSIS])

    found = noise_effect(model, params, effect_key, of_a, view=view)
    again = synthesise(model, view, params, again_key, of_a)
    spread = found["std"] / max(found["std"].max(), 1e-12)
    noise = np.concatenate([found["without"], np.asarray(show(of_a)), np.asarray(again), spread])
    title = f"columns: A; rows: A with the styles of one B in some layers; last row: B1 … B{num}"
    figures = {
        "mixing": plots.image_grid(mixing, num, title, [*names, "B"]),
        "truncation": plots.image_grid(truncation, num, "styles w̄ + ψ (w − w̄)", [f"ψ = {psi:g}" for psi in PSIS]),
        "noise": plots.image_grid(noise, num, "noise", ["without", "one draw", "another", "std, scaled"]),
    }
    numbers = {
        "noise_std": float(found["std"].mean()),
        "noise_coarse_std": float(found["coarse_std"].mean()),
        "sample_std": float(np.asarray(show(w)).std(axis=0).mean()),
    }
    data = None if model.num_classes is not None else subject.load(None, "none")
    classifier = None if data is None else classifier_of(data)
    if classifier is not None:
        lengths = feature_path_lengths(model, params, paths_key, classifier.features, view=view)
        for space, (mean, standard_error) in lengths.items():
            numbers |= {f"path_length_{space}": mean, f"path_length_{space}_standard_error": standard_error}
    return Outcome(f"styles-{seed}", f"{num} images mixed, truncated, and with and without noise", figures, None, numbers)
