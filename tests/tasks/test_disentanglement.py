"""How latents stand for factors, on images of a bar of a known height and place."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import evaluate, tasks
from gen_jax.cli import main
from gen_jax.data import Dataset, Factors, Split
from gen_jax.tasks.disentanglement import perform
from gen_jax.types import InputError
from tests.tasks.test_tasks import FAMILIES, IMAGE, KEY, subject_of

KNOWN = np.stack(np.unravel_index(np.arange(160) % 16, (4, 4)), axis=1).astype(np.int32)  # how many rows are bright, and where
BARS = np.zeros((160, *IMAGE), np.float32)
for image, (height, column) in zip(BARS, KNOWN, strict=True):
    image[: height + 1, column] = 1
NAMES = ("height", "column")


def bars(num_test: int = 160) -> Dataset:
    splits, factors = (Split(BARS), Split(BARS[:16]), Split(BARS[:num_test])), (KNOWN, KNOWN[:16], KNOWN[:num_test])
    return Dataset(*splits, name="bars", factors=Factors(NAMES, *factors))


def subject(data: Dataset, code=None, family: str = "autoencoder") -> tasks.Subject:
    model = FAMILIES[family]
    params = model.init(KEY, jnp.zeros(IMAGE))
    return subject_of(model if code is None else model._replace(encode=code), params, data)


def read_off(params, x):
    """The code (3 · column, −height): where the bright pixels are, and how many."""
    total = jnp.sum(x)
    return jnp.stack([3 * jnp.sum(x[..., 0] * jnp.arange(4.0)[None]) / total, -total])


def mixed(params, x):
    column, height = read_off(params, x) / jnp.array([3.0, 1.0])
    return jnp.stack([column + height, column - height])


def test_latents_that_are_the_factors_score_1():
    found = perform(subject(bars(), read_off))
    numbers = found.summary
    assert (numbers["num_examples"], numbers["num_latents"], numbers["split"]) == (160, 2, "test")
    for name in ("beta_vae", "factor_vae", "mig", "modularity"):
        assert numbers[name] == pytest.approx(1)
    np.testing.assert_allclose(found.array, [[0, np.log(4)], [np.log(4), 0]], atol=1e-12)
    assert found.text == "160 test examples of bars, 2 factors (height, column)"
    axes = found.figures["disentanglement"].axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), found.array)
    assert axes.get_xticklabels()[0].get_text().startswith("height")


def test_a_mixture_does_not_and_the_scores_are_those_of_the_codes():
    """Of all examples, in the order that the key gives, which the scores depend on."""
    of_bars = subject(bars(), mixed)
    found = perform(of_bars, seed=5)
    rows = np.asarray(jax.random.permutation(jax.random.split(of_bars.key)[0], 160))
    codes = np.stack([KNOWN[:, 1] - (KNOWN[:, 0] + 1.0), KNOWN[:, 1] + (KNOWN[:, 0] + 1.0)], axis=1)[rows]
    expected = evaluate.disentanglement(codes, KNOWN[rows], 5)
    assert {name: found.summary[name] for name in expected} == pytest.approx(expected)
    assert max(expected[name] for name in ("beta_vae", "factor_vae", "mig", "modularity")) < 0.6


@pytest.mark.parametrize(
    ("num_test", "num", "used"),
    [(160, 100, ("test", 100)), (90, 80, ("test", 80)), (90, 120, ("train", 120)), (90, 500, ("train", 160))],
)
def test_test_examples_are_taken_where_they_are_enough(num_test, num, used):
    asked = []
    of_bars = subject(bars(num_test), read_off)
    of_bars = of_bars._replace(load=lambda data=None, split="test": asked.append(split) or bars(num_test))
    found = perform(of_bars, num=num).summary
    assert (found["split"], found["num_examples"]) == used
    assert asked[-1] == used[0]  # a run binarises the split that is asked for


@pytest.mark.parametrize("family", ["VAE", "hierarchical VAE", "VQ-VAE"])
@pytest.mark.slow
def test_every_family_that_encodes_is_scored(family):
    found = perform(subject(bars(), family=family)).summary
    assert found["num_latents"] == {"VAE": 2, "hierarchical VAE": 3, "VQ-VAE": 4}[family]
    assert all(0 <= found[name] <= 1 for name in found if name not in ("split", "num_examples", "num_latents"))


@pytest.mark.parametrize("family", ["GAN", "flow", "MADE", "conditional VAE"])
def test_what_has_no_latents_of_its_own_is_refused(family):
    with pytest.raises(tasks.CannotError, match=r"cannot .*: give .*\."):
        perform(tasks.Subject(FAMILIES[family], None, None, KEY, lambda *_, **__: pytest.fail("data are read"), "bars"))


def test_data_without_factors_and_no_examples_are_refused():
    bare = bars()._replace(factors=None)
    with pytest.raises(tasks.CannotError, match="The factors of the examples of bars are not known: give sprites, or an"):
        perform(subject(bare))
    with pytest.raises(InputError, match="num is 0: give 1 or more"):
        perform(subject(bare), num=0)
    with pytest.raises(InputError, match="The number of examples is 10: give 64 or more"):
        perform(subject(bars()), num=10)


@pytest.mark.slow
def test_the_command_on_a_file_with_factors(tmp_path, capsys):
    np.savez(tmp_path / "bars.npz", images=(255 * BARS).astype(np.uint8), factors=KNOWN)
    flags = ["--data", f"npz:{tmp_path}/bars.npz", "--latent-dim", "3", "--hidden-sizes", "8", "--epochs", "1"]
    flags += ["--batch-size", "16", "--num-importance-samples", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "vae", *flags]) == 0
    assert main(["disentanglement", str(tmp_path / "run"), "--num", "100"]) == 0
    assert "100 training examples of npz:" in " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "run" / "disentanglement.json").read_text())
    assert (found["num_latents"], found["split"]) == (3, "train")
    assert np.load(tmp_path / "run" / "disentanglement.npy").shape == (3, 2)
    assert (tmp_path / "run" / "disentanglement.png").is_file()
    assert main(["disentanglement", str(tmp_path / "run"), "--data", "mnist-5k"]) == 2
