"""The variational autoencoder in its reference size, on the 5,000 digits that need no download.

    gen-jax train vae

HEADER
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from gen_jax import plots
from gen_jax.data import Split, binarise, to_unit
from gen_jax.evaluate import (
    LikelihoodEstimate,
    active_units,
    example_keys,
    importance_weighted,
    map_examples,
    mean_and_standard_error,
)
from gen_jax.nets import MLP
from gen_jax.recipes.experiment import Evaluation, Experiment, Recipe, Settings
from gen_jax.types import Array, InputError, Key, Metrics, Params
from gen_jax.vae import bernoulli_likelihood, elbo_terms, gaussian_likelihood, gaussian_vae, log_weight, negative_elbo

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}
PIECE = 1000  # examples between two reports of progress in a long evaluation


@dataclass(frozen=True, kw_only=True)
class VaeSettings(Settings):
    """A VAE of multilayer perceptrons with a Gaussian posterior and a standard normal prior."""

    latent_dim: int = 20
    """Latent dimensions."""
    hidden_sizes: tuple[int, ...] = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of the hidden layers."""
    likelihood: Literal["bernoulli", "gaussian", "gaussian-learned"] = "bernoulli"
    """p(x|z): Bernoulli; Gaussian with σ = --scale; or with one σ that is learned, starting from --scale."""
    scale: float = 0.1
    """σ of a Gaussian likelihood."""
    num_importance_samples: int = 1000
    """Samples an example for the test NLL at the end of training."""


def build(settings: VaeSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    if any(size < 1 for size in settings.hidden_sizes):
        raise InputError(f"hidden_sizes is {settings.hidden_sizes}: give widths of 1 or more.")
    if settings.num_importance_samples < 1:
        raise InputError(f"num_importance_samples is {settings.num_importance_samples}: give 1 or more.")
    activation = ACTIVATIONS[settings.activation]
    if settings.likelihood == "bernoulli":
        likelihood = bernoulli_likelihood()
    else:
        likelihood = gaussian_likelihood(settings.scale, learned=settings.likelihood == "gaussian-learned")
    vae = gaussian_vae(
        encoder=MLP(settings.hidden_sizes, (2, settings.latent_dim), activation),
        decoder=MLP(settings.hidden_sizes[::-1], event_shape, activation),
        latent_dim=settings.latent_dim,
        likelihood=likelihood,
    )
    # under `fixed` the training images were drawn before training; what is left to do at each step is to scale them
    at_each_step = "none" if settings.binarise == "fixed" else settings.binarise

    def init(key: Key) -> Params:
        return vae.init(key, jnp.zeros(event_shape))

    def objective(params: Params, key: Key, image: Array) -> tuple[Array, Metrics]:
        pixel_key, model_key = jax.random.split(key)
        return negative_elbo(vae, params, model_key, binarise(at_each_step, pixel_key, image))

    def describe(params: Params, key: Key, image: Array) -> dict[str, Array]:
        x = to_unit(image)
        terms = elbo_terms(vae, params, key, x)
        return {
            "elbo": terms.elbo,
            "rate": terms.rate,
            "distortion": terms.distortion,
            "posterior_mean": vae.encode(params, x).mean,
        }

    describe_all = jax.jit(functools.partial(map_examples, describe, chunk_size=500))

    def validate(params: Params, key: Key, images: Array) -> Metrics:
        columns = describe_all(params, example_keys(key, len(images)), images)
        return {f"valid_{name}": jnp.mean(columns[name]) for name in ("elbo", "rate", "distortion")}

    def evaluate(
        params: Params,
        key: Key,
        split: Split,
        name: str,
        num_samples: int | None,
        on_progress: Callable[[int, int], None],
    ) -> Evaluation:
        num_samples = settings.num_importance_samples if num_samples is None else num_samples

        # rows of the decoder's matrix products: as many as a CPU's caches like, or as fill a GPU
        rows = 1000 if jax.default_backend() == "cpu" else 50_000

        def estimate(params: Params, key: Key, image: Array) -> LikelihoodEstimate:
            return importance_weighted(lambda k: log_weight(vae, params, k, to_unit(image)), key, num_samples, chunk_size=rows)

        estimate_all = jax.jit(functools.partial(map_examples, estimate, chunk_size=max(1, rows // num_samples)))
        terms_key, weights_key = jax.random.split(key)
        images, num = jnp.asarray(split.images), len(split.images)
        columns = jax.device_get(describe_all(params, example_keys(terms_key, num), images))
        keys = example_keys(weights_key, num)
        pieces = []
        for start in range(0, num, PIECE):
            piece = slice(start, start + PIECE)
            pieces.append(jax.device_get(estimate_all(params, keys[piece], images[piece])))
            on_progress(min(start + PIECE, num), num)
        estimates = jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
        nll, nll_se = mean_and_standard_error(-estimates.log_prob)
        elbo, elbo_se = mean_and_standard_error(columns["elbo"])
        summary = {
            "elbo": elbo,
            "elbo_se": elbo_se,
            "rate": mean_and_standard_error(columns["rate"])[0],
            "distortion": mean_and_standard_error(columns["distortion"])[0],
            "nll": nll,
            "nll_se": nll_se,
            "nll_monte_carlo_se": float(np.sqrt(np.sum(np.square(estimates.standard_error, dtype=np.float64))) / num),
            "effective_sample_size": float(estimates.effective_sample_size.mean()),
            "active_units": int(active_units(columns["posterior_mean"]).sum()),
        }
        table = {"index": np.arange(num)}
        table |= {} if split.labels is None else {"label": split.labels}
        table |= {name: columns[name] for name in ("elbo", "rate", "distortion")}
        summary = {f"{name}_{quantity}": value for quantity, value in summary.items()}
        return Evaluation(summary | {"num_importance_samples": num_samples, "num_examples": num}, table | estimates._asdict())

    @functools.partial(jax.jit, static_argnums=2)
    def sample(params: Params, key: Key, num: int) -> Array:
        def one(key: Key) -> Array:
            return vae.decode(params, vae.prior(params).sample(key)).mean

        return jax.vmap(one)(jax.random.split(key, num))

    def figures(params: Params, key: Key, test: Split, rows: list[dict[str, Any]]) -> dict[str, Any]:
        images = to_unit(jnp.asarray(test.images[:20]))
        means = jax.jit(jax.vmap(lambda x: vae.decode(params, vae.encode(params, x).mean).mean))(images)
        sample_key, terms_key = jax.random.split(key)
        drawn = {
            "reconstructions": plots.reconstructions(images, means, columns=min(10, len(images))),
            "samples": plots.image_grid(sample(params, sample_key, 100), 10, "p(x|z) means at z drawn from the prior"),
            "curves": plots.loss_curves(rows, ["train_elbo", "valid_elbo"], "ELBO (nats)"),
        }
        if settings.latent_dim == 2:
            columns = describe_all(params, example_keys(terms_key, len(test.images)), jnp.asarray(test.images))
            drawn["latents"] = plots.latent_scatter(columns["posterior_mean"], test.labels)
            # equal steps of probability under the prior, z₂ upwards
            steps = norm.ppf(jnp.linspace(0.025, 0.975, 20))
            z = jnp.stack(jnp.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
            manifold = jax.jit(jax.vmap(lambda z: vae.decode(params, z).mean))(z)
            drawn["manifold"] = plots.image_grid(manifold, 20, "decoded latent plane, from 2.5% to 97.5% of the prior")
        return drawn

    def check(images: np.ndarray, where: str) -> None:
        if images.shape[1:] != event_shape:
            raise InputError(f"{where} are {images.shape[1:]} each and the model takes {event_shape}: give data of that shape.")
        if settings.likelihood == "bernoulli" and images.dtype != np.uint8 and (images.min() < 0 or images.max() > 1):
            raise InputError(
                f"{where} range from {images.min():g} to {images.max():g}, and a Bernoulli likelihood takes values in [0, 1]: "
                "scale them, or use --likelihood gaussian --binarise none."
            )
        if settings.binarise in ("dynamic", "fixed") and images.dtype != np.uint8 and (images.min() < 0 or images.max() > 1):
            raise InputError(
                f"{where} range from {images.min():g} to {images.max():g}, which are no probabilities to binarise by: "
                "scale them to [0, 1], or use --binarise none."
            )

    return Experiment(init, objective, validate, "valid_elbo", check, evaluate, sample, figures)


RECIPE = Recipe("the reference VAE (512-256-20) on 5,000 embedded MNIST digits", VaeSettings(), build)
