"""From stored images to what a model sees: scaling, binarisation, and batches streamed from the host."""

import functools
from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gen_jax.data.dataset import Split
from gen_jax.data.sprites import render_sprite, sprite_factors
from gen_jax.types import Array, InputError, Key

Binarisation = Literal["dynamic", "fixed", "threshold", "none"]


def to_unit(image: Array | np.ndarray) -> Float[Array, "..."]:
    """Return the pixels of a stored image as float32: uint8 divided by 255, floats as they are, the sprite of an int32 number."""
    pixels = jnp.asarray(image)
    if pixels.dtype == jnp.int32:
        if pixels.ndim:
            raise InputError(f"An image is int32 of shape {pixels.shape}: give uint8 (0…255), or float32.")
        return render_sprite(sprite_factors(pixels))
    return pixels.astype(jnp.float32) / 255 if pixels.dtype == jnp.uint8 else pixels


def binarise(mode: Binarisation, key: Key, image: Array) -> Float[Array, "..."]:
    """Return what a model sees of one stored image.

    - dynamic, fixed: x_i ~ Bernoulli(intensity_i), drawn with `key` (Salakhutdinov & Murray 2008). They differ in when:
      dynamic draws anew at every step, fixed once for the whole run.
    - threshold: x_i = 1 where the intensity is at least ½.
    - none: the intensities themselves.
    """
    intensity = to_unit(image)
    match mode:
        case "dynamic" | "fixed":
            return jax.random.bernoulli(key, intensity).astype(jnp.float32)
        case "threshold":
            return (intensity >= 0.5).astype(jnp.float32)
        case "none":
            return intensity


def binarise_split(mode: Binarisation, key: Key, images: np.ndarray | Array) -> Array:
    """Binarise a whole split once, each image with a key of its own: evaluation data, and training data under `fixed`.

    Returns:
        uint8 in {0, 255}; with `none`, and of sprites, which are black and white, the images as they came.
    """
    if mode == "none" or images.dtype == jnp.int32:
        return jnp.asarray(images)

    return _binarise_all(mode, key, jnp.asarray(images))


@functools.partial(jax.jit, static_argnums=0)
def _binarise_all(mode: Binarisation, key: Key, images: Array) -> Array:
    def one(row: tuple[Array, Array]) -> Array:
        index, image = row
        return (255 * binarise(mode, jax.random.fold_in(key, index), image)).astype(jnp.uint8)

    return jax.lax.map(one, (jnp.arange(len(images)), images), batch_size=256)


def epoch_batches(split: Split, batch_size: int, seed: int, epoch: int) -> Iterator[Split]:
    """Stream one epoch of batches from the host through Grain, in an order that `seed` and `epoch` fix.

    For data that does not fit on the device. Images are read by threads, ahead of the step that wants them; the rest that fills
    no batch is left out.

    Args:
        split: arrays, or images in a sequence that reads them one by one.
        batch_size: how many examples a batch has.
        seed: of the run.
        epoch: which one.
    """
    import grain

    num = len(split.images)
    if not 1 <= batch_size <= num:
        raise InputError(f"A batch of {batch_size} cannot be drawn from {num} training examples.")
    # Grain takes a 32-bit seed: one hashed from the pair, not their sum, which epochs of other seeds would share
    order_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    rows = grain.MapDataset.range(num).shuffle(seed=order_seed)
    examples = rows.map(lambda row: {"row": row, "image": split.images[row]}).batch(batch_size, drop_remainder=True)
    for batch in examples.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=64)):
        yield Split(batch["image"], None if split.labels is None else split.labels[batch["row"]])
