"""The recipes of CycleGAN, small, from Python and from the command line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import recipes, runs
from gen_jax.cli import main
from gen_jax.data import Split
from gen_jax.types import InputError, split
from tests.small import settings, whole_and_stopped

SIZES = {"width": 2, "num_blocks": 1, "disc_width": 2, "batch_size": 4, "pool_size": 3}


@pytest.fixture(scope="module")
def grey(tmp_path_factory) -> str:
    """Grey images of 12 x 12, bright on one side."""
    return _archive(tmp_path_factory.mktemp("data") / "grey.npz", 1)


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> str:
    return _archive(tmp_path_factory.mktemp("data") / "colours.npz", 3)


def _archive(path, channels: int) -> str:
    rng, parts = np.random.default_rng(channels), {}
    for part, num in (("train", 40), ("valid", 8), ("test", 12)):
        parts[part] = rng.integers(0, 256, (num, 12, 12, channels)).astype(np.uint8)
        parts[f"{part}_labels"] = (np.arange(num) % 2).astype(np.int32)
        parts[part][parts[f"{part}_labels"] == 0, :, :6] //= 4
    np.savez(path, **parts)
    return f"npz:{path}"


@pytest.mark.slow
def test_from_the_command_line(grey, colours, tmp_path, capsys):
    flags = [word for name, value in SIZES.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    out = str(tmp_path / "run")
    train = ["train", "cyclegan", "--data-a", grey, "--data-b", colours, "--epochs", "1", *flags, "--out", out]
    assert main(train) == 0
    printed = capsys.readouterr().out
    assert "test_a_to_b_cycle_l1" in printed
    assert "test_a_to_b_frechet_distance" in printed
    assert "test_a_to_b_l1 " not in printed  # the two have no partners
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures == {"translation-a-to-b.png", "losses.png", "distances.png", "logits.png"}
    config = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert (config["data"], config["data_a"]) == (f"pair:{grey},{colours}", None)
    assert main(train) == 0  # finished
    assert main(["train", "cyclegan", "--data", f"pair:{grey},{colours}", "--epochs", "1", *flags, "--out", out]) == 0
    capsys.readouterr()
    assert main(["translate", out, "--direction", "b-to-a", "--num", "2"]) == 0
    assert "no true partners" in " ".join(capsys.readouterr().out.split())
    assert np.load(tmp_path / "run" / "translation-b-to-a.npy").shape == (3, 2, 12, 12, 3)
    assert main(["sample", out]) == 2
    assert "A CycleGAN cannot" in capsys.readouterr().err
    assert main(["novelty", out, "--other", grey]) == 2
    assert main(["translate", out, "--direction", "sideways"]) == 2


@pytest.mark.slow
def test_a_resumed_run_is_the_run_that_was_not_stopped(grey, tmp_path):
    """The four networks, their optimizers, and the pools."""
    small = settings("cyclegan", data=f"inverted:{grey}", epochs=3, ema_decay=0.9, **SIZES)
    whole, _ = whole_and_stopped("cyclegan", small, tmp_path)
    assert [int(pool.count) for pool in split(whole.params).state.discriminator.values()] == [3, 3]


@pytest.mark.slow
def test_a_cycle_gan_learns_to_invert(grey, tmp_path):
    """Nearer to the true partners than images as they are, without having seen one."""
    changes = {"epochs": 40, "learning_rate": 2e-3, "width": 4}
    result = runs.train("cyclegan", settings("cyclegan", data=f"inverted:{grey}", **SIZES | changes), tmp_path / "run")
    rows = runs.perform(runs.load_run(tmp_path / "run"), "translate").summary
    assert rows["model"]["l1"] == pytest.approx(result["test_a_to_b_l1"])
    assert rows["model"]["l1"] < 0.75 * rows["identity map"]["l1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_a": "mnist-5k"}, "data_a is mnist-5k, and data_b is missing: give both, or data alone"),
        ({"data_b": "mnist-5k"}, "data_b is mnist-5k, and data_a is missing"),
        ({"data_a": "mnist-5k", "data_b": "mnist-5k"}, "and data_a is mnist-5k: give one of the two"),
        ({"data": "mnist-5k"}, "data is mnist-5k, which are not of two domains: give emoji, edges:NAME"),
        ({"data": "pair:mnist-5k,toy:ring"}, r"An example of toy:ring has shape \(2,\): give grey or colour images"),
        ({"num_halvings": 3}, "An image of 12 x 12 cannot be halved 3 times"),
        ({"disc_halvings": 3}, "A kernel of 4 x 4 does not fit"),
        ({"patience": 2}, "no metric of a CycleGAN says when to stop"),
        ({"batch_size": 30}, "A batch of 30 cannot be drawn from 20 training examples"),
        ({"width": 0}, "width is 0: give 1 or more"),
        ({"cycle_weight": -1.0}, "cycle_weight is -1.0"),
    ],
)
def test_bad_settings_are_refused(grey, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        runs.train("cyclegan", settings("cyclegan", **SIZES | {"data": f"inverted:{grey}"} | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_identity_loss_needs_domains_of_equal_channels(grey, colours):
    build = recipes.RECIPES["cyclegan"].build
    with pytest.raises(InputError, match=r"identity_weight is 2.0, and the domains have 1 and 3 channels"):
        build(settings("cyclegan", data=f"pair:{grey},{colours}", identity_weight=2.0), (12, 12, 4))
    assert build(settings("cyclegan", data=f"pair:{grey},{colours}"), (12, 12, 4)).model.channels == (1, 3)


@pytest.mark.parametrize(
    ("channels", "given", "weights"),
    [
        ((1, 1), {}, (2.0, 0.0)),
        ((1, 1), {"cycle_weight": 8.0, "identity_weight": None}, (8.0, 4.0)),
        ((1, 3), {"cycle_weight": 8.0, "identity_weight": None}, (8.0, 0.0)),
    ],
)
def test_the_losses_have_the_weights_of_the_settings(grey, colours, channels, given, weights):
    """Those of the recipe; by default half of the cycle's for the identity, and 0 where the channels differ."""
    data = f"inverted:{grey}" if channels == (1, 1) else f"pair:{grey},{colours}"
    experiment = recipes.RECIPES["cyclegan"].build(settings("cyclegan", data=data, **SIZES | given), (12, 12, sum(channels)))
    batch = Split(jax.random.uniform(jax.random.key(1), (4, 12, 12, sum(channels)), minval=-1.0))
    params, state = jax.jit(experiment.model.init)(jax.random.key(0), batch.x[0])
    value, (_, metrics) = jax.jit(experiment.loss.generator)(params, state, jax.random.key(2), jnp.int32(0), batch)
    assert ("identity_loss" in metrics) == (weights[1] > 0)
    identity = weights[1] * metrics.get("identity_loss", 0.0)
    np.testing.assert_allclose(value, metrics["generator_loss"] + weights[0] * metrics["cycle_loss"] + identity, rtol=1e-5)
