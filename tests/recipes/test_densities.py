"""The recipes of flows and MADE, small, from Python and from the command line."""

import json

import numpy as np
import pytest

from gen_jax import runs
from gen_jax.cli import main
from gen_jax.recipes.made import MadeSettings
from gen_jax.recipes.settings import read_settings, settings_json
from gen_jax.types import InputError
from tests.small import drawn_from, settings, whole_and_stopped

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> str:
    """Ten bits, of which the last five repeat the first five: the entropy is 5 log 2 = 3.466 nats."""
    halves = {part: RNG.integers(0, 2, (num, 5)) for part, num in (("train", 600), ("valid", 100), ("test", 200))}
    path = tmp_path_factory.mktemp("data") / "bits.npz"
    np.savez(path, **{part: np.tile(half, 2) for part, half in halves.items()})
    return f"npz:{path}"


SMALL_MADE = {"hidden_sizes": (40,), "batch_size": 50, "learning_rate": 1e-2, "patience": None, "validate_every": 5}
ONE_MASK = {"masks": "fixed", "shuffle": "none"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "masks",
    [
        pytest.param(ONE_MASK, id="fixed"),
        pytest.param({"masks": "cycle", "shuffle": "both", "num_masks": 3}, id="cycle"),
        pytest.param({"masks": "fresh", "shuffle": "orderings", "num_masks": 3}, id="fresh"),
    ],
)
def test_made_finds_the_entropy_of_its_data(binary, tmp_path, masks):
    result = runs.train("made-dna", settings("made-dna", data=binary, epochs=60, **SMALL_MADE, **masks), tmp_path / "run")
    assert 5 * np.log(2) - 0.1 < result["test_nll"] < 5 * np.log(2) + 0.35
    table = runs.perform(runs.load_run(tmp_path / "run"), "evaluate").table
    np.testing.assert_allclose(-table["log_prob"].mean(), result["test_nll"], rtol=1e-6)
    drawn = np.asarray(drawn_from(runs.load_run(tmp_path / "run"), 200))
    assert np.mean(drawn[:, :5] == drawn[:, 5:]) > 0.95


@pytest.mark.slow
def test_a_resumed_run_sees_the_masks_that_it_would_have_seen(binary, tmp_path):
    small = settings("made-dna", data=binary, epochs=4, **SMALL_MADE | {"validate_every": 1}, num_masks=2)
    whole_and_stopped("made-dna", small, tmp_path)


@pytest.mark.slow
def test_training_stops_when_patience_runs_out_and_keeps_the_best(binary, tmp_path):
    """Six hundred examples are soon learned by heart, at this learning rate: the validation score falls."""
    changes = SMALL_MADE | {"patience": 3, "validate_every": 1, "learning_rate": 5e-2}
    fixed = ONE_MASK
    result = runs.train("made-dna", settings("made-dna", data=binary, epochs=500, **changes, **fixed), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scores = [row["valid_log_prob"] for row in rows]
    assert len(rows) < 500
    assert len(rows) == int(np.argmax(scores)) + 1 + 3
    assert result["epoch"] == int(np.argmax(scores)) + 1
    # the same command again returns the result that is there
    assert runs.train("made-dna", settings("made-dna", data=binary, epochs=500, **changes, **fixed), tmp_path / "run") == result


@pytest.mark.slow
def test_made_on_images_draws_completions(tmp_path):
    images = (RNG.random((60, 4, 4)) < 0.3).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    small = settings(
        "made-mnist", data=f"npz:{tmp_path}/images.npz", binarise="none", hidden_sizes=(20,), batch_size=10, epochs=1
    )
    runs.train("made-mnist", small, tmp_path / "run")
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures == {"samples.png", "curves.png", "completions.png"}


@pytest.mark.slow
def test_a_flow_finds_the_density_of_its_data(tmp_path):
    """A normal distribution with a correlation of 0.8: its entropy is log(2πe) + ½ log(1 − 0.64) = 2.327 nats."""
    points = RNG.multivariate_normal([1.0, -1.0], [[1.0, 0.8], [0.8, 1.0]], 3000).astype(np.float32)
    np.savez(tmp_path / "points.npz", images=points)
    small = settings(
        "flow-2d",
        data=f"npz:{tmp_path}/points.npz",
        flow="affine-coupling",
        num_layers=2,
        flow_hidden_sizes=(16,),
        epochs=15,
        validate_every=5,
        batch_size=100,
        learning_rate=1e-2,
    )
    result = runs.train("flow-2d", small, tmp_path / "run")
    assert abs(result["test_nll"] - (np.log(2 * np.pi * np.e) + 0.5 * np.log(0.36))) < 4 * result["test_nll_se"] + 0.02
    assert {path.name for path in (tmp_path / "run" / "figures").iterdir()} == {"samples.png", "curves.png"}
    assert main(["sample", str(tmp_path / "run"), "--num", "50"]) == 0
    assert np.load(tmp_path / "run" / "samples-0.npy").shape == (50, 2)


@pytest.mark.slow
def test_a_flow_fits_an_energy(tmp_path):
    small = settings(
        "energy-2d", data="toy:sine", num_layers=4, epochs=4, batch_size=100, learning_rate=1e-2, annealing_steps=500
    )
    result = runs.train("energy-2d", small, tmp_path / "run")
    assert abs(result["mass_on_grid"] - 1) < 1e-3
    assert 0 < result["kl"] < 1.0
    # Z by quadrature: a Gaussian ridge of width 0.4 over about 8 units of z_1
    np.testing.assert_allclose(result["log_z"], np.log(0.4 * np.sqrt(2 * np.pi) * 8.5), atol=0.1)


def test_settings_that_do_not_fit_are_refused(binary, tmp_path):
    def error(recipe, **changes):
        with pytest.raises(InputError) as caught:
            runs.train(recipe, settings(recipe, **changes), tmp_path / "run")
        assert not (tmp_path / "run").exists()
        return str(caught.value)

    np.savez(tmp_path / "grey.npz", images=RNG.integers(0, 255, (20, 10), np.uint8))
    assert "this MADE takes 0 and 1 only" in error("made-dna", data=f"npz:{tmp_path}/grey.npz", batch_size=5)
    assert "loses dependencies" in error("made-dna", data=binary, hidden_sizes=(5,), direct=False)
    with pytest.raises(InputError, match="There is no setting 'num_masks'"):  # of one mask
        settings("made-dna", masks="fixed", num_masks=2)
    with pytest.raises(InputError, match="There is no setting 'num_units'"):  # of planar layers
        settings("flow-2d", flow="planar", num_units=2)
    wrong = json.dumps(settings_json(settings("made-dna"))).replace('"shuffle": "both"', '"shuffle": "none"')
    with pytest.raises(InputError, match="shuffle is 'none': give orderings, connectivities, both"):
        read_settings(MadeSettings, wrong)
    with pytest.raises(InputError, match=r"hidden_sizes is 5: give several values, such as \(64, 32\)"):
        read_settings(MadeSettings, json.dumps(settings_json(settings("made-dna")) | {"hidden_sizes": 5}))
    assert "patience is 0" in error("made-dna", data=binary, patience=0)
    assert "weight_decay is -1" in error("made-dna", data=binary, weight_decay=-1.0)
    assert "a flow is a density of real numbers" in error("flow-2d", binarise="dynamic")
    assert "a density of real numbers says nothing" in error("flow-2d", data=f"npz:{tmp_path}/grey.npz", batch_size=5)
    assert "annealing_steps is 0" in error("energy-2d", annealing_steps=0)
    assert "the run has 4000 steps" in error("energy-2d", epochs=20)
    assert "a flow is a density of real numbers" in error("energy-2d", binarise="threshold")
    np.savez(tmp_path / "far.npz", images=RNG.normal(100, 10, (50, 2)).astype(np.float32))
    assert "100% of the numbers" in error("flow-2d", data=f"npz:{tmp_path}/far.npz", batch_size=5)
    bits = {"data": binary, "binarise": "none"}
    assert "num_layers is 0" in error("vae-planar", **bits, num_layers=0)
    assert "hidden_sizes is 0" in error("vae-planar", **bits, hidden_sizes=(0,))
    assert "latent_dim is 0" in error("vae-iaf", **bits, latent_dim=0)
    assert "flow_hidden_sizes is (30,)" in error("vae-iaf", **bits, flow_hidden_sizes=(30,))
    assert "num_units is 16" in error("vae-planar", data=binary, binarise="none", flow="sylvester", latent_dim=8, num_units=16)
    assert "give one of toy:ring" in error("energy-2d", data="toy:two-moons")
    assert "num_units is 5" in error("flow-2d", flow="sylvester", num_units=5)
    assert "num_layers is 0" in error("flow-2d", num_layers=0)
    assert "kl_warmup_steps is -1" in error("vae", kl_warmup_steps=-1)
    assert "context_dim is 0" in error("vae-iaf", data=binary, binarise="none", context_dim=0)


@pytest.mark.slow
def test_importance_samples_of_an_exact_likelihood_are_refused(binary, tmp_path, capsys):
    changes = SMALL_MADE | ONE_MASK
    runs.train("made-dna", settings("made-dna", data=binary, epochs=1, **changes), tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--num-importance-samples", "10"]) == 2
    assert "no likelihood of this model is estimated by them" in " ".join(capsys.readouterr().err.split())
