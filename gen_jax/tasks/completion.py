"""Completing examples with a part missing, and estimates of what the model says of the part."""

import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax import plots
from gen_jax.data import MASK_SUFFIXES, DataView, Split, load_mask
from gen_jax.evaluate import (
    LikelihoodEstimate,
    WeightedMean,
    estimate_from,
    example_keys,
    importance_weighted,
    map_examples,
    mean_and_standard_error,
    weighted_mean,
)
from gen_jax.tasks.task import AT_ONCE, Outcome, Subject, check_choice, check_count, compiled, first, json_numbers, refuse
from gen_jax.types import VAE, Array, DensityModel, InputError, Key, Params, context_of
from gen_jax.vae import (
    Chain,
    ChainCompletion,
    CodePrior,
    WeightedCompletions,
    complete_by_chain,
    log_weight,
    weighted_completions,
)

Method = Literal["metropolis", "gibbs", "resampling"]
DEFAULT_STEPS = 500  # of a chain whose end is a completion
NUM_FILLINGS, FILLING_STEPS = 100, 50  # chains whose ends tell where to draw z, and their steps
DEFAULT_SAMPLES = 1000  # K
MADE_AT_ONCE = 100  # draws from a MADE
Observed = Literal["upper", "lower", "left", "right", "random"]


class ResampledCompletion(NamedTuple):
    """Completions chosen among weighted ones.

    Attributes:
        x: [num, N, *event], the observed dimensions unchanged.
        effective_sample_size: [N], of the weights: of few, completions repeat.
    """

    x: Array
    effective_sample_size: Float[Array, "N"]


class MissingEstimate(NamedTuple):
    """What a model says of examples with a part missing.

    Attributes:
        observed: estimates of log p(x_observed).
        whole: estimates of log p(x).
        mean: E[x | x_observed], for each dimension; the observed ones unchanged.
    """

    observed: LikelihoodEstimate
    whole: LikelihoodEstimate
    mean: WeightedMean

    @property
    def nll(self) -> Float[Array, "N"]:
        """−log p(x_missing | x_observed) = log p(x_observed) − log p(x), in nats.

        Each of the two is too small in expectation, by about half the square of its standard error, so that the difference may
        be wrong to either side.
        """
        return self.observed.log_prob - self.whole.log_prob

    @property
    def nll_standard_error(self) -> Float[Array, "N"]:
        """Of `nll`; the two estimates are independent."""
        return jnp.hypot(self.observed.standard_error, self.whole.standard_error)


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
    """
    check_count("num", num)
    known = _checked(view, examples, observed)
    kind = _kind(model, params)
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
        return _by_resampling(model, view, params, key, examples.on_device(), known, **options)
    keys = jax.random.split(key, num)
    if kind is DensityModel:
        return _in_order(model, view, params, keys, examples.on_device().x, known)
    return _by_chain(model, view, params, keys, examples.on_device(), known, num=steps, chain=method or "metropolis")


def missing_estimate(
    model: Any,
    params: Params,
    key: Key,
    examples: Split,
    observed: Array | np.ndarray,
    *,
    num_importance_samples: int = DEFAULT_SAMPLES,
    num_steps: int = FILLING_STEPS,
    view: DataView = DataView(),
) -> MissingEstimate:
    """Return estimates for each of N stored examples, of which the dimensions that are not `observed` are missing.

    They are those of the weighted completions that the method "resampling" of `complete` draws, and for log p(x) of a VAE as many
    importance weights at z ~ q(z|x). Of a MADE they are about the mask m under which it completes: log p_m(x) is exact, and so is
    log p_m(x_observed) where what is observed comes first in its order.

    Raises:
        InputError: as `complete`.
    """
    counts = {"num_importance_samples": num_importance_samples, "num_steps": num_steps}
    for name, value in counts.items():
        check_count(name, value)
    known = _checked(view, examples, observed)
    _kind(model, params)
    options = {"num_samples": num_importance_samples, "num_steps": num_steps}
    return _estimate(model, view, params, key, examples.on_device(), known, **options)


def _kind(model: Any, params: Params) -> type:
    """Return which kind of model completes examples, or raise an InputError for one that cannot."""
    if isinstance(model, DensityModel) and model.complete is not None:
        return DensityModel
    if not isinstance(model, VAE) or isinstance(model.prior(params, _label(model)), CodePrior):
        raise refuse(model, "complete examples", "a MADE, or a VAE whose posterior has a density")
    return VAE


def _label(vae: VAE) -> Any:
    return None if vae.num_classes is None else jnp.int32(0)


def _checked(view: DataView, examples: Split, observed: Array | np.ndarray) -> Array:
    """Return which values are known, or raise an InputError for a mask that fits no example, or hides all or nothing."""
    known = np.asarray(observed)
    shape = jax.eval_shape(view.example, jax.ShapeDtypeStruct(examples.x.shape[1:], examples.x.dtype)).shape
    if known.shape != shape or known.dtype != bool:
        raise InputError(f"observed is {known.dtype} of shape {known.shape}: give booleans of the shape of an example, {shape}.")
    if known.all():
        raise InputError("observed is True everywhere, so that nothing is missing: make it False where a value is to be drawn.")
    if not known.any():
        raise InputError("observed is False everywhere, so that nothing is known: make it True where a value is.")
    return jnp.asarray(known)


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
    one = lambda key, x: model.complete(params, key, x, observed)
    found = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(keys, jax.vmap(view.example)(x))
    return found._replace(x=view.from_model(found.x))


@compiled
def _by_resampling(
    model: Any,
    view: DataView,
    params: Params,
    key: Key,
    examples: Split,
    observed: Array,
    num: int,
    num_samples: int,
    num_steps: int,
) -> ResampledCompletion:
    def one(params: Params, key: Key, example: Split) -> tuple[Array, Array]:
        weight_key, choice_key = jax.random.split(key)
        found = _weighted(model, view, params, weight_key, example, observed, num_samples, num_steps)
        return found.resample(choice_key, num), estimate_from(found.log_weights).effective_sample_size

    x, effective_sample_size = map_examples(one, params, example_keys(key, len(examples.x)), examples, 1)
    return ResampledCompletion(view.from_model(jnp.moveaxis(x, 1, 0)), effective_sample_size)


@compiled
def _estimate(
    model: Any, view: DataView, params: Params, key: Key, examples: Split, observed: Array, num_samples: int, num_steps: int
) -> MissingEstimate:
    def one(params: Params, key: Key, example: Split) -> MissingEstimate:
        x, (weight_key, whole_key) = view.example(example.x), jax.random.split(key)
        found = _weighted(model, view, params, weight_key, example, observed, num_samples, num_steps)
        mean = weighted_mean(found.log_weights, view.from_model(found.means))
        # what is observed has no error, not even that of rounding
        mean = WeightedMean(jnp.where(observed, view.from_model(x), mean.mean), jnp.where(observed, 0.0, mean.standard_error))
        if isinstance(model, VAE):
            context = context_of(model, example.labels)
            whole = importance_weighted(lambda key: log_weight(model, params, key, x, context), whole_key, num_samples)
        else:
            exact = jnp.sum(model.conditionals(params, x, observed))
            whole = LikelihoodEstimate(exact, jnp.zeros(()), jnp.full((), float(num_samples)))
        return MissingEstimate(estimate_from(found.log_weights), whole, mean)

    return map_examples(one, params, example_keys(key, len(examples.x)), examples, 1)


def _weighted(
    model: Any, view: DataView, params: Params, key: Key, example: Split, observed: Array, num_samples: int, num_steps: int
) -> WeightedCompletions:
    """Return weighted completions of one example."""
    x, context = view.example(example.x), context_of(model, example.labels)
    if isinstance(model, VAE):
        filling_key, draw_key = jax.random.split(key)
        fill = lambda key: complete_by_chain(model, params, key, x, observed, num_steps, "gibbs", context).x
        fillings = jax.vmap(fill)(jax.random.split(filling_key, NUM_FILLINGS))
        return weighted_completions(model, params, draw_key, x, observed, fillings, num_samples, context)

    def draw(key: Key) -> tuple[Array, Array]:
        drawn = model.complete(params, key, x, observed).x
        return jnp.sum(jnp.where(observed, model.conditionals(params, drawn, observed), 0.0)), drawn

    log_weights, drawn = jax.lax.map(draw, jax.random.split(key, num_samples), batch_size=MADE_AT_ONCE)
    return WeightedCompletions(log_weights, drawn, drawn.astype(jnp.float32))


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
    draw_key, mask_key, estimate_key = (*jax.random.split(subject.key), jax.random.fold_in(subject.key, 2))
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
