"""Augmentation of what a discriminator sees, real and generated images alike, so that little data do not let it overfit.

Differentiable: Zhao et al. 2020 (arXiv:2006.10738). Adaptive: Karras et al. 2020 (arXiv:2006.06676). Generators learn the data
and not their augmentation, since gradients pass through it. Images are [H, W, C] with values in [−1, 1]; what leaves is 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from gen_jax.types import Array, Key, Number

Change = Callable[[Key, Array], Array]
"""(key, x [H, W, C]) -> x, changed at random."""


class Augmentation(NamedTuple):
    """How images are augmented.

    Attributes:
        changes: made in this order, each with probability p for each image.
        target: of E[sign D(x)] on real images, by which p is steered; None for p = 1.
        images: how many real images it takes to move p from 0 to 1.
    """

    changes: tuple[Change, ...]
    target: Number | None = None
    images: float = 500_000.0

    def apply(self, key: Key, x: Float[Array, "B H W C"], probability: Float[Array, ""] | float) -> Float[Array, "B H W C"]:
        """Return the batch, each image with changes of its own."""

        def one(key: Key, image: Array) -> Array:
            for change in self.changes:
                coin_key, change_key, key = jax.random.split(key, 3)
                image = jnp.where(jax.random.bernoulli(coin_key, probability), change(change_key, image), image)
            return image

        return jax.vmap(one)(jax.random.split(key, len(x)), x)

    def steer(self, probability: Float[Array, ""], real_logits: Float[Array, "P"]) -> Float[Array, ""]:
        """Return p after a batch: up where more than the target of real images are told to be real, else down; within [0, 1].

        E[sign D(x)] near 1 says that the discriminator knows its training images (eq. 1).
        """
        if self.target is None:
            return probability
        direction = jnp.sign(jnp.mean(jnp.sign(real_logits)) - self.target)
        return jnp.clip(probability + direction * len(real_logits) / self.images, 0.0, 1.0)


def colour(key: Key, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """Return x with brightness + U(−½, ½), saturation × U(0, 2) about each pixel's grey, contrast × U(½, 3/2) about the mean."""
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    x = x + brightness - 0.5
    grey = jnp.mean(x, axis=2, keepdims=True)
    x = grey + 2 * saturation * (x - grey) if x.shape[2] > 1 else x
    mean = jnp.mean(x)
    return mean + (contrast + 0.5) * (x - mean)


def translation(key: Key, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """Return x moved by up to an eighth of its height and width."""
    most = [round(size / 8) for size in x.shape[:2]]
    padded = jnp.pad(x, (*((m, m) for m in most), (0, 0)))
    start = jax.random.randint(key, (2,), 0, 2 * jnp.array(most) + 1)
    return jax.lax.dynamic_slice(padded, (start[0], start[1], 0), x.shape)


def cutout(key: Key, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """Return x with a rectangle of half its height and width about a random pixel set to 0."""
    inside = jnp.ones((1, 1), bool)
    for axis, one in enumerate(jax.random.split(key)):
        size = x.shape[axis]
        length = size // 2
        start = jax.random.randint(one, (), 0, size + 1 - length % 2) - length // 2
        pixels = jnp.arange(size)
        inside = inside & jnp.expand_dims((start <= pixels) & (pixels < start + length), 1 - axis)
    return jnp.where(inside[..., None], 0.0, x)


CHANGES = (colour, translation, cutout)
"""Those of differentiable augmentation."""
