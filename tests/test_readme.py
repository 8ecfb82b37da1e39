"""The README tells the truth: its Python runs as written, its commands exist, its table of recipes is the recipes."""

import re
import shutil
from pathlib import Path

import pytest

from gen_jax import recipes
from gen_jax.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_first_block_is_two_commands():
    train, test = blocks("")[0].strip().splitlines()
    assert train.endswith("gen-jax train vae")
    assert test.endswith("pytest")


@pytest.mark.slow
def test_the_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["result"]["epoch"] == 3
    assert names["per_pixel"].shape == (28, 28)
    assert capsys.readouterr().out.count("±") == 3


@pytest.mark.slow
def test_the_commands_are_understood(tmp_path, monkeypatch, capsys):
    """Every `gen-jax` line is run as written, but for the number of epochs, of samples and of seeds."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(Path(__file__).parents[1] / "examples", tmp_path / "examples")
    text = "\n".join(blocks("")[1:3])
    lines = [line.split("#")[0].split() for line in text.splitlines() if line.startswith("gen-jax")]
    wanted = [
        "recipes",
        *["train"] * 4,
        "runs",
        *["sweep"] * 3,
        "train",
        "evaluate",
        "sample",
        "reconstruct",
        "interpolate",
        "traverse",
        "latents",
    ]
    assert [line[1] for line in lines] == [*wanted, "quality"]
    small = {"20": "1", "30": "2", "5000": "2", "16": "2", "10": "1", "8": "1", "0.5": "1"}
    for line in lines:
        arguments = [small.get(word, word) for word in line[1:]]
        if any("own_vae" in word for word in arguments):
            arguments += ["--epochs", "1"]
        if "--help" in arguments:
            with pytest.raises(SystemExit, match="0"):
                main(arguments)
        else:
            assert main(arguments) == 0
    assert (tmp_path / "runs/plane/samples-0.png").exists()


def test_the_recipes_are_the_recipes():
    listed = re.findall(r"^\| `([\w-]+)` \| `[\w:-]+` \|", README, re.MULTILINE)
    assert set(listed) == set(recipes.RECIPES)


def test_its_pictures_are_there():
    pictures = re.findall(r"\]\((docs/images/[\w.-]+)\)", README)
    assert pictures
    assert all((Path(__file__).parents[1] / picture).is_file() for picture in pictures)
