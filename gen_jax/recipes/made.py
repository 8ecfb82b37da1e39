"""MADE (Germain et al. 2015, arXiv:1502.03509) on binary data, under one mask, a cycle of masks, or fresh masks at every step.

    GEN_JAX_DATA_DIR=DIR gen-jax train made-mnist
    GEN_JAX_DATA_DIR=DIR gen-jax train made-dna
    gen-jax train made-dna --data npz:PATH               # any binary arrays train, valid, test

`made-mnist`: training takes about two minutes on two CPU cores: test NLL 87.15 ± 0.01 nats (3 seeds). `made-dna`: two minutes on
one; 79.25 ± 0.04 nats (3 seeds), where the paper has 79.66 with mask sampling.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from gen_jax.data import to_unit
from gen_jax.densities import density_loss, with_event_shape
from gen_jax.made import bernoulli_output, ensemble, made, made_loss, shuffled_masks
from gen_jax.recipes.experiment import Experiment, Recipe, adam_of, view_of
from gen_jax.recipes.settings import ACTIVATIONS, KIND, MASKS, ActivationName, Choice, Count, Settings, Sizes, seed_key
from gen_jax.train import validation

Shuffled = Literal["orderings", "connectivities", "both"]


class FixedMask(Choice, kinds=("fixed",)):
    """One mask."""

    shuffle: Literal["none"] | Shuffled = "none"
    """What is random in the mask; with none, dimensions keep their stored order."""


class ManyMasks(Choice, kinds=("cycle", "fresh")):
    """A few masks that take turns, one step each (cycle), or a new mask at every step (fresh)."""

    shuffle: Shuffled = "both"
    """What is random in each mask."""
    num_masks: Count = 8
    """Masks in the mixture that is evaluated, and in the cycle."""


@dataclass(frozen=True, kw_only=True)
class MadeSettings(Settings):
    """A MADE with Bernoulli conditionals."""

    data: str = "mnist"
    epochs: Count = 100
    hidden_sizes: Sizes = (1000,)
    """Widths of the hidden layers."""
    activation: ActivationName = "relu"
    """Activation of the hidden layers."""
    direct: bool = False
    """Direct connections from inputs to outputs."""
    masks: Annotated[FixedMask | ManyMasks, KIND] = FixedMask()
    """Masks in training: fixed, cycle or fresh."""


def build(settings: MadeSettings, event_shape: tuple[int, ...]) -> Experiment:
    """Return the experiment for events of the given shape."""
    choice = settings.masks
    num_masks = 1 if isinstance(choice, FixedMask) else choice.num_masks
    # under many masks, the network must tell a 0 from an input that the mask hides
    output = bernoulli_output(one_hot=not isinstance(choice, FixedMask))
    model = made(math.prod(event_shape), settings.hidden_sizes, output, settings.direct, ACTIVATIONS[settings.activation])
    masks = shuffled_masks(
        seed_key(settings.seed, MASKS),
        model.degrees,
        ordering=choice.shuffle in ("orderings", "both"),
        connectivity=choice.shuffle in ("connectivities", "both"),
    )
    density = with_event_shape(ensemble(model, masks, num_masks), event_shape)

    def check(x: np.ndarray, where: str) -> None:
        if settings.binarise == "none":
            output.check(to_unit(x), where)

    view = view_of(settings, event_shape, check)
    return Experiment(
        model=density,
        loss=made_loss(model, masks if choice.kind == "fresh" else None),
        optimizer=adam_of(settings),
        view=view,
        validate=validation(density_loss(density), view, density, batch_size=500),
        best_metric="valid_log_prob",
        curves={"curves": (("train_log_prob", "valid_log_prob"), "log p(x) (nats)")},
        tasks=("sample", "complete"),
    )


RECIPES = {
    "made-mnist": Recipe(
        "MADE, one hidden layer of 1,000, on dynamically binarised MNIST", MadeSettings(direct=True, epochs=40), build
    ),
    "made-dna": Recipe(
        "MADE, one hidden layer of 500, on DNA (180 binary dimensions), or any npz of binary arrays",
        MadeSettings(
            data="dna",
            binarise="none",
            hidden_sizes=(500,),
            direct=True,
            masks=ManyMasks(kind="fresh", num_masks=128),
            epochs=1000,
            batch_size=20,
            learning_rate=1e-3,
            schedule="constant",
            ema_decay=0.99,
            validate_every=5,
            patience=20,
        ),
        build,
    ),
}
