"""log p(x) of a VAE, put between bounds: samples of the prior, importance weights, annealed chains from both sides."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView, Split
from gen_jax.evaluate import (
    AnnealedEstimate,
    Schedule,
    annealed,
    example_keys,
    map_examples,
    mean_and_standard_error,
    temperatures,
)
from gen_jax.tasks.evaluation import Part
from gen_jax.tasks.task import (
    Outcome,
    Subject,
    check_choice,
    check_count,
    compiled,
    draw_examples,
    json_numbers,
    labels_in_turn,
    refuse,
    suffix_of,
)
from gen_jax.types import VAE, Array, Key, Params, context_of
from gen_jax.vae import CodePrior, log_weight

PIECE = 10  # examples whose chains run side by side
Start = Literal["prior", "posterior"]


def annealed_likelihood(
    model: Any,
    params: Params,
    key: Key,
    examples: Split,
    betas: Array,
    *,
    num_chains: int = 16,
    start: Start = "prior",
    view: DataView = DataView(),
    report: Callable[[int, int], None] = lambda done, total: None,
) -> AnnealedEstimate:
    """Return the annealed estimate of log p(x) of each stored example: in expectation a lower bound.

    Args:
        model: a `VAE` whose latents are real numbers without bounds.
        params: what its functions take.
        key: of the chains.
        examples: with labels, of a conditional model.
        betas: as `evaluate.temperatures` returns them.
        num_chains: for each example.
        start: the chains begin at p(z) or at q(z|x).
        view: how the model sees stored examples.
        report: called with (examples done, examples in all).

    Raises:
        InputError: it is another model.
    """
    _check(model, params)
    check_choice("start", start, Start)
    keys = example_keys(key, len(examples.x))
    run = lambda keys, some: _forward(model, view, params, keys, some, betas, num=num_chains, start=start)
    return _in_pieces(run, report, keys, examples.on_device())


def bracket(
    model: Any,
    params: Params,
    key: Key,
    num: int,
    betas: Array,
    *,
    num_chains: int = 16,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[AnnealedEstimate, AnnealedEstimate]:
    """Return for `num` x drawn from a model with their z the bounds on log p(x): the lower one, and the upper one.

    The chains of the upper one begin at that z, which is an exact draw of p(z|x) (bidirectional Monte Carlo), those of the lower
    one at the prior. Arguments and errors are those of `annealed_likelihood`; the labels of a conditional model take turns.
    """
    _check(model, params)
    labels = labels_in_turn(model, num)
    keys = example_keys(key, num)
    run = lambda keys, labels: _both_ways(model, DataView(), params, keys, labels, betas, num=num_chains)
    return _in_pieces(run, report, keys, labels)


def _in_pieces(run: Callable[..., Any], report: Callable[[int, int], None], keys: Array, others: Any) -> Any:
    pieces = []
    for start in range(0, len(keys), PIECE):
        some = jax.tree.map(lambda leaf, start=start: leaf[start : start + PIECE], (keys, others))
        pieces.append(jax.device_get(run(*some)))
        report(min(start + PIECE, len(keys)), len(keys))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def _check(model: Any, params: Params) -> None:
    """Raise an InputError unless the latents of the model are real numbers without bounds, at which gradients exist."""
    wanted = "a VAE whose latents are real numbers without bounds"
    if not isinstance(model, VAE) or (model.latent is not None and not model.latent.unbounded):
        raise refuse(model, "be annealed", wanted)
    if isinstance(model.prior(params, None if model.num_classes is None else jnp.int32(0)), CodePrior):
        raise refuse(model, "be annealed if its latents are codes", wanted)


@compiled
def _forward(
    vae: VAE, view: DataView, params: Params, keys: Array, examples: Split, betas: Array, num: int, start: Start
) -> AnnealedEstimate:
    def one(params: Params, key: Key, example: Split) -> AnnealedEstimate:
        x, y = view.example(example.x), context_of(vae, example.labels)
        prior, joint = _prior_and_joint(vae, params, x, y)
        first: Any = prior if start == "prior" else vae.encode(params, x, y)
        return annealed(first.log_prob, joint, first.sample, key, betas, num_chains=num)

    return map_examples(one, params, keys, examples, PIECE)


@compiled
def _both_ways(
    vae: VAE, view: DataView, params: Params, keys: Array, labels: Array | None, betas: Array, num: int
) -> tuple[AnnealedEstimate, AnnealedEstimate]:
    def one(params: Params, key: Key, y: Array | None) -> tuple[AnnealedEstimate, AnnealedEstimate]:
        z_key, x_key, lower_key, upper_key = jax.random.split(key, 4)
        z = vae.prior(params, y).sample(z_key)
        prior, joint = _prior_and_joint(vae, params, vae.decode(params, z, y).sample(x_key), y)
        lower = annealed(prior.log_prob, joint, prior.sample, lower_key, betas, num_chains=num)
        return lower, annealed(prior.log_prob, joint, prior.sample, upper_key, betas, num_chains=num, backward_from=z)

    return map_examples(one, params, keys, labels, PIECE)


def _prior_and_joint(vae: VAE, params: Params, x: Array, y: Any) -> tuple[Any, Callable[[Any], Array]]:
    """Return p(z), and z -> log p(x, z)."""
    prior = vae.prior(params, y)
    return prior, lambda z: prior.log_prob(z) + vae.decode(params, z, y).log_prob(x)


@compiled
def _log_weights(vae: VAE, view: DataView, params: Params, keys: Array, examples: Split, num: int) -> dict[str, Array]:
    """Return log p(x|z_k) at z_k ~ p(z), and log p(x, z_k) − log q(z_k|x) at z_k ~ q(z|x), each [N, K]."""

    def one(params: Params, key: Key, example: Split) -> dict[str, Array]:
        x, y = view.example(example.x), context_of(vae, example.labels)
        prior_keys, posterior_keys = jax.random.split(key, (2, num))
        from_prior = lambda key: vae.decode(params, vae.prior(params, y).sample(key), y).log_prob(x)
        from_posterior = lambda key: log_weight(vae, params, key, x, y)
        in_pieces = lambda function, keys: jax.lax.map(function, keys, batch_size=1000)
        return {
            "prior samples": in_pieces(from_prior, prior_keys),
            "importance weights": in_pieces(from_posterior, posterior_keys),
        }

    return map_examples(one, params, keys, examples, 1)


def _means_of_first(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return K = 1, 2, 4, …, and the means over examples of log (1/K) Σ_{k ≤ K} w_k."""
    sizes = np.unique(np.append(2 ** np.arange(int(math.log2(log_weights.shape[1])) + 1), log_weights.shape[1]))
    sums = np.logaddexp.accumulate(log_weights.astype(np.float64), axis=1)
    return sizes, sums[:, sizes - 1].mean(axis=0) - np.log(sizes)


def perform(
    subject: Subject,
    *,
    data: str | None = None,
    split: Part = "test",
    num: int = 20,
    num_temperatures: int = 500,
    num_chains: int = 8,
    schedule: Schedule = "sigmoid",
    start: Start = "prior",
    num_importance_samples: int = 5000,
) -> Outcome:
    """Put log p(x) of a VAE between bounds, by annealed importance sampling from both sides.

    Of examples of the data, it is estimated by samples of the prior, by importance weights, and by annealed chains: each a lower
    bound in expectation. Of as many examples that the model draws, there are chains forward, and backward for an upper bound.

    Args:
        subject: the run.
        data: Data set; by default, the run's own.
        split: Which part of it.
        num: Number of examples, drawn from the data; and of those that the model draws.
        num_temperatures: Steps from the start of a chain to p(x, z).
        num_chains: Chains for each example.
        schedule: How the temperatures lie.
        start: Where the chains of the data's examples begin: p(z) or q(z|x).
        num_importance_samples: K of the two other estimates.
    """
    check_choice("split", split, Part)
    check_choice("schedule", schedule, Schedule)
    check_choice("start", start, Start)
    counts = {"num_temperatures": num_temperatures, "num_chains": num_chains, "num_importance_samples": num_importance_samples}
    for name, value in ({"num": num} | counts).items():
        check_count(name, value)
    model, params, betas = subject.model, subject.params, temperatures(num_temperatures, schedule)
    _check(model, params)
    dataset = subject.load(data, split=split)
    data_key, drawn_key, weights_key, rows_key = jax.random.split(subject.key, 4)
    rows, examples = draw_examples(dataset.splits[split], num, rows_key)
    num = len(examples.x)
    options: dict[str, Any] = {"num_chains": num_chains, "report": lambda done, _: subject.report(done, 3 * num)}
    found = subject._replace(key=data_key).call(annealed_likelihood, examples, betas, start=start, **options)
    options["report"] = lambda done, _: subject.report(num + 2 * done, 3 * num)  # there and back
    lower, upper = bracket(model, params, drawn_key, num, betas, **options)
    keys = example_keys(weights_key, num)
    log_weights = jax.device_get(_log_weights(model, subject.view, params, keys, examples, num=num_importance_samples))
    curves = {name: _means_of_first(weights) for name, weights in log_weights.items()}
    summary: dict[str, Any] = {"data": dataset.name, "split": split, "num_examples": num, **counts}
    summary |= {"start": start, "schedule": schedule}
    summary |= {f"{split}_log_prob_{name.replace(' ', '_')}": float(values[-1]) for name, (_, values) in curves.items()}
    summary |= _means(split, found, lower, upper)
    table = {"index": rows, **found._asdict(), "drawn_lower": lower.log_prob, "drawn_upper": upper.log_prob}
    level = {f"annealed, {num_temperatures} temperatures": summary[f"{split}_log_prob_annealed"]}
    numbers = json_numbers({**summary, **subject.provenance})
    return Outcome(
        f"likelihood-{split}{suffix_of(subject, dataset)}",
        "",
        {"likelihood": plots.estimates(curves, level)},
        summary=numbers,
        table=table,
    )


def _means(split: str, found: AnnealedEstimate, lower: AnnealedEstimate, upper: AnnealedEstimate) -> dict[str, float]:
    """Return means over examples, with standard errors, and how well the chains moved."""
    columns: dict[str, Any] = {f"{split}_log_prob_annealed": found.log_prob, "drawn_log_prob_lower": lower.log_prob}
    columns |= {"drawn_log_prob_upper": upper.log_prob, "drawn_gap": upper.log_prob - lower.log_prob}
    summary = {}
    for name, values in columns.items():
        summary[name], summary[f"{name}_se"] = mean_and_standard_error(values)
    for name, estimate in {"annealed": found, "lower": lower, "upper": upper}.items():
        summary[f"{name}_acceptance"] = float(np.mean(estimate.acceptance))
        summary[f"{name}_effective_sample_size"] = float(np.mean(estimate.effective_sample_size))
    return summary
