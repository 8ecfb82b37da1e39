"""The README tells the truth: its Python runs as written, its commands run, its numbers and pictures are there."""

import json
import re
import shutil

import pytest

from gen_jax import recipes, tasks
from tests import pages

PAGE = "README.md"
TEXT = pages.text_of(PAGE)


def test_the_first_block_is_two_commands():
    train, test = pages.blocks(PAGE, "")[0].strip().splitlines()
    assert train.endswith("gen-jax train vae")
    assert test.endswith("pytest")


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 150


@pytest.mark.slow
def test_the_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in pages.blocks(PAGE, "python"):
        exec(compile(block, PAGE, "exec"), names)
    assert names["images"].shape == (64, 28, 28, 1)
    assert 100 < names["table"].summary["nll"] < 200
    assert names["per_pixel"].shape == (28, 28, 1)
    assert capsys.readouterr().out.count("±") == 1


@pytest.mark.slow
def test_the_commands_run(tmp_path, monkeypatch):
    """Every `gen-jax` line is run as written, but for the number of steps, of samples and of seeds."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pages.ROOT / "examples", tmp_path / "examples")
    lines = [line.split() for line in pages.blocks(PAGE, "")[1].splitlines()]
    assert [line[1] for line in lines] == ["recipes", *["train"] * 4, "runs", "evaluate", "sample", "sweep"]
    for line in lines:
        pages.run(line[1 : line.index("#")] if "#" in line else line[1:])
    assert (tmp_path / "runs/plane/samples-0.png").exists()
    assert (tmp_path / "rates.png").exists()


def test_it_names_recipes_and_tasks_that_there_are():
    rows = re.findall(r"^\| \[.*", TEXT, re.MULTILINE)
    assert len(rows) == 7
    begin_with = re.findall(r"`([\w-]+)`", " ".join(row.split("|")[3] for row in rows))
    assert set(begin_with) <= set(recipes.RECIPES)
    assert len(begin_with) >= len(rows)
    listed = TEXT[TEXT.index("What is done with it is a task") : TEXT.index("## From Python")]
    assert re.findall(r"`([a-z]+)`", listed) == sorted(tasks.TASKS, key=listed.index)


MEANS = "mean and standard error over seeds"

# the numbers of the table of families, in order: as text what is no result, else the file, the path in it and the decimal places
NUMBERS = {
    "VAEs": [("vae_mnist", ("result", "test_nll"), 2), "86.76"],
    "flows": ["32", ("energies", (MEANS, "ring 32", "kl"), 3)],
    "MADE": [("made", (MEANS, "dna-fresh-masks", "test_nll"), 2), "79.66"],
    "GANs": [("modes", (MEANS, "grid-r1", "num_modes"), 1), "25", ("modes", (MEANS, "grid-gan", "num_modes"), 1)],
    "CycleGAN": [
        ("cycle", (MEANS, "edges", "test_a_to_b_l1"), 3),
        ("cycle", (MEANS, "edges, identity map", "test_a_to_b_l1"), 3),
        ("cycle", (MEANS, "edges", "test_a_to_b_frechet_distance"), 1),
        ("cycle", (MEANS, "edges, identity map", "test_a_to_b_frechet_distance"), 1),
    ],
    "growing, styles": [
        ("style", (MEANS, "progressive", "frechet_distance"), 2),
        ("style", (MEANS, "full size, as many images", "frechet_distance"), 2),
        ("style", (MEANS, "stylegan", "frechet_distance"), 2),
        ("style", (MEANS, "stylegan2", "frechet_distance"), 2),
        ("style", (MEANS, "training examples, mnist-5k", "frechet_distance"), 2),
        ("style", (MEANS, "fashion", "frechet_distance"), 2),
        ("style", (MEANS, "fashion, DCGAN with R1", "frechet_distance"), 2),
        ("style", (MEANS, "cifar10", "frechet_distance"), 2),
        ("style", (MEANS, "cifar10, DCGAN with R1", "frechet_distance"), 2),
    ],
    "autoencoders": [],
}


def test_its_numbers_are_those_of_the_results():
    shown = {}
    for row in re.findall(r"^\| \[.*", TEXT, re.MULTILINE):
        _, family, *_, measured, _ = row.split("|")
        shown[family.partition("]")[0].strip(" [")] = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", measured)
    assert shown == {
        family: [n if isinstance(n, str) else in_results(*n) for n in numbers] for family, numbers in NUMBERS.items()
    }


def in_results(file, path, digits):
    found = json.loads((pages.ROOT / f"benchmarks/results/{file}.json").read_text())
    for part in path:
        found = found[part]
    return f"{found[0] if isinstance(found, list) else found:.{digits}f}"  # of a mean and its error


def test_its_pictures_and_pages_are_there():
    pictures = re.findall(r"!\[([^\]]*)\]\((docs/images/[\w.-]+)\)", TEXT)
    assert pictures
    assert all(alt and (pages.ROOT / picture).is_file() for alt, picture in pictures)
    links = re.findall(r"\]\((docs/[\w./-]+)\)", TEXT)
    assert all((pages.ROOT / link).is_file() for link in links)
