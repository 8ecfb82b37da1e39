"""What is done with a VAE, whichever it is: its objective, its evaluation and its figures, as an `Experiment`."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from gen_jax import plots
from gen_jax.data import Binarisation, Split, binarise, to_unit
from gen_jax.evaluate import (
    LikelihoodEstimate,
    active_units,
    example_keys,
    importance_weighted,
    map_examples,
    mean_and_standard_error,
    posterior_mean,
)
from gen_jax.recipes.experiment import Evaluation, Experiment
from gen_jax.train import batch_mean
from gen_jax.types import VAE, Array, InputError, Key, Metrics, Params
from gen_jax.vae import elbo_terms, log_weight, negative_elbo

PIECE = 1000  # examples between two reports of progress in a long evaluation


def vae_experiment(
    vae: VAE,
    event_shape: tuple[int, ...],
    binarisation: Binarisation,
    num_importance_samples: int,
    unit_interval: bool,
    kl_warmup_steps: int = 0,
) -> Experiment:
    """Return the experiment of a VAE that is trained by its negative ELBO.

    Args:
        vae: the model.
        event_shape: the shape of an image.
        binarisation: how pixels become what the model sees.
        num_importance_samples: for the test NLL, where the caller asks for no other number.
        unit_interval: whether the likelihood takes values in [0, 1] only.
        kl_warmup_steps: over how many steps the weight of the KL rises from 0 to 1.
    """
    _check_num_samples(num_importance_samples)
    if kl_warmup_steps < 0:
        raise InputError(f"kl_warmup_steps is {kl_warmup_steps}: give 0 or more.")
    # under `fixed` the training images were drawn before training; what is left to do at each step is to scale them
    at_each_step: Binarisation = "none" if binarisation == "fixed" else binarisation

    def loss(params: Params, key: Key, step: Array, images: Array) -> tuple[Array, Metrics]:
        kl_weight = jnp.minimum(1.0, step / kl_warmup_steps) if kl_warmup_steps else 1.0

        def objective(params: Params, key: Key, image: Array) -> tuple[Array, Metrics]:
            pixel_key, model_key = jax.random.split(key)
            x = binarise(at_each_step, pixel_key, image)
            return negative_elbo(vae, params, model_key, x, kl_weight=kl_weight)

        return batch_mean(objective)(params, key, step, images)

    compiled = _compile(vae)
    return Experiment(
        init=lambda key: vae.init(key, jnp.zeros(event_shape)),
        loss=loss,
        validate=functools.partial(_validate, compiled),
        best_metric="valid_elbo",
        check=functools.partial(_check_images, event_shape, binarisation, unit_interval),
        evaluate=functools.partial(_evaluate, compiled, num_importance_samples),
        sample=compiled.sample,
        picture=lambda images: plots.image_grid(images, columns=min(len(images), 10)),
        figures=functools.partial(_figures, compiled),
    )


class _Compiled(NamedTuple):
    """The functions of a VAE that run over many examples, compiled once.

    Attributes:
        describe: (params, keys, images) -> columns of ELBO terms and posterior means.
        estimate: (params, keys, images, num_samples) -> `LikelihoodEstimate` of every image.
        sample: (params, key, num) -> means of p(x|z) at z drawn from the prior.
        reconstruct: (params, keys, images) -> means of p(x|z) at the posterior mean.
        decode: (params, latents) -> means of p(x|z).
    """

    describe: Callable[..., dict[str, Array]]
    estimate: Callable[..., LikelihoodEstimate]
    sample: Callable[..., Array]
    reconstruct: Callable[..., Array]
    decode: Callable[..., Array]


def _compile(vae: VAE) -> _Compiled:
    def describe(params: Params, key: Key, image: Array) -> dict[str, Array]:
        x = to_unit(image)
        terms = elbo_terms(vae, params, key, x)
        mean = posterior_mean(vae.encode(params, x), jax.random.fold_in(key, 1))
        return {"elbo": terms.elbo, "rate": terms.rate, "distortion": terms.distortion, "posterior_mean": mean}

    def estimate(params: Params, keys: Array, images: Array, num_samples: int) -> LikelihoodEstimate:
        # rows of the decoder's matrix products: as many as a CPU's caches like, or as fill a GPU
        rows = 1000 if jax.default_backend() == "cpu" else 50_000

        def one(params: Params, key: Key, image: Array) -> LikelihoodEstimate:
            return importance_weighted(lambda k: log_weight(vae, params, k, to_unit(image)), key, num_samples, chunk_size=rows)

        return map_examples(one, params, keys, images, chunk_size=max(1, rows // num_samples))

    def decode(params: Params, z: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            return vae.decode(params, z).mean

    def sample(params: Params, key: Key, num: int) -> Array:
        return jax.vmap(lambda k: decode(params, vae.prior(params).sample(k)))(jax.random.split(key, num))

    def reconstruct(params: Params, key: Key, image: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            return decode(params, posterior_mean(vae.encode(params, to_unit(image)), key))

    return _Compiled(
        describe=jax.jit(functools.partial(map_examples, describe, chunk_size=500)),
        estimate=jax.jit(estimate, static_argnums=3),
        sample=jax.jit(sample, static_argnums=2),
        reconstruct=jax.jit(jax.vmap(reconstruct, in_axes=(None, 0, 0))),
        decode=jax.jit(jax.vmap(decode, in_axes=(None, 0))),
    )


def _validate(compiled: _Compiled, params: Params, key: Key, images: Array) -> Metrics:
    columns = compiled.describe(params, example_keys(key, len(images)), images)
    return {f"valid_{name}": jnp.mean(columns[name]) for name in ("elbo", "rate", "distortion")}


def _evaluate(
    compiled: _Compiled,
    default_num_samples: int,
    params: Params,
    key: Key,
    split: Split,
    name: str,
    num_samples: int | None,
    on_progress: Callable[[int, int], None],
) -> Evaluation:
    num_samples = default_num_samples if num_samples is None else num_samples
    _check_num_samples(num_samples)
    terms_key, weights_key = jax.random.split(key)
    images, num = jnp.asarray(split.images), len(split.images)
    columns = jax.device_get(compiled.describe(params, example_keys(terms_key, num), images))
    keys, pieces = example_keys(weights_key, num), []
    for start in range(0, num, PIECE):
        piece = slice(start, start + PIECE)
        pieces.append(jax.device_get(compiled.estimate(params, keys[piece], images[piece], num_samples)))
        on_progress(min(start + PIECE, num), num)
    estimates = jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)

    elbo, elbo_se = mean_and_standard_error(columns["elbo"])
    nll, nll_se = mean_and_standard_error(-estimates.log_prob)
    quantities = {
        "elbo": elbo,
        "elbo_se": elbo_se,
        "rate": mean_and_standard_error(columns["rate"])[0],
        "distortion": mean_and_standard_error(columns["distortion"])[0],
        "nll": nll,
        "nll_se": nll_se,
        # what of it comes from the importance samples alone, for these examples
        "nll_monte_carlo_se": float(np.sqrt(np.sum(np.square(estimates.standard_error, dtype=np.float64))) / num),
        "effective_sample_size": float(estimates.effective_sample_size.mean()),
        "active_units": int(active_units(columns["posterior_mean"]).sum()),
    }
    summary = {f"{name}_{quantity}": value for quantity, value in quantities.items()}
    table = {"index": np.arange(num)}
    table |= {} if split.labels is None else {"label": split.labels}
    table |= {quantity: columns[quantity] for quantity in ("elbo", "rate", "distortion")}
    return Evaluation(summary | {"num_importance_samples": num_samples, "num_examples": num}, table | estimates._asdict())


def _figures(compiled: _Compiled, params: Params, key: Key, test: Split, rows: list[dict[str, Any]]) -> dict[str, Any]:
    sample_key, terms_key = jax.random.split(key)
    images = jnp.asarray(test.images)
    first = images[:20]
    figures = {
        "reconstructions": plots.reconstructions(
            to_unit(first),
            compiled.reconstruct(params, example_keys(terms_key, len(first)), first),
            columns=min(10, len(first)),
        ),
        "samples": plots.image_grid(compiled.sample(params, sample_key, 100), 10, "p(x|z) means at z drawn from the prior"),
        "curves": plots.loss_curves(rows, ["train_elbo", "valid_elbo"], "ELBO (nats)"),
    }
    latents = compiled.describe(params, example_keys(terms_key, len(images)), images)["posterior_mean"]
    if latents.shape[1:] == (2,):
        figures["latents"] = plots.latent_scatter(latents, test.labels)
        # equal steps of probability under the prior, z₂ upwards
        steps = norm.ppf(jnp.linspace(0.025, 0.975, 20))
        plane = jnp.stack(jnp.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
        title = "decoded latent plane, from 2.5% to 97.5% of the prior"
        figures["manifold"] = plots.image_grid(compiled.decode(params, plane), 20, title)
    return figures


def _check_num_samples(num_samples: int) -> None:
    if num_samples < 1:
        raise InputError(f"num_importance_samples is {num_samples}: give 1 or more.")


def _check_images(
    event_shape: tuple[int, ...], binarisation: Binarisation, unit_interval: bool, images: np.ndarray, where: str
) -> None:
    if images.shape[1:] != event_shape:
        raise InputError(f"{where} are {images.shape[1:]} each and the model takes {event_shape}: give data of that shape.")
    if images.dtype == np.uint8 or (images.min() >= 0 and images.max() <= 1):
        if unit_interval and binarisation == "none" and not np.isin(images, (0, 255 if images.dtype == np.uint8 else 1)).all():
            warnings.warn(
                "The images are grey, and a Bernoulli likelihood of grey values is a cross-entropy, not a log-likelihood: "
                "what is reported as NLL is not one. Use --binarise dynamic, or a Gaussian likelihood.",
                stacklevel=2,
            )
        return
    range_ = f"{where} range from {images.min():g} to {images.max():g}"
    if unit_interval:
        raise InputError(
            f"{range_}, and a Bernoulli likelihood takes values in [0, 1]: "
            "scale them, or use --likelihood gaussian --binarise none."
        )
    if binarisation in ("dynamic", "fixed"):
        raise InputError(f"{range_}, which are no probabilities to binarise by: scale them to [0, 1], or use --binarise none.")
