"""What MkDocs calls while it builds the site: pages made of code and results, notebooks, and equations."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import fill  # noqa: E402
import maths  # noqa: E402
import reference  # noqa: E402

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
        for title, listed in entry.items():
            if title in found:
                entry[title] = [*listed, *found[title]]
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


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Make what stands between double braces; a page that is made of code has none."""
    return markdown if page.file.generated_by else fill.expanded(markdown)


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
