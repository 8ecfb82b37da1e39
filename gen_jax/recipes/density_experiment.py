"""What is done with a model whose density is known exactly: its loss, its evaluation and its figures, as an `Experiment`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import Split, to_unit
from gen_jax.evaluate import log_on_grid, mean_and_standard_error, square_grid
from gen_jax.recipes.experiment import Evaluation, Experiment, Settings, check_events, minimise, prepare
from gen_jax.train import batch_mean
from gen_jax.types import Array, DensityModel, InputError, Key, Metrics, Params

PLANE = 5.0  # half the side of the square in which densities in the plane are drawn
PIXELS = 200
SAMPLES_AT_ONCE = 20  # each draw from an ensemble of MADEs sorts the weights anew


def density_experiment(
    model: DensityModel,
    event_shape: tuple[int, ...],
    settings: Settings,
    check: Callable[[np.ndarray, str], None],
    train_log_prob: Callable[[Params, Array, Array], Array] | None = None,
    more_figures: Callable[[Params, Key, Array], dict[str, Any]] = lambda params, key, images: {},
) -> Experiment:
    """Return the experiment of a density on flat examples, trained by maximum likelihood.

    Args:
        model: the density of the examples, flattened.
        event_shape: the shape of an example as it is stored.
        settings: how pixels become what the model sees, and how it is trained.
        check: (images that are not binarised, what they are) -> None; raises for those that the model cannot take.
        train_log_prob: (params, step, x) -> what is maximised at a step of training, where it is not the model's `log_prob`.
        more_figures: (params, key, test images) -> figures beside samples and curves.
    """
    train_log_prob = train_log_prob or (lambda params, step, x: model.log_prob(params, x))

    def loss(params: Params, key: Key, step: Array, batch: Split) -> tuple[Array, Metrics]:
        def objective(params: Params, key: Key, example: Split) -> tuple[Array, Metrics]:
            log_prob = train_log_prob(params, step, jnp.ravel(prepare(settings.binarise, key, example.images)))
            return -log_prob, {"log_prob": log_prob}

        return batch_mean(objective)(params, key, step, batch)

    @jax.jit
    @jax.default_matmul_precision("highest")
    def log_prob(params: Params, images: Array) -> Array:
        return jax.lax.map(lambda image: model.log_prob(params, jnp.ravel(to_unit(image))), images, batch_size=500)

    @functools.partial(jax.jit, static_argnums=2)
    @jax.default_matmul_precision("highest")
    def sample(params: Params, key: Key, num: int) -> Array:
        keys = jax.random.split(key, num)
        return jax.lax.map(lambda k: model.sample(params, k).reshape(event_shape), keys, batch_size=SAMPLES_AT_ONCE)

    @jax.jit
    @jax.default_matmul_precision("highest")
    def log_density(params: Params, points: Array) -> Array:
        return log_on_grid(functools.partial(model.log_prob, params), points)

    def picture(samples: Array) -> Any:
        if event_shape == (2,):
            return plots.plane([("samples", samples)], PLANE)
        return plots.image_grid(samples, columns=min(len(samples), 10))

    def figures(params: Params, key: Key, test: Split, rows: list[dict[str, Any]]) -> dict[str, Any]:
        sample_key, more_key = jax.random.split(key)
        if event_shape == (2,):
            points, _ = square_grid(PLANE, PIXELS)
            density = np.exp(log_density(params, points)).reshape(PIXELS, PIXELS)
            drawn = sample(params, sample_key, 5000)
            panels = [("test data", test.images[:5000]), ("density", density), ("samples", drawn)]
            samples = plots.plane(panels, PLANE)
        else:
            samples = plots.image_grid(sample(params, sample_key, 100), 10, "samples")
        curves = plots.loss_curves(rows, ["train_log_prob", "valid_log_prob"], "log p(x) (nats)")
        return {"samples": samples, "curves": curves} | more_figures(params, more_key, jnp.asarray(test.images))

    def check_images(images: np.ndarray, where: str) -> None:
        check_events(images, event_shape, settings.binarise, where)
        if settings.binarise == "none":
            check(images, where)

    return Experiment(
        training=minimise(settings, model.init, loss),
        validate=lambda params, key, split: {"valid_log_prob": jnp.mean(log_prob(params, split.images))},
        best_metric="valid_log_prob",
        check=check_images,
        evaluate=functools.partial(_evaluate, log_prob),
        sample=sample,
        picture=picture,
        figures=figures,
    )


def _evaluate(
    log_prob: Callable[[Params, Array], Array],
    params: Params,
    key: Key,
    split: Split,
    name: str,
    num_samples: int | None,
    on_progress: Callable[[int, int], None],
) -> Evaluation:
    if num_samples is not None:
        raise InputError("num_importance_samples is given, and the likelihood of this model is exact: leave it out.")
    num = len(split.images)
    log_probs = np.asarray(log_prob(params, jnp.asarray(split.images)))
    on_progress(num, num)
    nll, nll_se = mean_and_standard_error(-log_probs)
    table = {"index": np.arange(num)} | ({} if split.labels is None else {"label": split.labels}) | {"log_prob": log_probs}
    return Evaluation({f"{name}_nll": nll, f"{name}_nll_se": nll_se, "num_examples": num}, table)
