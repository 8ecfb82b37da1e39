"""Runs notebooks and writes them with what they print and draw: NAME.py, which is text to review, becomes NAME.ipynb.

    pip install -e '.[dev]' && python notebooks/build.py [NAME ...]

The text is in the percent format of Jupytext: `# %%` begins a code cell, `# %% [markdown]` one of prose. A cell that raises stops
the program, and the notebook before stays. `benchmarks/notebooks.py` has the seconds of each.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SECONDS = 600  # that a cell may take


def sources() -> list[Path]:
    """Return the text of every notebook, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def solutions(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the code of the exercises' solutions, in order."""
    texts = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    hidden = re.findall(r"<summary>Solution</summary>(.*?)</details>", texts, re.DOTALL)
    return [code for text in hidden for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def executed(source: Path, more: Sequence[str] = ()) -> nbformat.NotebookNode:
    """Return a notebook after it was run, from top to bottom, in a kernel of its own, with more cells of code at its end."""
    notebook = jupytext.read(source)
    notebook.cells += map(nbformat.v4.new_code_cell, more)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # else drawn at random, and every build differs
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(FOLDER)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
    return notebook


def main(names: list[str]) -> None:
    """Build the notebooks whose names are given, or begin so; by default all."""
    chosen = [source for source in sources() if not names or any(source.name.startswith(name) for name in names)]
    if not chosen:
        sys.exit(f"No notebook begins with {' or '.join(names)}: there are {', '.join(path.stem for path in sources())}.")
    for source in chosen:
        nbformat.write(executed(source), source.with_suffix(".ipynb"))
        size = source.with_suffix(".ipynb").stat().st_size
        print(f"{source.stem}: {size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
