"""The recipes of GANs, small, from Python and from the command line."""

import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gen_jax import runs
from gen_jax.cli import main
from gen_jax.data import load_dataset
from gen_jax.recipes import change
from gen_jax.recipes.gan_images import ImageSettings
from gen_jax.recipes.settings import read_settings, settings_json
from gen_jax.sweep import sweep
from gen_jax.tasks.arithmetic import latent_arithmetic
from gen_jax.tasks.sample_quality import ImageClassifier, image_quality, train_classifier
from gen_jax.train import NonFiniteError, read_metrics
from gen_jax.types import InputError, split
from tests.small import done, drawn_from, settings, whole_and_stopped


@pytest.fixture(scope="module")
def points(tmp_path_factory) -> str:
    """Two clusters of the plane, at (−1, 0) and (1, 0)."""
    rng = np.random.default_rng(0)
    draw = lambda num: np.stack([rng.choice([-1.0, 1.0], num), np.zeros(num)], -1) + 0.1 * rng.normal(size=(num, 2))
    path = tmp_path_factory.mktemp("data") / "points.npz"
    np.savez(path, **{part: draw(num).astype(np.float32) for part, num in (("train", 1200), ("valid", 100), ("test", 300))})
    return f"npz:{path}"


SMALL = {"hidden_sizes": (32,), "batch_size": 60, "learning_rate": 3e-3, "penalty_weight": 0.1}


@pytest.mark.slow
def test_a_gan_finds_both_clusters(points, tmp_path):
    """With both in about equal shares, each about its centre."""
    result = runs.train("gan-ring", settings("gan-ring", data=points, epochs=60, validate_every=20, **SMALL), tmp_path / "run")
    run = runs.load_run(tmp_path / "run")
    drawn = np.asarray(drawn_from(run, 2000))
    left = drawn[:, 0] < 0
    assert 0.35 < left.mean() < 0.65
    for side, centre in ((left, -1.0), (~left, 1.0)):
        np.testing.assert_allclose(drawn[side].mean(0), [centre, 0.0], atol=0.15)
    assert 0 < result["test_wasserstein_2"] < 0.5
    table = runs.perform(run, "evaluate").table
    assert set(table) == {"index", "logit"}
    assert len(table["logit"]) == 300


@pytest.mark.slow
def test_a_resumed_game_is_the_game_that_was_not_stopped(points, tmp_path):
    """Both networks, their optimizers, the moving average and the averages of the batch norm."""
    changes = {"data": points, "epochs": 3, "ema_decay": 0.9, "architecture": "reference", "num_disc_steps": 2, "packing": 2}
    without_widths = {name: value for name, value in SMALL.items() if name != "hidden_sizes"}
    small = settings("gan-ring", **without_widths | changes)
    whole, _ = whole_and_stopped("gan-ring", small, tmp_path)
    assert jax.tree.leaves(split(whole.params).state.generator)  # there are some
    rows = read_metrics(tmp_path / "stopped" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [10, 20, 30]  # 1,200 points, 60 for each of two discriminator steps


@pytest.mark.slow
def test_the_latest_checkpoint_counts(points, tmp_path):
    runs.train("gan-ring", settings("gan-ring", data=points, epochs=3, **SMALL), tmp_path / "run")
    assert runs.load_run(tmp_path / "run").epoch == 3


@pytest.mark.slow
def test_what_is_known_of_the_ring_is_reported(tmp_path, capsys):
    flags = ["--epochs", "2", "--hidden-sizes", "16", "--epoch-steps", "50", "--out", str(tmp_path / "run")]
    assert main(["train", "gan-ring", *flags]) == 0
    printed = capsys.readouterr().out
    for name in ("num_modes", "high_quality", "reverse_kl", "wasserstein_2"):
        assert f"test_{name}" in printed
    figures = {"samples.png", "losses.png", "logits.png", "training.gif"}
    assert figures == {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    with Image.open(tmp_path / "run" / "figures" / "training.gif") as animation:
        assert animation.n_frames == 2  # an epoch each
    assert main(["sample", str(tmp_path / "run"), "--num", "50"]) == 0
    assert np.load(tmp_path / "run" / "samples-0.npy").shape == (50, 2)
    assert main(["quality", str(tmp_path / "run"), "--num", "300"]) == 0
    rows = json.loads((tmp_path / "run" / "quality.json").read_text())
    assert rows["training examples"]["num_modes"] == 8
    assert rows["training examples"]["high_quality"] == pytest.approx(0.989, abs=0.02)
    assert rows["training examples"]["wasserstein_2"] < rows["noise"]["wasserstein_2"]
    assert main(["quality", str(tmp_path / "run"), "--num", "5"]) == 2
    assert "num is 5: give 10 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packing": 7}, "batch_size is 60 and packing 7"),
        ({"packing": 0}, "packing is 0: give 1 or more"),
        ({"num_disc_steps": 0}, "num_disc_steps is 0: give 1 or more"),
        ({"num_disc_steps": 2, "simultaneous": True}, "in simultaneous steps each network takes one"),
        ({"penalty_weight": -1.0}, "penalty_weight is -1.0"),
        ({"clip_weights": 0.0}, "clip_weights is 0.0: give a positive number"),
        ({"optimizer": "rmsprop", "weight_decay": 0.1}, "weight_decay is 0.1, and the optimizer is rmsprop"),
        ({"adam_b1": 1.0}, "adam_b1 is 1.0: give less than 1"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"hidden_sizes": (0,)}, "is 0: give 1 or more"),
        ({"patience": 2}, "no metric of a GAN says when to stop"),
        ({"num_disc_steps": 30}, "A batch of 1800 cannot be drawn from 1200 training examples"),
        ({"data": "mnist-5k"}, "this GAN is of points of the plane"),
    ],
)
def test_bad_settings_are_refused(points, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        runs.train("gan-ring", settings("gan-ring", **SMALL | {"data": points} | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_game_that_diverges_stops_with_the_step_and_keeps_its_checkpoint(tmp_path, monkeypatch):
    """On data whose modes are counted at each validation, which cannot be done with what is not finite."""
    small = settings("gan-ring", epochs=3, epoch_steps=5, hidden_sizes=(4,), batch_size=20)

    def stop(row):
        if row["epoch"] == 1:  # the next one is completed, and saved
            os.kill(os.getpid(), signal.SIGTERM)

    assert runs.train("gan-ring", small, tmp_path / "run", on_epoch=stop) is None
    monkeypatch.setattr("gen_jax.recipes.gan_choices.learning_rate_schedule", lambda *_: lambda step: 1e30)
    with pytest.raises(NonFiniteError, match=r"Step 1[0-4] has .*(loss|grad_norm)"):
        runs.train("gan-ring", small, tmp_path / "run")
    run = runs.load_run(tmp_path / "run")
    assert run.epoch == 2
    assert np.isfinite(drawn_from(run, 10)).all()


@pytest.mark.slow
def test_a_sweep_counts_games_that_diverge():
    """At a rate that no network survives, as at one that does: diverged games cover nothing and are in no other mean."""
    small = settings("gan-ring", epochs=1, epoch_steps=5, hidden_sizes=(4,), batch_size=20, penalty="none")
    (row,) = sweep("gan-ring", dataclasses.replace(small, learning_rate=1e30), num_seeds=2)
    assert (row["num_diverged"], row["share_covering"], row["num_modes"]) == (2, 0.0, 0.0)
    assert row["high_quality"] is None
    assert row["high"] < 1.0
    (row,) = sweep("gan-ring", small, num_seeds=2)
    assert row["num_diverged"] == 0
    assert 0 <= row["high_quality"] <= 1


@pytest.mark.slow
def test_importance_samples_are_refused(points, tmp_path):
    runs.train("gan-ring", settings("gan-ring", data=points, epochs=1, **SMALL), tmp_path / "run")
    with pytest.raises(InputError, match="no likelihood of this model is estimated by them"):
        done(runs.load_run(tmp_path / "run"), "evaluate", num_importance_samples=10)


@pytest.mark.slow
def test_a_sweep_is_the_runs_of_its_seeds(tmp_path):
    small = settings("gan-ring", epochs=3, epoch_steps=30, hidden_sizes=(16,), batch_size=20, seed=3)
    rows = sweep("gan-ring", small, num_seeds=2, vary={"penalty_weight": (0.003, 0.3)})
    results = []
    for seed in (3, 4):
        alone = dataclasses.replace(change(small, penalty_weight=rows[1]["penalty_weight"]), seed=seed)
        runs.fit("gan-ring", alone, tmp_path / f"{seed}")
        results.append(done(runs.load_run(tmp_path / f"{seed}"), "evaluate").summary)
    for name in ("reverse_kl", "high_quality"):
        found = np.array([run[f"test_{name}"] for run in results])
        np.testing.assert_allclose(rows[1][name], found.mean(), atol=0.02)
        np.testing.assert_allclose(rows[1][f"{name}_se"], found.std(ddof=1) / np.sqrt(2), atol=0.02)
    assert rows[1]["share_covering"] == np.mean([run["test_num_modes"] == 8 for run in results])
    assert rows[0]["reverse_kl"] != rows[1]["reverse_kl"]


@pytest.mark.slow
def test_a_sweep_from_the_command_line_and_one_that_cannot_be(tmp_path, capsys):
    flags = ["--epochs", "1", "--epoch-steps", "5", "--hidden-sizes", "8", "--num-seeds", "3"]
    assert main(["sweep", "gan-ring", *flags]) == 0
    assert "share_covering" in capsys.readouterr().out
    assert main(["sweep", "gan-ring", *flags, "--penalty", "none", "--vary", "penalty-weight=1,2"]) == 2
    assert "penalty_weight is no real number among the settings: give one of" in capsys.readouterr().err
    assert main(["sweep", "gan-ring", *flags, "--vary", "penalty-weight"]) == 2
    assert "--vary is given 'penalty-weight': give NAME=VALUE,VALUE,… of numbers" in capsys.readouterr().err
    assert main(["sweep", "gan-ring", *flags, "--num-seeds", "0"]) == 2
    assert "num_seeds is 0: give 1 or more" in capsys.readouterr().err
    assert main(["sweep", "gan-ring", *flags, "--vary", "latent-dim=3"]) == 2
    assert "latent_dim is no real number among the settings" in capsys.readouterr().err
    (tmp_path / "there").mkdir()
    assert main(["sweep", "gan-ring", *flags, "--out", str(tmp_path / "there")]) == 2
    assert "Runs of a sweep go into a new folder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> str:
    """Grey images of 8 x 8, bright on the left (label 0) or on the right (label 1)."""
    rng = np.random.default_rng(0)
    parts = {}
    for part, num in (("train", 400), ("valid", 50), ("test", 100)):
        labels = rng.integers(0, 2, num)
        bright = (np.arange(8)[None, :] < 4) == (labels[:, None] == 0)
        images = rng.uniform(0.0, 0.3, (num, 8, 8, 1)) + 0.7 * bright[:, None, :, None]
        parts |= {part: (255 * images).astype(np.uint8), f"{part}_labels": labels.astype(np.int32)}
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    np.savez(path, **parts)
    return f"npz:{path}"


@pytest.mark.slow
def test_quality_is_best_for_real_images_and_bad_for_noise(halves):
    data = load_dataset(halves)
    classifier = train_classifier(data)
    assert classifier.accuracy == 1.0
    real, other = (jnp.asarray(split.x, jnp.float32) / 255 for split in (data.test, data.train))
    noise = jnp.asarray(np.random.default_rng(1).uniform(size=real.shape), jnp.float32)
    itself, floor, ceiling = (image_quality(classifier, real, drawn) for drawn in (real, other[:100], noise))
    assert itself["frechet_distance"] == pytest.approx(0, abs=1e-3)
    assert (itself["precision"], itself["recall"]) == (1, 1)
    for name in ("frechet_distance", "kernel_distance"):
        assert floor[name] < 0.2 * ceiling[name], name
    assert floor["coverage"] > 0.8 > 0.2 > ceiling["coverage"]
    assert 1 <= ceiling["classifier_score"] < floor["classifier_score"] <= 2  # of two classes


SIZES = {"mlp": {"hidden_sizes": (32,)}, "dcgan": {"channels": (8,)}, "residual": {"width": 4}}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", SIZES)
def test_a_gan_of_images_learns_what_they_have_in_common(halves, tmp_path, architecture):
    sizes = SIZES[architecture] | {"latent_dim": 4, "batch_size": 20}
    changes = {"architecture": architecture, "epochs": 20, "validate_every": 10, "learning_rate": 2e-3}
    small = settings("dcgan-mnist", data=halves, **changes, **sizes)
    result = runs.train("dcgan-mnist", small, tmp_path / "run")
    drawn = np.asarray(drawn_from(runs.load_run(tmp_path / "run"), 200))
    assert drawn.shape == (200, 8, 8, 1)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    # one half is bright and the other dark: the two means differ by 0.7 in the data
    assert np.abs(drawn[:, :, :4].mean((1, 2, 3)) - drawn[:, :, 4:].mean((1, 2, 3))).mean() > 0.4
    assert result["test_classifier_accuracy"] == 1.0
    assert {"test_frechet_distance", "test_precision", "test_coverage", "test_sliced_wasserstein"} <= set(result)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"penalty": "r1"}, "a batch norm makes the discriminator a function of the batch"),
        ({"num_classes": 1}, "num_classes is 1: give 2 or more"),
        ({"condition": "classifier"}, "condition is classifier, and num_classes is not set"),
        ({"num_classes": 2, "packing": 2}, "would have many labels"),
        ({"channels": (4, 4, 4, 4)}, "8"),
        ({"architecture": "residual", "width": 0}, "is 0: give 1 or more"),
    ],
)
def test_bad_networks_of_images_are_refused(halves, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        runs.train("dcgan-mnist", settings("dcgan-mnist", **{"data": halves} | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["projection", "classifier"])
def test_a_conditional_gan_draws_what_its_label_says(halves, tmp_path, condition):
    changes = {"architecture": "mlp", "num_classes": 2, "condition": condition}
    sizes = {"hidden_sizes": (32,), "latent_dim": 4, "batch_size": 20, "epochs": 20, "validate_every": 10, "learning_rate": 2e-3}
    result = runs.train("dcgan-mnist", settings("dcgan-mnist", data=halves, **changes, **sizes), tmp_path / "run")
    assert result["test_label_accuracy"] > 0.95
    drawn = np.asarray(drawn_from(runs.load_run(tmp_path / "run"), 100))  # labels 0, 1, 0, 1, …
    brighter_on_the_left = drawn[:, :, :4].mean((1, 2, 3)) > drawn[:, :, 4:].mean((1, 2, 3))
    assert (brighter_on_the_left == (np.arange(100) % 2 == 0)).mean() > 0.95
    assert (tmp_path / "run" / "figures" / "interpolation.png").exists()
    table = runs.perform(runs.load_run(tmp_path / "run"), "evaluate").table
    assert set(table) == {"index", "label", "logit"}


@pytest.mark.parametrize(
    ("architecture", "name", "value"),
    [("residual", "generator_norm", "none"), ("dcgan", "width", 8), ("mlp", "channels", (8,)), ("mlp", "rms_decay", 0.9)],
)
def test_settings_without_effect_cannot_be_given(architecture, name, value):
    with pytest.raises(InputError, match=f"There is no setting '{name}'"):
        settings("dcgan-mnist", architecture=architecture, **{name: value})


def test_a_choice_has_the_values_that_it_can_have():
    wrong = json.dumps(settings_json(settings("gan-mnist"))).replace(
        '"discriminator_norm": "none"', '"discriminator_norm": "batch"'
    )
    with pytest.raises(InputError, match="discriminator_norm is 'batch': give spectral, none"):
        read_settings(ImageSettings, wrong)


def test_labels_that_are_not_there_are_refused(points, halves, tmp_path):
    data = load_dataset(halves)
    np.savez(tmp_path / "plain.npz", **{name: split.x for name, split in data.splits.items()})
    small = settings("dcgan-mnist", data=f"npz:{tmp_path / 'plain.npz'}", num_classes=2)
    with pytest.raises(InputError, match="have no labels, and this model is conditioned on them"):
        runs.train("dcgan-mnist", small, tmp_path / "run")


@pytest.mark.slow
def test_the_modes_of_stacked_digits_are_counted(tmp_path):
    """Of the data themselves nearly all; of noise few; a run is measured by both commands alike."""
    small = settings("stacked-mnist", data="stacked:mnist-5k", channels=(4,), epochs=1, epoch_steps=5)
    result = runs.train("stacked-mnist", small, tmp_path / "run")
    rows = runs.perform(runs.load_run(tmp_path / "run"), "quality").summary
    assert result["num_samples"] == 26_000
    assert rows["training examples"]["num_modes"] > 980 > rows["noise"]["num_modes"]
    assert rows["training examples"]["reverse_kl"] < 0.1 < rows["noise"]["reverse_kl"]
    assert rows["model"]["num_modes"] == pytest.approx(result["test_num_modes"], abs=50)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("vae", {"hidden_sizes": (32,), "latent_dim": 2, "epochs": 40, "batch_size": 20, "num_importance_samples": 2}),
        ("made-mnist", {"hidden_sizes": (64,), "epochs": 20, "batch_size": 20}),
        ("flow-2d", {"epochs": 1, "num_layers": 1, "flow_hidden_sizes": (8,)}),
    ],
)
def test_any_model_is_measured_between_noise_and_training_examples(halves, tmp_path, recipe, changes):
    data = {} if recipe == "flow-2d" else {"data": halves}  # of the flow, its own points
    changes = {"validate_every": 10} | data | changes
    runs.train(recipe, settings(recipe, **changes), tmp_path / "run")
    rows = done(runs.load_run(tmp_path / "run"), "quality", num=100).summary
    assert set(rows) == {"model", "training examples", "noise"}
    name = "frechet_distance" if data else "wasserstein_2"
    assert rows["training examples"][name] < rows["model"][name] < rows["noise"][name]
    assert set(rows["model"]) == set(rows["noise"])


@pytest.mark.slow
def test_what_cannot_be_measured_is_refused_before_anything_is_drawn(tmp_path):
    flat = np.random.default_rng(0).integers(0, 2, (60, 6)).astype(np.uint8)
    np.savez(tmp_path / "flat.npz", images=flat)
    small = settings("made-dna", data=f"npz:{tmp_path / 'flat.npz'}", hidden_sizes=(4,), epochs=1, batch_size=10)
    runs.train("made-dna", small, tmp_path / "run")
    with pytest.raises(InputError, match=r"has shape \(6,\): what can be measured is images and points of the plane"):
        done(runs.load_run(tmp_path / "run"), "quality", num=10)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "wanted"), [(4, set()), (10, {"sliced_wasserstein"})])
def test_images_that_no_classifier_takes_are_measured_without(tmp_path, size, wanted):
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, (30, size, size, 1)).astype(np.uint8) for name in ("train", "valid", "test")}
    labels = {f"{name}_labels": np.zeros(30, int) for name in ("valid", "test")}  # of the training images there are none
    np.savez(tmp_path / "noise.npz", **arrays, **labels)
    changes = {"hidden_sizes": (4,), "batch_size": 10, "epochs": 1, "latent_dim": 2}
    result = runs.train("gan-mnist", settings("gan-mnist", data=f"npz:{tmp_path / 'noise.npz'}", **changes), tmp_path / "run")
    found = {name.removeprefix("test_") for name in result} & {"sliced_wasserstein", "frechet_distance", "classifier_accuracy"}
    assert found == wanted


def test_latent_arithmetic_adds_the_ink_of_one_class_to_another():
    """Of a generator whose z₁ is the ink and the sign of whose z₂ the class: bright a − dark a + dark b is a bright b."""

    def decode(z):
        ink, side = jax.nn.sigmoid(z[:, 0]), z[:, 1] > 0
        images = jnp.stack([ink * side, ink * ~side], axis=-1)
        return jnp.broadcast_to(images[:, None, :, None], (len(z), 2, 2, 1))

    def probabilities(images):
        left = np.asarray(images)[:, 0, 0, 0] > 0
        return np.stack([left, ~left], axis=-1).astype(np.float32)

    classifier = ImageClassifier(lambda images: np.zeros((len(images), 1)), probabilities, 1.0)
    rows, names, of_class, brighter = latent_arithmetic(decode, jax.random.normal(jax.random.key(0), (2000, 3)), classifier)
    assert names == ["0, 1", "1, 0"]
    assert of_class == brighter == 1
    rows = rows.reshape(2, 10, 4)
    ink, left = rows.sum(-1) / 2, rows[..., 0] > 0
    for row, a in enumerate((0, 1)):
        np.testing.assert_array_equal(left[row], [(label == 0) for label in [a] * 6 + [1 - a] * 4])
        bright_a, dark_a, dark_b, total = ink[row, :3], ink[row, 3:6], ink[row, 6:9], ink[row, 9]
        assert bright_a.min() > 0.7 > 0.3 > max(dark_a.max(), dark_b.max())
        assert total > 0.6
