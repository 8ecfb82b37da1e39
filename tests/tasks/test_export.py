"""Exported models: their programs give what the package's own functions give, and run where the package cannot be imported."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from safetensors.numpy import load, load_file

from gen_jax import made, runs, tasks
from gen_jax.autoencoders import Autoencoder
from gen_jax.cli import main
from gen_jax.data import DataView, Split
from gen_jax.distributions import Normal
from gen_jax.evaluate import example_keys
from gen_jax.flows import flow_density
from gen_jax.gan import draw_latents
from gen_jax.tasks import latent_models
from gen_jax.tasks.task import save_outcome
from gen_jax.types import GAN, VAE, InputError, Variables, context_of, split
from gen_jax.vae import elbo_terms, log_weight
from tests import small
from tests.contracts import bijections, gans, mades, vaes
from tests.tasks.test_tasks import FAMILIES, IMAGE, KEY

FAST = {"autoencoder"}
SLOW = ("flow", "conditional VAE", "VQ-VAE", "MADE", "conditional GAN")
FAMILY_ROWS = [*sorted(FAST), *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
SIZES = (1, 7)
BITS = jnp.asarray(np.random.default_rng(0).integers(0, 2, (max(SIZES), *IMAGE)), jnp.float32)


def made_up(family):
    """A model of a family, and its parameters, which are not those of the start."""
    model = FAMILIES[family]
    label = (jnp.int32(0),) if family == "conditional VAE" else ()
    leaves, treedef = jax.tree.flatten(model.init(KEY, jnp.zeros(IMAGE), *label))
    keys = jax.random.split(jax.random.key(5), len(leaves))
    noisy = [a + 0.1 * jax.random.normal(k, a.shape) if a.dtype.kind == "f" else a for a, k in zip(leaves, keys, strict=True)]
    return model, jax.tree.unflatten(treedef, noisy)


def named(z):
    return {"z": z} if isinstance(z, jax.Array) else {f"z_{i}": part for i, part in enumerate(z, start=1)}


def expected(model, params, x):
    """For each program, what it is given for a batch and what the package's own functions return for it."""
    num, view = len(x), DataView()
    num_classes = getattr(model, "num_classes", None)
    labels = None if num_classes is None else jnp.arange(num) % num_classes
    label, keys = {} if labels is None else {"labels": labels}, example_keys(KEY, num)
    draws = jax.random.split(KEY, num)
    data, drawn = ({"keys": jax.random.key_data(some)} for some in (keys, draws))
    found = {}
    if isinstance(model, VAE | GAN | Autoencoder):
        if not isinstance(model, GAN):
            z = latent_models.encode(model, view, params, KEY, Split(x, labels))
            found["encode"] = {"x": x, **label, **data}, named(z)
        z = draw_latents(model.prior, KEY, num) if isinstance(model, GAN) else z
        found["decode"] = {**named(z), **label}, {"x": latent_models.decode(model, view, params, KEY, z, labels)}
    if not isinstance(model, Autoencoder):
        is_latent = isinstance(model, VAE | GAN)
        x_drawn = tasks.sample(model, params, KEY, num) if is_latent else jax.vmap(lambda key: model.sample(params, key))(draws)
        found["sample"] = {**label, **drawn}, {"x": x_drawn}
    if isinstance(model, VAE):
        of_one = lambda function: jax.vmap(lambda k, x, y: function(model, params, k, x, context_of(model, y)))(keys, x, labels)
        found["elbo"] = {"x": x, **label, **data}, of_one(elbo_terms).metrics
        found["log_weight"] = {"x": x, **label, **data}, {"log_weight": of_one(log_weight)}
    if isinstance(model, GAN):
        output = model.discriminate(*split(params), x, labels)[0]
        classes = {} if output.classes is None else {"classes": output.classes}
        packs = x if model.packing == 1 else x.reshape(-1, model.packing, *x.shape[1:])
        found["discriminate"] = {"x": packs, **label}, {"logits": output.logits, **classes}
    elif not isinstance(model, VAE | Autoencoder):
        found["log_prob"] = {"x": x}, {"log_prob": jax.vmap(lambda x: model.log_prob(params, x))(x)}
    return found


def check(model, params, xs, tolerance=1e-6):
    """The programs of a model return what its functions do, and are what the manifest says, for batches of these examples."""
    files = tasks.export(model, params, xs[0][0])
    weights, manifest = load(files["weights.safetensors"]), json.loads(files["manifest.json"])
    programs = {name: export.deserialize(bytearray(files[one["file"]])) for name, one in manifest["programs"].items()}
    for x in xs:
        wanted = expected(model, params, x)
        assert set(programs) in (set(wanted), set(wanted) - {"log_weight"})
        for name, program in programs.items():
            given, numbers = wanted[name]
            told = manifest["programs"][name]
            assert set(told["takes"]) in (set(given), set(given) - {"keys"})
            given = {key: given[key] for key in told["takes"]}
            found = program.call(weights, **given)
            for key, value in numbers.items():
                np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance, err_msg=f"{name}: {key}")
            num = len(next(iter(given.values())))
            for arrays, specs in ((given, told["takes"]), (found, told["returns"])):
                shapes = {key: (value.shape, str(value.dtype)) for key, value in arrays.items()}
                assert shapes == {
                    key: (tuple(num if size == "b" else size for size in spec["shape"]), spec["dtype"])
                    for key, spec in specs.items()
                }


@pytest.mark.parametrize("family", FAMILY_ROWS)
def test_programs_return_what_the_functions_of_the_model_do(family):
    check(*made_up(family), [BITS[:num] for num in SIZES])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["discretised-logistic", "flow-iaf", "von-mises-fisher", "ladder"])
def test_every_vae_can_be_exported(name):
    case = vaes.CASES[name]
    params = case.vae.init(KEY, case.x, case.context)
    check(case.vae, params, [jnp.stack([case.x] * num) for num in SIZES], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["points-packed", "dcgan-projection"])
def test_every_kind_of_gan_can_be_exported(name):
    case = gans.CASES[name]
    x = case.batch.x
    check(case.gan, case.gan.init(KEY, x[0]), [x[: case.packing], x], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["categorical"])
def test_every_kind_of_made_can_be_exported(name):
    case = mades.CASES[name]
    model = made.ensemble(case.model, made.shuffled_masks(KEY, case.model.degrees), 3)
    params = Variables(case.params, model.init(KEY).state)
    check(model, params, [jnp.stack([case.x] * num) for num in SIZES], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maf-spline"])
def test_every_kind_of_flow_can_be_exported(name):
    case = bijections.CASES[name]
    model = flow_density(Normal(jnp.zeros(bijections.DIM), jnp.ones(bijections.DIM)), case.bijection)
    check(model, case.params, [case.xs[:1], case.xs], 1e-4)


@pytest.mark.parametrize(
    "family", ["flow", *(pytest.param(name, marks=pytest.mark.slow) for name in ("VAE", "GAN", "MADE", "autoencoder"))]
)
def test_a_process_without_the_package_runs_the_programs(family, tmp_path):
    """By the script of the README first, then on known arrays, against what this process computes."""
    model, params = made_up(family)
    for name, content in tasks.export(model, params, BITS[0]).items():
        (tmp_path / name).write_bytes(content)
    programs = json.loads((tmp_path / "manifest.json").read_text())["programs"]
    arrays = {}
    for name, (given, numbers) in expected(model, params, BITS).items():
        if name in programs:
            arrays |= {f"{name}/takes/{key}": given[key] for key in programs[name]["takes"]}
            arrays |= {f"{name}/returns/{key}": value for key, value in numbers.items()}
    np.savez(tmp_path / "known.npz", **arrays)
    (script,) = re.findall("```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    check = """
import sys

known, names = np.load("known.npz"), set()
for path in known:
    names.add(path.split("/")[0])
for name in names:
    arrays = lambda kind: {path.split("/")[2]: known[path] for path in known if path.startswith(f"{name}/{kind}/")}
    found = export.deserialize(bytearray(Path(f"{name}.jax").read_bytes())).call(weights, **arrays("takes"))
    for key, value in arrays("returns").items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5)
assert not [module for module in sys.modules if module.startswith("gen_jax.") or module in ("flax", "jaxtyping")]
print("checked", len(names))
"""
    blocked = 'import sys\nsys.modules["gen_jax"] = None\ntry:\n    import gen_jax\nexcept ImportError:\n    print("blocked")\n'
    done = subprocess.run([sys.executable, "-I", "-c", blocked + script + check], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("blocked", f"checked {len(programs)}")
    assert [line.split()[0] for line in lines[1:-1]] == list(programs)


def test_weights_have_their_paths_for_names_and_every_bit():
    params = Variables({"net": {"kernel": jnp.arange(6.0).reshape(2, 3).T, "bias": jnp.float32(0.1)}}, [jnp.arange(3)])
    flat = tasks.exporting.flat_weights(params)
    assert list(flat) == ["params/net/bias", "params/net/kernel", "state/0"]
    found = load(tasks.exporting._safetensors(flat))
    for name, value in flat.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)
    with pytest.raises(InputError, match="Two weights have the name a/b: rename one of them"):
        tasks.exporting.flat_weights({"a/b": jnp.zeros(1), "a": {"b": jnp.zeros(1)}})


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="tuple cannot be exported: give a VAE, a flow"):
        tasks.export((), {}, jnp.zeros(2))


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (DataView(), "from 0 to 1: those of 0 … 255 divided by 255"),
        (DataView(symmetric=True), "from −1 to 1: 2 i − 1"),
        (DataView(binarise="dynamic"), "1 with itself as the probability"),
        (DataView(binarise="threshold"), "1 where it was 1/2 or more"),
    ],
)
def test_the_range_of_the_model_is_told(view, told):
    assert told in tasks.exporting._range_of(view)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run as training leaves it, before the test evaluation and the figures."""
    monkeypatch.setattr(runs, "_finish", lambda *_: {})
    np.savez(tmp_path / "noise.npz", images=np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8))
    changes = {"data": f"npz:{tmp_path / 'noise.npz'}", "latent_dim": 3, "hidden_sizes": (8,), "batch_size": 8, "epochs": 1}
    runs.train("autoencoder", small.settings("autoencoder", **changes), tmp_path / "run")
    return tmp_path / "run"


def error_of(capsys, *argv) -> str:
    assert main([str(a) for a in argv]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_run_is_exported_into_a_folder(run, tmp_path, capsys, monkeypatch):
    assert main(["export", str(run)]) == 0
    assert str(run / "export") in "".join(capsys.readouterr().out.split())
    names = {"weights.safetensors", "manifest.json", "README.md", "encode.jax", "decode.jax"}
    assert {path.name for path in (run / "export").iterdir()} == names
    weights, trained = load_file(run / "export" / "weights.safetensors"), runs.load_run(run)
    experiment, params = trained.experiment, trained.params
    np.testing.assert_array_equal(weights["encoder/params/Dense_0/kernel"], params["encoder"]["params"]["Dense_0"]["kernel"])
    program = export.deserialize(bytearray((run / "export" / "encode.jax").read_bytes()))
    codes = jax.vmap(experiment.model.encode, in_axes=(None, 0))(params, BITS)
    np.testing.assert_allclose(program.call(weights, x=BITS)["z"], codes, rtol=1e-6, atol=1e-6)
    told = json.loads((run / "export" / "manifest.json").read_text())
    assert told["run"] == json.loads((run / "config.json").read_text()) | {"epoch": 1}
    assert (told["run"]["recipe"], told["run"]["settings"]["seed"]) == ("autoencoder", 0)

    monkeypatch.setattr(runs, "perform", lambda *_, **__: pytest.fail("the work is done"))
    again = error_of(capsys, "export", run)
    assert again == f"Error: {run / 'export'} exists already: move it away, or give the path of a new folder."
    assert "There is no folder" in error_of(capsys, "export", run, "--to", tmp_path / "nowhere" / "export")
    assert "exists already" in error_of(capsys, "export", run, "--to", tmp_path / "noise.npz")
    assert error_of(capsys, "export", tmp_path).startswith("Error: ")  # no run folder


def test_a_folder_is_whole_or_not_there(tmp_path, monkeypatch):
    outcome, to = tasks.Outcome("export", files={"a": b"1", "b": b"2"}), tmp_path / "to"
    write = Path.write_bytes

    def full_disk(path, content):
        if path.name == "b":
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(OSError, match="No space"):
            save_outcome(outcome, to)
    assert not list(tmp_path.iterdir())
    (tmp_path / "to.partial").mkdir()  # of a process that was killed
    (tmp_path / "to.partial" / "old").write_text("")
    assert save_outcome(outcome, to) == [to]
    assert {path.name: path.read_bytes() for path in to.iterdir()} == {"a": b"1", "b": b"2"}
    assert list(tmp_path.iterdir()) == [to]
    with pytest.raises(InputError, match="exists already"):
        save_outcome(outcome, to)
