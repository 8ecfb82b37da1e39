"""What is done with a VAE, whichever it is: its training and its evaluation, as an `Experiment`."""

import functools
import math
import operator
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import Split, to_unit
from gen_jax.evaluate import active_units, example_keys, mean_and_standard_error
from gen_jax.recipes.experiment import Evaluation, Experiment, check_events, in_unit_interval, minimise, prepare
from gen_jax.recipes.vae_compiled import CompiledVae, compile_vae, context_of
from gen_jax.recipes.vae_figures import traverse, vae_figures
from gen_jax.recipes.vae_settings import LikelihoodSettings
from gen_jax.types import VAE, Array, InputError, Key, Metrics, Params
from gen_jax.vae import Latent, perplexity

PIECE = 1000  # examples between two reports of progress in a long evaluation


def vae_experiment(
    vae: VAE,
    loss: Callable[..., Any],
    settings: LikelihoodSettings,
    event_shape: tuple[int, ...],
    num_importance_samples: int | None = None,
    latent: Latent | None = None,
    num_classes: int | None = None,
    adjust: Callable[[Params, Key, Array], Params] | None = None,
    best_metric: str = "valid_score",
) -> Experiment:
    """Return the experiment of a VAE that is trained by a batch loss.

    Args:
        vae: the model.
        loss: (params, key, step, x, context) -> (what to minimise, metrics), for a batch; what depends on the step has its final
            value at a step of infinity, where validation takes it.
        settings: how the data are prepared, and what the likelihood takes.
        event_shape: the shape of an image.
        num_importance_samples: for an estimate of the likelihood, by default; None where the posterior is a point, whose bound
            is all that there is.
        latent: what z is, where it is one vector: for traversals and maps of the latent space.
        num_classes: the model's context is a label, of so many classes.
        adjust: (params, key, x of a batch) -> params, after every step of the optimizer.
        best_metric: what chooses the best checkpoint: minus the loss, or another of its metrics.
    """

    def prepared(key: Key, batch: Split) -> Array:
        keys = jax.random.split(key, len(batch.images))
        return jax.vmap(functools.partial(prepare, settings.binarise))(keys, batch.images)

    def batch_loss(params: Params, key: Key, step: Array, batch: Split) -> tuple[Array, Metrics]:
        pixel_key, model_key = jax.random.split(key)
        return loss(params, model_key, step, prepared(pixel_key, batch), context_of(num_classes, batch))

    def adjusted(params: Params, key: Key, batch: Split) -> Params:
        pixel_key, model_key = jax.random.split(key)
        # the loss has split the second key among as many examples: this is none of theirs
        own_key = jax.random.fold_in(model_key, len(batch.images))
        return adjust(params, own_key, prepared(pixel_key, batch)) if adjust else params

    def init(key: Key) -> Params:
        return vae.init(key, jnp.zeros(event_shape), None if num_classes is None else jnp.int32(0))

    compiled = compile_vae(vae, num_classes)
    return Experiment(
        training=minimise(settings, init, batch_loss, adjusted if adjust else None),
        validate=jax.jit(functools.partial(_validate, loss, num_classes, settings.batch_size)),
        best_metric=best_metric,
        check=functools.partial(_check_images, event_shape, settings),
        evaluate=functools.partial(_evaluate, compiled, settings, num_importance_samples, latent, math.prod(event_shape)),
        sample=compiled.sample,
        picture=lambda images: plots.image_grid(images, columns=min(len(images), 10)),
        figures=functools.partial(vae_figures, compiled, latent, num_classes),
        traverse=None if latent is None else functools.partial(traverse, compiled, latent, num_classes),
        num_classes=num_classes,
    )


def _validate(
    loss: Callable[..., Any], num_classes: int | None, batch_size: int, params: Params, key: Key, split: Split
) -> Metrics:
    """Return the mean over batches of what the loss reports and, as `valid_score`, minus the loss, its annealing at its end."""
    num = len(split.images)
    num_whole, rest = divmod(num, batch_size)
    keys = jax.random.split(key, num_whole + 1)

    def of_batch(row: tuple[Key, Split]) -> Metrics:
        key, batch = row
        end = jnp.float32(jnp.inf)
        with jax.default_matmul_precision("highest"):
            value, metrics = loss(params, key, end, jax.vmap(to_unit)(batch.images), context_of(num_classes, batch))
        return metrics | {"score": -value}

    whole = jax.tree.map(lambda leaf: leaf[: num - rest].reshape(num_whole, batch_size, *leaf.shape[1:]), split)
    means = []  # (of what share of the examples, metrics)
    if num_whole:
        each = jax.lax.map(of_batch, (keys[1:], whole))
        means.append((1 - rest / num, jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), each)))
    if rest:
        last = jax.tree.map(lambda leaf: leaf[num - rest :], split)
        means.append((rest / num, of_batch((keys[0], last))))
    return {f"valid_{name}": sum(share * mean[name] for share, mean in means) for name in means[0][1]}


def _evaluate(
    compiled: CompiledVae,
    settings: LikelihoodSettings,
    num_importance_samples: int | None,
    latent: Latent | None,
    num_pixels: int,
    params: Params,
    key: Key,
    split: Split,
    name: str,
    asked: int | None,
    on_progress: Callable[[int, int], None],
) -> Evaluation:
    if num_importance_samples is None and asked is not None:
        raise InputError("num_importance_samples is given, and the posterior of this VAE is one point: leave it out.")
    if asked is not None and asked < 1:
        raise InputError(f"num_importance_samples is {asked}: give 1 or more.")
    num_samples = num_importance_samples if asked is None else asked
    terms_key, weights_key = jax.random.split(key)
    examples, num = split.on_device(), len(split.images)
    columns = jax.device_get(compiled.describe(params, example_keys(terms_key, num), examples))
    table = {"index": np.arange(num)}
    table |= {} if split.labels is None else {"label": split.labels}
    table |= {quantity: columns[quantity] for quantity in ("elbo", "rate", "distortion")}
    elbo, elbo_se = mean_and_standard_error(columns["elbo"])
    quantities = {
        "elbo": elbo,
        "elbo_se": elbo_se,
        "rate": mean_and_standard_error(columns["rate"])[0],
        "distortion": mean_and_standard_error(columns["distortion"])[0],
    }
    bits = settings.likelihood == "discretised-logistic"
    if bits:
        quantities["bits_per_dim_bound"] = -elbo / (num_pixels * math.log(2))
    if "codes" in columns:
        num_codes = params["codebook"]["shares"].size
        quantities |= {"perplexity": float(perplexity(jnp.asarray(columns["codes"]), num_codes)), "num_codes": num_codes}
        quantities["codes_used"] = len(np.unique(columns["codes"]))
        on_progress(num, num)
        return Evaluation({f"{name}_{q}": value for q, value in quantities.items()} | {"num_examples": num}, table)

    keys, pieces = example_keys(weights_key, num), []
    for start in range(0, num, PIECE):
        piece = operator.itemgetter(slice(start, start + PIECE))
        estimates = compiled.estimate(params, piece(keys), jax.tree.map(piece, examples), num_samples)
        pieces.append(jax.device_get(estimates))
        on_progress(min(start + PIECE, num), num)
    estimates = jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)

    nll, nll_se = mean_and_standard_error(-estimates.log_prob)
    quantities |= {
        "nll": nll,
        "nll_se": nll_se,
        # what of it comes from the importance samples alone, for these examples
        "nll_monte_carlo_se": float(np.sqrt(np.sum(np.square(estimates.standard_error, dtype=np.float64))) / num),
        "effective_sample_size": float(estimates.effective_sample_size.mean()),
    }
    means = columns["posterior_mean"]
    if latent is None or latent.unbounded:  # elsewhere the scale of a variance depends on the space
        quantities["active_units"] = sum(int(active_units(layer).sum()) for layer in jax.tree.leaves(means))
    if bits:
        quantities["bits_per_dim"] = nll / (num_pixels * math.log(2))
    if isinstance(means, tuple):  # layers, the one next to the data first
        for layer, rate in enumerate(columns["kl_parts"].mean(axis=0, dtype=np.float64), start=1):
            quantities[f"rate_{layer}"] = float(rate)
    summary = {f"{name}_{quantity}": value for quantity, value in quantities.items()}
    return Evaluation(summary | {"num_importance_samples": num_samples, "num_examples": num}, table | estimates._asdict())


def _check_images(event_shape: tuple[int, ...], settings: LikelihoodSettings, images: np.ndarray, where: str) -> None:
    check_events(images, event_shape, settings.binarise, where)
    if images.dtype == np.int32:  # numbers of sprites, which are black and white
        return
    if settings.likelihood == "discretised-logistic":
        levels = images.astype(np.float32) if images.dtype == np.uint8 else 255 * images
        if not (np.abs(levels - levels.round()).max() < 1e-3 and levels.min() >= 0 and levels.max() <= 255):
            raise InputError(f"{where} are not on 256 grey values: give integers in 0…255, or a Gaussian likelihood.")
    elif settings.likelihood == "bernoulli" and settings.binarise == "none":
        if not in_unit_interval(images):
            raise InputError(
                f"{where} range from {images.min():g} to {images.max():g}, and a Bernoulli likelihood takes values in [0, 1]: "
                "scale them, or use --likelihood gaussian."
            )
        if not np.isin(images, (0, 255 if images.dtype == np.uint8 else 1)).all():
            warnings.warn(
                "The images are grey, and a Bernoulli likelihood of grey values is a cross-entropy, not a log-likelihood: "
                "what is reported as NLL is not one. Use --binarise dynamic, or a Gaussian likelihood.",
                stacklevel=2,
            )
