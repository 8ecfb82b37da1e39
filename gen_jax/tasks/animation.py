"""An animation of samples over training, from the same noise at up to 25 of the validations.

Frames are files, so that a run that was stopped keeps them. A recipe asks for it by the task `animate`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax import plots

FOLDER = "progress"
MOST_FRAMES = 25
MILLISECONDS = 300  # of a frame


def frame_epochs(epochs: int, validate_every: int) -> set[int]:
    """Return the epochs after which a frame is drawn: validations, evenly spread, the first and the last among them."""
    due = [epoch for epoch in range(1, epochs + 1) if epoch % validate_every == 0 or epoch == epochs]
    return {due[i] for i in np.linspace(0, len(due) - 1, min(MOST_FRAMES, len(due))).round().astype(int)}


def save_frame(directory: Path, epoch: int, drawn: Any) -> None:
    """Write the samples of a frame."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    np.save(folder / f"epoch-{epoch:05d}.npy", np.asarray(drawn))


def write_animation(directory: Path, picture: Callable[[Any], Any], path: Path) -> None:
    """Draw the frames of a run directory, by epoch, as an animated GIF."""
    files = sorted((directory / FOLDER).glob("epoch-*.npy"))
    names = [f"epoch {int(file.stem.removeprefix('epoch-'))}" for file in files]
    path.write_bytes(plots.animation([picture(np.load(file)) for file in files], names, MILLISECONDS))
