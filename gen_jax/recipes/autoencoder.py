"""Autoencoders, plain, denoising and contractive, on the 5,000 embedded digits as grey values.

    gen-jax train autoencoder
    gen-jax train autoencoder-denoising
    gen-jax train autoencoder-contractive

42, 45 and 69 s on two CPU cores, which did other work too. Squared error of a test image: 11.97 ± 0.26, 13.25 ± 0.26 (of the
clean image, from one with 30 % of its values masked), 13.03 ± 0.26; squared norm of the encoder's
Jacobian: 7.5, 7.9, 1.6 (seed 0).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.autoencoders import autoencoder, contraction, corrupt, squared_error
from gen_jax.data import Binarisation, Split, to_unit
from gen_jax.evaluate import example_keys, map_examples, mean_and_standard_error
from gen_jax.nets import MLP
from gen_jax.recipes.experiment import Evaluation, Experiment, Recipe, Settings, check_events, minimise, prepare
from gen_jax.recipes.vae import ACTIVATIONS, ActivationName
from gen_jax.train import batch_mean
from gen_jax.types import Array, InputError, Key, Metrics, Params


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(Settings):
    """An autoencoder of multilayer perceptrons."""

    binarise: Binarisation = "none"
    latent_dim: int = 20
    """Size of the code."""
    hidden_sizes: tuple[int, ...] = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    corruption: Literal["none", "masking", "gaussian"] = "none"
    """What is done to images before they are encoded: nothing, values set to 0, or noise added."""
    amount: float = 0.3
    """Share of the values that are masked, or standard deviation of the noise."""
    contraction: float = 0.0
    """Weight λ of the squared Frobenius norm of the encoder's Jacobian."""

    def check(self) -> None:
        """Raise an InputError for a value that no autoencoder can have."""
        super().check()
        if self.latent_dim < 1 or any(size < 1 for size in self.hidden_sizes):
            raise InputError(f"latent_dim is {self.latent_dim}, hidden_sizes {self.hidden_sizes}: give sizes of 1 or more.")
        if not self.contraction >= 0:
            raise InputError(f"contraction is {self.contraction}: give 0 or more.")
        if self.corruption != "none":
            corrupt(self.corruption, self.amount, jax.random.key(0), jnp.zeros(()))  # raises for an amount that it cannot have


def build(settings: AutoencoderSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    activation, sizes = ACTIVATIONS[settings.activation], settings.hidden_sizes
    model = autoencoder(MLP(sizes, (settings.latent_dim,), activation), MLP(sizes[::-1], event_shape, activation))

    def seen(key: Key, x: Array) -> Array:
        return x if settings.corruption == "none" else corrupt(settings.corruption, settings.amount, key, x)

    def terms(params: Params, key: Key, x: Array) -> tuple[Array, Metrics]:
        """Return what is minimised of one image, and its parts."""
        error = squared_error(model, params, x, seen(key, x))
        if not settings.contraction:
            return error, {"squared_error": error}
        norm = contraction(model, params, x)
        return error + settings.contraction * norm, {"squared_error": error, "contraction": norm}

    def objective(params: Params, key: Key, example: Split) -> tuple[Array, Metrics]:
        pixel_key, noise_key = jax.random.split(key)
        return terms(params, noise_key, prepare(settings.binarise, pixel_key, example.images))

    @jax.jit
    def validate(params: Params, key: Key, split: Split) -> Metrics:
        def one(params: Params, key: Key, image: Array) -> Metrics:
            value, metrics = terms(params, key, to_unit(image))
            return {f"valid_{name}": part for name, part in {**metrics, "score": -value}.items()}

        columns = map_examples(one, params, example_keys(key, len(split.images)), split.images, chunk_size=100)
        return jax.tree.map(jnp.mean, columns)

    @jax.jit
    def describe(params: Params, keys: Array, images: Array) -> dict[str, Array]:
        def one(params: Params, key: Key, image: Array) -> dict[str, Array]:
            x = to_unit(image)
            error = squared_error(model, params, x, seen(key, x))
            return {"squared_error": error, "contraction": contraction(model, params, x), "code": model.encode(params, x)}

        return map_examples(one, params, keys, images, chunk_size=100)

    def evaluate(
        params: Params, key: Key, split: Split, name: str, num_samples: int | None, on_progress: Callable[[int, int], None]
    ) -> Evaluation:
        if num_samples is not None:
            raise InputError("num_importance_samples is given, and an autoencoder has no likelihood: leave it out.")
        num = len(split.images)
        columns = jax.device_get(describe(params, example_keys(key, num), jnp.asarray(split.images)))
        on_progress(num, num)
        summary = {"num_examples": num}
        for column in ("squared_error", "contraction"):
            summary[f"{name}_{column}"], summary[f"{name}_{column}_se"] = mean_and_standard_error(columns[column])
        table = {"index": np.arange(num)} | ({} if split.labels is None else {"label": split.labels})
        return Evaluation(summary, table | {c: columns[c] for c in ("squared_error", "contraction")})

    def sample(params: Params, key: Key, num: int) -> Array:
        raise InputError("An autoencoder has no distribution to draw from: train a VAE.")

    def figures(params: Params, key: Key, test: Split, rows: list[dict[str, Any]]) -> dict[str, Any]:
        images = jax.vmap(to_unit)(jnp.asarray(test.images[:20]))
        shown = jax.vmap(seen)(jax.random.split(key, len(images)), images)
        decoded = jax.jit(jax.vmap(lambda x: model.decode(params, model.encode(params, x))))(shown)
        columns = min(10, len(images))
        drawn = {"reconstructions": plots.reconstructions(images, decoded, columns)}
        if settings.corruption != "none":
            drawn["corrupted"] = plots.image_grid(shown, columns, "what the model was shown of the same test images")
        if settings.latent_dim == 2:
            codes = describe(params, example_keys(key, len(test.images)), jnp.asarray(test.images))["code"]
            drawn["latents"] = plots.latent_scatter(codes, test.labels)
        return drawn | {"curves": plots.loss_curves(rows, ["train_squared_error", "valid_squared_error"], "squared error")}

    return Experiment(
        training=minimise(settings, lambda key: model.init(key, jnp.zeros(event_shape)), batch_mean(objective)),
        validate=validate,
        best_metric="valid_score",
        check=lambda images, where: check_events(images, event_shape, settings.binarise, where),
        evaluate=evaluate,
        sample=sample,
        picture=lambda images: plots.image_grid(images, columns=min(len(images), 10)),
        figures=figures,
    )


PLAIN = Recipe("an autoencoder, 512-256-20, on 5,000 embedded MNIST digits", AutoencoderSettings(), build)
DENOISING = Recipe("a denoising autoencoder, 30 % of its input masked", AutoencoderSettings(corruption="masking"), build)
CONTRACTIVE = Recipe("a contractive autoencoder", AutoencoderSettings(contraction=0.1, epochs=30), build)
