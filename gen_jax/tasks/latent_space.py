"""Figures of a latent space: where examples lie in it, and what is decoded from it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import DataView
from gen_jax.distributions import MarkovChain
from gen_jax.tasks.evaluation import describe
from gen_jax.tasks.latent_models import check_latents, decode, encode
from gen_jax.tasks.task import Outcome, Subject, compiled, refuse
from gen_jax.types import GAN, VAE, Array, Key, Params

GRID = 20  # images along a side of the decoded latent space
REDRAWN = 8  # images of which some layers of latents are equal


def perform(subject: Subject) -> Outcome:
    """Show the latent space, where it has two dimensions, is a sphere, or has codes or layers.

    Args:
        subject: the run.
    """
    model, view, params = subject.model, subject.view, subject.params
    check_latents(model)
    if isinstance(model, GAN):
        raise refuse(model, "show where examples lie in its latent space, since it encodes none", "a VAE")
    test, keys = subject.load().test, jax.random.split(subject.key, 3)
    if isinstance(model, VAE):
        columns = describe(model, view, params, keys[0], test.on_device())
    else:
        columns = {"posterior_mean": encode(model, view, params, keys[0], test.on_device())}
    means = columns["posterior_mean"]
    figures, latent = {}, getattr(model, "latent", None)
    from_square = None if latent is None else latent.from_square
    if "codes" in columns:
        codes = np.asarray(columns["codes"][:20], np.float32)
        figures["codes"] = plots.image_grid((codes / max(codes.max(), 1))[..., None], 10, "codes of the test images")
    elif isinstance(means, tuple):
        figures |= _layers(subject, keys[1])
    elif means.shape[1:] == (2,):
        figures["latents"] = plots.latent_scatter(means, test.labels)
    elif from_square is not None:
        figures["sphere"] = plots.latent_sphere(means, test.labels)
    if from_square is not None and model.num_classes is None:
        # equal steps of probability under the prior, the second coordinate upwards
        shares = (jnp.arange(GRID) + 0.5) / GRID
        places = jnp.stack(jnp.meshgrid(shares, shares[::-1]), axis=-1).reshape(-1, 2)
        decoded = decode(model, view, params, keys[2], jax.vmap(from_square)(*places.T), None)
        title = "decoded latent space, in equal steps of prior probability"
        figures["manifold"] = plots.image_grid(decoded, GRID, title)
    if not figures:
        what = "show its latent space, which is no plane or sphere, and has no codes or layers"
        raise refuse(model, what, "one with a latent space of these")
    return Outcome("latents", ", ".join(figures), figures)


def _layers(subject: Subject, key: Key) -> dict[str, Any]:
    """Draw, for each layer but the lowest, images that share the layers from it upwards and differ in those below."""
    prior: Any = subject.model.prior(subject.params)
    if not isinstance(prior, MarkovChain) or len(prior.kernels) == 0:
        return {}
    num_layers, of_model, rows = len(prior.kernels) + 1, (subject.model, subject.view, subject.params), []
    for kept in range(1, num_layers):
        rows += [decode(*of_model, k, _redrawn(*of_model, k, num=kept), None) for k in jax.random.split(key, 3)]
    title = "\n".join(
        f"rows {3 * kept - 2}–{3 * kept}: equal z from layer {num_layers - kept + 1} upwards" for kept in range(1, num_layers)
    )
    return {"layers": plots.image_grid(jnp.concatenate(rows), REDRAWN, title)}


@compiled
def _redrawn(model: VAE, view: DataView, params: Params, key: Key, num: int) -> tuple[Array, ...]:
    """Return latents of which the top `num` layers are equal."""
    chain: Any = model.prior(params)
    kept_key, redrawn_key = jax.random.split(key)
    value = chain.sample(kept_key)
    return jax.vmap(lambda k: chain.redraw(k, value, num))(jax.random.split(redrawn_key, REDRAWN))
