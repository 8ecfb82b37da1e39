"""What a model says of examples with a part missing, by weighted completions: estimates, and draws by resampling."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax.data import DataView, Split
from gen_jax.evaluate import (
    LikelihoodEstimate,
    WeightedMean,
    estimate_from,
    example_keys,
    importance_weighted,
    map_examples,
    weighted_mean,
)
from gen_jax.tasks.task import check_count, compiled, refuse
from gen_jax.types import VAE, Array, DensityModel, InputError, Key, Params, context_of
from gen_jax.vae import CodePrior, WeightedCompletions, complete_by_chain, log_weight, weighted_completions

NUM_FILLINGS, FILLING_STEPS = 100, 50  # chains whose ends tell where to draw z, and their steps
DEFAULT_SAMPLES = 1000  # K
MADE_AT_ONCE = 100  # draws from a MADE


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
    known = checked_mask(view, examples, observed)
    completes(model, params)
    options = {"num_samples": num_importance_samples, "num_steps": num_steps}
    return _estimate(model, view, params, key, examples.on_device(), known, **options)


def completes(model: Any, params: Params) -> type:
    """Return which kind of model completes examples, or raise an InputError for one that cannot."""
    if isinstance(model, DensityModel) and model.complete is not None:
        return DensityModel
    if not isinstance(model, VAE) or isinstance(model.prior(params, _label(model)), CodePrior):
        raise refuse(model, "complete examples", "a MADE, or a VAE whose posterior has a density")
    return VAE


def _label(vae: VAE) -> Any:
    return None if vae.num_classes is None else jnp.int32(0)


def checked_mask(view: DataView, examples: Split, observed: Array | np.ndarray) -> Array:
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
def by_resampling(
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
    """Return `num` of the weighted completions of each example, chosen by their weights."""

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
