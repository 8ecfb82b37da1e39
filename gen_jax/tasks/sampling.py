"""Drawing examples from a model."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from gen_jax import plots
from gen_jax.data import ENERGIES, Dataset, DataView
from gen_jax.evaluate import log_density_on_grid, square_grid
from gen_jax.tasks.latent_models import latent_model
from gen_jax.tasks.task import Outcome, Subject, Task, check_count, labels_in_turn, once_for_each_model
from gen_jax.types import VAE, Array, DensityModel, InputError, Key, Params

Draw = Literal["examples", "means"]
NUM_IMAGES, NUM_POINTS = 100, 2500
SAMPLES_AT_ONCE = 20  # each draw from an ensemble of MADEs sorts the weights anew
PLANE, PIXELS = 5.0, 200  # half the side of the square in which densities are drawn, and its pixels


def sample(
    model: Any,
    params: Params,
    key: Key,
    num: int,
    *,
    draw: Draw | None = None,
    labels: Any = None,
    view: DataView = DataView(),
) -> Array:
    """Return `num` draws of a model, [num, *event].

    - examples: x ~ p(x).
    - means: E[x|z] at z ~ p(z), which a VAE has; what is shown of one, as a rule, since pixels drawn one by one add noise.

    Args:
        model: a `VAE`, a `DensityModel` or a `GAN`.
        params: what its functions take.
        key: of the draws.
        num: how many.
        draw: which of the two; by default means of a VAE, and examples of any other model.
        labels: of a conditional model, those to draw for, in turn; by default 0, 1, …, C − 1.
        view: what brings examples back into the data's range.

    Raises:
        InputError: the model has no distribution, or no means, or not these labels.
    """
    check_count("num", num)
    if draw == "means" and not isinstance(model, VAE):
        raise InputError("draw is means, which are those of a VAE's p(x|z): use --draw examples, or leave it out.")
    chosen = labels_in_turn(model, num, labels)
    if isinstance(model, DensityModel):
        return _density_sampler(model, view)(params, key, num)
    if draw == "examples" and isinstance(model, VAE):
        return _vae_sampler(model, view)(params, key, num, chosen)
    latents = latent_model(model, view)
    return latents.decode(params, jax.random.fold_in(key, num), latents.draw(params, key, num, chosen), chosen)


@once_for_each_model
def _density_sampler(model: DensityModel, view: DataView) -> Any:
    @functools.partial(jax.jit, static_argnums=2)
    @jax.default_matmul_precision("highest")
    def draw(params: Params, key: Key, num: int) -> Array:
        one = lambda k: view.from_model(model.sample(params, k))
        return jax.lax.map(one, jax.random.split(key, num), batch_size=SAMPLES_AT_ONCE)

    return draw


@once_for_each_model
def _vae_sampler(vae: VAE, view: DataView) -> Any:
    @functools.partial(jax.jit, static_argnums=2)
    @jax.default_matmul_precision("highest")
    def draw(params: Params, key: Key, num: int, labels: Array | None) -> Array:
        def one(row: tuple[Key, Array | None]) -> Array:
            z_key, x_key = jax.random.split(row[0])
            z = vae.prior(params, row[1]).sample(z_key)
            return view.from_model(vae.decode(params, z, row[1]).sample(x_key))

        return jax.lax.map(one, (jax.random.split(key, num), labels), batch_size=100)

    return draw


def picture(drawn: Any, model: Any = None, params: Params = None, data: Dataset | None = None, title: str = "") -> Any:
    """Return a figure of draws: a grid of images, whose columns are the labels of a conditional model; or points in the plane.

    Points stand beside the density of a model that has one, and the test data, or the target that they were drawn from.
    """
    drawn = np.asarray(drawn)
    if drawn.shape[1:] != (2,):
        return plots.image_grid(drawn, min(len(drawn), getattr(model, "num_classes", None) or 10), title)
    panels, bound = [], PLANE
    energy = None if data is None else ENERGIES.get(data.name.removeprefix("toy:"))
    if energy is not None:
        points, _ = square_grid(PLANE, PIXELS)
        panels.append(("target $e^{-U}$", np.exp(-np.asarray(log_density_on_grid(energy, points))).reshape(PIXELS, PIXELS)))
    elif data is not None:
        panels.append(("test data", data.test.x[: len(drawn)]))
    if isinstance(model, DensityModel):
        points, _ = square_grid(PLANE, PIXELS)
        panels.append(("density", np.exp(np.asarray(log_density(model, params, points))).reshape(PIXELS, PIXELS)))
    elif data is not None:  # a power of two, which the frames of an animation share
        bound = float(2 ** np.ceil(np.log2(1.05 * np.abs(data.test.x).max())))
    return plots.plane([*panels, ("samples", drawn)], bound)


def log_density(model: DensityModel, params: Params, points: Array) -> Array:
    """Return log p(x) at many points, in float32 precision."""
    return _log_density(model, DataView())(params, points)


@once_for_each_model
def _log_density(model: DensityModel, view: DataView) -> Any:
    @jax.jit
    @jax.default_matmul_precision("highest")
    def over_points(params: Params, points: Array) -> Array:
        return jax.lax.map(lambda x: model.log_prob(params, view.to_model(x)), points, batch_size=10_000)

    return over_points


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Draw examples from a trained run: x ~ p(x), or means of p(x|z)."""

    num: int | None = None
    """How many; by default 100, or 2,500 points of the plane."""
    draw: Draw | None = None
    """examples: x ~ p(x). means: E[x|z] at z ~ p(z), of a VAE. By default means of a VAE, examples of any other model."""
    labels: tuple[int, ...] = ()
    """Of a conditional model: the labels to draw for, in turn. By default all of them."""
    seed: int = 0
    """Seed of the draw."""


def perform(subject: Subject, options: SampleOptions) -> Outcome:
    """Draw, and draw a picture."""
    data = subject.load() if subject.data.startswith("toy:") else None
    num = (NUM_IMAGES if data is None else NUM_POINTS) if options.num is None else options.num
    if options.num is None and getattr(subject.model, "num_classes", None):
        num = 10 * subject.model.num_classes
    drawn = sample(
        subject.model,
        subject.params,
        subject.key,
        num,
        draw=options.draw,
        labels=options.labels or None,
        view=subject.view,
    )
    means = isinstance(subject.model, VAE) and options.draw != "examples"
    what = "means of p(x|z), z ~ p(z)" if means else "examples x ~ p(x)"
    title = what if getattr(subject.model, "num_classes", None) is None else f"{what}, a label in each column"
    figure = picture(drawn, subject.model, subject.params, data, title)
    return Outcome(f"samples-{options.seed}", f"{num} samples: {what}", {"samples": figure}, np.asarray(drawn))


TASK = Task(SampleOptions, perform)
