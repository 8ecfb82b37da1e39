"""What MkDocs calls while it builds the site: pages made of code, tables made of results, notebooks, and equations.

In a page, `{{ table NAME }}` becomes a table of `tables.py`, `{{ number FILE PATH DIGITS }}` a number of `benchmarks/results`,
`{{ recipes }}`, `{{ tasks }}` and `{{ results }}` the table of recipes, that of tasks, and all tables of results.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import maths  # noqa: E402
import reference  # noqa: E402
import tables  # noqa: E402

ELSEWHERE = re.compile(
    r'<script\b[^>]*\bsrc="https?:[^>]*>\s*</script>|<script type="module">.*?mermaid.*?</script>',
    re.DOTALL,
)
NO_TEXT = re.compile(r'alt="No description has been provided for this image"')


def notebooks() -> list[str]:
    """Return the paths of the notebooks, in order."""
    return [
        f"notebooks/{path.name}"
        for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    ]


def on_config(config: Any) -> Any:
    """Complete the navigation by what is found: the notebooks and the pages of the Python reference."""
    found = {
        "Notebooks": notebooks(),
        "Reference": [{"Python": list(reference.api_pages())}],
    }
    for entry in config.nav:
        for title, pages in entry.items():
            if title in found:
                entry[title] = [*pages, *found[title]]
    return config


@event_priority(100)  # before mkdocs-jupyter takes its notebooks
def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made of the code, and the notebooks, which lie beside `docs/`."""
    generated = {"command-line.md": reference.command_line(), **reference.api_pages()}
    for path, text in generated.items():
        files.append(File.generated(config, path, content=text))
    for path in notebooks():
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def expanded(markdown: str) -> str:
    """Return a page with what stands between double braces made."""

    def made(found: re.Match[str]) -> str:
        match found[1].split():
            case ["table", name]:
                return tables.table(name)
            case ["number", file, path, digits]:
                return tables.plain(tables.at(file, path.replace("~", " ")), int(digits))
            case ["recipes"]:
                return reference.recipe_table()
            case ["tasks"]:
                return reference.task_table()
            case ["results"]:
                return every_table()
            case _:
                raise ValueError(f"{found[0]} is nothing that docs/gen/hooks.py makes")

    return re.sub(r"\{\{ (.+?) \}\}", made, markdown)


def every_table() -> str:
    """Return all tables but those of speed and of uses, which have their pages, under a heading for each family."""
    shown = {
        group: names
        for group, names in tables.groups().items()
        if group not in ("Speed", tables.USES)
    }
    return "\n".join(
        f"## {group}\n\n" + "\n".join(tables.table(name) for name in names)
        for group, names in shown.items()
    )


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Make what stands between double braces; a page that is made of code has none."""
    return markdown if page.file.generated_by else expanded(markdown)


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Make MathML of equations; let a notebook load nothing from elsewhere, and say what its figures are."""
    if not page.file.src_uri.endswith(".ipynb"):
        return maths.in_page(content)
    first = json.loads((ROOT / page.file.src_uri).read_text())["cells"][0]["source"]
    page.title = (
        first[0].strip("# \n").replace("`", "")
    )  # mkdocs-jupyter leaves out what is code
    content = NO_TEXT.sub(
        f'alt="What the code above draws, in {page.title}"', ELSEWHERE.sub("", content)
    )
    return maths.in_notebook(content)
