"""Reconstructing examples through the latents."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from gen_jax import plots
from gen_jax.autoencoders import Autoencoder, corrupted
from gen_jax.data import DataView, Split
from gen_jax.evaluate import example_keys, map_examples
from gen_jax.tasks.task import AT_ONCE, Outcome, Subject, Task, check_count, first, once_for_each_model, refuse
from gen_jax.types import VAE, Array, Key, Params, context_of


def reconstruct(model: Any, params: Params, key: Key, examples: Split, *, view: DataView = DataView()) -> Array:
    """Return [N, *event]: E[x|z] at one z ~ q(z|x) for each example, of a `VAE`; g(f(x̃)) of an `Autoencoder`.

    Raises:
        InputError: the model encodes nothing.
    """
    return _reconstructor(model, view)(params, example_keys(key, len(examples.x)), examples.on_device())[0]


@once_for_each_model
def _reconstructor(model: Any, view: DataView) -> Any:
    def one(params: Params, key: Key, example: Split) -> tuple[Array, Array]:
        """Return the reconstruction, and what was encoded."""
        x = view.example(example.x)
        if isinstance(model, VAE):
            context = context_of(model, example.labels)
            z = model.encode(params, x, context).sample(key)
            return view.from_model(model.decode(params, z, context).mean), view.from_model(x)
        seen = corrupted(model, key, x)
        return view.from_model(model.decode(params, model.encode(params, seen))), view.from_model(seen)

    if not isinstance(model, VAE | Autoencoder):
        raise refuse(model, "reconstruct examples, since it encodes none", "a VAE or an autoencoder")
    return jax.jit(lambda params, keys, examples: map_examples(one, params, keys, examples, AT_ONCE))


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions:
    """Reconstruct examples of the data through the latents of a trained run."""

    num: int = 20
    """How many: the first ones."""
    split: Literal["train", "valid", "test"] = "test"
    """Of which part of the data."""
    data: str | None = None
    """Data set; by default, the run's own."""


def perform(subject: Subject, options: ReconstructOptions) -> Outcome:
    """Reconstruct, and draw originals above their reconstructions."""
    check_count("num", options.num)
    examples = first(subject.load(options.data, split=options.split).splits[options.split], options.num)
    keys = example_keys(subject.key, len(examples.x))
    drawn, seen = _reconstructor(subject.model, subject.view)(subject.params, keys, examples)
    originals = jax.vmap(subject.view.read)(examples.x)
    columns = min(10, len(originals))
    figures = {"reconstructions": plots.reconstructions(originals, drawn, columns)}
    if getattr(subject.model, "corrupt", None) is not None:
        figures["corrupted"] = plots.image_grid(seen, columns, "the same examples as the model was given them")
    return Outcome(f"reconstructions-{options.split}", f"{len(drawn)} reconstructions", figures, np.asarray(drawn))


TASK = Task(ReconstructOptions, perform)
