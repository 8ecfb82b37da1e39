"""The image pool: a discriminator sees older translations too (Shrivastava et al. 2017, arXiv:1612.07828, §2.3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from gen_jax.types import Array, Key


class Pool(NamedTuple):
    """Images that a generator made before.

    Attributes:
        images: [S, ...], of which the first `count` are there.
        count: how many.
    """

    images: Float[Array, "S ..."]
    count: Int[Array, ""]


def empty_pool(size: int, shape: tuple[int, ...]) -> Pool:
    """Return a pool for `size` images of a shape."""
    return Pool(jnp.zeros((size, *shape)), jnp.int32(0))


def draw_from_pool(pool: Pool, key: Key, images: Float[Array, "B ..."]) -> tuple[Float[Array, "B ..."], Pool]:
    """Return the images to show the discriminator, and the pool after them.

    One image after the other: while the pool is not full, the image is stored and shown. Then a coin is tossed: it is shown and
    not stored, or it takes the place of a stored one, chosen uniformly, which is shown instead. So a stored image stays through
    each later one with probability 1 − 1/2S, and half of what is shown is older. As in the code of Zhu et al. 2017
    (arXiv:1703.10593), where S = 50.
    """
    size = len(pool.images)

    def one(pool: Pool, row: tuple[Key, Array]) -> tuple[Pool, Array]:
        (coin_key, place_key), image = jax.random.split(row[0]), row[1]
        full = pool.count == size
        place = jnp.where(full, jax.random.randint(place_key, (), 0, size), pool.count)
        swap = full & jax.random.bernoulli(coin_key)
        old = pool.images[place]
        stored = jnp.where(~full | swap, image, old)
        return Pool(pool.images.at[place].set(stored), jnp.minimum(pool.count + 1, size)), jnp.where(swap, old, image)

    pool, shown = jax.lax.scan(one, pool, (jax.random.split(key, len(images)), images))
    return shown, pool
