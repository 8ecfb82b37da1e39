"""The recipes of the VAE family, each by what only it does, on images of which the left or the right half is bright."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import recipes, runs
from gen_jax.cli import main
from gen_jax.data import Split, load_dataset
from gen_jax.recipes import change
from gen_jax.recipes.vae_choices import Elbo
from gen_jax.sweep import sweep
from gen_jax.types import InputError
from tests.small import done, drawn_from, settings, whole_and_stopped

SMALL = {"batch_size": 8, "num_importance_samples": 5, "learning_rate": 1e-2}
MLP = SMALL | {"hidden_sizes": (16,)}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """Eighty 4×4 images; the label says which half is bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    images = rng.integers(0, 40, (80, 4, 4), np.uint8)
    images[labels == 0, :, :2] += 200
    images[labels == 1, :, 2:] += 200
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    np.savez(path, images=images, labels=labels)
    return f"npz:{path}"


def trained(name: str, data: str, out, **changes) -> dict:
    result = runs.train(name, settings(name, data=data, **changes), out)
    assert result == json.loads((out / "result.json").read_text())
    return result


def figures(out) -> set[str]:
    return {path.stem for path in (out / "figures").iterdir()}


def left_is_brighter(images) -> np.ndarray:
    images = np.asarray(images)[..., 0]
    return images[:, :, :2].mean((1, 2)) > images[:, :, 2:].mean((1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("latent", ["normal", "conditional-normal"])
def test_a_conditional_vae_draws_what_its_label_says(data, tmp_path, latent):
    trained(
        "cvae",
        data,
        tmp_path / "run",
        num_classes=2,
        latent=latent,
        latent_dim=2,
        validate_every=10,
        **MLP | {"epochs": 30},
    )
    drawn = drawn_from(runs.load_run(tmp_path / "run"), 40)  # labels 0, 1, 0, 1, …
    np.testing.assert_array_equal(left_is_brighter(drawn), np.arange(40) % 2 == 0)
    assert figures(tmp_path / "run") == {"reconstructions", "samples", "curves", "latents"}
    assert main(["traverse", str(tmp_path / "run"), "--example", "1", "--steps", "3"]) == 0
    moved = np.load(tmp_path / "run/traversal-1.npy")
    assert moved.shape == (2, 3, 4, 4, 1)
    # whatever the latents, the label of test image 1 stays
    label = runs.perform(runs.load_run(tmp_path / "run"), "evaluate").table["label"][1]
    np.testing.assert_array_equal(left_is_brighter(moved.reshape(-1, 4, 4, 1)), label == 0)


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.0, 0.5])
def test_capacity_holds_the_rate(data, tmp_path, width):
    capacity = {"objective": "capacity", "capacity": 3.0, "capacity_steps": 100, "gamma": 100.0, "schedule": "cosine"}
    small = MLP | capacity | {"huber_width": width}
    result = trained("vae", data, tmp_path / "run", latent_dim=2, epochs=60, validate_every=20, **small)
    rows = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert abs(json.loads(rows[-1])["train_rate"] - 3.0) < 0.3
    assert {"manifold", "latents", "capacity"} <= figures(tmp_path / "run")
    assert json.loads(rows[-1])["train_capacity"] == 3.0
    assert np.isfinite(result["test_nll"])


def test_the_loss_of_a_capacity_is_rounded_by_its_width():
    """At C = 3 of a batch's mean terms: the loss of the recipe less its distortion is γ (√((KL − C)² + w²) − w)."""
    for width in (0.0, 2.0):
        capacity = {"objective": "capacity", "gamma": 10.0, "capacity": 3.0, "capacity_steps": 4, "huber_width": width}
        experiment = recipes.RECIPES["vae"].build(settings("vae", **MLP | capacity), (4, 4, 1))
        batch = Split(jnp.ones((6, 4, 4, 1)))
        params = experiment.model.init(jax.random.key(0), batch.x[0])
        value, (_, metrics) = experiment.loss(params, (), jax.random.key(1), jnp.int32(4), batch)
        far = float(metrics["rate"]) - 3.0
        expected = float(metrics["distortion"]) + 10.0 * ((far**2 + width**2) ** 0.5 - width)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert settings("beta-vae-sprites").objective.huber_width == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"inference": "bottom-up"},
        {"inference": "ladder", "objective": "free-bits"},
        {"inference": "independent", "objective": "dreg", "num_train_samples": 3},
    ],
)
def test_a_hierarchical_vae_reports_its_layers(data, tmp_path, changes):
    small = SMALL | {"latent_dims": (3, 2), "hidden_sizes": (8, 8), "epochs": 2, "objective": Elbo()} | changes
    result = trained("hvae-mnist", data, tmp_path / "run", **small)
    assert result["test_rate_1"] + result["test_rate_2"] == pytest.approx(result["test_rate"], rel=1e-4)
    assert figures(tmp_path / "run") == {"reconstructions", "samples", "curves", "layers"}
    with pytest.raises(InputError, match="no single latent vector"):
        done(runs.load_run(tmp_path / "run"), "traverse")


@pytest.mark.slow
@pytest.mark.parametrize("codebook", ["average", "loss"])
def test_a_vq_vae_counts_bits_and_codes(data, tmp_path, codebook):
    sizes = {"channels": (8,), "num_residual": 0, "code_dim": 2, "num_codes": 4, "prior_hidden_sizes": (8,)}
    changes = sizes | {"codebook": codebook, "batch_size": 8, "epochs": 40, "validate_every": 10, "learning_rate": 1e-2}
    result = trained("vq-vae", data, tmp_path / "run", **changes)
    assert result["test_bits_per_dim_bound"] == pytest.approx(-result["test_elbo"] / (16 * math.log(2)))
    assert "test_nll" not in result  # the bound of a posterior that is a point is no estimate
    assert 2 <= result["test_codes_used"] <= 4
    assert 1 < result["test_perplexity"] <= result["test_codes_used"]
    assert result["test_bits_per_dim_bound"] < 7  # uniform pixels take 8
    assert "codes" in figures(tmp_path / "run")
    sides = left_is_brighter(drawn_from(runs.load_run(tmp_path / "run"), 40))
    assert 2 < sides.sum() < 38  # both kinds are drawn


@pytest.mark.slow
@pytest.mark.parametrize(
    ("latent", "dim", "figure"),
    [("von-mises-fisher", 3, "sphere"), ("power-spherical", 2, "latents"), ("beta", 2, "manifold"), ("mixture", 2, "latents"),
     ("mixture-learned", 5, "samples")],
)  # fmt: skip
def test_every_prior_trains_and_is_drawn(data, tmp_path, latent, dim, figure):
    result = trained("vae", data, tmp_path / "run", latent=latent, latent_dim=dim, epochs=60, **MLP)
    first = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert result["test_elbo"] > first["valid_elbo"] + 1
    assert figure in figures(tmp_path / "run")
    assert done(runs.load_run(tmp_path / "run"), "traverse", steps=3).array.shape == (dim, 3, 4, 4, 1)


@pytest.mark.slow
def test_a_convolutional_vae_of_grey_values(data, tmp_path):
    changes = {
        "channels": (8,),
        "hidden_sizes": (16,),
        "latent_dim": 2,
        "epochs": 60,
        "validate_every": 20,
        "batch_size": 8,
        "num_importance_samples": 5,
    }
    result = trained("vae-cifar10", data, tmp_path / "run", **changes | {"learning_rate": 1e-2})
    assert result["test_bits_per_dim"] < 7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencoder-denoising", "autoencoder-contractive"])
def test_an_autoencoder_learns_and_draws_nothing(data, tmp_path, name):
    out = tmp_path / "run"
    result = trained(name, data, out, hidden_sizes=(16,), latent_dim=2, epochs=40, batch_size=8, learning_rate=1e-2)
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert result["test_squared_error"] < 0.5 * first["valid_squared_error"]
    assert {"reconstructions", "latents", "curves"} <= figures(out)
    assert ("corrupted" in figures(out)) == (name == "autoencoder-denoising")
    with pytest.raises(InputError, match="no distribution"):
        drawn_from(runs.load_run(out), 3)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["tcvae", "dip-i", "dip-ii", "factor"])
def test_objectives_of_the_latents_train(data, tmp_path, objective):
    """What is minimised is −ELBO and the penalty; the bound improves, and the run can be used."""
    out, more = tmp_path / "run", {"disc_hidden_sizes": (16, 16), "tc_weight": 1.0} if objective == "factor" else {}
    changes = MLP | more | {"objective": objective, "latent_dim": 2, "epochs": 30, "learning_rate": 1e-2}
    result = trained("vae", data, out, **changes)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert result["test_elbo"] > rows[0]["train_elbo"]
    assert abs(rows[0]["train_penalty"]) > 1e-3
    if objective == "factor":
        assert "train_discriminator_loss" in rows[-1]
    else:
        for row in rows:
            np.testing.assert_allclose(row["train_loss"], row["train_penalty"] - row["train_elbo"], rtol=1e-4)
    means = done(runs.load_run(out), "evaluate").table
    assert np.isfinite(means["log_prob"]).all()
    assert main(["bound", str(out), "--num", "5", "--num-steps", "20"]) == 0


@pytest.mark.slow
def test_a_conditional_factor_vae_is_given_its_labels(data, tmp_path):
    changes = {"objective": "factor", "disc_hidden_sizes": (4,), "num_classes": 2, "epochs": 1} | MLP
    assert np.isfinite(trained("vae", data, tmp_path / "run", **changes)["test_nll"])


@pytest.mark.slow
def test_a_sweep_is_the_runs_of_its_seeds_and_values(data, tmp_path):
    """Rates and distortions of two β and two seeds in one program, and of each run alone."""
    mlp = {name: value for name, value in MLP.items() if name != "num_importance_samples"}
    small = settings("vae", data=data, latent_dim=2, epochs=3, **mlp)
    rows = sweep("vae", small, num_seeds=2, vary={"beta": (0.5, 4.0)})
    assert [row["beta"] for row in rows] == [0.5, 4.0]
    found = []
    for seed in (0, 1):
        changed = dataclasses.replace(change(small, beta=4.0, validate_every=3, num_importance_samples=5), seed=seed)
        runs.fit("vae", changed, tmp_path / f"{seed}")
        found.append(done(runs.load_run(tmp_path / f"{seed}"), "evaluate").summary)
    for name in ("rate", "distortion"):
        of_runs = np.array([result[f"test_{name}"] for result in found])
        np.testing.assert_allclose(rows[1][f"test_{name}"], of_runs.mean(), atol=0.3)  # one draw of each z, with other keys
    assert rows[0]["test_rate"] > rows[1]["test_rate"]
    assert rows[0]["test_distortion"] < rows[1]["test_distortion"]
    one = settings("vae", data=data, objective="factor", epochs=1, **mlp | {"batch_size": 1})
    with pytest.raises(InputError, match="The batch has 1 example"):  # and not that a setting cannot be varied
        sweep("vae", one, num_seeds=1, vary={"tc_weight": (1.0,)})
    to = tmp_path / "rates.png"
    flags = ["--data", data, "--epochs", "1", "--batch-size", "8", "--hidden-sizes", "4", "--num-seeds", "1"]
    assert main(["sweep", "vae", *flags, "--vary", "beta=1,2", "--to", str(to)]) == 0
    assert to.stat().st_size > 1000


@pytest.mark.slow
def test_sprites_train_without_an_image_stored(tmp_path, monkeypatch, capsys):
    """Two steps, and an evaluation on a few of them."""
    monkeypatch.setattr("gen_jax.data.sources.SPRITES_HELD_OUT", (40, 40))
    result = trained(
        "beta-vae-sprites", "sprites", tmp_path / "run", epochs=1, epoch_steps=2, capacity_steps=2, num_importance_samples=2
    )
    assert result["num_examples"] == len(load_dataset("sprites").test.x) < 160
    assert -64 * 64 * math.log(2) * 1.2 < result["test_elbo"] < 0
    assert main(["traverse", str(tmp_path / "run"), "--steps", "2"]) == 0
    for other in ("sprites-colour", "mnist-5k"):
        assert main(["evaluate", str(tmp_path / "run"), "--data", other]) == 2
        assert f"is of sprites, and not of {other}: give sprites" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cvae", {"num_classes": 1}, "num_classes is 1: give 2 or more"),
        ("vae", {"latent": "conditional-normal"}, "num_classes is not set"),
        ("vae", {"latent": "von-mises-fisher", "latent_dim": 1}, "a sphere needs the 2 coordinates"),
        ("vae", {"objective": "iwae", "num_train_samples": 0}, "num_train_samples is 0: give 1 or more"),
        ("vae", {"objective": "iwae", "beta": 4.0}, "There is no setting 'beta'"),
        ("vae", {"gamma": 3.0}, "There is no setting 'gamma' here: it comes with objective='capacity'."),
        ("vae", {"latent": "mixtrue"}, "There is no latent 'mixtrue'. Did you mean mixture?"),
        ("vae", {"amortised": False}, "amortised is False, and there is no flow"),
        ("vae-planar", {"context_dim": 3, "kl_warmup_steps": 0}, "the flow planar takes no context"),
        ("vae", {"beta": -1.0}, "beta is -1.0: give 0 or more"),
        ("vae", {"num_importance_samples": 3_000_000_000}, "num_importance_samples is 3000000000: give less than 2147483648"),
        ("vae", {"latent_dim": 100_000_000_000}, "latent_dim is 100000000000"),
        ("vae", {"architecture": "conv", "channels": (4, 4, 4)}, "An image of 4 x 4 cannot be halved 3 times"),
        ("vae", {"likelihood": "discretised-logistic"}, "use --binarise none"),
        ("vae", {"latent": "mixture", "num_components": 0}, "num_components is 0"),
        ("vae", {"epoch_steps": 100}, "epoch_steps is 100, and 64 examples make 8 batches"),
        ("hvae-mnist", {"latent_dims": (3,)}, "give as many of each"),
        ("hvae-mnist", {"latent_dims": (), "hidden_sizes": ()}, "give as many of each"),
        ("hvae-mnist", {"objective": "tcvae"}, "objective is tcvae, which takes one vector of latents"),
        ("vae", {"objective": "tcvae", "latent": "power-spherical"}, r"q\(z\|x\) is PowerSpherical, and the penalty takes"),
        ("hvae-mnist", {"objective": "free-bits"}, "only the sum over layers is a KL"),
        ("vae", {"latent": "mixture", "latent_dim": -1}, "latent_dim is -1: give 1 or more"),
        ("vae", {"beta": float("inf")}, "beta is inf"),
        ("vae", {"likelihood": "gaussian"}, "a Gaussian density is of grey values"),
        ("vae", {"patience": 3, "kl_warmup_steps": 10}, "leave one of the two out"),
        ("vae-iaf", {"flow_hidden_sizes": (), "kl_warmup_steps": 0}, "flow_hidden_sizes is"),
        ("vq-vae", {"num_codes": 1, "channels": (4,)}, "num_codes is 1: give 2 or more"),
        ("vq-vae", {"channels": ()}, "channels is"),
        (
            "vq-vae",
            {"channels": (4,), "prior_hidden_sizes": (9, 2)},
            r"^prior_hidden_sizes is \(9, 2\): .* over 4 codes .* 3 units",
        ),
        (
            "vq-vae",
            {"channels": (4, 4), "prior_hidden_sizes": ()},
            r"^prior_hidden_sizes is \(\): .* over 1 codes need one layer",
        ),
        ("vae", {"objective": "capacity"}, "capacity_steps is 100000, and the run has 480 steps"),
        ("vae", {"kl_warmup_steps": 1000}, "kl_warmup_steps is 1000, and the run has 480 steps"),
        ("vae-planar", {"latent": "von-mises-fisher", "kl_warmup_steps": 0}, "A flow needs latents that may be any vector"),
        ("vq-vae", {"codebook_decay": 1.0, "channels": (4,)}, "codebook_decay is 1.0"),
        ("autoencoder", {"corruption": "masking", "amount": 2.0}, "amount is 2.0: give 1 or less"),
        ("autoencoder", {"contraction": -1.0}, "contraction is -1.0"),
    ],
)
def test_bad_settings_are_refused(data, tmp_path, name, changes, message):
    with pytest.raises(InputError, match=message):
        trained(name, data, tmp_path / "run", **{"batch_size": 8} | changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "have no labels, and this model is conditioned on them"),
        (np.arange(80) % 3, "range from 0 to 2, and the model has 2"),
    ],
)
def test_labels_that_a_conditional_model_cannot_take_are_refused(tmp_path, labels, message):
    np.savez(tmp_path / "a.npz", images=np.zeros((80, 4, 4), np.uint8), **({} if labels is None else {"labels": labels}))
    with pytest.raises(InputError, match=message):
        trained("cvae", f"npz:{tmp_path / 'a.npz'}", tmp_path / "run", num_classes=2)


def test_what_is_off_the_256_grey_values_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).random((40, 4, 4)))
    with pytest.raises(InputError, match="are not on 256 grey values"):
        trained("vae", f"npz:{tmp_path / 'a.npz'}", tmp_path / "run", likelihood="discretised-logistic", binarise="none")


@pytest.mark.slow
def test_a_traversal_of_what_is_not_there_is_refused(data, tmp_path, capsys):
    trained("vae", data, tmp_path / "run", latent_dim=2, epochs=1, **MLP)
    for argument, value, message in (
        ("--example", "8", "example is 8"),
        ("--steps", "1", "steps is 1"),
        ("--to", "a.pdf", "a.pdf"),
    ):
        assert main(["traverse", str(tmp_path / "run"), argument, value]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_vq_vae_that_stops_goes_on_and_ends_the_same(data, tmp_path):
    """Its codebook is moved beside the optimizer, at keys of its own."""
    sizes = {"channels": (8,), "num_residual": 0, "code_dim": 2, "num_codes": 4, "prior_hidden_sizes": (8,), "batch_size": 8}
    whole_and_stopped("vq-vae", settings("vq-vae", data=data, epochs=3, ema_decay=0.9, **sizes), tmp_path)


@pytest.mark.slow
def test_labels_stream_with_their_images(data, tmp_path):
    trained("cvae", data, tmp_path / "run", num_classes=2, latent_dim=2, stream=True, validate_every=10, **MLP | {"epochs": 30})
    drawn = drawn_from(runs.load_run(tmp_path / "run"), 40)
    np.testing.assert_array_equal(left_is_brighter(drawn), np.arange(40) % 2 == 0)


@pytest.mark.slow
def test_the_score_of_a_run_with_warm_up_is_at_its_full_weight(data, tmp_path):
    changes = {"kl_warmup_steps": 10, "beta": 2.0, "epochs": 2, "latent_dim": 2}
    trained("vae", data, tmp_path / "run", **MLP | changes)
    for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["valid_score"] == pytest.approx(-(row["valid_distortion"] + 2 * row["valid_rate"]), rel=1e-5)
