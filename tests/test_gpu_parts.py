"""`benchmarks/gpu.py`: its parts stop, go on, and name rows that there are; members of one program are their own runs."""

import importlib
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import recipes
from gen_jax.data import Split, load_dataset
from gen_jax.recipes import RECIPES, change
from gen_jax.recipes.settings import RUN, seed_key
from gen_jax.train import fit_keys

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("gpu", "table", "members")


@pytest.fixture
def programs(monkeypatch):
    """Import programs of the benchmarks by name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "tables")
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


SLEEPER = """
import pathlib, sys, time
file = pathlib.Path(sys.argv[sys.argv.index("--save") + 1])
done = file.read_text().count("1") if file.exists() else 0
file.parent.mkdir(parents=True, exist_ok=True)
file.write_text("[" + ", ".join(["1"] * (done + 1)) + "]")
time.sleep(30 if sys.argv[1] == "slow" and not done else 0)
"""


def test_a_part_is_stopped_in_time_and_goes_on_with_what_is_left(programs, monkeypatch, tmp_path):
    gpu = programs("gpu")
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    pieces = {name: gpu.Piece(f"{tmp_path}/sleeper.py {name}", "") for name in ("fast", "slow", "last")}
    monkeypatch.setitem(gpu.PARTS, "steps", pieces)
    monkeypatch.setattr(gpu, "LEAST_SECONDS", 1)
    monkeypatch.setattr(gpu, "device", lambda: "here")
    start = time.monotonic()
    assert gpu.do("steps", tmp_path / "out", tmp_path, start + 3, toy=False) == ["slow", "last"]
    assert time.monotonic() - start < 10
    saved = json.loads((tmp_path / "gpu-steps-here.json").read_text())["pieces"]
    assert {name: (piece["done"], piece.get("result")) for name, piece in saved.items()} == {
        "fast": (True, [1]),
        "slow": (False, [1]),
        "last": (False, None),
    }
    for file in (tmp_path / "out").iterdir():
        file.unlink()  # another machine has the results alone
    assert gpu.do("steps", tmp_path / "out", tmp_path, time.monotonic() + 20, toy=False) == []
    saved = json.loads((tmp_path / "gpu-steps-here.json").read_text())["pieces"]
    assert {name: piece["result"] for name, piece in saved.items()} == {"fast": [1], "slow": [1, 1], "last": [1]}


@pytest.mark.slow
def test_every_piece_of_a_part_names_rows_and_settings_that_there_are(programs, monkeypatch, shared_data):
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(shared_data))
    gpu, table = programs("gpu"), programs("table")
    for piece in (piece for pieces in gpu.PARTS.values() for piece in pieces.values()):
        if not piece.command.startswith("tables/"):
            continue
        for command in (piece.command, piece.toy):
            path, *options = shlex.split(command)
            monkeypatch.setattr(sys, "argv", [path, *options])
            rows, args = programs(Path(path).stem).ROWS, table.arguments("")
            for row, settings in table.settings_of(rows, args).items():
                recipes.check_settings(settings)
                dataset = load_dataset(settings.data, "none")
                recipe = recipes.RECIPES[rows[row][0]]
                experiment = recipe.build(settings, dataset.event_shape)
                steps = settings.epochs * (settings.epoch_steps or len(dataset.train.x) // settings.examples_per_step)
                settings.check_steps(steps)
                experiment.optimizer(steps)


@pytest.mark.slow
def test_a_part_runs_at_toy_size(tmp_path):
    call = [sys.executable, BENCHMARKS / "gpu.py", "iwae", "--toy", "--out", tmp_path]
    subprocess.run(call, check=True, timeout=400, env={"PATH": "", "PYTHONPATH": str(BENCHMARKS.parent), "HOME": str(tmp_path)})
    (piece,) = json.loads(next(tmp_path.glob("gpu-iwae-*.json")).read_text())["pieces"].values()
    (run,) = piece["result"]["runs"]["one-layer-vae-1"]
    assert piece["done"]
    assert np.isfinite(run["test_nll"])


SETTINGS = change(RECIPES["vae"].settings, hidden_sizes=(16,), latent_dim=3, num_train_samples=4, epochs=2, epoch_steps=3)
IWAE = change(SETTINGS, objective="iwae")
BATCH = Split(np.float32(np.random.default_rng(0).random((5, 28, 28, 1)) < 0.3))


@pytest.mark.slow
def test_members_have_the_losses_and_gradients_of_their_own_objective_and_parameters(programs):
    members = programs("members")
    experiment = RECIPES["vae"].build(IWAE, (28, 28, 1))
    vae, key, step = experiment.model, jax.random.key(2), jnp.int32(0)
    params = jax.vmap(lambda key: vae.init(key, jnp.zeros((28, 28, 1))))(jax.random.split(jax.random.key(0), 4))
    together = members.together(members.weighted_bound(vae, 4), jnp.array([0.0, 0.0, 1.0, 1.0]))
    grads, (_, metrics) = jax.jit(jax.grad(together, has_aux=True))(params, (), key, step, BATCH)

    def of_vae(params, state, key, step, batch):
        def bound(key, x):
            def one(key):
                q = vae.encode(params, x)
                z = q.sample(key)
                return vae.decode(params, z).log_prob(x) - q.log_prob(z) - 0.5 * jnp.sum(z**2 + np.log(2 * np.pi))

            return jnp.mean(jax.vmap(one)(jax.random.split(key, 4)))

        return -jnp.mean(jax.vmap(bound)(jax.random.split(key, len(batch.x)), batch.x)), None

    for number, loss in enumerate((of_vae, of_vae, experiment.loss, experiment.loss)):
        own, own_grads = jax.tree.map(lambda leaf, number=number: leaf[number], (params, grads))
        of_params = lambda p, loss=loss, n=number: loss(p, (), jax.random.fold_in(key, n), step, BATCH)[0]
        value, expected = jax.jit(jax.value_and_grad(of_params))(own)
        np.testing.assert_allclose(metrics[f"loss_{number}"], value, rtol=1e-5)
        jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3), own_grads, expected)


def test_a_vae_and_an_iwae_of_as_many_samples_share_a_program(programs):
    rows = {
        "vae": SETTINGS,
        "iwae": IWAE,
        "warmed up": change(SETTINGS, kl_warmup_steps=3),
        "dreg": change(IWAE, objective="dreg"),
        "of two samples": change(IWAE, num_train_samples=2),
    }
    found = programs("members").groups_of(rows, dict.fromkeys(rows, "vae"))
    assert found == [["vae", "iwae"], ["warmed up"], ["dreg"], ["of two samples"]]


@pytest.mark.slow
def test_members_begin_as_their_own_runs_do_and_are_written_as_runs(programs, tmp_path):
    members = programs("members")
    stored = load_dataset("mnist-5k", "none")
    fitted = members.train([SETTINGS], "vae", 2, stored, tmp_path / "members")
    again = members.train([SETTINGS], "vae", 2, stored, tmp_path / "members")  # finished: nothing is left to train
    jax.tree.map(np.testing.assert_array_equal, fitted.state.params, again.state.params)
    model = RECIPES["vae"].build(SETTINGS, stored.event_shape).model
    for seed in range(2):
        state = members.member_of(fitted.state, seed)
        expected = model.init(fit_keys(seed_key(seed, RUN)).init, jnp.zeros(stored.event_shape))
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.params, expected)
        # Adam's step is at most the learning rate, about, in each of 6 steps
        assert 1e-4 < max(jax.tree.leaves(moved)) < 6 * 1.5e-3
