"""TensorFlow Datasets: its builder of MNIST, told of fewer images, prepared without a network from files, and trained on."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gen_jax.data import load_dataset

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TensorFlow's own imports warn


@pytest.fixture(scope="module")
def tfds():
    return pytest.importorskip("tensorflow_datasets", reason="needs the extra `tfds`")


FEW = {"train": 6000, "t10k": 1000}
PREPARE_FEW = """
import sys, tensorflow_datasets
from tensorflow_datasets.image_classification import mnist
mnist._TRAIN_EXAMPLES, mnist._TEST_EXAMPLES = 6000, 1000
from gen_jax.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def files(shared_data, tmp_path) -> Path:
    """The four files of MNIST, cut to their first rows, since TFDS takes minutes to prepare 70,000."""
    folder = tmp_path / "files" / "mnist"
    folder.mkdir(parents=True)
    for path in (shared_data / "mnist").glob("*.gz"):
        num = FEW[path.name.partition("-")[0]]
        header, row = (16, 784) if "idx3" in path.name else (8, 1)
        rows = gzip.decompress(path.read_bytes())[: header + num * row]
        (folder / path.name).write_bytes(gzip.compress(rows[:4] + num.to_bytes(4, "big") + rows[8:], 1))
    return folder


@pytest.fixture
def downloaded(tfds, files, tmp_path) -> Path:
    """A TFDS folder whose download cache holds these files, under the names that TFDS gives them."""
    from tensorflow_datasets.core.download import resource

    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for url, info in tfds.builder("mnist", data_dir=str(tmp_path)).url_infos.items():
        path = downloads / resource.get_dl_fname(url, info.checksum)
        shutil.copy(files / info.filename, path)
        resource.write_info_file(url, path, "mnist", info.filename, info)
    return tmp_path


def test_mnist_through_tfds_is_mnist_and_trains(downloaded, files, tmp_path, monkeypatch):
    environment = {name: value for name, value in os.environ.items() if name != "GEN_JAX_DATA_DIR"}
    train = [sys.executable, "-c", PREPARE_FEW, "train", "vae", "--data", "tfds:mnist", "--epochs", "1", "--batch-size", "50"]
    options = ["--num-importance-samples", "2", "--out", str(tmp_path / "run"), "--debug"]
    subprocess.run([*train, *options], env=environment | {"TFDS_DATA_DIR": str(downloaded)}, check=True)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["num_examples"] == FEW["t10k"]
    assert result["test_elbo"] > -210  # one epoch; an untrained model has about −550

    # read back, the images and labels are those of the original files
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds, "builder", lambda name, **options: _builder(name, data_dir=str(downloaded), **options))
    _builder = tfds.core.load.builder
    ours = load_dataset("tfds:mnist")
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(files.parent))
    theirs = load_dataset("mnist", "none")

    def digest(split):
        rows = split.in_memory().x.reshape(len(split.x), -1).astype(np.int64)
        return sorted(zip(rows @ np.arange(784), split.labels, strict=True))

    assert digest(ours.test) == digest(theirs.test)
    assert sorted(digest(ours.train) + digest(ours.valid)) == sorted(digest(theirs.train) + digest(theirs.valid))


def test_an_unknown_tfds_name_is_answered_with_the_nearest(tfds, capsys):
    from gen_jax.cli import main

    assert main(["train", "vae", "--data", "tfds:mnst"]) == 2
    assert "Did you mean tfds:mnist?" in " ".join(capsys.readouterr().err.split())
