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
    """Draw up to 400 images, row by row. Events that are not [H, W, C] are drawn as squares where possible, else as strips.

    Examples:
        >>> import numpy as np
        >>> from gen_jax import plots
        >>> figure = plots.image_grid(np.zeros((6, 28, 28, 1)), columns=3)  # figure.savefig("grid.png")
        >>> figure.axes[0].images[0].get_array().shape  # 2 · 28 + 3, 3 · 28 + 4: lines of a pixel between images
        (59, 88)
    """
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
        finite = {label: np.asarray(values, np.float64)[np.isfinite(values)] for label, values in sets.items()}
        together = np.concatenate([*finite.values()])
        low, high = np.percentile(together, (0.5, 99.5)) if len(together) else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1, 41)
        for label, values in finite.items():
            weights = np.full(len(values), 1 / max(len(values), 1))  # shares of all values, those outside too
            axes.hist(values, edges.tolist(), weights=weights, alpha=0.6, label=label)
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


def bound_parts(nats: Float[np.ndarray, "Z"], active: Any, parts: Mapping[str, float], gaps: Mapping[str, float]) -> "Figure":
    """Draw the nats of each latent, largest first and collapsed ones pale, beside the parts of −ELBO and the gaps above it."""
    figure = _figure(9.0, 4.0)
    of_latents, of_bound = figure.subplots(1, 2, width_ratios=(3, 2))
    order = np.argsort(-nats)
    of_latents.bar(range(len(nats)), nats[order], color=["C0" if active[j] else "lightgrey" for j in order])
    of_latents.set(xlabel="latent, largest first (grey: collapsed)", ylabel="KL(q(z|x) || p(z)), nats")
    of_latents.set_title(f"{int(np.sum(active))} of {len(nats)} latents are active", fontsize=10)
    names, values = [*parts, *gaps], [*parts.values(), *gaps.values()]
    places = range(len(names))[::-1]
    of_bound.barh(places, values, color=["C0"] * len(parts) + ["C1"] * len(gaps))
    for place, value in zip(places, values, strict=True):
        of_bound.annotate(f"{value:.2f}", (max(value, 0.0), place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    of_bound.set(yticks=places, yticklabels=names, xlabel="nats")
    of_bound.margins(x=0.25)
    of_bound.set_title("parts of −ELBO (blue), gaps to log p(x)", fontsize=10)
    figure.set_layout_engine("tight")
    return figure


def rate_distortion(rows: Sequence[Mapping[str, Any]], name: str = "") -> "Figure":
    """Draw the distortion on test data of each row against its rate, with standard errors, under lines of equal ELBO."""
    figure = _figure(6.0, 4.5)
    axes = figure.add_subplot()
    rows = [row for row in rows if row["test_rate"] is not None]
    columns = ("test_rate", "test_distortion", "test_rate_se", "test_distortion_se")
    rates, distortions, *errors = np.array([[row[column] or 0.0 for column in columns] for row in rows]).reshape(-1, 4).T
    axes.errorbar(rates, distortions, xerr=errors[0], yerr=errors[1], marker="o", capsize=2)
    for row in rows if name else ():
        label = f"{row[name]:g}"
        axes.annotate(label, (row["test_rate"], row["test_distortion"]), (5, 5), textcoords="offset points", fontsize=8)
    limits = axes.get_xlim(), axes.get_ylim()
    for total in np.linspace(sum(low for low, _ in limits), sum(high for _, high in limits), 9)[1:-1]:
        axes.plot(limits[0], total - np.array(limits[0]), color="lightgrey", linewidth=0.8, zorder=0)
    axes.set(xlim=limits[0], ylim=limits[1], xlabel="rate, nats", ylabel="distortion, nats")
    axes.set_title(f"rate and distortion{name and f' by {name}'}; grey: equal ELBO", fontsize=10)
    return figure


def by_setting(rows: Sequence[Mapping[str, Any]], *names: str) -> "Figure":
    """Draw validation (else the loss) of rows, with standard errors, by the first setting; a line for the others."""
    figure = _figure(6.0, 4.0)
    axes = figure.add_subplot()
    measured = ("valid_elbo", "valid_log_prob", "valid_score", "share_covering", "train_loss", "train_generator_loss")
    shown = next(name for name in measured if name in rows[0])
    lines: dict[tuple[float, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault(tuple(row[name] for name in names[1:]), []).append(row)
    for others, of_line in lines.items():
        label = ", ".join(f"{name} {value:g}" for name, value in zip(names[1:], others, strict=True))
        at, values = ([row[name] if name else 0.0 for row in of_line] for name in ((names or ("",))[0], shown))
        errors = [row.get(f"{shown}_se") or 0.0 for row in of_line]
        axes.errorbar(at, [np.nan if v is None else v for v in values], errors, marker="o", capsize=2, label=label or None)
    axes.set(xlabel=(names or ("",))[0], ylabel=shown)
    if len(lines) > 1:
        axes.legend(fontsize=8)
    return figure


def trials(rows: Sequence[Mapping[str, Any]], metric: str, names: Sequence[str]) -> "Figure":
    """Draw the metric of trials by their number, with the best so far, and by each setting; × below: those that ended early.

    Numbers have an axis of numbers, logarithmic where they differ by a factor of 30; of other settings each value has a place.
    """
    figure = _figure(3.2 * (1 + len(names)), 3.2)
    panels = figure.subplots(1, 1 + len(names), sharey=True, squeeze=False)[0]
    complete = np.array([row["state"] == "complete" for row in rows])
    ended = np.array([row[metric] for row in rows if row["state"] == "complete"])
    margin = 0.1 * np.ptp(ended) + 1e-6
    heights = np.full(len(rows), ended.min() - margin)
    heights[complete] = ended
    for axes, name in zip(panels, ("trial", *names), strict=True):
        values = [row[name] for row in rows]
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            labels = [str(value) for value in values]
            places = sorted({*labels}, key=lambda label: (len(label), label))
            values = [places.index(label) for label in labels]
            axes.set_xticks(range(len(places)), places, rotation=20)
            axes.margins(x=0.15)
        elif name != "trial" and min(values) > 0 and max(values) >= 30 * min(values):
            axes.set_xscale("log")
        elif all(isinstance(value, int) for value in values):
            axes.xaxis.get_major_locator().set_params(integer=True)
        at = np.array(values)
        axes.scatter(at[complete], heights[complete], color="C0")
        axes.scatter(at[~complete], heights[~complete], color="grey", marker="x")
        axes.set(xlabel=name, axisbelow=True)
        axes.grid(alpha=0.3)
    numbers = [row["trial"] for row in rows if row["state"] == "complete"]
    panels[0].step(numbers, np.maximum.accumulate(ended), where="post", color="C1", label="best so far")
    panels[0].set(ylabel=metric, ylim=(ended.min() - 2 * margin, ended.max() + margin))
    panels[0].legend(fontsize=8)
    return figure


def mutual_information(
    nats: Float[np.ndarray, "Z F"], factor_names: Sequence[str], entropies: Float[np.ndarray, "F"]
) -> "Figure":
    """Draw the mutual information of each latent (rows) and each factor (columns, with their entropies), numbers if they fit."""
    num_latents, num_factors = nats.shape
    figure = _figure(1.6 + 0.9 * num_factors, 1.2 + min(0.3 * num_latents, 8.0))
    axes = figure.add_subplot()
    drawn = axes.imshow(nats, cmap="viridis", vmin=0, aspect="auto", interpolation="nearest")
    figure.colorbar(drawn, ax=axes, label="nats")
    if num_latents <= 30:
        for (latent, factor), value in np.ndenumerate(nats):
            bright = value > nats.max() / 2
            axes.text(factor, latent, f"{value:.2f}", ha="center", va="center", fontsize=7, color="black" if bright else "white")
        axes.set_yticks(range(num_latents))
    columns = [f"{name}\n$H$ = {entropy:.2f}" for name, entropy in zip(factor_names, entropies, strict=True)]
    axes.set_xticks(range(num_factors), columns)
    axes.set(ylabel="latent")
    axes.tick_params(labelsize=8)
    axes.set_title("mutual information of latents and factors", fontsize=10)
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
