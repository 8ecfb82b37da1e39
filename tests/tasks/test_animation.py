"""Frames over training."""

import numpy as np
import pytest
from PIL import Image

from gen_jax import plots, recipes
from gen_jax.recipes.settings import RUN, seed_key
from gen_jax.tasks import sample
from gen_jax.tasks.animation import frame_epochs, write_animation
from gen_jax.train import fit_keys
from tests.small import whole_and_stopped


@pytest.mark.parametrize(
    ("epochs", "validate_every", "wanted"),
    [(3, 1, {1, 2, 3}), (10, 4, {4, 8, 10}), (1, 5, {1}), (49, 1, set(range(1, 50, 2))), (100, 1, 25)],
)
def test_frames_are_spread_over_the_validations(epochs, validate_every, wanted):
    found = frame_epochs(epochs, validate_every)
    assert (len(found) if isinstance(wanted, int) else found) == wanted
    assert epochs in found


def test_an_animation_has_a_frame_for_each_file_by_epoch(tmp_path):
    for epoch in (10, 9):
        (tmp_path / "progress").mkdir(exist_ok=True)
        np.save(tmp_path / "progress" / f"epoch-{epoch:05d}.npy", np.full((1, 4, 4, 1), 0.1 * (epoch - 5)))
    seen = []

    def picture(images):
        seen.append(round(float(images.max()), 3))
        return plots.image_grid(images, 1)

    write_animation(tmp_path, picture, tmp_path / "training.gif")
    assert seen == [0.4, 0.5]
    with Image.open(tmp_path / "training.gif") as animation:
        assert animation.n_frames == 2
        durations = []
        for i in range(2):
            animation.seek(i)
            durations.append(animation.info["duration"])
    assert durations == [300, 1500]


@pytest.mark.slow
def test_a_run_that_was_stopped_has_the_frames_of_before(tmp_path):
    """The same noise at each, so that the frames of a whole run are those of a stopped one."""
    small = recipes.change(recipes.RECIPES["gan-ring"].settings, epochs=3, epoch_steps=5, hidden_sizes=(4,))
    last, _ = whole_and_stopped("gan-ring", small, tmp_path)
    frames = sorted((tmp_path / "whole" / "progress").iterdir())
    assert [frame.name for frame in frames] == ["epoch-00001.npy", "epoch-00002.npy", "epoch-00003.npy"]
    for frame in frames:
        np.testing.assert_array_equal(np.load(frame), np.load(tmp_path / "stopped" / "progress" / frame.name))
    keys = fit_keys(seed_key(small.seed, RUN))
    drawn = sample(last.experiment.model, last.params, keys.figures, 2500)
    np.testing.assert_array_equal(np.load(frames[-1]), drawn)
