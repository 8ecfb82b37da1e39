"""Sprites against outlines drawn as polygons, areas known in closed form, and the symmetries of the shapes.

An image is a translate of the same shape at (0, 0), pixel for pixel, which is checked first; what is then found of the 720 shapes
at one position holds at all of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.path import Path

from gen_jax.data import (
    NUM_SPRITES,
    SPRITE_FACTORS,
    SPRITE_SIZES,
    Split,
    canonical_sprite_indices,
    check_factors,
    load_dataset,
    render_sprite,
    sample_factors,
    sprite_factors,
    sprite_index,
)
from gen_jax.types import InputError

SCALES = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
PERIODS = (10, 20, 40)  # orientations after which a square, an ellipse, a heart looks the same

render_all = jax.jit(jax.vmap(render_sprite))


def at(x: int, y: int) -> jax.Array:
    """The factors of all 720 shapes at one position."""
    corner = np.indices(SPRITE_SIZES[:3]).reshape(3, -1).T
    return jnp.asarray(np.concatenate([corner, np.full((720, 2), [x, y])], axis=1), jnp.int32)


@pytest.fixture(scope="module")
def shapes() -> np.ndarray:
    """All 720 shapes with the centroid in the middle of 63 × 63 pixels, [3, 6, 40, 63, 63]."""
    return np.asarray(render_all(at(15, 15)))[..., 0].reshape(3, 6, 40, 64, 64)[..., :63, :63]


def test_an_index_stands_for_its_factors_in_row_major_order():
    assert NUM_SPRITES == 737_280
    index = np.arange(NUM_SPRITES, dtype=np.int32)
    factors = jax.jit(jax.vmap(sprite_factors))(index)
    np.testing.assert_array_equal(factors, np.stack(np.unravel_index(index, SPRITE_SIZES), axis=-1))
    np.testing.assert_array_equal(jax.jit(jax.vmap(sprite_index))(factors), index)
    np.testing.assert_array_equal(sprite_factors(737_279), np.array(SPRITE_SIZES) - 1)


def test_a_position_moves_the_picture_and_changes_nothing_else():
    every_position = np.indices((3, 1, 1, 32, 32)).reshape(5, -1).T + np.array([0, 5, 3, 0, 0])
    some = np.random.default_rng(0).integers(0, SPRITE_SIZES, (1000, 5))
    factors = np.concatenate([every_position, some]).astype(np.int32)
    start = np.asarray(render_all(factors * np.array([1, 1, 1, 0, 0], np.int32)))
    for image, first, (x, y) in zip(np.asarray(render_all(factors)), start, factors[:, 3:], strict=True):
        np.testing.assert_array_equal(image, np.roll(first, (y, x), (0, 1)))


def outline(shape: int) -> np.ndarray:
    """The edge of a shape at scale 1 around its centroid, [V, 2], as (right, up)."""
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    match shape:
        case 0:
            return 9.25 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        case 1:
            return np.stack([13.6 * np.cos(angle), 6.8 * np.sin(angle)], axis=-1)
        case _:
            half = np.linspace(-np.pi / 4, 3 * np.pi / 4, 200)  # from the right corner of the diamond to the notch
            right = 4.6 * np.stack([1 + np.sqrt(2) * np.cos(half), 1 + np.sqrt(2) * np.sin(half)], axis=-1)
            edge = np.concatenate([[[0, -9.2]], right, right[::-1] * [-1, 1]])
            area = 0.5 * np.sum(cross(edge))
            return edge - [0, np.sum((edge + np.roll(edge, -1, 0))[:, 1] * cross(edge)) / (6 * area)]


def cross(edge: np.ndarray) -> np.ndarray:
    following = np.roll(edge, -1, axis=0)
    return edge[:, 0] * following[:, 1] - following[:, 0] * edge[:, 1]


@pytest.mark.parametrize("shape", range(3))
def test_pictures_are_the_outlines_filled(shape, shapes):
    """Every pixel centre inside the outline shrunk by 0.5 % is lit, and none outside the outline grown by as much."""
    middle = slice(15, 48)
    axis = np.arange(-16, 17)
    centres = np.stack(np.meshgrid(axis, -axis), axis=-1).reshape(-1, 2)
    assert shapes[shape].sum() == shapes[shape][..., middle, middle].sum()
    for i, scale in enumerate(SCALES):
        for k in range(40):
            theta = 2 * np.pi * k / 40
            turn = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
            edge = scale * outline(shape) @ turn
            image = shapes[shape, i, k, middle, middle].reshape(-1) == 1
            assert not (Path(0.995 * edge).contains_points(centres) & ~image).any()
            assert not (image & ~Path(1.005 * edge).contains_points(centres)).any()


def test_areas_and_centroids_are_those_of_the_shapes(shapes):
    area = np.outer([18.5**2, np.pi * 13.6 * 6.8, 4.6**2 * (8 + 2 * np.pi)], SCALES**2)
    np.testing.assert_allclose(shapes.sum((3, 4)).mean(2), area, rtol=0.02)
    axis = np.arange(63) - 31
    for moment in (shapes.sum(3) @ axis, shapes.sum(4) @ axis):
        offset = moment / shapes.sum((3, 4))
        np.testing.assert_array_equal(offset[:2], 0)  # the image of a square or an ellipse is symmetric through a point
        assert np.abs(offset[2]).max() < 0.3


def test_a_larger_scale_has_more_pixels(shapes):
    assert (np.diff(shapes.sum((3, 4)), axis=1) > 0).all()


def test_ten_orientations_are_a_right_angle(shapes):
    """Counterclockwise, and exactly: no pixel at an edge differs."""
    np.testing.assert_array_equal(np.roll(shapes, -10, axis=2), np.rot90(shapes, axes=(3, 4)))


def test_shapes_repeat_by_their_symmetry_alone(shapes):
    """Their bounding boxes hold 6 · (10 + 20 + 40) different pictures: no two others are alike, wherever they are placed."""
    seen = {}
    for number in np.ndindex(SPRITE_SIZES[:3]):
        lit = np.argwhere(shapes[number])
        (top, left), (bottom, right) = lit.min(0), lit.max(0) + 1
        box = shapes[number][top:bottom, left:right]
        seen.setdefault((box.shape, box.tobytes()), []).append(number)
    classes = {(shape, scale, k % PERIODS[shape]) for shape, scale, k in np.ndindex(SPRITE_SIZES[:3])}
    assert len(classes) == 420
    assert len(seen) == len(classes)
    for group in seen.values():
        assert len({(shape, scale, k % PERIODS[shape]) for shape, scale, k in group}) == 1


def test_pixels_are_zeros_and_ones_that_never_touch_the_frame():
    for corner in ((0, 0), (31, 31)):
        images = np.asarray(render_all(at(*corner)))
        assert images.dtype == np.float32
        assert set(np.unique(images)) == {0, 1}
        assert images[:, 1:-1, 1:-1].sum() == images.sum()


def test_eager_compiled_and_vmapped_pictures_are_the_same():
    factors = jnp.asarray(np.random.default_rng(1).integers(0, SPRITE_SIZES, (30, 5)), jnp.int32)
    together, compiled = render_all(factors), jax.jit(render_sprite)
    for one, image in zip(factors, together, strict=True):
        np.testing.assert_array_equal(render_sprite(one), image)
        np.testing.assert_array_equal(compiled(one), image)


def test_factors_are_drawn_uniformly_or_held(key):
    keys = jax.random.split(key, 20_000)
    draws = np.asarray(jax.vmap(sample_factors)(keys))
    for i, size in enumerate(SPRITE_SIZES):
        counts = np.bincount(draws[:, i], minlength=size)
        assert counts.shape == (size,)
        chi2 = np.sum((counts - 20_000 / size) ** 2) / (20_000 / size)
        assert abs(chi2 - (size - 1)) < 4 * np.sqrt(2 * (size - 1))
    for i, (name, size) in enumerate(zip(SPRITE_FACTORS, SPRITE_SIZES, strict=True)):
        held = np.asarray(jax.vmap(lambda k, name=name, size=size: sample_factors(k, {name: size - 1}))(keys[:500]))
        np.testing.assert_array_equal(held[:, i], size - 1)
        assert (np.ptp(np.delete(held, i, axis=1), axis=0) == np.delete(SPRITE_SIZES, i) - 1).all()


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"orient": 1}, "no factor 'orient'. Did you mean orientation"),
        ({"colour": 0}, "Known: shape, scale, orientation, x, y"),
        ({"scale": 6}, "scale is fixed at 6: give a whole number in 0 … 5"),
        ({"y": -1}, "y is fixed at -1: give a whole number in 0 … 31"),
    ],
)
def test_factors_that_cannot_be_held_are_named(key, fixed, message):
    with pytest.raises(InputError, match=message):
        sample_factors(key, fixed)


def test_factors_from_outside_are_checked():
    grid = np.stack([np.zeros(5), np.array(SPRITE_SIZES) - 1]).astype(np.int64)
    np.testing.assert_array_equal(check_factors(grid), grid)
    assert check_factors(grid).dtype == np.int32
    for i, (name, size) in enumerate(zip(SPRITE_FACTORS, SPRITE_SIZES, strict=True)):
        for wrong in (size, -1):
            factors = grid.copy()
            factors[1, i] = wrong
            with pytest.raises(InputError, match=rf"{name} is {wrong} \(at \[1\]\): give a whole number in 0 … {size - 1}"):
                check_factors(factors)
    for factors in (np.zeros((2, 4), int), np.zeros(5), np.zeros((), int)):
        with pytest.raises(InputError, match=r"give integers \[..., 5\]"):
            check_factors(factors)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sprite_factors(NUM_SPRITES), "index is 737280"),
        (lambda: render_sprite(jnp.array([3, 0, 0, 0, 0])), "shape is 3"),
        (lambda: sprite_index(jnp.array([0, 0, 0, 0, 99])), "y is 99"),
    ],
)
def test_numbers_that_stand_for_no_image_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_data_set_is_split_so_that_no_image_is_on_two_sides():
    dataset, canonical = load_dataset("sprites"), canonical_sprite_indices()
    sides = [split.x for split in dataset.splits.values()]
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), np.arange(NUM_SPRITES))
    assert len(np.unique(canonical)) == 1024 * 420
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert not np.intersect1d(canonical[sides[i]], canonical[sides[j]]).size
    for index in (0, 10 * 1024, 737_279):  # a square and itself turned by a right angle; the last heart
        np.testing.assert_array_equal(render_sprite(sprite_factors(int(canonical[index]))), render_sprite(sprite_factors(index)))
    assert dataset.event_shape == (64, 64, 1)
    numbers = dataset.test.x[:7]
    assert numbers.dtype == np.int32
    drawn = [render_sprite(sprite_factors(int(number))) for number in numbers]
    np.testing.assert_array_equal(dataset.view.examples(Split(numbers)).x, drawn)
    np.testing.assert_array_equal(dataset.view.read(jnp.asarray(numbers[0])), drawn[0])
