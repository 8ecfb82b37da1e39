"""Recipes of progressive GANs and StyleGANs, small, and what is done with their styles."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import recipes, runs, tasks
from gen_jax.cli import main
from gen_jax.data import Dataset, DataView, Split
from gen_jax.distributions import Normal
from gen_jax.gan import draw_latents, generative_adversarial_network
from gen_jax.gan.adversarial import PROBABILITY
from gen_jax.nets import MLPDiscriminator, MLPGenerator, batch_net
from gen_jax.recipes.gan_choices import held_out_logit
from gen_jax.tasks import arithmetic
from gen_jax.tasks.sample_quality import ImageClassifier
from gen_jax.tasks.styles import feature_path_lengths, layer_bands, mixed
from gen_jax.train import read_metrics
from gen_jax.types import InputError, Style, split
from tests.gan.test_style import GANS
from tests.small import fast_first, settings, whole_and_stopped

SMALL = {"epochs": 2, "batch_size": 8, "width": 2, "latent_dim": 4, "ema_half_life": 0.05}
STAGES = {"fade": 0.1, "stable": 0.02}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> str:
    """Squares of 8 × 8 pixels, bright in one half."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "halves.npz"

    def draw(num):
        x = rng.integers(0, 40, (num, 8, 8, 1))
        x[: num // 2, :, :4] += 200
        x[num // 2 :, :, 4:] += 200
        return x.astype(np.uint8)

    np.savez(path, **{part: draw(num) for part, num in (("train", 80), ("valid", 16), ("test", 16))})
    return f"npz:{path}"


@pytest.mark.slow
def test_a_run_that_was_stopped_inside_of_a_fade_is_the_one_that_was_not(images, tmp_path):
    """The level, the moments and the moving average are in the checkpoint."""
    # 2 steps at 4 pixels and 12 of fading, so that the first two epochs end inside of the fade
    small = settings("progressive-mnist", data=images, **SMALL | STAGES | {"epoch_steps": 5, "epochs": 4})
    _, stopped = whole_and_stopped("progressive-mnist", small, tmp_path)
    assert 0 < split(stopped.params).state.generator["level"] < 1
    assert [row["step"] for row in read_metrics(tmp_path / "stopped" / "metrics.jsonl")] == [5, 10, 15, 20]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["style", "style2"])
def test_the_command_line_trains_and_mixes_styles(images, tmp_path, capsys, kind):
    out = str(tmp_path / "run")
    stages = ["--growth", "stages", "--fade", "0.1", "--stable", "0.02"]
    growth = ["--architecture", "style2"] if kind == "style2" else stages
    small = ["--epochs", "2", "--batch-size", "8", "--width", "2", "--latent-dim", "4"]
    assert main(["train", "stylegan-mnist", "--data", images, *small, *growth, "--out", out]) == 0
    assert {"samples.png", "interpolation.png", "mixing.png", "truncation.png", "noise.png", "training.gif"} <= {
        p.name for p in (tmp_path / "run" / "figures").iterdir()
    }
    assert main(["styles", out, "--num", "3"]) == 0
    for name in ("styles-0.png", "styles-0-truncation.png", "styles-0-noise.png", "styles-0.json"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert main(["styles", out, "--num", "1"]) == 2
    assert "num is 1: give 2 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_with_adaptive_augmentation_goes_on_as_the_run_that_was_longer(images, tmp_path):
    """Its probability is in the checkpoint; with a target of 0 it rises as soon as D tells training images from others."""
    adaptive = {"augmentation": "adaptive", "target": 0.0, "thousands": 0.4}
    short = settings("stylegan-mnist", data=images, **adaptive, **SMALL | {"epochs": 1})
    longer = dataclasses.replace(short, epochs=2)
    runs.fit("stylegan-mnist", longer, tmp_path / "whole")
    runs.fit("stylegan-mnist", short, tmp_path / "extended")
    between = split(runs.load_run(tmp_path / "extended").params).state.discriminator[PROBABILITY]
    assert between > 0
    runs.fit("stylegan-mnist", longer, tmp_path / "extended")
    whole, extended = (runs.load_run(tmp_path / name).params for name in ("whole", "extended"))
    chex.assert_trees_all_equal(whole, extended)


@pytest.mark.parametrize("recipe", fast_first(["stylegan-mnist", "progressive-mnist", "stylegan2-mnist"]))
def test_networks_in_bfloat16_make_the_same_images_up_to_its_rounding(recipe, key):
    small, x, found = settings(recipe, growth="none", **SMALL), jax.random.uniform(key, (4, 8, 8, 1)), []
    for compute in ("float32", "bfloat16"):
        gan = recipes.RECIPES[recipe].build(dataclasses.replace(small, compute=compute), (8, 8, 1)).model
        params, state = jax.jit(gan.init)(key, x[0])
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        images = jax.jit(gan.generate)(params, state, key, draw_latents(gan.prior, key, 4))[0]
        found.append((images, jax.jit(gan.discriminate)(params, state, x)[0].logits))
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == jnp.float32
        assert 1e-4 < np.linalg.norm(exact - rounded) / np.linalg.norm(exact) < 0.05  # bfloat16 has 8 bits


def test_the_held_out_logit_is_the_mean_of_those_of_each_example(key):
    """More examples than are on the device at once, and in evaluation mode, so that each is judged alone."""
    gan, variables = GANS["style"]
    x = np.random.default_rng(0).uniform(size=(103, 8, 8, 1)).astype(np.float32)
    found = held_out_logit(gan, DataView(symmetric=True))(variables, key, Split(jnp.asarray(x)))
    wanted = gan.discriminate(*variables, jnp.asarray(2 * x - 1))[0].logits.mean()
    np.testing.assert_allclose(found["valid_real_logit"], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "style2"}, "style2, which does not grow: give --growth none"),
        ({"schedule": "cosine"}, "a schedule starts anew with fresh moments"),
        ({"packing": 2}, "packing is 2, and these discriminators compare examples of a batch"),
        ({"fade": 20.0, "stable": 20.0}, "The run has 20 steps, and the last of 2 stages is faded in after 5000"),
        ({"stable": 0.001}, "stable is 0.001 thousand images, less than one step of 8: give more"),
        ({"augmentation": "adaptive", "loss": "wasserstein"}, "which says nothing under the loss wasserstein: give --augm"),
        ({"disc_batch": "joint"}, "disc_batch is joint, and these discriminators compare examples"),
        ({"mixing": 1.5, "architecture": "style"}, "mixing is 1.5: give 1 or less"),
    ],
)
def test_what_does_not_go_together_is_refused(images, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        runs.train("progressive-mnist", settings("progressive-mnist", data=images, **SMALL | STAGES | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_that_are_not_square_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", **dict.fromkeys(("train", "valid", "test"), np.zeros((20, 8, 12, 1), np.uint8)))
    with pytest.raises(InputError, match="8 x 12, and a GAN that grows from 4 x 4 makes square ones"):
        runs.train("stylegan-mnist", settings("stylegan-mnist", data=f"npz:{tmp_path / 'x.npz'}", **SMALL), tmp_path / "run")


def test_bands_of_layers_cover_them_all_and_none_is_empty():
    assert layer_bands(2) == {"coarse": (0, 2)}
    assert layer_bands(4) == {"coarse": (0, 2), "middle": (2, 4)}
    assert layer_bands(8) == {"coarse": (0, 2), "middle": (2, 6), "fine": (6, 8)}
    assert layer_bands(12) == {"coarse": (0, 4), "middle": (4, 8), "fine": (8, 12)}


def test_mixing_takes_some_layers_of_the_other(key):
    a, b = jax.random.normal(key, (2, 3, 6, 5))
    found = mixed(a, b, 2, 4)
    np.testing.assert_array_equal(found[:, 2:4], b[:, 2:4])
    np.testing.assert_array_equal(found[:, [0, 1, 4, 5]], a[:, [0, 1, 4, 5]])


def test_the_effect_of_noise_is_that_of_draws(key):
    gan, variables = GANS["style2"]
    w = tasks.draw_styles(gan, variables, key, 2)
    assert w.shape == (2, 4, 5)
    found = tasks.noise_effect(gan, variables, key, w, draws=8)
    draws = np.stack([tasks.synthesise(gan, DataView(), variables, k, w) for k in jax.random.split(key, 8)])
    np.testing.assert_allclose(found["mean"], draws.mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["std"], draws.std(axis=0), rtol=1e-3, atol=1e-4)
    coarse = draws.reshape(8, 2, 2, 4, 2, 4, 1).mean(axis=(3, 5))  # means of 4 × 4 pixels
    np.testing.assert_allclose(found["coarse_std"], coarse.std(axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_an_image_that_the_model_makes_is_found_again(key):
    """From another style of its own: the error falls far below that of the mean style, and w+ is no worse than w."""
    gan, variables = GANS["style2"]
    w = 0.5 * tasks.draw_styles(gan, variables, key, 3)
    images = np.asarray(tasks.synthesise(gan, DataView(), variables, None, w))
    error = {}
    for space in ("w", "w+"):
        found = tasks.project(gan, variables, Split(images), space, steps=200)
        assert found.shape == w.shape
        error[space] = np.mean((tasks.synthesise(gan, DataView(), variables, None, found) - images) ** 2)
        if space == "w":
            np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    start = tasks.synthesise(gan, DataView(), variables, None, 0 * w)  # w̄ of a model that was not trained is 0
    assert error["w"] < 0.02 * np.mean((start - images) ** 2)
    assert error["w+"] <= error["w"]


def test_a_path_between_styles_is_straight(key):
    """Its ends are images of the prior, and its middle that of the mean of the two styles, without noise."""
    gan, variables = GANS["style2"]
    found = tasks.interpolate(gan, variables, key, 2, 3, space="w")
    w = tasks.draw_styles(gan, variables, key, 4)
    show = lambda w: tasks.synthesise(gan, DataView(), variables, None, w)
    np.testing.assert_allclose(found[:, 0], show(w[::2]), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[:, 1], show((w[::2] + w[1::2]) / 2), rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="space is w, in which paths are straight"):
        tasks.interpolate(gan, variables, key, 2, 3, space="w", path="spherical")


@pytest.mark.slow
def test_arithmetic_in_w_adds_the_mean_styles_of_the_images_that_it_shows(key, monkeypatch):
    gan, variables = GANS["style2"]
    is_left = lambda x: np.asarray(x)[:, :, :4].mean(axis=(1, 2, 3)) > np.asarray(x)[:, :, 4:].mean(axis=(1, 2, 3))
    monkeypatch.setattr(arithmetic, "NUM_DRAWN", 80)
    monkeypatch.setattr(arithmetic, "classifier_of", lambda data: ImageClassifier(None, lambda x: np.eye(2)[is_left(x) * 1], 1.0))
    blank = Split(np.zeros((2, 8, 8, 1), np.uint8))
    data = Dataset(blank, blank, blank)
    found = arithmetic.perform(tasks.Subject(gan, variables, DataView(), key, lambda *_, **__: data, "none"), space="w")
    w = tasks.draw_styles(gan, variables, jax.random.split(key)[0], 80)
    images = np.asarray(tasks.synthesise(gan, DataView(), variables, None, w))
    assert len(found.array) == 2  # a and b, b and a
    for row in found.array:
        which = [int(np.argmin(np.abs(images - shown[None]).sum(axis=(1, 2, 3)))) for shown in row[:9]]
        bright_a, dark_a, dark_b = np.asarray(w)[which].reshape(3, 3, *w.shape[1:]).mean(axis=1)
        total = tasks.synthesise(gan, DataView(), variables, None, jnp.asarray(bright_a - dark_a + dark_b)[None])
        np.testing.assert_allclose(row[9], total[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(is_left(row[:9]), [is_left(row[:1])[0]] * 6 + [not is_left(row[:1])[0]] * 3)


@pytest.mark.parametrize(
    ("of_style", "words"),
    [
        (lambda gan, p, key: tasks.draw_styles(gan, p, key, 2), "A GAN cannot draw styles, since its layers take no styles"),
        (lambda gan, p, key: tasks.project(gan, p, Split(np.zeros((1, 4, 4, 1)))), "A GAN cannot project images"),
        (lambda gan, p, key: tasks.interpolate(gan, p, key, 2, 3, space="w"), "A GAN cannot interpolate in w"),
        (lambda gan, p, key: tasks.noise_effect(gan, p, key, jnp.zeros((1, 2, 3))), "A GAN cannot add noise"),
    ],
)
def test_a_gan_without_styles_is_refused(of_style, words, key):
    plain = generative_adversarial_network(
        batch_net(MLPGenerator((), (4, 4, 1))), batch_net(MLPDiscriminator((3,))), Normal(jnp.zeros(2), jnp.ones(2))
    )
    with pytest.raises(InputError, match=words):
        of_style(plain, plain.init(key, jnp.zeros((4, 4, 1))), key)


def test_path_lengths_of_a_linear_map_are_known(key):
    """x = 2 z: between draws the line has E‖2 (b − a)‖² = 8 Z, and the arc about (π/2)² E‖2 a‖² = π² Z in many dimensions."""
    size = 400
    gan = generative_adversarial_network(
        batch_net(MLPGenerator((2,), (size,))), batch_net(MLPDiscriminator((2,))), Normal(jnp.zeros(size), jnp.ones(size))
    )
    style = Style(2, lambda params, state, z, labels=None: 2 * z, lambda params, state, key, w: w.mean(axis=1), lambda state: 0)
    found = feature_path_lengths(gan._replace(style=style), (), key, np.asarray, num=300)
    for space, wanted, share in (("z", np.pi**2 * size, 0.02), ("w", 8.0 * size, 0.0)):
        mean, standard_error = found[space]
        assert abs(mean - wanted) < 4 * standard_error + share * wanted
        assert 0 < standard_error < 0.02 * wanted
