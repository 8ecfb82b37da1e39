"""The law of the image pool, against probabilities in closed form and a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.gan import draw_from_pool, empty_pool


def numbered(start: int, num: int) -> jax.Array:
    """Images that say which they are."""
    return jnp.broadcast_to(jnp.arange(start, start + num, dtype=jnp.float32)[:, None, None, None], (num, 2, 3, 1))


def test_the_first_images_are_kept_and_shown(key):
    shown, pool = draw_from_pool(empty_pool(5, (2, 3, 1)), key, numbered(1, 3))
    np.testing.assert_array_equal(shown, numbered(1, 3))
    np.testing.assert_array_equal(pool.images[:3], numbered(1, 3))
    assert int(pool.count) == 3
    shown, pool = draw_from_pool(pool, key, numbered(4, 2))
    np.testing.assert_array_equal(pool.images, numbered(1, 5))
    np.testing.assert_array_equal(shown, numbered(4, 2))
    assert int(pool.count) == 5


def test_what_is_shown_was_made_and_what_is_swapped_leaves(key):
    """Of what came in, each image is shown once or in the pool, and none twice."""
    pool, shown_all, draw = empty_pool(4, (2, 3, 1)), [], jax.jit(draw_from_pool)
    for turn in range(20):
        before = set(np.asarray(pool.images[: int(pool.count), 0, 0, 0]))
        shown, pool = draw(pool, jax.random.fold_in(key, turn), numbered(1 + turn, 1))
        (shown,) = np.asarray(shown[:, 0, 0, 0])
        after = set(np.asarray(pool.images[: int(pool.count), 0, 0, 0]))
        if turn < 4:
            assert after == before | {1.0 + turn}
        elif shown == 1 + turn:
            assert after == before  # shown, and not stored
        else:
            assert after == before - {shown} | {1.0 + turn}  # swapped
        shown_all.append(shown)
    later = shown_all[4:]
    assert 0 < sum(a != b for a, b in zip(later, range(5, 21), strict=True)) < 16  # a coin


def test_an_old_image_stays_with_the_probability_of_the_law(key):
    """After n more images, one of the first S is still there with probability (1 − 1/2S)^n; half of what is shown is new."""
    size, num, draws = 4, 6, 20_000
    full = draw_from_pool(empty_pool(size, (2, 3, 1)), key, numbered(1, size))[1]

    @jax.jit
    @jax.vmap
    def run(key):
        shown, pool = draw_from_pool(full, key, numbered(100, num))
        return shown[:, 0, 0, 0], pool.images[:, 0, 0, 0]

    shown, stored = (np.asarray(of) for of in run(jax.random.split(key, draws)))
    within = 5 * np.sqrt(0.25 / draws)
    stays = (1 - 1 / (2 * size)) ** num
    for old in range(1, size + 1):
        assert abs((stored == old).any(axis=1).mean() - stays) < within
    # image i of the new ones is shown at once with probability ½
    for i in range(num):
        assert abs((shown[:, i] == 100 + i).mean() - 0.5) < within
    # the first of them is stored with ½, and leaves as any other does
    assert abs((stored == 100).any(axis=1).mean() - 0.5 * (1 - 1 / (2 * size)) ** (num - 1)) < within


def test_a_batch_is_one_image_after_the_other(key):
    """As a loop over images, with the keys of the batch."""
    rng, size = np.random.default_rng(0), 3
    images = jnp.asarray(rng.normal(size=(8, 2, 3, 1)), jnp.float32)
    shown, pool = draw_from_pool(empty_pool(size, (2, 3, 1)), key, images)
    stored, expected = [], []
    for one, image in zip(jax.random.split(key, 8), np.asarray(images), strict=True):
        coin_key, place_key = jax.random.split(one)
        if len(stored) < size:
            stored.append(image)
            expected.append(image)
        elif jax.random.bernoulli(coin_key):
            place = int(jax.random.randint(place_key, (), 0, size))
            expected.append(stored[place])
            stored[place] = image
        else:
            expected.append(image)
    np.testing.assert_array_equal(shown, np.stack(expected))
    np.testing.assert_array_equal(pool.images, np.stack(stored))
