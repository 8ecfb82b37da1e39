"""Reconstructing examples through the latents."""

from typing import Any, Literal

import jax
import numpy as np

from gen_jax import plots
from gen_jax.autoencoders import Autoencoder, corrupted
from gen_jax.data import DataView, Split
from gen_jax.evaluate import example_keys, map_examples
from gen_jax.tasks.task import AT_ONCE, Outcome, Subject, check_count, compiled, first, refuse
from gen_jax.types import VAE, Array, Key, Params, context_of


def reconstruct(model: Any, params: Params, key: Key, examples: Split, *, view: DataView = DataView()) -> Array:
    """Return [N, *event]: E[x|z] at one z ~ q(z|x) for each example, of a `VAE`; g(f(x̃)) of an `Autoencoder`.

    Raises:
        InputError: the model encodes nothing.

    Examples:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from gen_jax import tasks
        >>> from gen_jax.data import Split
        >>> from gen_jax.nets import MLP
        >>> from gen_jax.vae import bernoulli_likelihood, gaussian_vae
        >>> vae = gaussian_vae(MLP((), (2, 1)), MLP((), (3,)), latent_dim=1, likelihood=bernoulli_likelihood())
        >>> params = jax.tree.map(jnp.zeros_like, vae.init(jax.random.key(0), jnp.ones(3)))  # q(z|x) = p(z), and fair coins
        >>> tasks.reconstruct(vae, params, jax.random.key(1), Split(np.ones((1, 3), np.float32))).tolist()
        [[0.5, 0.5, 0.5]]
    """
    if not isinstance(model, VAE | Autoencoder):
        raise refuse(model, "reconstruct examples, since it encodes none", "a VAE or an autoencoder")
    return _reconstruct(model, view, params, key, examples.on_device())[0]


@compiled
def _reconstruct(model: VAE | Autoencoder, view: DataView, params: Params, key: Key, examples: Split) -> tuple[Array, Array]:
    """Return the reconstructions, and what was encoded."""

    def one(params: Params, key: Key, example: Split) -> tuple[Array, Array]:
        x = view.example(example.x)
        if isinstance(model, VAE):
            context = context_of(model, example.labels)
            z = model.encode(params, x, context).sample(key)
            return view.from_model(model.decode(params, z, context).mean), view.from_model(x)
        seen = corrupted(model, key, x)
        return view.from_model(model.decode(params, model.encode(params, seen))), view.from_model(seen)

    return map_examples(one, params, example_keys(key, len(examples.x)), examples, AT_ONCE)


def perform(
    subject: Subject, *, num: int = 20, split: Literal["train", "valid", "test"] = "test", data: str | None = None
) -> Outcome:
    """Reconstruct examples of the data through the latents of a trained run.

    Args:
        subject: the run.
        num: Number of examples, from the first.
        split: Part of the data.
        data: Data set; by default, the run's own.
    """
    check_count("num", num)
    examples = first(subject.load(data, split=split).splits[split], num)
    drawn = subject.call(reconstruct, examples)
    originals = jax.vmap(subject.view.read)(examples.x)
    columns = min(10, len(originals))
    figures = {"reconstructions": plots.reconstructions(originals, drawn, columns)}
    if getattr(subject.model, "corrupt", None) is not None:
        seen = _reconstruct(subject.model, subject.view, subject.params, subject.key, examples)[1]
        figures["corrupted"] = plots.image_grid(seen, columns, "the corrupted examples, which the model encodes")
    return Outcome(f"reconstructions-{split}", f"{len(drawn)} reconstructions", figures, np.asarray(drawn))
