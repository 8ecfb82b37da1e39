"""Figures: arrays in, a matplotlib `Figure` out. Nothing is shown or saved, and pyplot's global state is not touched."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from gen_jax.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = Float[Array | np.ndarray, "N *event"]
MOST_IMAGES = 400  # of a grid; a thousand take gigabytes


def image_grid(images: Images, columns: int, title: str = "", row_names: Sequence[str] = ()) -> "Figure":
    """Draw up to 400 images, row by row. Events that are not [H, W, C] are drawn as squares where possible, else as strips."""
    pixels = np.stack([_as_image(image) for image in np.asarray(images[:MOST_IMAGES], np.float32)])
    rows = math.ceil(len(pixels) / columns)
    height, width, channels = pixels.shape[1:]
    gap = 1 if height > 1 else 0
    canvas = np.ones((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), np.float32)
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (height + gap) + gap, (i % columns) * (width + gap) + gap
        canvas[top : top + height, left : left + width] = image
    size = 0.45 * columns
    figure = _figure(size, max(size * canvas.shape[0] / canvas.shape[1], 0.6) + (0.4 if title else 0))
    axes = figure.add_subplot()
    axes.imshow(
        canvas.clip(0, 1)[..., 0] if channels == 1 else canvas.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    axes.set(xticks=[], yticks=[(i + 0.5) * (height + gap) for i in range(len(row_names))], yticklabels=row_names)
    axes.tick_params(length=0, labelsize=7)
    axes.set_frame_on(False)
    axes.set_title(title, fontsize=10)
    return figure


def reconstructions(originals: Images, reconstructed: Images, columns: int = 10) -> "Figure":
    """Draw originals (odd rows) above their reconstructions (even rows)."""
    blank = np.ones((-len(originals) % columns, *originals.shape[1:]), np.float32)
    pairs = [np.concatenate([images, blank]) for images in (np.asarray(originals), np.asarray(reconstructed))]
    rows = [part[start : start + columns] for start in range(0, len(pairs[0]), columns) for part in pairs]
    return image_grid(np.concatenate(rows), columns, "odd rows: test images; even rows: reconstructions")


def loss_curves(rows: Sequence[dict[str, Any]], names: Sequence[str], ylabel: str = "nats") -> "Figure":
    """Draw named metrics of `metrics.jsonl` against the epoch; a metric that a row lacks is skipped there."""
    figure = _figure(6.0, 4.0)
    axes = figure.add_subplot()
    for name in names:
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), label=name) if points else None
    values = [row[name] for row in rows[len(rows) // 10 :] for name in names if name in row]
    if values:  # the first epochs would flatten all the rest
        margin = 0.05 * (max(values) - min(values)) + 1e-6
        axes.set_ylim(min(values) - margin, max(values) + margin)
    axes.set(xlabel="epoch", ylabel=ylabel)
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def histograms(panels: Mapping[str, Mapping[str, np.ndarray]]) -> "Figure":
    """Draw a panel for each name, with a histogram of each of its sets of values; a value beyond the middle 99 % is left out."""
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = _figure(3.2 * columns, 2.4 * rows)
    for i, (name, sets) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        low, high = np.percentile(np.concatenate([np.asarray(values, np.float64) for values in sets.values()]), (0.5, 99.5))
        edges = np.linspace(low, high if high > low else low + 1, 41)
        for label, values in sets.items():
            axes.hist(values, edges.tolist(), alpha=0.6, density=True, label=label)
        axes.set(yticks=[])
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        if i == 0:
            axes.legend(fontsize=7)
    return figure


def estimates(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], levels: Mapping[str, float]) -> "Figure":
    """Draw estimates of log p(x) against the number of samples that they take, and others as levels."""
    figure = _figure(6.0, 4.0)
    axes = figure.add_subplot()
    for name, (sizes, values) in curves.items():
        axes.plot(sizes, values, marker=".", label=name)
    for name, level in levels.items():
        axes.axhline(level, color="black", linestyle="--", linewidth=1, label=name)
    axes.set(xscale="log", xlabel="samples K", ylabel="log p(x), nats")
    axes.set_title("mean estimate of log p(x): lower bounds in expectation", fontsize=10)
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def latent_scatter(latents: Float[Array | np.ndarray, "N 2"], labels: Int[Array | np.ndarray, "N"] | None = None) -> "Figure":
    """Draw posterior means in the plane, coloured by label."""
    figure = _figure(6.0, 5.2)
    axes = figure.add_subplot()
    _labelled_points(axes, np.asarray(latents).T, labels)
    axes.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal", title="posterior means of test images")
    return figure


def latent_sphere(directions: Float[Array | np.ndarray, "N 3"], labels: Int[Array | np.ndarray, "N"] | None = None) -> "Figure":
    """Draw points of the sphere in Mollweide's projection, which preserves areas, coloured by label."""
    x, y, z = np.asarray(directions, np.float64).T
    figure = _figure(7.5, 4.0)
    axes = figure.add_subplot(projection="mollweide")
    _labelled_points(axes, (np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))), labels)
    axes.set(xticklabels=[], yticklabels=[])
    axes.set_title("directions of the posterior means of test images", fontsize=10)
    axes.grid(alpha=0.3)
    return figure


def plane(panels: Sequence[tuple[str, Any]], bound: float) -> "Figure":
    """Draw panels side by side over [−bound, bound]²: points [N, 2] as they are, densities [n, n] (row 0 at the top) as a map."""
    return plane_grid([panels], bound)


def plane_grid(rows: Sequence[Sequence[tuple[str, Any]]], bound: float) -> "Figure":
    """Draw rows of such panels."""
    columns = max(map(len, rows))
    figure = _figure(3.0 * columns, 3.2 * len(rows))
    for i, panels in enumerate(rows):
        for j, (title, values) in enumerate(panels):
            axes = figure.add_subplot(len(rows), columns, 1 + i * columns + j)
            array = np.asarray(values)
            if array.shape[1:] == (2,):
                axes.scatter(*array.T, s=1, alpha=0.5, linewidths=0)
            else:
                axes.imshow(array, extent=(-bound, bound, -bound, bound), cmap="viridis", vmin=0)
            axes.set(xlim=(-bound, bound), ylim=(-bound, bound), xticks=[], yticks=[], aspect="equal")
            axes.set_title(title, fontsize=10)
    return figure


def animation(figures: Sequence["Figure"], names: Sequence[str], milliseconds: int) -> bytes:
    """Return figures of one size as an animated GIF, each under its name; the last stays for five times as long."""
    from PIL import Image  # late: only this needs it

    frames: list[Any] = []
    for figure, name in zip(figures, names, strict=True):
        figure.suptitle(name, fontsize=10)
        frame = Image.open(io.BytesIO(png(figure, 80))).convert("RGB")
        if frames and frame.size != frames[0].size:  # a name can be wider than another
            frame = frame.resize(frames[0].size)
        frames.append(frame)
    frames = [frame.convert("P", palette=Image.Palette.ADAPTIVE, colors=128) for frame in frames]
    durations = [milliseconds] * (len(frames) - 1) + [5 * milliseconds]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return file.getvalue()


def png(figure: "Figure", dpi: int = 150) -> bytes:
    """Return a figure as a PNG picture, without white margins."""
    file = io.BytesIO()
    figure.savefig(file, dpi=dpi, format="png", bbox_inches="tight", pad_inches=0.05)
    return file.getvalue()


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # late: importing it takes a second

    return Figure(figsize=(width, height), layout="constrained")


def _labelled_points(axes: Any, coordinates: Any, labels: Any) -> None:
    points = axes.scatter(*coordinates, c=labels, cmap=None if labels is None else "tab10", s=6, alpha=0.8)
    if labels is not None:
        axes.figure.colorbar(points, ax=axes, label="label")


def _as_image(event: np.ndarray) -> np.ndarray:
    if event.ndim == 3 and event.shape[-1] in (1, 3):
        return event
    side = math.isqrt(event.size)
    return event.reshape(side, side, 1) if side * side == event.size else event.reshape(1, -1, 1)
