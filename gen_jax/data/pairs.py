"""Data of two domains, A and B, for translation: an example is one image [H, W, C_A + C_B], the channels of A, then those of B.

The channels tell the domains: 2 are grey and grey, 4 grey and colour, 6 colour and colour.

Validation and test examples are true pairs, by which a translation can be measured. Training examples are not: their A comes from
one half of the training images and their B from the other half, so that no training image has its partner there.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from gen_jax.data.dataset import Dataset, Factors, Split, in_unit_interval, random_parts
from gen_jax.types import InputError

PAIR = "pair:"
EMOJI_HELD_OUT = (500, 500)  # for validation and test
LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601

Images = UInt8[np.ndarray, "N H W C"]
GreyImages = UInt8[np.ndarray, "N H W 1"]


def domain_channels(total: int) -> tuple[int, int]:
    """Return the channels of A and those of B.

    Raises:
        InputError: no two domains have so many channels together.
    """
    known = {2: (1, 1), 4: (1, 3), 6: (3, 3)}
    if total not in known:
        raise InputError(
            f"Examples have {total} channel{'' if total == 1 else 's'}, and those of two domains have 2 (grey, grey), 4 (grey, "
            "colour) or 6 (colour, colour): give data of two domains, such as edges:mnist-5k, or two data sets by --data-a and "
            "--data-b."
        )
    return known[total]


def domain_of(data: Dataset, domain: str) -> Dataset:
    """Return the images of one domain, "a" or "b", with their labels where they are known.

    Raises:
        InputError: as for `domain_channels`.
    """
    first = domain_channels(data.train.x.shape[-1])[0]
    part, index = (slice(first), 0) if domain == "a" else (slice(first, None), 1)
    factors = data.factors

    def of(name: str) -> Split:
        return Split(data.splits[name].x[..., part], None if factors is None else getattr(factors, name)[:, index])

    return Dataset(of("train"), of("valid"), of("test"), name=f"{domain} of {data.name}")


def has_partners(name: str) -> bool:
    """Return whether validation and test examples of the data set of this name are true pairs."""
    return name == "emoji" or name.partition(":")[0] in MADE_OF_ONE


def unpaired(data: Dataset) -> Dataset:
    """Return true pairs with the training examples taken apart: A of one half of them beside B of the other half.

    Raises:
        InputError: fewer than two images of each domain are left.
    """
    num = len(data.train.x)
    if num < 4:
        raise InputError(f"{num} training images make two domains of {num // 2}: give 4 or more.")
    first, second = random_parts(num, [num // 2])
    first = first[: len(second)]
    channels, factors = domain_channels(data.train.x.shape[-1])[0], data.factors
    x = np.concatenate([data.train.x[first][..., :channels], data.train.x[second][..., channels:]], axis=-1)
    if factors is not None:
        factors = factors._replace(train=np.stack([factors.train[first, 0], factors.train[second, 1]], axis=1))
    return data._replace(train=Split(x), factors=factors)


def true_pairs(kind: str, name: str, base: Dataset) -> Dataset:
    """Return images of a data set and what is made of them, as pairs in every split.

    - edges: A are the edges of the images B.
    - grey: A are the grey values of the images B, which have colours.
    - inverted: A are the images, B their negatives.

    Raises:
        InputError: the data set has other examples than images, or grey ones where colours are wanted.
    """
    splits = [Split(_bytes(name, split.x), split.labels) for split in base.splits.values()]
    if kind == "grey" and splits[0].x.shape[-1] != 3:
        raise InputError(f"grey:{name} takes the colours from images, and those of {name} are grey: give colour images.")

    def of(images: Images) -> Images | GreyImages:
        match kind:
            case "edges":
                return sobel(images)
            case "grey":
                return luma(images)
            case _:
                return 255 - images

    made = [Split(of(split.x), split.labels) for split in splits]
    return _side_by_side(splits, made) if kind == "inverted" else _side_by_side(made, splits)


MADE_OF_ONE = ("edges", "grey", "inverted")
"""The kinds of `true_pairs`."""


def two_domains(names: tuple[str, str], bases: tuple[Dataset, Dataset]) -> Dataset:
    """Return two data sets side by side, which are no partners.

    The shorter one is repeated in training. Of validation and test images there are as many as the shorter one has.

    Raises:
        InputError: a data set has other examples than images, or the two do not fit together.
    """
    splits: list[list[Split]] = [[], []]
    for of, name, base in zip(splits, names, bases, strict=True):
        if len(base.train.x) < 2:
            raise InputError(f"{name} has 1 training image: give a domain of two or more.")
        of.extend(Split(_bytes(name, split.x), split.labels) for split in base.splits.values())
    (a, b), (height, width) = (of[0].x.shape[1:] for of in splits), splits[0][0].x.shape[1:3]
    if b[:2] != (height, width):
        raise InputError(
            f"The images of {names[0]} are {height} x {width} and those of {names[1]} {b[0]} x {b[1]}: give two of one size."
        )
    if a[2] > b[2]:
        raise InputError(f"{names[0]}, the domain A, has colours and {names[1]}, the domain B, is grey: name the grey one first.")
    for part in range(3):
        num = (max if part == 0 else min)(len(of[part].x) for of in splits)
        for of in splits:
            # at random, since stored examples may be sorted
            rows = np.resize(np.random.default_rng(0).permutation(len(of[part].x)), num)
            of[part] = Split(of[part].x[rows], None if of[part].labels is None else of[part].labels[rows])
    return _side_by_side(*splits)


def load_emoji(path: Path) -> Dataset:
    """Return the same emoji in two styles, Google's as A and Twitter's as B, as pairs, with their categories as labels.

    Emoji of one kind are alike, as in several colours of skin, so that an image can have a near partner among the others.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}: put it there.")
    with np.load(path, allow_pickle=False) as arrays:
        styles, labels = [arrays["google"], arrays["twitter"]], arrays["category"].astype(np.int32)
    parts = random_parts(len(labels), EMOJI_HELD_OUT)
    a, b = ([Split(images[rows], labels[rows]) for rows in parts] for images in styles)
    return _side_by_side(a, b)


def sobel(images: Images) -> GreyImages:
    """Return √(g_x² + g_y²) / 4 of the grey values, at most 255, with Sobel's g; a black and white border has 255.

    Pixels beyond the border are those of the border.
    """
    x = np.pad(luma(images)[..., 0].astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    across, down = x[:, :, 2:] - x[:, :, :-2], x[:, 2:] - x[:, :-2]
    across = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    down = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return np.rint(np.minimum(np.hypot(across, down) / 4, 255)).astype(np.uint8)[..., None]


def luma(images: Images) -> GreyImages:
    """Return the grey values 0.299 R + 0.587 G + 0.114 B; grey images as they are."""
    return images if images.shape[-1] == 1 else np.rint(images @ LUMA).astype(np.uint8)[..., None]


def _bytes(name: str, x: np.ndarray) -> Images:
    if x.ndim != 4 or x.shape[-1] not in (1, 3):
        raise InputError(f"An example of {name} has shape {x.shape[1:]}: give grey or colour images, [H, W, 1] or [H, W, 3].")
    if x.dtype == np.uint8:
        return x
    if not in_unit_interval(x):
        raise InputError(f"The images of {name} range from {x.min():g} to {x.max():g}: scale them to [0, 1].")
    return np.rint(255 * x).astype(np.uint8)


def _side_by_side(a: Sequence[Split], b: Sequence[Split]) -> Dataset:
    """Join the splits of A and B; labels, where both have some, become known factors, since one example has two."""
    train, valid, test = (Split(np.concatenate([one.x, other.x], axis=-1)) for one, other in zip(a, b, strict=True))
    factors = None
    if not any(split.labels is None for split in (*a, *b)):
        labels = [np.stack([one.labels, other.labels], axis=1) for one, other in zip(a, b, strict=True)]
        factors = Factors(("label of A", "label of B"), *labels)
    return Dataset(train, valid, test, factors=factors)
