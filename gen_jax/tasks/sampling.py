"""Drawing examples from a model."""

from typing import Any, Literal

import jax
import numpy as np

from gen_jax import plots
from gen_jax.data import ENERGIES, Dataset, DataView
from gen_jax.evaluate import log_density_on_grid, square_grid
from gen_jax.tasks.latent_models import decode, draw_prior
from gen_jax.tasks.task import Outcome, Subject, check_choice, check_count, compiled, labels_in_turn
from gen_jax.types import VAE, Array, DensityModel, InputError, Key, Params

Draw = Literal["examples", "means"]
NUM_IMAGES, NUM_POINTS = 100, 2500
MOST_SHOWN = 400  # images in a figure
SAMPLES_AT_ONCE = 20  # each draw from an ensemble of MADEs sorts the weights anew
PLANE, PIXELS = 5.0, 200  # half the side of the square in which densities are drawn, and its pixels


def sample(
    model: Any, params: Params, key: Key, num: int, *, draw: Draw | None = None, labels: Any = None, view: DataView = DataView()
) -> Array:
    """Return [num, *event], draws of a `VAE`, a `DensityModel` or a `GAN` in the data's range.

    - examples: x ~ p(x), the default of all but a VAE.
    - means: E[x|z] at z ~ p(z), the default of a VAE, since pixels drawn one by one add noise.

    Those of a conditional model are for the labels that are given, in turn; by default 0, 1, …, C − 1.

    Raises:
        InputError: the model has no distribution, no means, or not these labels.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax import tasks
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, gaussian_vae
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> tasks.sample(vae, params, jax.random.key(1), 2).tolist()
        [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    check_count("num", num)
    if draw is not None:
        check_choice("draw", draw, Draw)
    if draw == "means" and not isinstance(model, VAE):
        raise InputError("draw is means, which are those of a VAE's p(x|z): use --draw examples, or leave it out.")
    chosen = labels_in_turn(model, num, labels)
    if isinstance(model, DensityModel):
        return _draw_density(model, view, params, key, num=num)
    if draw == "examples" and isinstance(model, VAE):
        return _draw_vae(model, view, params, key, chosen, num=num)
    z = draw_prior(model, view, params, key, num, chosen)
    return decode(model, view, params, jax.random.fold_in(key, num), z, chosen)


@compiled
def _draw_density(model: DensityModel, view: DataView, params: Params, key: Key, num: int) -> Array:
    one = lambda key: view.from_model(model.sample(params, key))
    return jax.lax.map(one, jax.random.split(key, num), batch_size=SAMPLES_AT_ONCE)


@compiled
def _draw_vae(vae: VAE, view: DataView, params: Params, key: Key, labels: Array | None, num: int) -> Array:
    def one(row: tuple[Key, Array | None]) -> Array:
        z_key, x_key = jax.random.split(row[0])
        z = vae.prior(params, row[1]).sample(z_key)
        return view.from_model(vae.decode(params, z, row[1]).sample(x_key))

    return jax.lax.map(one, (jax.random.split(key, num), labels), batch_size=100)


def log_density(model: DensityModel, params: Params, points: Array) -> Array:
    """Return log p(x) at many points, in float32 precision."""
    return _log_density(model, DataView(), params, points)


@compiled
def _log_density(model: DensityModel, view: DataView, params: Params, points: Array) -> Array:
    return jax.lax.map(lambda x: model.log_prob(params, x), points, batch_size=10_000)


def picture(drawn: Any, model: Any = None, params: Params = None, data: Dataset | None = None, title: str = "") -> Any:
    """Return a figure of samples: a grid of images, a column for each label of a conditional model; or points in the plane.

    Beside the points are the density, of a model that has one, and the test data or the target density.
    """
    drawn = np.asarray(drawn)
    if drawn.shape[1:] != (2,):
        shown = drawn[:MOST_SHOWN]  # each takes 0.4 MB in a figure
        return plots.image_grid(shown, min(len(shown), getattr(model, "num_classes", None) or 10), title)
    panels, bound, points = [], PLANE, square_grid(PLANE, PIXELS)[0]

    def add_density(name: str, log_probs: Any) -> None:
        panels.append((name, np.exp(np.asarray(log_probs)).reshape(PIXELS, PIXELS)))

    energy = None if data is None else ENERGIES.get(data.name.removeprefix("toy:"))
    if energy is not None:
        add_density("target $e^{-U}$", -log_density_on_grid(energy, points))
    elif data is not None:
        panels.append(("test data", data.test.x[: len(drawn)]))
    if isinstance(model, DensityModel):
        add_density("density", log_density(model, params, points))
    elif data is not None:  # a power of two, so that the frames of an animation share it
        bound = float(2 ** np.ceil(np.log2(1.05 * np.abs(data.test.x).max())))
    return plots.plane([*panels, ("samples", drawn)], bound)


def num_shown(model: Any, points: bool) -> int:
    """Return how many samples a figure shows."""
    num_classes = getattr(model, "num_classes", None)
    return NUM_POINTS if points else 10 * num_classes if num_classes else NUM_IMAGES


def perform(
    subject: Subject, *, num: int | None = None, draw: Draw | None = None, labels: tuple[int, ...] = (), seed: int = 0
) -> Outcome:
    """Draw examples from a trained run: x ~ p(x), or means of p(x|z).

    Args:
        subject: the run.
        num: Number of samples; by default 100, or 2,500 points of the plane.
        draw: examples: x ~ p(x). means: E[x|z] at z ~ p(z), of a VAE. By default means of a VAE, examples of any other model.
        labels: Of a conditional model: the labels to draw for, in turn. By default all of them.
        seed: Seed of the draw.
    """
    model, data = subject.model, subject.load() if subject.data.startswith("toy:") else None
    num = num_shown(model, data is not None) if num is None else num
    drawn = subject.call(sample, num, draw=draw, labels=labels or None)
    what = "means of p(x|z), z ~ p(z)" if isinstance(model, VAE) and draw != "examples" else "examples x ~ p(x)"
    title = what if getattr(model, "num_classes", None) is None else f"{what}, a label in each column"
    figure = picture(drawn, model, subject.params, data, title)
    return Outcome(f"samples-{seed}", f"{num} samples: {what}", {"samples": figure}, np.asarray(drawn))
