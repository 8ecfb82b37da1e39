"""Pictures of a latent space: where examples lie in it, and what is decoded from it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.distributions import MarkovChain
from gen_jax.evaluate import example_keys
from gen_jax.tasks.evaluation import vae_functions
from gen_jax.tasks.latent_models import latent_model
from gen_jax.tasks.task import Outcome, Subject, Task, refuse
from gen_jax.types import VAE, Array, Key, Params

GRID = 20  # images along a side of the decoded latent space
REDRAWN = 8  # images of which some layers of latents are equal


@dataclass(frozen=True, kw_only=True)
class LatentsOptions:
    """Draw what there is to see of a latent space: two latents, a sphere, codes, or layers."""


def perform(subject: Subject, options: LatentsOptions) -> Outcome:
    """Draw the figures that go with the latents: of other spaces than these there are none."""
    latents = latent_model(subject.model, subject.view)
    if latents.encode is None:
        raise refuse(subject.model, "show where examples lie in its latent space, since it encodes none", "a VAE")
    test, keys = subject.load().test, jax.random.split(subject.key, 3)
    if not isinstance(subject.model, VAE):
        means, columns = latents.encode(subject.params, keys[0], test.on_device()), {}
    else:
        describe = vae_functions(subject.model, subject.view).describe
        columns = describe(subject.params, example_keys(keys[0], len(test.x)), test.on_device())
        means = columns["posterior_mean"]
    figures, latent = {}, getattr(subject.model, "latent", None)
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
    if from_square is not None and subject.model.num_classes is None:
        # equal steps of probability under the prior, the second coordinate upwards
        shares = (jnp.arange(GRID) + 0.5) / GRID
        places = jnp.stack(jnp.meshgrid(shares, shares[::-1]), axis=-1).reshape(-1, 2)
        decoded = latents.decode(subject.params, keys[2], jax.vmap(from_square)(*places.T), None)
        title = "decoded latent space, in equal steps of prior probability"
        figures["manifold"] = plots.image_grid(decoded, GRID, title)
    return Outcome("latents", ", ".join(figures) or "there is no picture of a space of this kind", figures)


def _layers(subject: Subject, key: Key) -> dict[str, Any]:
    """Draw, for each layer but the lowest, images of which the layers from it upwards are kept and those below drawn anew."""
    prior: Any = subject.model.prior(subject.params)
    if not isinstance(prior, MarkovChain) or len(prior.kernels) == 0:
        return {}
    num_layers, keys, rows = len(prior.kernels) + 1, jax.random.split(key, 3), []
    decode = latent_model(subject.model, subject.view).decode

    def redrawn(params: Params, key: Key, num_kept: int) -> tuple[Array, ...]:
        chain: Any = subject.model.prior(params)
        kept_key, redrawn_key = jax.random.split(key)
        value = chain.sample(kept_key)
        return jax.vmap(lambda k: chain.redraw(k, value, num_kept))(jax.random.split(redrawn_key, REDRAWN))

    draw = jax.jit(redrawn, static_argnums=2)
    for kept in range(1, num_layers):
        rows += [decode(subject.params, k, draw(subject.params, k, kept), None) for k in keys]
    title = "\n".join(
        f"rows {3 * kept - 2}–{3 * kept}: equal z from layer {num_layers - kept + 1} upwards" for kept in range(1, num_layers)
    )
    return {"layers": plots.image_grid(jnp.concatenate(rows), REDRAWN, title)}


TASK = Task(LatentsOptions, perform)
