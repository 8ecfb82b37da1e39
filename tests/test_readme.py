"""The README tells the truth: its Python runs as written, its commands run, its numbers and pictures are there."""

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


def test_its_numbers_are_those_of_the_results():
    """Each number of the table of families is in a table that is made of `benchmarks/results`."""
    import tables  # of docs/gen

    numbers = re.findall(r"\d+\.\d+", " ".join(row.split("|")[4] for row in re.findall(r"^\| \[.*", TEXT, re.MULTILINE)))
    assert len(numbers) >= 9
    measured = "\n".join(tables.table(name) for names in tables.groups().values() for name in names)
    assert [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", measured)] == []


def test_its_pictures_and_pages_are_there():
    pictures = re.findall(r"!\[([^\]]*)\]\((docs/images/[\w.-]+)\)", TEXT)
    assert pictures
    assert all(alt and (pages.ROOT / picture).is_file() for alt, picture in pictures)
    links = re.findall(r"\]\((docs/[\w./-]+)\)", TEXT)
    assert all((pages.ROOT / link).is_file() for link in links)
