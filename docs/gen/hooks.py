"""What MkDocs calls while it builds the site: pages made of code and results, notebooks, and equations."""

import html
import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.toc import get_toc

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import fill  # noqa: E402
import links  # noqa: E402
import maths  # noqa: E402
import reference  # noqa: E402

ELSEWHERE = re.compile(
    r'<script\b[^>]*\bsrc="https?:[^>]*>\s*</script>|<script type="module">.*?mermaid.*?</script>',
    re.DOTALL,
)
HEADING = re.compile(
    r'<h2\b[^>]*\bid="([^"]+)"[^>]*>(.*?)(?:<a class="anchor-link".*?)?</h2>', re.DOTALL
)
TAG = re.compile(r"<[^>]*>")
WRITTEN = re.compile(
    r"""\b(?:set_title|suptitle|title|set_xlabel|set_ylabel|xlabel|ylabel)[(=]\s*r?"([^"]+)\""""
)
# a link of a notebook to a page, as it leads from the folder `notebooks`
TO_PAGE = re.compile(r'href="\.\./docs/([\w/-]+)\.md(#[^"]*)?"')
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
    """Make MathML of equations; let a notebook load nothing from elsewhere, name its headings and say what its figures are."""
    if not page.file.src_uri.endswith(".ipynb"):
        return maths.in_page(content)
    cells = json.loads((ROOT / page.file.src_uri).read_text())["cells"]
    alts = iter(alternatives(cells))
    content = NO_TEXT.sub(lambda _: f'alt="{next(alts)}"', ELSEWHERE.sub("", content))
    content = TO_PAGE.sub(r'href="../../\1/\2"', content)
    # mkdocs-jupyter makes the table of contents of headings without what is code in them
    headings = [(anchor, TAG.sub("", text)) for anchor, text in HEADING.findall(content)]
    page.toc = get_toc(
        [
            {"level": 2, "id": anchor, "name": text, "children": []}
            for anchor, text in headings
        ]
    )
    page.title = cells[0]["source"][0].strip("# \n").replace("`", "")
    return maths.in_notebook(content)


def alternatives(cells: list[dict[str, Any]]) -> list[str]:
    """Return what stands for each figure of a notebook: the heading above it, and the words that its code writes into it."""
    heading, found = "", []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = (re.findall(r"^#+ (.*)", source, re.MULTILINE) or [heading])[-1]
            continue
        words = (
            ": " + ", ".join(dict.fromkeys(WRITTEN.findall(source)))
            if WRITTEN.search(source)
            else ""
        )
        drawn = sum("image/png" in output.get("data", {}) for output in cell["outputs"])
        found += [html.escape(f"Figure of “{heading}”{words}".replace("`", ""))] * drawn
    return found


def on_post_build(config: Any) -> None:
    """Fail for a link that leads nowhere, which `strict` does not see in notebooks, and for what is loaded from elsewhere."""
    if wrong := links.faults(Path(config.site_dir).resolve()):
        raise PluginError("\n".join(wrong))
