"""Figures: what is drawn is what was given, and where it belongs."""

import io

import numpy as np
import pytest
from PIL import Image

from gen_jax import plots

RNG = np.random.default_rng(0)


def canvas(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def test_a_grid_holds_the_images_row_by_row():
    images = RNG.random((5, 3, 4, 1)).astype(np.float32)
    drawn = canvas(plots.image_grid(images, columns=2))
    assert drawn.shape == (3 * 4 + 1, 2 * 5 + 1)
    for i, image in enumerate(images):
        top, left = 4 * (i // 2) + 1, 5 * (i % 2) + 1
        np.testing.assert_array_equal(drawn[top : top + 3, left : left + 4], image[..., 0])
    assert np.all(drawn[9:12, 6:10] == 1)  # the place without an image is blank


@pytest.mark.parametrize(("event", "shape"), [((9,), (3, 3)), ((7,), (1, 7)), ((2, 2, 3), (2, 2, 3)), ((2, 2, 2), (1, 8))])
def test_events_of_any_shape_are_drawn(event, shape):
    image = RNG.random((1, *event)).astype(np.float32)
    drawn = canvas(plots.image_grid(image, columns=1))
    gap = 1 if shape[0] > 1 else 0
    inner = drawn[gap : gap + shape[0], 1:-1] if gap else np.atleast_2d(drawn)[:, :7] if shape == (1, 7) else np.atleast_2d(drawn)
    np.testing.assert_array_equal(inner.ravel(), image.ravel())


def test_reconstructions_stand_below_their_originals():
    originals, reconstructed = np.zeros((4, 2, 2, 1), np.float32), np.full((4, 2, 2, 1), 0.5, np.float32)
    drawn = canvas(plots.reconstructions(originals, reconstructed, columns=2))
    np.testing.assert_array_equal(drawn[1::3, 1], [0, 0.5, 0, 0.5])


def test_reconstructions_that_fill_no_row_are_drawn():
    originals, reconstructed = np.zeros((3, 2, 2, 1), np.float32), np.full((3, 2, 2, 1), 0.5, np.float32)
    drawn = canvas(plots.reconstructions(originals, reconstructed, columns=2))
    np.testing.assert_array_equal(drawn[1::3, 4], [0, 0.5, 1, 1])


def test_curves_skip_the_epochs_without_the_metric():
    rows = [{"epoch": 1, "a": 3.0}, {"epoch": 2, "a": 2.0, "b": 5.0}, {"epoch": 3, "b": 4.0}]
    axes = plots.loss_curves(rows, ["a", "b"]).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 3], [2, 2]])
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[2, 5], [3, 4]])


@pytest.mark.parametrize("labelled", [True, False])
def test_a_scatter_has_the_points_and_their_labels(labelled):
    latents, labels = RNG.normal(size=(20, 2)), np.arange(20) % 3 if labelled else None
    points = plots.latent_scatter(latents, labels).axes[0].collections[0]
    np.testing.assert_allclose(points.get_offsets(), latents)
    assert (points.get_array() is not None) == labelled


@pytest.mark.parametrize("num_latents", [4, 40])
def test_mutual_information_is_drawn_by_latent_and_factor(num_latents):
    nats = RNG.random((num_latents, 2))
    figure = plots.mutual_information(nats, ["size", "place"], np.array([0.5, 1.25]))
    np.testing.assert_array_equal(canvas(figure), nats)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["size\n$H$ = 0.50", "place\n$H$ = 1.25"]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ([f"{value:.2f}" for value in nats.ravel()] if num_latents == 4 else [])


def test_no_global_figure_is_left():
    import matplotlib.pyplot as plt

    plots.image_grid(RNG.random((1, 2, 2, 1)).astype(np.float32), 1)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("rows", [1, 3, 10])
@pytest.mark.parametrize("title", ["", "a title"])
def test_a_picture_has_no_white_margins(rows, title):
    """Of black images: but for the title, no row or column of pixels near an edge is all white."""
    figure = plots.image_grid(np.zeros((10 * rows, 8, 8, 1), np.float32), 10, title)
    pixels = np.asarray(Image.open(io.BytesIO(plots.png(figure))).convert("L"))
    dark_rows, dark_columns = (np.flatnonzero((pixels < 128).any(axis=axis)) for axis in (1, 0))
    assert len(pixels) - 1 - dark_rows[-1] < 0.15 * 150
    assert dark_rows[0] < 0.15 * 150
    assert dark_columns[0] < 0.15 * 150


def test_a_grid_draws_four_hundred_images_at_most():
    drawn = canvas(plots.image_grid(np.zeros((1000, 2, 2, 1), np.float32), 10))
    assert drawn.shape == (40 * 3 + 1, 10 * 3 + 1)


def test_frames_of_an_animation_have_one_size():
    figures = [plots.image_grid(np.zeros((4, 4, 4, 1), np.float32), 2) for _ in range(2)]
    animation = Image.open(io.BytesIO(plots.animation(figures, ["a", "a name that is far wider than the picture"], 100)))
    assert animation.n_frames == 2


def test_trials_are_drawn_by_number_and_by_setting():
    """Trials that ended early stand below the others; three powers of ten make a logarithmic axis, lists an axis of places."""
    rows = [
        {"trial": 0, "state": "complete", "score": -2.0, "rate": 1e-4, "sizes": (8, 8)},
        {"trial": 1, "state": "pruned", "score": -9.0, "rate": 1e-3, "sizes": (4,)},
        {"trial": 2, "state": "fail", "score": None, "rate": 1e-1, "sizes": (8, 8)},
        {"trial": 3, "state": "complete", "score": -1.0, "rate": 1e-2, "sizes": (4,)},
    ]
    figure = plots.trials(rows, "score", ["rate", "sizes"])
    of_number, of_rate, of_sizes = figure.axes
    ended, early = (points.get_offsets() for points in of_rate.collections)
    np.testing.assert_allclose(ended, [(1e-4, -2), (1e-2, -1)])
    np.testing.assert_allclose(early, [(1e-3, -2.1), (1e-1, -2.1)], rtol=1e-5)
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "log", "linear"]
    assert [label.get_text() for label in of_sizes.get_xticklabels()] == ["(4,)", "(8, 8)"]
    np.testing.assert_allclose(of_sizes.collections[0].get_offsets(), [(1, -2), (0, -1)])
    np.testing.assert_allclose(of_number.lines[0].get_xydata(), [(0, -2), (3, -1)])
