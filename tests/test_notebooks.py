"""Notebooks run from top to bottom, and are committed as their text says."""

import importlib.util
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"

spec = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
assert spec is not None
assert spec.loader is not None
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
NAMES = [source.stem for source in build.sources()]


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_notebook_is_that_of_its_text(name):
    text, notebook = jupytext.read(FOLDER / f"{name}.py"), nbformat.read(FOLDER / f"{name}.ipynb", 4)
    cells = lambda of: [(cell.cell_type, cell.source) for cell in of.cells]
    assert cells(notebook) == cells(text), f"run notebooks/build.py {name}"
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_so_do_the_solutions_of_its_exercises(name):
    """Compiled with less optimisation, as all tests are; CI runs one as a reader's are, and so does `notebooks/build.py` all."""
    source = FOLDER / f"{name}.py"
    found = build.solutions(jupytext.read(source))
    assert len(found) == source.read_text().count("# ```python") > 0
    build.executed(source, found)
