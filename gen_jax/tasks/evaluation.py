"""Evaluating a model on examples: its likelihood and other measures, and a table with a row for each example."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.autoencoders import Autoencoder, contraction, squared_error
from gen_jax.data import ENERGIES, DataView, Split
from gen_jax.distributions import DiscretisedLogistic
from gen_jax.evaluate import (
    LikelihoodEstimate,
    active_units,
    example_keys,
    importance_weighted,
    kl_on_grid,
    log_density_on_grid,
    map_examples,
    mean_and_standard_error,
    posterior_mean,
    square_grid,
)
from gen_jax.gan import DIRECTIONS, CycleGAN
from gen_jax.tasks.sample_quality import measure, num_measured
from gen_jax.tasks.sampling import log_density, sample
from gen_jax.tasks.task import (
    AT_ONCE,
    NOTHING,
    Outcome,
    Subject,
    check_choice,
    check_count,
    compiled,
    json_numbers,
    labels_in_turn,
    refuse,
    suffix_of,
)
from gen_jax.tasks.translation import cycle_errors, translation_quality
from gen_jax.types import GAN, VAE, Array, DensityModel, InputError, Key, Params, context_of, split
from gen_jax.vae import Quantised, elbo_terms, log_weight, perplexity

PIECE = 1000  # examples between two reports of progress in a long evaluation
DEFAULT_SAMPLES = 1000
GRID_BOUND, GRID_POINTS = 10.0, 1000  # for the quadrature of an energy


Part = Literal["train", "valid", "test"]


class Evaluation(NamedTuple):
    """The result of an evaluation.

    Attributes:
        summary: named means over the examples, in nats, with standard errors as NAME_se.
        table: named columns, with an entry for each example.
        details: how it was measured, such as the number of importance samples.
    """

    summary: dict[str, Any]
    table: dict[str, np.ndarray]
    details: Mapping[str, Any] = NOTHING


def evaluate(
    model: Any,
    params: Params,
    key: Key,
    examples: Split,
    *,
    num_importance_samples: int | None = None,
    view: DataView = DataView(),
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a model on stored examples.

    A `VAE`: the ELBO and its terms, and log p(x) by K importance samples, by default 1,000. A `DensityModel`: log p(x), exactly.
    A `GAN`: the logit of each example. A `CycleGAN`: the distance (L1) of each image to its cycle, there and back. An
    `Autoencoder`: the squared error, and the squared norm of the encoder's Jacobian. `report` is called with (examples done,
    examples in all).

    Returns:
        The means with their standard errors, and a table with a row for each example.

    Raises:
        InputError: the model is none of these, or importance samples are given where nothing is estimated by them.

    Examples:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from gen_jax import tasks
        >>> from gen_jax.data import Split
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, gaussian_vae
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> examples = Split(np.ones((4, 3), np.float32))
        >>> found = tasks.evaluate(vae, params, jax.random.key(1), examples, num_importance_samples=10)
        >>> round(found.summary["nll"], 4), found.table["elbo"].shape  # 3 log 2, and a row for each example
        (2.0794, (4,))
    """
    posterior, likelihood = _conditionals(model, params, examples, view) if isinstance(model, VAE) else (None, None)
    is_point = isinstance(posterior, Quantised)
    if num_importance_samples is not None:
        if posterior is None or is_point:
            why = "the posterior of this VAE is a point" if is_point else "no likelihood of this model is estimated by them"
            raise InputError(f"num_importance_samples is {num_importance_samples}, and {why}: leave it out.")
        check_count("num_importance_samples", num_importance_samples)
    num, on_device = len(examples.x), examples.on_device()
    match model:
        case VAE():
            terms_key, weights_key = jax.random.split(key)
            found = _elbo(model, params, terms_key, on_device, view, posterior)
            if not is_point:  # for a point, the bound is all that there is
                num_samples = num_importance_samples or DEFAULT_SAMPLES
                more = _likelihood(model, params, weights_key, on_device, num_samples, view, report)
                found = Evaluation(found.summary | more.summary, found.table | more.table, more.details)
            if isinstance(likelihood, DiscretisedLogistic):
                bit = math.prod(likelihood.loc.shape) * math.log(2)  # per dimension, in nats
                bounds = {"bits_per_dim_bound": -found.summary["elbo"], "bits_per_dim": found.summary.get("nll")}
                found.summary.update({name: nats / bit for name, nats in bounds.items() if nats is not None})
        case DensityModel():
            log_probs = np.asarray(_log_probs(model, view, params, on_device.x))
            found = Evaluation(_means(nll=-log_probs), {"log_prob": log_probs})
        case GAN():
            found = Evaluation({}, {"logit": np.asarray(_logits(model, view, params, on_device))} if model.packing == 1 else {})
        case CycleGAN():
            columns = cycle_errors(model, params, key, examples, view)
            found = Evaluation(_means(**columns), columns)
        case Autoencoder():
            columns = jax.device_get(_errors(model, view, params, key, on_device))
            found = Evaluation(_means(**columns), columns)
        case _:
            raise refuse(model, "be evaluated", "a VAE, a flow, a MADE, a GAN, a CycleGAN or an autoencoder")
    report(num, num)
    table = {"index": np.arange(num)} | ({} if examples.labels is None else {"label": np.asarray(examples.labels)})
    return Evaluation(found.summary, table | found.table, {**found.details, "num_examples": num})


def _means(**columns: np.ndarray) -> dict[str, float]:
    found = {}
    for name, values in columns.items():
        found[name], found[f"{name}_se"] = mean_and_standard_error(values)
    return found


@compiled
def _log_probs(model: DensityModel, view: DataView, params: Params, x: Array) -> Array:
    return jax.lax.map(lambda x: model.log_prob(params, view.example(x)), x, batch_size=AT_ONCE)


@compiled
def _logits(gan: GAN, view: DataView, variables: Params, examples: Split) -> Array:
    def one(example: Split) -> Array:
        label = None if gan.num_classes is None else example.labels[None]
        return gan.discriminate(*split(variables), view.example(example.x)[None], label)[0].logits[0]

    return jax.lax.map(one, examples, batch_size=AT_ONCE)


@compiled
def _errors(model: Autoencoder, view: DataView, params: Params, key: Key, examples: Split) -> dict[str, Array]:
    def one(params: Params, key: Key, example: Split) -> dict[str, Array]:
        x = view.example(example.x)
        return {"squared_error": squared_error(model, params, key, x), "contraction": contraction(model, params, x)}

    return map_examples(one, params, example_keys(key, len(examples.x)), examples, 100)


def _conditionals(vae: VAE, params: Params, examples: Split, view: DataView) -> tuple[Any, Any]:
    """Return q(z|x) and p(x|z) of one example, with shapes in place of arrays."""

    def of(params: Params, example: Split) -> tuple[Any, Any]:
        y = context_of(vae, example.labels)
        posterior = vae.encode(params, view.example(example.x), y)
        return posterior, vae.decode(params, posterior.sample(jax.random.key(0)), y)

    return jax.eval_shape(of, params, jax.tree.map(lambda leaf: np.asarray(leaf[0]), examples))


@compiled
def describe(vae: VAE, view: DataView, params: Params, key: Key, examples: Split) -> dict[str, Any]:
    """Return columns: the ELBO and its terms, the KL by part, posterior means, codes."""

    def one(params: Params, key: Key, example: Split) -> dict[str, Any]:
        x, y = view.example(example.x), context_of(vae, example.labels)
        terms_key, mean_key = jax.random.split(key)
        terms = elbo_terms(vae, params, terms_key, x, y)
        posterior = vae.encode(params, x, y)
        codes = {"codes": posterior.codes} if isinstance(posterior, Quantised) else {}
        return {**terms.metrics, "kl_parts": terms.kl_parts, "posterior_mean": posterior_mean(posterior, mean_key), **codes}

    return map_examples(one, params, example_keys(key, len(examples.x)), examples, AT_ONCE)


def _elbo(vae: VAE, params: Params, key: Key, examples: Split, view: DataView, posterior: Any) -> Evaluation:
    columns = jax.device_get(describe(vae, view, params, key, examples))
    summary: dict[str, Any] = _means(elbo=columns["elbo"])
    summary |= {name: float(np.mean(columns[name], dtype=np.float64)) for name in ("rate", "distortion")}
    means = columns["posterior_mean"]
    if isinstance(posterior, Quantised):
        codes, num_codes = columns["codes"], len(posterior.codebook)
        summary["perplexity"] = float(perplexity(jnp.asarray(codes), num_codes))
        summary |= {"num_codes": num_codes, "codes_used": len(np.unique(codes))}
    elif vae.latent is None or vae.latent.unbounded:  # elsewhere the scale of a variance depends on the space
        summary["active_units"] = sum(int(active_units(layer).sum()) for layer in jax.tree.leaves(means))
    if isinstance(means, tuple):  # layers, the one next to the data first
        rates = columns["kl_parts"].mean(axis=0, dtype=np.float64)
        summary |= {f"rate_{layer}": float(rate) for layer, rate in enumerate(rates, start=1)}
    return Evaluation(summary, {name: columns[name] for name in ("elbo", "rate", "distortion")})


@compiled
def _estimates(vae: VAE, view: DataView, params: Params, keys: Array, examples: Split, num: int) -> LikelihoodEstimate:
    # rows of the decoder's matrix products: as many as fit a CPU's caches, or fill a GPU
    rows = 1000 if jax.default_backend() == "cpu" else 50_000

    def one(params: Params, key: Key, example: Split) -> LikelihoodEstimate:
        x, y = view.example(example.x), context_of(vae, example.labels)
        return importance_weighted(lambda k: log_weight(vae, params, k, x, y), key, num, chunk_size=rows)

    return map_examples(one, params, keys, examples, chunk_size=max(1, rows // num))


def _likelihood(
    vae: VAE, params: Params, key: Key, examples: Split, num_samples: int, view: DataView, report: Callable[..., None]
) -> Evaluation:
    num, pieces = len(examples.x), []
    for start in range(0, num, PIECE):
        piece = operator.itemgetter(slice(start, start + PIECE))
        keys, some = jax.tree.map(piece, (example_keys(key, num), examples))
        pieces.append(jax.device_get(_estimates(vae, view, params, keys, some, num=num_samples)))
        report(min(start + PIECE, num), num)
    found: LikelihoodEstimate = jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
    summary = _means(nll=-np.asarray(found.log_prob)) | {
        # the part of the error that comes from the importance samples alone, for these examples
        "nll_monte_carlo_se": float(np.sqrt(np.sum(np.square(found.standard_error, dtype=np.float64))) / num),
        "effective_sample_size": float(found.effective_sample_size.mean()),
    }
    return Evaluation(summary, found._asdict(), {"num_importance_samples": num_samples})


def perform(
    subject: Subject,
    *,
    data: str | None = None,
    split: Part = "test",
    num_importance_samples: int | None = None,
) -> Outcome:
    """Measure the likelihood of a trained run, and what else its model has, and write a table of every example.

    Args:
        subject: the run.
        data: Data set to evaluate on; by default, the run's own.
        split: Which part of it: valid to choose between models, test to report.
        num_importance_samples: Samples for each example, for the NLL of a VAE; by default, the run's setting.
    """
    check_choice("split", split, Part)
    dataset, model = subject.load(data, split=split), subject.model
    asked = {} if num_importance_samples is None else {"num_importance_samples": num_importance_samples}
    examples = dataset.splits[split]
    summary, table, details = subject.call(evaluate, examples, report=subject.report, **{**subject.evaluation, **asked})
    if isinstance(model, GAN):
        num = num_measured(dataset.name, examples)
        summary = measure(dataset, split, subject.call(sample, num), labels_in_turn(model, num))
        details = {**details, "num_samples": num}
    if isinstance(model, CycleGAN) and split != "train":  # whose examples are no pairs
        for direction in DIRECTIONS:
            numbers = subject.call(translation_quality, dataset, direction, against=split)["model"]
            summary |= {f"{direction.replace('-', '_')}_{name}": value for name, value in numbers.items()}
    energy = ENERGIES.get(dataset.name.removeprefix("toy:")) if dataset.name.startswith("toy:") else None
    if isinstance(model, DensityModel) and energy is not None:  # how near the density comes to e^{−U} / Z
        points, cell = square_grid(GRID_BOUND, GRID_POINTS)
        found = kl_on_grid(log_density(model, subject.params, points), -log_density_on_grid(energy, points), cell)
        details = {**details, **dict(zip(("kl", "log_z", "mass_on_grid"), found, strict=True))}
    named = {f"{split}_{name}": value for name, value in summary.items()}
    numbers = {"data": dataset.name, "split": split, **details, **named, **subject.provenance}
    return Outcome(f"evaluation-{split}{suffix_of(subject, dataset)}", summary=json_numbers(numbers), table=table)
