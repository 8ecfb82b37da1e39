"""MADE (Germain et al. 2015, arXiv:1502.03509) on binary data, under one mask, a cycle of masks, or fresh masks at every step."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import plots
from gen_jax.data import to_unit
from gen_jax.made import bernoulli_output, complete, ensemble, made, shuffled_masks
from gen_jax.recipes.density_experiment import density_experiment
from gen_jax.recipes.experiment import MASKS, Experiment, Settings, seed_key
from gen_jax.recipes.vae import ACTIVATIONS, ActivationName
from gen_jax.types import Array, InputError, Key, Params


@dataclass(frozen=True, kw_only=True)
class MadeSettings(Settings):
    """A MADE with Bernoulli conditionals."""

    data: str = "mnist"
    epochs: int = 100
    hidden_sizes: tuple[int, ...] = (1000,)
    """Widths of the hidden layers."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    direct: bool = False
    """Direct links from inputs to outputs."""
    masks: Literal["fixed", "cycle", "fresh"] = "fixed"
    """Masks in training: one; --num-masks in turn; or another one at every step."""
    shuffle: Literal["none", "orderings", "connectivities", "both"] = "none"
    """What is drawn at random of a mask; with none, dimensions come in the order that they are stored in."""
    num_masks: int = 1
    """Masks in the cycle, and in the mixture that is evaluated."""


def build(settings: MadeSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment that the settings describe, for events of the given shape."""
    masks, num_masks = settings.masks, settings.num_masks
    if num_masks < 1 or (masks == "fixed" and num_masks > 1):
        raise InputError(
            f"num_masks is {num_masks} and masks {masks}: give 1 or more, and more than 1 to cycle or fresh masks only."
        )
    if masks != "fixed" and settings.shuffle == "none":
        raise InputError(f"masks is {masks} and shuffle is none: say what differs between masks by --shuffle.")
    # under many masks, a network has to tell a 0 from what its mask hides
    output, dim = bernoulli_output(one_hot=masks != "fixed"), math.prod(event_shape)
    model = made(dim, settings.hidden_sizes, output, settings.direct, ACTIVATIONS[settings.activation])
    degrees = shuffled_masks(
        seed_key(settings.seed, MASKS),
        model.degrees,
        ordering=settings.shuffle in ("orderings", "both"),
        connectivity=settings.shuffle in ("connectivities", "both"),
    )

    def train_log_prob(params: Params, step: Array, x: Array) -> Array:
        # fresh masks are none of those of the evaluation
        index = num_masks + step if masks == "fresh" else step % num_masks
        return model.log_prob(params, degrees(index), x)

    def completions(params: Params, key: Key, images: Array) -> dict[str, Any]:
        """Draw test images of which the lower half is hidden, and completions of them."""
        if len(event_shape) != 3 or event_shape[0] < 2:
            return {}
        x = jnp.stack([jnp.ravel(to_unit(image)) for image in images[:10]])
        observed = jnp.arange(dim) < event_shape[0] // 2 * math.prod(event_shape[1:])
        one = lambda key, x: complete(model, params, degrees, num_masks, key, x, observed)
        drawn = jax.jit(jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None)))(jax.random.split(key, 4), x)
        mask, exact, unused = int(drawn.mask[0, 0]), bool(drawn.exact[0, 0]), int(drawn.unused[0, 0])  # equal for all of them
        how = f"exact under mask {mask}" if exact else f"not exact: mask {mask} has {unused} pairs out of order"
        rows = jnp.concatenate([x[None], jnp.where(observed[None, :], x, 0.5)[None], drawn.x]).reshape(-1, *event_shape)
        title = f"test images; lower half hidden;\nfour draws given the upper half ({how})"
        return {"completions": plots.image_grid(rows, len(x), title)}

    def check(images: np.ndarray, where: str) -> None:
        output.check(to_unit(images), where)

    density = ensemble(model, degrees, num_masks)
    return density_experiment(density, event_shape, settings, check, train_log_prob, completions)
