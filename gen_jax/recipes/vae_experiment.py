"""What is done with a VAE, whichever it is: its training, its evaluation and its figures, as an `Experiment`."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
from gen_jax.recipes.vae_settings import AnyVaeSettings, make_objective
from gen_jax.types import VAE, Array, InputError, Key, Metrics, Params
from gen_jax.vae import ElboTerms, Latent, Quantised, elbo_terms, iwae_bound, log_weight, perplexity

PIECE = 1000  # examples between two reports of progress in a long evaluation
GRID = 20  # images along a side of a decoded chart
REDRAWN = 8  # how often each row of the figure of layers is drawn


def vae_experiment(
    vae: VAE,
    loss: Callable[..., Any],
    settings: AnyVaeSettings,
    event_shape: tuple[int, ...],
    latent: Latent | None = None,
    num_classes: int | None = None,
    adjust: Callable[[Params, Key, Array], Params] | None = None,
) -> Experiment:
    """Return the experiment of a VAE that is trained by a batch loss.

    Args:
        vae: the model.
        loss: (params, key, step, x, context) -> (what to minimise, metrics), for a batch.
        settings: how the data are prepared, and how the model is evaluated.
        event_shape: the shape of an image.
        latent: what z is, where it is one vector: for traversals and maps of the latent space.
        num_classes: the model's context is a label, of so many classes.
        adjust: (params, key, x of a batch) -> params, after every step of the optimizer.
    """
    # under `fixed` the training images were drawn before training; what is left to do at each step is to scale them
    at_each_step: Binarisation = "none" if settings.binarise == "fixed" else settings.binarise

    def prepared(key: Key, batch: Split) -> Array:
        keys = jax.random.split(key, len(batch.images))
        return jax.vmap(functools.partial(binarise, at_each_step))(keys, batch.images)

    def batch_loss(params: Params, key: Key, step: Array, batch: Split) -> tuple[Array, Metrics]:
        pixel_key, model_key = jax.random.split(key)
        return loss(params, model_key, step, prepared(pixel_key, batch), _context(num_classes, batch))

    def adjusted(params: Params, key: Key, batch: Split) -> Params:
        pixel_key, model_key = jax.random.split(key)
        # the loss has split the second key among as many examples: this is none of theirs
        own_key = jax.random.fold_in(model_key, len(batch.images))
        return adjust(params, own_key, prepared(pixel_key, batch)) if adjust else params

    compiled = _compile(vae, settings, num_classes)
    return Experiment(
        init=lambda key: vae.init(key, jnp.zeros(event_shape), None if num_classes is None else jnp.int32(0)),
        loss=batch_loss,
        adjust=adjusted if adjust else None,
        validate=functools.partial(_validate, compiled, settings),
        best_metric="valid_score",
        check=functools.partial(_check_images, event_shape, settings),
        evaluate=functools.partial(_evaluate, compiled, settings, latent, math.prod(event_shape)),
        sample=compiled.sample,
        picture=lambda images: plots.image_grid(images, columns=min(len(images), 10)),
        figures=functools.partial(_figures, compiled, settings, latent, num_classes),
        traverse=None if latent is None else functools.partial(_traverse, compiled, latent, num_classes),
        num_classes=num_classes,
    )


def _context(num_classes: int | None, batch: Split) -> Any:
    return None if num_classes is None else batch.labels


class _Compiled(NamedTuple):
    """The functions of a VAE that run over many examples, compiled once. An example is a `Split` of one image and its label.

    Attributes:
        score: (params, keys, examples) -> the ELBO terms of every image, and the bound L_K that it is trained by, where it is.
        describe: (params, keys, examples) -> columns of ELBO terms, KL by part, posterior means, codes.
        estimate: (params, keys, examples, num_samples) -> `LikelihoodEstimate` of every image.
        sample: (params, key, num) -> means of p(x|z) at z drawn from the prior; under the labels in turn, where there are some.
        reconstruct: (params, keys, examples) -> means of p(x|z) at a z drawn from the posterior.
        decode: (params, latents, labels or None) -> means of p(x|z).
        draw: (params, key, label or None) -> 10,000 z of the prior.
        redraw: (params, key, how many layers are kept) -> means of p(x|z), the layers below drawn anew.
    """

    score: Callable[..., tuple[ElboTerms, Array | None]]
    describe: Callable[..., dict[str, Any]]
    estimate: Callable[..., LikelihoodEstimate]
    sample: Callable[..., Array]
    reconstruct: Callable[..., Array]
    decode: Callable[..., Array]
    draw: Callable[..., Array]
    redraw: Callable[..., Array]


def _compile(vae: VAE, settings: AnyVaeSettings, num_classes: int | None) -> _Compiled:
    context_of = functools.partial(_context, num_classes)

    def score(params: Params, key: Key, example: Split) -> tuple[ElboTerms, Array | None]:
        x, context = to_unit(example.images), context_of(example)
        terms = elbo_terms(vae, params, key, x, context)
        if settings.objective not in ("iwae", "dreg"):
            return terms, None
        return terms, iwae_bound(vae, params, key, x, settings.num_train_samples, context)

    def describe(params: Params, key: Key, example: Split) -> dict[str, Any]:
        x, context = to_unit(example.images), context_of(example)
        terms = elbo_terms(vae, params, key, x, context)
        posterior = vae.encode(params, x, context)
        mean = posterior_mean(posterior, jax.random.fold_in(key, 1))
        codes = {"codes": posterior.codes} if isinstance(posterior, Quantised) else {}
        return {**terms.metrics, "kl_parts": terms.kl_parts, "posterior_mean": mean, **codes}

    def estimate(params: Params, keys: Array, examples: Split, num_samples: int) -> LikelihoodEstimate:
        # rows of the decoder's matrix products: as many as a CPU's caches like, or as fill a GPU
        rows = 1000 if jax.default_backend() == "cpu" else 50_000

        def one(params: Params, key: Key, example: Split) -> LikelihoodEstimate:
            x, context = to_unit(example.images), context_of(example)
            return importance_weighted(lambda k: log_weight(vae, params, k, x, context), key, num_samples, chunk_size=rows)

        return map_examples(one, params, keys, examples, chunk_size=max(1, rows // num_samples))

    def decode(params: Params, z: Any, label: Array | None) -> Array:
        with jax.default_matmul_precision("highest"):
            return vae.decode(params, z, label).mean

    def sample(params: Params, key: Key, num: int) -> Array:
        def one(row: tuple[Key, Array]) -> Array:
            key, label = row[0], None if num_classes is None else row[1]
            return decode(params, vae.prior(params, label).sample(key), label)

        labels = jnp.arange(num) % (num_classes or 1)
        return jax.lax.map(one, (jax.random.split(key, num), labels), batch_size=100)

    def reconstruct(params: Params, key: Key, example: Split) -> Array:
        with jax.default_matmul_precision("highest"):
            context = context_of(example)
            return decode(params, vae.encode(params, to_unit(example.images), context).sample(key), context)

    def draw(params: Params, key: Key, label: Array | None) -> Array:
        return jax.vmap(vae.prior(params, label).sample)(jax.random.split(key, 10_000))

    def redraw(params: Params, key: Key, num_kept: int) -> Array:
        prior: Any = vae.prior(params, None)  # a `MarkovChain`
        value = prior.sample(key)
        keys = jax.random.split(jax.random.fold_in(key, 1), REDRAWN)
        return jax.vmap(lambda k: decode(params, prior.redraw(k, value, num_kept), None))(keys)

    return _Compiled(
        score=jax.jit(functools.partial(map_examples, score, chunk_size=max(1, 500 // settings.num_train_samples))),
        describe=jax.jit(functools.partial(map_examples, describe, chunk_size=500)),
        estimate=jax.jit(estimate, static_argnums=3),
        sample=jax.jit(sample, static_argnums=2),
        reconstruct=jax.jit(jax.vmap(reconstruct, in_axes=(None, 0, 0))),
        decode=jax.jit(jax.vmap(decode, in_axes=(None, 0, 0))),
        draw=jax.jit(draw),
        redraw=jax.jit(redraw, static_argnums=2),
    )


def _validate(compiled: _Compiled, settings: AnyVaeSettings, params: Params, key: Key, split: Split) -> Metrics:
    """Return the mean terms, and as `valid_score` minus what is minimised, with the weights that it ends with."""
    terms, bound = compiled.score(params, example_keys(key, len(split.images)), split)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), terms)
    end = jnp.float32(jnp.inf)  # the step at which every weight has its last value
    if bound is not None:
        score = jnp.mean(bound)
    elif settings.objective_of == "batch-mean":
        score = -make_objective(settings)(mean, end)
    else:
        score = -jnp.mean(make_objective(settings)(terms, end))
    return {f"valid_{name}": value for name, value in (mean.metrics | {"score": score}).items()}


def _evaluate(
    compiled: _Compiled,
    settings: AnyVaeSettings,
    latent: Latent | None,
    num_pixels: int,
    params: Params,
    key: Key,
    split: Split,
    name: str,
    num_samples: int | None,
    on_progress: Callable[[int, int], None],
) -> Evaluation:
    num_samples = settings.num_importance_samples if num_samples is None else num_samples
    if num_samples < 1:
        raise InputError(f"num_importance_samples is {num_samples}: give 1 or more.")
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
    if "codes" in columns:  # the posterior is a point: there is nothing to estimate beyond the bound
        num_codes = params["codebook"]["shares"].size
        quantities |= {"perplexity": float(perplexity(jnp.asarray(columns["codes"]), num_codes)), "num_codes": num_codes}
        quantities["codes_used"] = len(np.unique(columns["codes"]))
        on_progress(num, num)
        return Evaluation({f"{name}_{q}": value for q, value in quantities.items()} | {"num_examples": num}, table)

    keys, pieces = example_keys(weights_key, num), []
    for start in range(0, num, PIECE):
        piece = jax.tree.map(lambda leaf: leaf[start : start + PIECE], examples)  # noqa: B023
        pieces.append(jax.device_get(compiled.estimate(params, keys[start : start + PIECE], piece, num_samples)))
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


def _figures(
    compiled: _Compiled,
    settings: AnyVaeSettings,
    latent: Latent | None,
    num_classes: int | None,
    params: Params,
    key: Key,
    test: Split,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    sample_key, terms_key = jax.random.split(key)
    examples, num = test.on_device(), len(test.images)
    first = jax.tree.map(lambda leaf: leaf[:20], examples)
    originals = jax.vmap(to_unit)(first.images)
    drawn = compiled.reconstruct(params, example_keys(terms_key, len(originals)), first)
    title = "p(x|z) means at z drawn from the prior" + ("" if num_classes is None else ", a column a label")
    curves = ["train_bound", "valid_score"] if settings.objective in ("iwae", "dreg") else ["train_elbo", "valid_elbo"]
    a_row = 10 if num_classes is None else num_classes
    figures = {
        "reconstructions": plots.reconstructions(originals, drawn, columns=min(10, len(originals))),
        "samples": plots.image_grid(compiled.sample(params, sample_key, 10 * a_row), a_row, title),
        "curves": plots.loss_curves(rows, curves, "nats"),
    }
    if settings.objective == "capacity":
        figures["capacity"] = plots.loss_curves(rows, ["train_capacity", "train_rate", "valid_rate"], "nats")
    columns = compiled.describe(params, example_keys(terms_key, num), examples)
    means = columns["posterior_mean"]
    if "codes" in columns:
        shown = columns["codes"][:20] / (params["codebook"]["shares"].size - 1)
        figures["codes"] = plots.image_grid(shown[..., None], 10, "codes of the test images")
    if isinstance(means, tuple):
        figures |= _layers(compiled, params, sample_key, len(means))
    elif means.shape[1:] == (2,):
        figures["latents"] = plots.latent_scatter(means, test.labels)
    elif latent is not None and latent.chart is not None:
        figures["sphere"] = plots.latent_sphere(means, test.labels)
    if latent is not None and latent.chart is not None and num_classes is None:
        # equal steps of probability under the prior, the second coordinate upwards
        shares = (jnp.arange(GRID) + 0.5) / GRID
        places = jnp.stack(jnp.meshgrid(shares, shares[::-1]), axis=-1).reshape(-1, 2)
        decoded = compiled.decode(params, jax.vmap(latent.chart)(*places.T), None)
        figures["manifold"] = plots.image_grid(decoded, GRID, "decoded latent space, in equal steps of prior probability")
    return figures


def _layers(compiled: _Compiled, params: Params, key: Key, num_layers: int) -> dict[str, Any]:
    """Draw, for each layer but the lowest, images of which the layers from it upwards are kept and those below drawn anew."""
    keys = jax.random.split(key, 3)
    rows = [compiled.redraw(params, k, kept) for kept in range(1, num_layers) for k in keys]
    title = "\n".join(
        f"rows {3 * kept - 2}–{3 * kept}: equal z from layer {num_layers - kept + 1} upwards" for kept in range(1, num_layers)
    )
    return {"layers": plots.image_grid(jnp.concatenate(rows), REDRAWN, title)} if rows else {}


def _traverse(
    compiled: _Compiled,
    latent: Latent,
    num_classes: int | None,
    params: Params,
    key: Key,
    split: Split,
    index: int,
    num_steps: int,
) -> tuple[Any, Array]:
    """Return a figure and images [Z, steps, *event]: each latent of one image moved over its range under the prior."""
    examples = split.on_device()
    one = jax.tree.map(lambda leaf: leaf[index : index + 1], examples)
    label = None if num_classes is None else one.labels[0]
    z = compiled.describe(params, example_keys(key, 1), one)["posterior_mean"][0]
    shares = (jnp.arange(num_steps) + 0.5) / num_steps
    places = jnp.quantile(compiled.draw(params, jax.random.fold_in(key, 1), label), shares, axis=0)
    moved = jax.vmap(jax.vmap(latent.move, in_axes=(None, None, 0)), in_axes=(None, 0, 1))(z, jnp.arange(latent.dim), places)
    flat = moved.reshape(-1, latent.dim)
    images = compiled.decode(params, flat, None if label is None else jnp.full(len(flat), label))
    images = images.reshape(latent.dim, num_steps, *images.shape[1:])

    # in the picture, those of most nats come first
    some = jax.tree.map(lambda leaf: leaf[:500], examples)
    parts = np.asarray(compiled.describe(params, example_keys(key, len(some.images)), some)["kl_parts"].mean(axis=0))
    apart = len(parts) == latent.dim
    order = np.argsort(-parts) if apart else np.arange(latent.dim)
    names = [f"z{i + 1}" + (f"  {parts[i]:.2f}" if apart else "") for i in order]
    title = "each latent over its range under the prior" + (", with its mean KL in nats" if apart else "")
    return plots.image_grid(images[order].reshape(-1, *images.shape[2:]), num_steps, title, row_names=names), images


def _check_images(event_shape: tuple[int, ...], settings: AnyVaeSettings, images: np.ndarray, where: str) -> None:
    shape = jax.eval_shape(to_unit, images[0]).shape
    if shape != event_shape:
        raise InputError(f"{where} are {shape} each and the model takes {event_shape}: give data of that shape.")
    if images.dtype == np.int32:  # numbers of sprites, which are black and white
        return
    if settings.likelihood == "discretised-logistic":
        levels = images.astype(np.float32) if images.dtype == np.uint8 else 255 * images
        if not (np.abs(levels - levels.round()).max() < 1e-3 and levels.min() >= 0 and levels.max() <= 255):
            raise InputError(f"{where} are not on 256 grey values: give integers in 0…255, or a Gaussian likelihood.")
        return
    unit_interval = settings.likelihood == "bernoulli"
    if images.dtype == np.uint8 or (images.min() >= 0 and images.max() <= 1):
        black_and_white = np.isin(images, (0, 255 if images.dtype == np.uint8 else 1)).all()
        if unit_interval and settings.binarise == "none" and not black_and_white:
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
    if settings.binarise in ("dynamic", "fixed"):
        raise InputError(f"{range_}, which are no probabilities to binarise by: scale them to [0, 1], or use --binarise none.")
