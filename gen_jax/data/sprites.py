"""Sprites: binary images of one shape each, functions of five known factors, as in dSprites (Matthey et al. 2017).

dSprites (github.com/google-deepmind/dsprites-dataset) came with β-VAE (Higgins et al. 2017). Here images are not stored but
rendered on the device. An index in 0 … 737,279 identifies an image, in dSprites' order.

| factor      | values | meaning                                                         |
| ----------- | ------ | --------------------------------------------------------------- |
| shape       | 3      | square, ellipse, heart                                          |
| scale       | 6      | 0.5, 0.6, …, 1                                                  |
| orientation | 40     | 2πk / 40, counterclockwise; at k = 0 the heart stands upright   |
| x           | 32     | column of the shape's centroid: 16, 17, …, 47                   |
| y           | 32     | its row, from the top: 16, 17, …, 47                            |

dSprites takes its orientations from linspace(0, 2π, 40), ends included, and so holds each upright shape under two indices; here
2π is left out. The outlines are not those of dSprites to the pixel: at scale 1 the square's side is 18.5 pixels, the ellipse is
27.2 × 13.6, the heart 22.2 × 20.3.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, Int

from gen_jax.types import Array, InputError, Key, unknown

SPRITE_FACTORS = ("shape", "scale", "orientation", "x", "y")
SPRITE_SIZES = (3, 6, 40, 32, 32)
NUM_SPRITES = math.prod(SPRITE_SIZES)
NUM_COLOURS = 7

_STRIDES = np.array([math.prod(SPRITE_SIZES[i + 1 :]) for i in range(5)], np.int32)
_PIXELS = np.arange(64, dtype=np.int32)
_FIRST = 16  # where the centroids begin; shapes are smaller, so that none leaves the frame

# Lengths are whole numbers of 1/1024 pixel: integers do not round, so that a pixel at an edge is the same on every device,
# compiled or not.
_UNIT = 1024
_HALF_SIDE = round(9.25 * _UNIT)  # of the square
_SEMI_AXIS = round(13.6 * _UNIT)  # of the ellipse, the longer; the other is half of it
_LOBE = round(4.6 * _UNIT)  # d: the heart is the diamond |u| + |v| ≤ 2d and the discs of radius √2 d around (±d, d)
_HEART_CENTROID = round(_LOBE * (math.pi + 4 / 3) / (math.pi + 4))  # its height over the diamond's middle

_SCALES = np.linspace(0.5, 1, SPRITE_SIZES[1])[:, None]
_ANGLES = 2 * np.pi * np.arange(SPRITE_SIZES[2]) / SPRITE_SIZES[2]
_COSINES, _SINES = (np.rint(_UNIT * f(_ANGLES) / _SCALES).astype(np.int32) for f in (np.cos, np.sin))


def sprite_factors(index: Int[Array, ""] | int) -> Int[Array, "5"]:
    """Return the factors (shape, scale, orientation, x, y) of an index, each as a number in 0 … size − 1; y varies fastest.

    Raises:
        InputError: the index is out of range (not checked under jit and vmap).
    """
    if not isinstance(index, Tracer) and not 0 <= int(index) < NUM_SPRITES:
        raise InputError(f"index is {int(index)}: give a whole number in 0 … {NUM_SPRITES - 1}.")
    return jnp.asarray(index // _STRIDES % np.array(SPRITE_SIZES, np.int32), jnp.int32)


def sprite_index(factors: Int[Array, "5"]) -> Int[Array, ""]:
    """Return the index of these factors: the inverse of `sprite_factors`.

    Raises:
        InputError: a factor is out of range (not checked under jit and vmap).
    """
    if not isinstance(factors, Tracer):
        check_factors(np.asarray(factors))
    return jnp.sum(factors * _STRIDES, dtype=jnp.int32)


def render_sprite(factors: Int[Array, "5"]) -> Float[Array, "64 64 1"]:
    """Return the image of these factors, 1 inside the shape and 0 outside.

    A pixel centre r pixels to the right of the centroid and t above it has, for orientation θ and scale s, in the shape's own
    frame the coordinates

        u = (r cos θ + t sin θ) / s,        v = (t cos θ − r sin θ) / s,

    and lies inside where max(|u|, |v|) ≤ 9.25 (square); u² + 4v² ≤ 13.6² (ellipse); |u| + |v| ≤ 2d or
    (|u| − d)² + (v − d)² ≤ 2d² with d = 4.6 (heart; its v is counted from the middle of the diamond, 2.88 under the centroid).

    Raises:
        InputError: a factor is out of range (not checked under jit and vmap).
    """
    if not isinstance(factors, Tracer):
        check_factors(np.asarray(factors))
    shape, scale, orientation, x, y = factors
    cosine, sine = jnp.asarray(_COSINES)[scale, orientation], jnp.asarray(_SINES)[scale, orientation]
    right, above = (_PIXELS - _FIRST - x)[None, :], (_FIRST + y - _PIXELS)[:, None]
    # what is 16 or more away is outside; clipped to 16, its squares fit into int32
    u, v = (jnp.clip(w, -16 * _UNIT, 16 * _UNIT) for w in (right * cosine + above * sine, above * cosine - right * sine))

    square = jnp.maximum(u**2, v**2) <= _HALF_SIDE**2  # XLA (jax 0.11.2) can compile max(|u|, |v|) wrongly for a GPU
    ellipse = u**2 + 4 * v**2 <= _SEMI_AXIS**2
    side, height = jnp.abs(u), v + _HEART_CENTROID
    diamond = side + jnp.abs(height) <= 2 * _LOBE
    lobes = (side - _LOBE) ** 2 + (height - _LOBE) ** 2 <= 2 * _LOBE**2
    inside = jnp.where(shape == 0, square, jnp.where(shape == 1, ellipse, diamond | lobes))
    return inside.astype(jnp.float32)[..., None]


def render_coloured_sprite(factors: Int[Array, "6"]) -> Float[Array, "64 64 3"]:
    """Return the image of the five factors and a colour 0 … 6: red, green, yellow, blue, magenta, cyan, white, on black.

    Each channel of a pixel is 0 or 1: channel c is lit if bit c of the colour's number and 1 is.
    """
    channels = (factors[5] + 1) >> jnp.arange(3) & 1
    return render_sprite(factors[:5]) * channels[None, None, :].astype(jnp.float32)


def canonical_sprite_indices() -> Int[np.ndarray, "N"]:
    """Return for each index the smallest one of the same image: a square repeats after 10 orientations, an ellipse after 20."""
    factors = np.stack(np.unravel_index(np.arange(NUM_SPRITES), SPRITE_SIZES))
    factors[2] %= np.array([10, 20, 40])[factors[0]]
    return np.ravel_multi_index(tuple(factors), SPRITE_SIZES)


def sample_factors(key: Key, fixed: dict[str, int] | None = None) -> Int[Array, "5"]:
    """Draw the factors of one image, each uniformly or held at its value in `fixed`: {"shape": 2} draws hearts.

    Raises:
        InputError: an unknown factor, or a value out of range.
    """
    low, high = np.zeros(5, np.int32), np.array(SPRITE_SIZES, np.int32)
    for name, value in (fixed or {}).items():
        if name not in SPRITE_FACTORS:
            raise unknown("factor", name, SPRITE_FACTORS)
        i = SPRITE_FACTORS.index(name)
        if value not in range(SPRITE_SIZES[i]):
            raise InputError(f"The factor {name} is fixed at {value!r}: give a whole number in 0 … {SPRITE_SIZES[i] - 1}.")
        low[i], high[i] = value, value + 1
    return jax.random.randint(key, (5,), low, high, jnp.int32)


def check_factors(factors: np.ndarray) -> Int[np.ndarray, "*N 5"]:
    """Return factors as int32.

    Raises:
        InputError: not integers, not five of them along the last axis, or one out of range.
    """
    if factors.dtype.kind not in "iu" or factors.ndim == 0 or factors.shape[-1] != 5:
        raise InputError(
            f"Factors of shape {factors.shape}, {factors.dtype}: give integers [..., 5], for {', '.join(SPRITE_FACTORS)}."
        )
    bad = np.argwhere((factors < 0) | (factors >= np.array(SPRITE_SIZES)))
    if len(bad):
        *row, i = bad[0].tolist()
        given = f"{factors[(*row, i)]} (at {row})" if row else f"{factors[i]}"
        raise InputError(f"The factor {SPRITE_FACTORS[i]} is {given}: give a whole number in 0 … {SPRITE_SIZES[i] - 1}.")
    return factors.astype(np.int32)
