"""Measuring a model on examples: its likelihood and what else it has, and a table of every example."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
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
from gen_jax.tasks.sample_quality import measure_drawn, num_measured
from gen_jax.tasks.sampling import log_density, sample
from gen_jax.tasks.task import AT_ONCE, Outcome, Subject, Task, check_count, once_for_each_model, refuse
from gen_jax.types import GAN, VAE, Array, DensityModel, InputError, Key, Params, context_of, split
from gen_jax.vae import Quantised, elbo_terms, log_weight, perplexity

PIECE = 1000  # examples between two reports of progress in a long evaluation
DEFAULT_SAMPLES = 1000
GRID_BOUND, GRID_POINTS = 10.0, 1000  # for the quadrature of an energy


class Evaluation(NamedTuple):
    """What an evaluation found.

    Attributes:
        summary: named numbers of the examples, in nats: means, with standard errors as NAME_se.
        table: named columns, an entry for each example.
        details: named numbers of how it was measured.
    """

    summary: dict[str, Any]
    table: dict[str, np.ndarray]
    details: dict[str, Any] = {}


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
    """Measure a model on examples.

    A `VAE`: the ELBO and its terms, and log p(x) by importance samples. A `DensityModel`: log p(x), exactly. A `GAN`: the logit
    of each example. An `Autoencoder`: the squared error, and the squared norm of the encoder's Jacobian.

    Args:
        model: one of these.
        params: what its functions take.
        key: of what is drawn.
        examples: as they are stored, with labels for a conditional model.
        num_importance_samples: K, for log p(x) of a VAE, by default 1,000; none of another model.
        view: how the model sees them.
        report: called with (examples done, examples in all).

    Raises:
        InputError: the model is none of these, or importance samples are given where nothing is estimated by them.
    """
    quantised = isinstance(model, VAE) and _is_quantised(model, params, examples, view)
    if num_importance_samples is not None and (quantised or not isinstance(model, VAE)):
        what = "the posterior of this VAE is a point" if quantised else "no likelihood of this model is estimated by them"
        raise InputError(f"num_importance_samples is {num_importance_samples}, and {what}: leave it out.")
    num = len(examples.x)
    table = {"index": np.arange(num)} | ({} if examples.labels is None else {"label": np.asarray(examples.labels)})
    on_device = examples.on_device()
    match model:
        case VAE():
            num_samples = None if quantised else num_importance_samples or DEFAULT_SAMPLES
            if num_importance_samples is not None:
                check_count("num_importance_samples", num_importance_samples)
            found = _evaluate_vae(model, params, key, on_device, num_samples, view, report)
        case DensityModel():
            nll, nll_se = mean_and_standard_error(-(log_probs := np.asarray(_log_probs(model, view)(params, on_device.x))))
            found = Evaluation({"nll": nll, "nll_se": nll_se}, {"log_prob": log_probs})
        case GAN():
            logits = {"logit": np.asarray(_logits(model, view)(params, on_device))} if model.packing == 1 else {}
            found = Evaluation({}, logits)
        case Autoencoder():
            columns = jax.device_get(_errors(model, view)(params, example_keys(key, num), on_device))
            means = {name: mean_and_standard_error(values) for name, values in columns.items()}
            summary = {name: mean for name, (mean, _) in means.items()} | {f"{n}_se": error for n, (_, error) in means.items()}
            found = Evaluation(summary, columns)
        case _:
            raise refuse(model, "be evaluated", "a VAE, a flow, a MADE, a GAN or an autoencoder")
    report(num, num)
    return Evaluation(found.summary, table | found.table, found.details | {"num_examples": num})


@once_for_each_model
def _log_probs(model: DensityModel, view: DataView) -> Any:
    one = lambda params, key, x: model.log_prob(params, view.example(x))
    keys = lambda x: example_keys(jax.random.key(0), len(x))  # of no use here
    return jax.jit(lambda params, x: map_examples(one, params, keys(x), x, AT_ONCE))


@once_for_each_model
def _logits(gan: GAN, view: DataView) -> Any:
    def one(variables: Params, key: Key, example: Split) -> Array:
        label = None if gan.num_classes is None else example.labels[None]
        return gan.discriminate(*split(variables), view.example(example.x)[None], label)[0].logits[0]

    keys = lambda x: example_keys(jax.random.key(0), len(x))  # of no use here
    return jax.jit(lambda params, examples: map_examples(one, params, keys(examples.x), examples, AT_ONCE))


@once_for_each_model
def _errors(model: Autoencoder, view: DataView) -> Any:
    def one(params: Params, key: Key, example: Split) -> dict[str, Array]:
        x = view.example(example.x)
        return {"squared_error": squared_error(model, params, key, x), "contraction": contraction(model, params, x)}

    return jax.jit(lambda params, keys, examples: map_examples(one, params, keys, examples, 100))


class VaeFunctions(NamedTuple):
    """What is computed of a VAE over many examples, compiled once each.

    Attributes:
        describe: (params, keys, examples) -> columns: the ELBO and its terms, the KL by part, posterior means, codes.
        estimate: (params, keys, examples, K) -> `LikelihoodEstimate` of each example.
    """

    describe: Callable[..., dict[str, Any]]
    estimate: Callable[..., LikelihoodEstimate]


@once_for_each_model
def vae_functions(vae: VAE, view: DataView) -> VaeFunctions:
    """Return the functions of a VAE over many examples."""

    def describe(params: Params, key: Key, example: Split) -> dict[str, Any]:
        x, y = view.example(example.x), context_of(vae, example.labels)
        terms_key, mean_key = jax.random.split(key)
        terms = elbo_terms(vae, params, terms_key, x, y)
        posterior = vae.encode(params, x, y)
        codes = {"codes": posterior.codes} if isinstance(posterior, Quantised) else {}
        return {**terms.metrics, "kl_parts": terms.kl_parts, "posterior_mean": posterior_mean(posterior, mean_key), **codes}

    def estimate(params: Params, keys: Array, examples: Split, num_samples: int) -> LikelihoodEstimate:
        # rows of the decoder's matrix products: as many as a CPU's caches like, or as fill a GPU
        rows = 1000 if jax.default_backend() == "cpu" else 50_000

        def one(params: Params, key: Key, example: Split) -> LikelihoodEstimate:
            x, y = view.example(example.x), context_of(vae, example.labels)
            return importance_weighted(lambda k: log_weight(vae, params, k, x, y), key, num_samples, chunk_size=rows)

        return map_examples(one, params, keys, examples, chunk_size=max(1, rows // num_samples))

    described = jax.jit(lambda params, keys, examples: map_examples(describe, params, keys, examples, AT_ONCE))
    return VaeFunctions(described, jax.jit(estimate, static_argnums=3))


def _is_quantised(vae: VAE, params: Params, examples: Split, view: DataView) -> bool:
    def encode(params: Params, example: Split) -> Any:
        return vae.encode(params, view.example(example.x), context_of(vae, example.labels))

    return isinstance(jax.eval_shape(encode, params, jax.tree.map(lambda leaf: np.asarray(leaf[0]), examples)), Quantised)


def _evaluate_vae(
    vae: VAE,
    params: Params,
    key: Key,
    examples: Split,
    num_samples: int | None,
    view: DataView,
    report: Callable[[int, int], None],
) -> Evaluation:
    """Evaluate a VAE; of one whose posterior is a point (`num_samples` is None) the bound is all that there is."""
    functions, num = vae_functions(vae, view), len(examples.x)
    terms_key, weights_key = jax.random.split(key)
    columns = jax.device_get(functions.describe(params, example_keys(terms_key, num), examples))
    table = {name: columns[name] for name in ("elbo", "rate", "distortion")}
    elbo, elbo_se = mean_and_standard_error(columns["elbo"])
    summary = {"elbo": elbo, "elbo_se": elbo_se}
    summary |= {name: float(np.mean(table[name], dtype=np.float64)) for name in ("rate", "distortion")}
    bits = _bits(vae, params, examples, view)
    if bits:
        summary["bits_per_dim_bound"] = -elbo / bits
    if num_samples is None:
        return Evaluation(summary | _codes(vae, params, columns["codes"], examples, view), table)

    estimates = _estimates(functions, params, example_keys(weights_key, num), examples, num_samples, report)
    nll, nll_se = mean_and_standard_error(-np.asarray(estimates.log_prob))
    summary |= {
        "nll": nll,
        "nll_se": nll_se,
        # what of it comes from the importance samples alone, for these examples
        "nll_monte_carlo_se": float(np.sqrt(np.sum(np.square(estimates.standard_error, dtype=np.float64))) / num),
        "effective_sample_size": float(estimates.effective_sample_size.mean()),
    }
    if bits:
        summary["bits_per_dim"] = nll / bits
    means = columns["posterior_mean"]
    if vae.latent is None or vae.latent.unbounded:  # elsewhere the scale of a variance depends on the space
        summary["active_units"] = sum(int(active_units(layer).sum()) for layer in jax.tree.leaves(means))
    if isinstance(means, tuple):  # layers, the one next to the data first
        for layer, rate in enumerate(columns["kl_parts"].mean(axis=0, dtype=np.float64), start=1):
            summary[f"rate_{layer}"] = float(rate)
    return Evaluation(summary, table | estimates._asdict(), {"num_importance_samples": num_samples})


def _estimates(
    functions: VaeFunctions,
    params: Params,
    keys: Array,
    examples: Split,
    num_samples: int,
    report: Callable[[int, int], None],
) -> LikelihoodEstimate:
    num, pieces = len(keys), []
    for start in range(0, num, PIECE):
        piece = operator.itemgetter(slice(start, start + PIECE))
        pieces.append(jax.device_get(functions.estimate(params, piece(keys), jax.tree.map(piece, examples), num_samples)))
        report(min(start + PIECE, num), num)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def _bits(vae: VAE, params: Params, examples: Split, view: DataView) -> float | None:
    """Return the nats of one bit per dimension, where p(x|z) is over grey values."""

    def decoded(params: Params, example: Split) -> Any:
        y = context_of(vae, example.labels)
        z = vae.encode(params, view.example(example.x), y).sample(jax.random.key(0))
        return vae.decode(params, z, y)

    one = jax.tree.map(lambda leaf: leaf[0], examples)
    likelihood = jax.eval_shape(decoded, params, one)
    return math.prod(likelihood.loc.shape) * math.log(2) if isinstance(likelihood, DiscretisedLogistic) else None


def _codes(vae: VAE, params: Params, codes: np.ndarray, examples: Split, view: DataView) -> dict[str, Any]:
    posterior: Any = vae.encode(params, view.example(examples.x[0]))  # `Quantised`
    num_codes = len(posterior.codebook)
    return {
        "perplexity": float(perplexity(jnp.asarray(codes), num_codes)),
        "num_codes": num_codes,
        "codes_used": len(np.unique(codes)),
    }


def evaluate_fit(model: DensityModel, params: Params, energy: Callable[[Array], Array]) -> dict[str, float]:
    """Return how near a density in the plane comes to e^{−U} / Z: KL(q ‖ p), log Z, and the mass of q on the grid."""
    points, cell = square_grid(GRID_BOUND, GRID_POINTS)
    kl, log_z, mass = kl_on_grid(log_density(model, params, points), -log_density_on_grid(energy, points), cell)
    return {"kl": kl, "log_z": log_z, "mass_on_grid": mass}


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Measure a trained run: its likelihood and what else its model has, and a table of every example."""

    data: str | None = None
    """Data set to evaluate on; by default, the run's own."""
    split: Literal["train", "valid", "test"] = "test"
    """Which part of it. Choices are made by valid; test is what is reported."""
    num_importance_samples: int | None = None
    """Samples an example for the NLL of a VAE; by default, the run's setting."""


def perform(subject: Subject, options: EvaluateOptions) -> Outcome:
    """Evaluate; what a GAN draws is measured too, and a flow on an energy's data is held against the energy."""
    data, model = subject.load(options.data, split=options.split), subject.model
    asked = {} if options.num_importance_samples is None else {"num_importance_samples": options.num_importance_samples}
    examples = data.splits[options.split]
    found = evaluate(
        model, subject.params, subject.key, examples, view=subject.view, report=subject.report, **subject.evaluation | asked
    )
    summary, details = found.summary, found.details
    if isinstance(model, GAN):
        num = num_measured(data.name, examples)
        drawn = sample(model, subject.params, subject.key, num, view=subject.view)
        summary, details = measure_drawn(drawn, data, options.split, model.num_classes), details | {"num_samples": num}
    energy = ENERGIES.get(data.name.removeprefix("toy:")) if data.name.startswith("toy:") else None
    if isinstance(model, DensityModel) and energy is not None:
        details |= evaluate_fit(model, subject.params, energy)
    named = {f"{options.split}_{name}": value for name, value in summary.items()}
    return Outcome(options.split, summary=details | named, table=found.table)


TASK = Task(EvaluateOptions, perform)
