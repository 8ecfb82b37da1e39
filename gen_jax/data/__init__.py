"""Data: where images come from, and how they become batches."""

from gen_jax.data.batches import Binarisation, binarise, binarise_split, epoch_batches, to_unit
from gen_jax.data.dataset import Dataset, Split
from gen_jax.data.sources import absolute_name, load_dataset
from gen_jax.data.toy import ENERGIES, TOY_SIZES

__all__ = [
    "ENERGIES",
    "TOY_SIZES",
    "Binarisation",
    "Dataset",
    "Split",
    "absolute_name",
    "binarise",
    "binarise_split",
    "epoch_batches",
    "load_dataset",
    "to_unit",
]
