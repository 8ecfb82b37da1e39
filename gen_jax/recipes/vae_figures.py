"""The figures of a VAE: reconstructions, samples, what its latents look like."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import Split, to_unit
from gen_jax.evaluate import example_keys
from gen_jax.recipes.vae_compiled import REDRAWN, CompiledVae
from gen_jax.types import Array, Key, Params
from gen_jax.vae import Latent

GRID = 20  # images along a side of a decoded chart


def vae_figures(
    compiled: CompiledVae,
    latent: Latent | None,
    num_classes: int | None,
    params: Params,
    key: Key,
    test: Split,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the figures of a trained model by name."""
    sample_key, reconstruct_key, describe_key, layers_key = jax.random.split(key, 4)
    examples, num = test.on_device(), len(test.images)
    first = jax.tree.map(lambda leaf: leaf[:20], examples)
    originals = jax.vmap(to_unit)(first.images)
    drawn = compiled.reconstruct(params, example_keys(reconstruct_key, len(originals)), first)
    title = "p(x|z) means at z drawn from the prior" + ("" if num_classes is None else ", a column a label")
    curve = "bound" if "train_bound" in rows[-1] else "elbo"
    a_row = 10 if num_classes is None else num_classes
    figures = {
        "reconstructions": plots.reconstructions(originals, drawn, columns=min(10, len(originals))),
        "samples": plots.image_grid(compiled.sample(params, sample_key, 10 * a_row), a_row, title),
        "curves": plots.loss_curves(rows, [f"train_{curve}", f"valid_{curve}"], "nats"),
    }
    if "train_capacity" in rows[-1]:
        figures["capacity"] = plots.loss_curves(rows, ["train_capacity", "train_rate", "valid_rate"], "nats")
    columns = compiled.describe(params, example_keys(describe_key, num), examples)
    means = columns["posterior_mean"]
    if "codes" in columns:
        shown = columns["codes"][:20] / (params["codebook"]["shares"].size - 1)
        figures["codes"] = plots.image_grid(shown[..., None], 10, "codes of the test images")
    if isinstance(means, tuple):
        figures |= _layers(compiled, params, layers_key, len(means))
    elif means.shape[1:] == (2,):
        figures["latents"] = plots.latent_scatter(means, test.labels)
    elif latent is not None and latent.chart is not None:
        figures["sphere"] = plots.latent_sphere(means, test.labels)
    if latent is not None and latent.chart is not None and num_classes is None:
        # equal steps of probability under the prior, the second coordinate upwards
        shares = (jnp.arange(GRID) + 0.5) / GRID
        places = jnp.stack(jnp.meshgrid(shares, shares[::-1]), axis=-1).reshape(-1, 2)
        decoded = compiled.decode(params, jax.vmap(latent.chart)(*places.T), None)
        figures["manifold"] = plots.image_grid(decoded, GRID, "decoded latent space, in equal steps of prior probability")
    return figures


def _layers(compiled: CompiledVae, params: Params, key: Key, num_layers: int) -> dict[str, Any]:
    """Draw, for each layer but the lowest, images of which the layers from it upwards are kept and those below drawn anew."""
    keys = jax.random.split(key, 3)
    rows = [compiled.redraw(params, k, kept) for kept in range(1, num_layers) for k in keys]
    title = "\n".join(
        f"rows {3 * kept - 2}–{3 * kept}: equal z from layer {num_layers - kept + 1} upwards" for kept in range(1, num_layers)
    )
    return {"layers": plots.image_grid(jnp.concatenate(rows), REDRAWN, title)} if rows else {}


def traverse(
    compiled: CompiledVae,
    latent: Latent,
    num_classes: int | None,
    params: Params,
    key: Key,
    split: Split,
    index: int,
    num_steps: int,
) -> tuple[Any, Array]:
    """Return a figure and images [Z, steps, *event]: each latent of one image moved over its range under the prior."""
    one_key, prior_key, parts_key = jax.random.split(key, 3)
    examples = split.on_device()
    one = jax.tree.map(lambda leaf: leaf[index : index + 1], examples)
    label = None if num_classes is None else one.labels[0]
    z = compiled.describe(params, example_keys(one_key, 1), one)["posterior_mean"][0]
    shares = (jnp.arange(num_steps) + 0.5) / num_steps
    places = jnp.quantile(compiled.draw(params, prior_key, label), shares, axis=0)
    moved = jax.vmap(jax.vmap(latent.move, in_axes=(None, None, 0)), in_axes=(None, 0, 1))(z, jnp.arange(latent.dim), places)
    flat = moved.reshape(-1, latent.dim)
    images = compiled.decode(params, flat, None if label is None else jnp.full(len(flat), label))
    images = images.reshape(latent.dim, num_steps, *images.shape[1:])

    # in the picture, those of most nats come first
    some = jax.tree.map(lambda leaf: leaf[:500], examples)
    parts = np.asarray(compiled.describe(params, example_keys(parts_key, len(some.images)), some)["kl_parts"].mean(axis=0))
    apart = len(parts) == latent.dim
    order = np.argsort(-parts) if apart else np.arange(latent.dim)
    names = [f"z{i + 1}" + (f"  {parts[i]:.2f}" if apart else "") for i in order]
    title = "each latent over its range under the prior" + (",\nwith its mean KL in nats" if apart else "")
    return plots.image_grid(images[order].reshape(-1, *images.shape[2:]), num_steps, title, row_names=names), images
