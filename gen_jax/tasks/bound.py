"""The ELBO of a VAE taken apart: what its rate is made of, which latents carry it, and how far it is from log p(x)."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.distributions import Factorised, Normal, RateParts, rate_parts
from gen_jax.evaluate import InferenceGap, active_units, example_keys, inference_gap, map_examples, mean_and_standard_error
from gen_jax.tasks.evaluation import Part, describe
from gen_jax.tasks.task import Outcome, Subject, check_choice, check_count, compiled, draw_examples, first, refuse, suffix_of
from gen_jax.train import adam, learning_rate_schedule
from gen_jax.types import VAE, Array, Key, Params

PIECE = 20  # examples whose posteriors are optimised side by side
LEARNING_RATE = 0.02  # of that, at its start


def rate_decomposition(model: Any, params: Params, key: Key, examples: Split, *, view: DataView = DataView()) -> RateParts:
    """Return the parts of the mean rate of stored examples.

    q(z) is the mean of the posteriors of these N examples, so that the mutual information is log N at most.

    Raises:
        InputError: the model is not a VAE whose q(z|x) and p(z) have independent dimensions (normal or beta).
    """
    _check(model, params, examples, view, Factorised)
    return jax.device_get(_rate_parts(model, view, params, key, examples.on_device()))


def inference_gaps(
    model: Any,
    params: Params,
    key: Key,
    examples: Split,
    *,
    num_steps: int = 500,
    num_importance_samples: int = 1000,
    view: DataView = DataView(),
    report: Callable[[int, int], None] = lambda done, total: None,
) -> InferenceGap:
    """Return the approximation and the amortisation gap of each stored example (see `evaluate.inference_gap`).

    Raises:
        InputError: the model is not a VAE whose q(z|x) is normal with independent dimensions.
    """
    _check(model, params, examples, view, Normal)
    check_count("num_steps", num_steps)
    check_count("num_importance_samples", num_importance_samples)
    keys, on_device, pieces = example_keys(key, len(examples.x)), examples.on_device(), []
    for start in range(0, len(keys), PIECE):
        some = jax.tree.map(lambda leaf, start=start: leaf[start : start + PIECE], (keys, on_device))
        pieces.append(jax.device_get(_gaps(model, view, params, *some, steps=num_steps, samples=num_importance_samples)))
        report(min(start + PIECE, len(keys)), len(keys))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def _check(model: Any, params: Params, examples: Split, view: DataView, of: Any) -> None:
    """Raise an InputError unless the model is a VAE whose q(z|x) is of the given kinds, and p(z) has independent dimensions."""
    what, wanted = "have its bound taken apart", "a VAE whose latents are independent given x, with a normal density"
    if not isinstance(model, VAE) or model.num_classes is not None:
        raise refuse(model, what, f"{wanted}, and no labels")

    kinds: list[type] = []

    def look(params: Params, example: Split) -> None:
        kinds.extend(map(type, (model.encode(params, view.example(example.x)), model.prior(params))))

    jax.eval_shape(look, params, jax.tree.map(lambda leaf: np.asarray(leaf[0]), examples))
    posterior, prior = kinds
    if not issubclass(posterior, of) or not issubclass(prior, Factorised):
        raise refuse(model, f"{what}: q(z|x) is {posterior.__name__}, p(z) is {prior.__name__}", wanted)


@compiled
def _rate_parts(vae: VAE, view: DataView, params: Params, key: Key, examples: Split) -> RateParts:
    def one(params: Params, key: Key, example: Split) -> tuple[Any, Array]:
        posterior = vae.encode(params, view.example(example.x))
        return posterior, posterior.sample(key)

    posteriors, z = map_examples(one, params, example_keys(key, len(examples.x)), examples, 500)
    prior: Any = vae.prior(params)
    return rate_parts(posteriors, prior, z)


@compiled
def _gaps(vae: VAE, view: DataView, params: Params, keys: Array, examples: Split, steps: int, samples: int) -> InferenceGap:
    optimizer = adam(learning_rate_schedule("cosine", LEARNING_RATE, steps))

    def one(params: Params, key: Key, example: Split) -> InferenceGap:
        x, prior = view.example(example.x), vae.prior(params)
        log_joint = lambda z: prior.log_prob(z) + vae.decode(params, z).log_prob(x)
        posterior: Any = vae.encode(params, x)
        return inference_gap(log_joint, posterior, optimizer, key, num_steps=steps, num_importance_samples=samples)

    return map_examples(one, params, keys, examples, PIECE)


def perform(
    subject: Subject,
    *,
    data: str | None = None,
    split: Part = "test",
    num: int = 100,
    num_rate: int = 2000,
    num_steps: int = 500,
    num_importance_samples: int = 1000,
) -> Outcome:
    """Take the ELBO of a VAE apart, and show which latents have collapsed.

    The rate is mutual information, total correlation and a KL of each latent; log p(x) − ELBO is a gap of approximation, by the
    family of q(z|x), and one of amortisation, by the encoder, found by optimising q for each example.

    Args:
        subject: the run.
        data: Data set; by default, the run's own.
        split: Which part of it.
        num: Number of examples, drawn from the data, of which the gaps are found.
        num_rate: Number of examples of which the rate is taken apart; the mutual information is log of it at most.
        num_steps: Steps by which q is optimised.
        num_importance_samples: Samples of the optimised q, for each log p(x).
    """
    check_choice("split", split, Part)
    check_count("num", num)
    check_count("num_rate", num_rate, 2)
    model, params, view = subject.model, subject.params, subject.view
    dataset = subject.load(data, split=split)
    keys = jax.random.split(subject.key, 4)
    rows, some = draw_examples(dataset.splits[split], num_rate, keys[3])
    _check(model, params, some, view, Normal)  # before the work
    parts = rate_decomposition(model, params, keys[0], some, view=view)
    described = jax.device_get(describe(model, view, params, keys[1], some))
    nats = described["kl_parts"].mean(axis=0, dtype=np.float64)
    options = {"num_steps": num_steps, "num_importance_samples": num_importance_samples, "report": subject.report}
    gaps = subject._replace(key=keys[2]).call(inference_gaps, first(some, num), **options)
    means = described["posterior_mean"]
    active = np.asarray(active_units(means))
    rate: dict[str, float] = {
        "mutual_information": float(parts.mutual_information),
        "total_correlation": float(parts.total_correlation),
        "dimension_wise_kl": float(parts.dimension_wise_kl.sum(dtype=np.float64)),
    }
    summary: dict[str, Any] = {"data": dataset.name, "split": split, "num_examples": len(some.x), "num_gaps": len(gaps.elbo)}
    for name in ("elbo", "rate", "distortion"):
        summary[name], summary[f"{name}_se"] = mean_and_standard_error(described[name])
    summary |= rate | {"log_num_examples": float(np.log(len(some.x)))}
    summary |= {"active_units": int(active.sum()), "num_latents": len(active)}
    for name, values in gaps._asdict().items():
        summary[f"gap_{name}"], summary[f"gap_{name}_se"] = mean_and_standard_error(values)
    variances = means.var(axis=0, dtype=np.float64)
    summary["active_latents"] = {
        str(j): {"nats": float(nats[j]), "variance_of_mean": float(variances[j])} for j in np.argsort(-nats) if active[j]
    }
    most = f"mutual information\n(at most log N = {summary['log_num_examples']:.2f})"
    names = ("distortion", most, "total correlation", "dimension-wise KL")
    levels = dict(zip(names, (summary["distortion"], *rate.values()), strict=True))
    figure = plots.bound_parts(nats, active, levels, {name: summary[f"gap_{name}"] for name in ("approximation", "amortisation")})
    text = f"{int(active.sum())} of {len(active)} latents are active" + (
        ": the posterior has collapsed to the prior" if not active.any() else ""
    )
    table = {"index": rows[:num], **gaps._asdict()}
    return Outcome(
        f"bound-{split}{suffix_of(subject, dataset)}",
        text,
        {"bound": figure},
        summary={**summary, **subject.provenance},
        table=table,
    )
