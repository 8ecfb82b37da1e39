"""TensorFlow Datasets: the stock builders, prepared without a network from the files beside the project, and trained on."""

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


@pytest.fixture
def downloaded(tfds, shared_data, tmp_path) -> Path:
    """A TFDS folder whose download cache holds the four files of MNIST, under the names that TFDS gives them."""
    from tensorflow_datasets.core.download import resource

    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for url, info in tfds.builder("mnist", data_dir=str(tmp_path)).url_infos.items():
        path = downloads / resource.get_dl_fname(url, info.checksum)
        shutil.copy(shared_data / "mnist" / info.filename, path)
        resource.write_info_file(url, path, "mnist", info.filename, info)
    return tmp_path


def test_mnist_through_tfds_is_mnist_and_trains(downloaded, shared_data, tmp_path, monkeypatch):
    environment = {name: value for name, value in os.environ.items() if name != "GEN_JAX_DATA_DIR"}
    train = [sys.executable, "-m", "gen_jax", "train", "vae", "--data", "tfds:mnist", "--epochs", "1", "--batch-size", "500"]
    options = ["--num-importance-samples", "2", "--out", str(tmp_path / "run"), "--debug"]
    subprocess.run([*train, *options], env=environment | {"TFDS_DATA_DIR": str(downloaded)}, check=True)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["num_examples"] == 10_000
    assert result["test_elbo"] > -210  # one epoch; an untrained model has about −550

    # read back, the images and labels are those of the original files
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds, "builder", lambda name, **options: _builder(name, data_dir=str(downloaded), **options))
    _builder = tfds.core.load.builder
    ours = load_dataset("tfds:mnist")
    monkeypatch.setenv("GEN_JAX_DATA_DIR", str(shared_data))
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
