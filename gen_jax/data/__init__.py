"""Data: where examples come from, and how they become batches."""

from gen_jax.data.dataset import Binarisation, Dataset, DataView, Factors, Split, binarise, in_unit_interval, to_unit
from gen_jax.data.files import MASK_SUFFIXES, load_mask
from gen_jax.data.pairs import LUMA, PAIR, domain_channels, domain_of, has_partners
from gen_jax.data.sources import (
    DEFAULT_BINARISATION,
    RENDERED,
    STACKED,
    absolute_name,
    data_view,
    load_dataset,
    load_true_pairs,
)
from gen_jax.data.sprites import (
    NUM_SPRITES,
    SPRITE_FACTORS,
    SPRITE_SIZES,
    canonical_sprite_indices,
    check_factors,
    render_sprite,
    sample_factors,
    sprite_factors,
    sprite_index,
)
from gen_jax.data.toy import ENERGIES, MODES, TOY_SIZES
