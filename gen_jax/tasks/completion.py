"""Completing examples with a part missing."""

import zlib
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import MASK_SUFFIXES, DataView, Split, load_mask
from gen_jax.evaluate import example_keys, map_examples, mean_and_standard_error
from gen_jax.tasks.missing import (
    DEFAULT_SAMPLES,
    FILLING_STEPS,
    ResampledCompletion,
    by_resampling,
    checked_mask,
    completes,
    missing_estimate,
)
from gen_jax.tasks.task import AT_ONCE, Outcome, Subject, check_choice, check_count, compiled, first, json_numbers
from gen_jax.types import VAE, Array, DensityModel, InputError, Key, Params, context_of
from gen_jax.vae import Chain, ChainCompletion, complete_by_chain

Method = Literal["metropolis", "gibbs", "resampling"]
DEFAULT_STEPS = 500  # of a chain whose end is a completion
Observed = Literal["upper", "lower", "left", "right", "random"]


def complete(
    model: Any,
    params: Params,
    key: Key,
    examples: Split,
    observed: Array | np.ndarray,
    num: int = 4,
    *,
    method: Method | None = None,
    num_steps: int | None = None,
    num_importance_samples: int | None = None,
    view: DataView = DataView(),
) -> Any:
    """Return `num` completions of each stored example, with arrays [num, N, ...].

    - A MADE draws what is missing in its order: a `made.Completion`.
    - A VAE draws it by a Markov chain of `num_steps` steps, by default 500 of "metropolis": a `ChainCompletion` (see
      `vae.complete_by_chain`).
    - "resampling": each is chosen among `num_importance_samples` weighted completions, by default 1,000, with a probability
      that is proportional to its weight: a `ResampledCompletion`. Of a VAE these are `vae.weighted_completions`, from the ends of
      100 pseudo-Gibbs chains of `num_steps` steps, by default 50. A MADE draws them in its order, each with the product of the
      conditionals of what is observed as its weight, so that other dimensions may come first.

    `observed` has the shape of one example and is True where it is known; the values in the other places are ignored.

    Raises:
        InputError: the model cannot complete examples, an option is of the other kind of model or method, or `observed` is True
            everywhere or nowhere, or of another shape than an example.

    Examples:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from gen_jax import made, tasks
        >>> from gen_jax.data import Split
        >>> net = made.made(dim=3, hidden_sizes=(8,), output=made.bernoulli_output())
        >>> model = made.ensemble(net, lambda index: net.degrees)  # one order, x_1 first
        >>> params, examples = model.init(jax.random.key(0)), Split(np.ones((5, 3), np.float32))
        >>> found = tasks.complete(model, params, jax.random.key(1), examples, np.array([True, False, False]), num=4)
        >>> found.x.shape, (found.x[..., 0] == 1).all().item(), found.exact.all().item()
        ((4, 5, 3), True, True)
    """
    check_count("num", num)
    known = checked_mask(view, examples, observed)
    kind = completes(model, params)
    if method is not None:
        check_choice("method", method, Method)
    if kind is DensityModel and (method not in (None, "resampling") or num_steps is not None):
        raise InputError("num_steps and the methods of chains are those of a VAE, and a MADE takes none: leave them out.")
    if num_importance_samples is not None and method != "resampling":
        raise InputError("num_importance_samples is of the method resampling: leave it out.")
    steps = (FILLING_STEPS if method == "resampling" else DEFAULT_STEPS) if num_steps is None else num_steps
    check_count("num_steps", steps)
    if method == "resampling":
        samples = DEFAULT_SAMPLES if num_importance_samples is None else num_importance_samples
        check_count("num_importance_samples", samples)
        options: dict[str, int] = {"num": num, "num_samples": samples, "num_steps": steps}
        return by_resampling(model, view, params, key, examples.on_device(), known, **options)
    keys = jax.random.split(key, num)
    if kind is DensityModel:
        return _in_order(model, view, params, keys, examples.on_device().x, known)
    return _by_chain(model, view, params, keys, examples.on_device(), known, num=steps, chain=method or "metropolis")


@compiled
def _by_chain(
    vae: VAE, view: DataView, params: Params, keys: Array, examples: Split, observed: Array, num: int, chain: Chain
) -> ChainCompletion:
    def of_key(key: Key) -> ChainCompletion:
        def one(params: Params, key: Key, example: Split) -> ChainCompletion:
            context = context_of(vae, example.labels)
            return complete_by_chain(vae, params, key, view.example(example.x), observed, num, chain, context)

        return map_examples(one, params, example_keys(key, len(examples.x)), examples, AT_ONCE)

    found = jax.lax.map(of_key, keys)
    return found._replace(x=view.from_model(found.x))


@compiled
def _in_order(model: Any, view: DataView, params: Params, keys: Array, x: Array, observed: Array) -> Any:
    seen = jax.vmap(view.example)(x)
    one = lambda key, x: model.complete(params, key, x, observed)
    found = jax.vmap(lambda key: jax.vmap(one)(example_keys(key, len(x)), seen))(keys)
    return found._replace(x=view.from_model(found.x))


def observed_part(which: str, shape: tuple[int, ...], key: Key) -> np.ndarray:
    """Return which values of an example are known: half of its rows or columns, each with probability ½, or what a file says."""
    if Path(which).suffix in MASK_SUFFIXES:
        return load_mask(which, shape)
    check_choice("observed", which, Observed, f"the path of a mask ({', '.join(MASK_SUFFIXES)})")
    if which == "random" or len(shape) == 0:
        return np.asarray(jax.random.bernoulli(key, 0.5, shape))
    axis = 1 if which in ("left", "right") and len(shape) > 1 else 0
    place = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    known = place < shape[axis] // 2
    return np.broadcast_to(known if which in ("upper", "left") else ~known, shape)


def perform(
    subject: Subject,
    *,
    num: int = 10,
    draws: int = 4,
    observed: str = "upper",
    method: Method | None = None,
    num_steps: int | None = None,
    num_importance_samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
) -> Outcome:
    """Hide a part of test examples and draw it given the rest, with a MADE or a VAE.

    Beside the draws are E[x | observed part], and a table of log p(observed part) and −log p(hidden part | observed part) by
    importance weights. Where their effective sample size is a few, both are too low, by more than the standard error says.

    Args:
        subject: the run.
        num: Number of test examples, from the first.
        draws: Completions of each example.
        observed: What the model is given: the upper, lower, left or right half, a random half, or the path of a mask: an .npy or
            .npz file of booleans or 0 and 1, or a black and white .png, whose white part is given.
        method: Of a VAE: metropolis, right in the limit of many steps; gibbs, which is wrong by as much as q(z|x) is; or
            resampling, right in the limit of many importance samples. By default metropolis. A MADE draws in its order, or by
            resampling.
        num_steps: Of a VAE: steps of its Markov chains, by default 500, or 50 for those with which resampling begins.
        num_importance_samples: K of the estimates, and of resampling.
        seed: Seed of the draw.
    """
    check_count("num", num)
    examples = first(subject.load().test, num)
    x = jax.vmap(subject.view.read)(examples.x)
    draw_key, mask_key, estimate_key = jax.random.split(subject.key, 3)
    known = observed_part(observed, x.shape[1:], mask_key)
    options: dict[str, Any] = {"method": method, "num_steps": num_steps}
    if method == "resampling":
        options["num_importance_samples"] = num_importance_samples
    found = subject._replace(key=draw_key).call(complete, examples, known, draws, **options)
    steps = num_steps if method == "resampling" and num_steps is not None else FILLING_STEPS
    samples = {"num_importance_samples": num_importance_samples, "num_steps": steps}
    estimate = subject._replace(key=estimate_key).call(missing_estimate, examples, known, **samples)
    how, given = _how(found, method, num_steps), Path(observed).stem
    if Path(observed).suffix in MASK_SUFFIXES:
        given = f"{given}-{zlib.crc32(known.tobytes()):08x}"
    rows = jnp.concatenate([x[None], jnp.where(known[None], x, 0.5)[None], estimate.mean.mean[None], found.x])
    names = ["example", "given", "mean", *("" if i else "draws" for i in range(draws))]
    title = f"completions of test examples, given: {given}\n({how})"
    figure = plots.image_grid(rows.reshape(-1, *x.shape[1:]), len(x), title, names)
    table = {
        "index": np.arange(len(x)),
        "nll_missing": estimate.nll,
        "nll_missing_se": estimate.nll_standard_error,
        "log_prob_observed": estimate.observed.log_prob,
        "log_prob_observed_se": estimate.observed.standard_error,
        "effective_sample_size": estimate.observed.effective_sample_size,
        "log_prob": estimate.whole.log_prob,
        "log_prob_se": estimate.whole.standard_error,
    }
    table = {name: np.asarray(column) for name, column in table.items()}
    summary: dict[str, Any] = {"observed": observed, "num_observed": int(known.sum()), "num_missing": int((~known).sum())}
    summary |= {"num_examples": len(x), "num_importance_samples": num_importance_samples, "method": how, "draw_seed": seed}
    for column in ("nll_missing", "log_prob_observed", "log_prob"):
        summary[column], summary[f"{column}_se"] = mean_and_standard_error(table[column])
    summary["median_effective_sample_size"] = float(np.median(table["effective_sample_size"]))
    numbers = json_numbers({**summary, **subject.provenance})
    name = "-".join(["completions", given, *([] if method is None else [method]), str(seed)])
    return Outcome(name, how, {"completions": figure}, np.asarray(found.x), numbers, table)


def _how(found: Any, method: Method | None, num_steps: int | None) -> str:
    """Return in a line how examples were completed."""
    if isinstance(found, ResampledCompletion):
        return f"resampling, effective sample size {float(jnp.median(found.effective_sample_size)):.3g} (median)"
    if isinstance(found, ChainCompletion):
        accepted = f"{float(found.acceptance.mean()):.0%} of the proposals accepted"
        return f"{method or 'metropolis'}, {num_steps or DEFAULT_STEPS} steps, {accepted}"
    mask, exact, unused = int(found.mask[0, 0]), bool(found.exact[0, 0]), int(found.unused[0, 0])  # equal for all of them
    return f"exact under mask {mask}" if exact else f"not exact: mask {mask} has {unused} pairs out of order"
