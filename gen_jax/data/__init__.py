"""Data: where images come from, and how they become batches."""

from gen_jax.data.batches import Binarisation, binarise, binarise_split, epoch_batches, to_unit
from gen_jax.data.dataset import Dataset, Split
from gen_jax.data.sources import STACKED, absolute_name, load_dataset
from gen_jax.data.sprites import (
    NUM_SPRITES,
    SPRITE_FACTORS,
    SPRITE_SHAPE,
    SPRITE_SIZES,
    check_factors,
    render_sprite,
    sample_factors,
    sprite_factors,
    sprite_index,
    sprite_looks,
)
from gen_jax.data.toy import ENERGIES, GRID, GRID_SCALE, RING, RING_SCALE, TOY_SIZES

__all__ = [
    "ENERGIES",
    "GRID",
    "GRID_SCALE",
    "NUM_SPRITES",
    "RING",
    "RING_SCALE",
    "SPRITE_FACTORS",
    "SPRITE_SHAPE",
    "SPRITE_SIZES",
    "STACKED",
    "TOY_SIZES",
    "Binarisation",
    "Dataset",
    "Split",
    "absolute_name",
    "binarise",
    "binarise_split",
    "check_factors",
    "epoch_batches",
    "load_dataset",
    "render_sprite",
    "sample_factors",
    "sprite_factors",
    "sprite_index",
    "sprite_looks",
    "to_unit",
]
