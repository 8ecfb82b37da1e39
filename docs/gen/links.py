"""What is wrong with the links of the built site: targets that are not there, and what a page would load from elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

OUTSIDE = re.compile(r"""\b(?:import|from)\b[\s(]*["'](?:https?:)?//""")  # in a script
NOT_LOADED = {"canonical", "alternate", "prev", "next"}  # of <link rel>


class Page(HTMLParser):
    """The anchors of a page, where it links to, and what a browser loads with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str | None] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a tag links to, or what it loads."""
        of = dict(attrs)
        self.anchors |= {of.get("id"), of.get("name")}
        loads = tag == "link" and of.get("rel") not in NOT_LOADED
        (self.loaded if loads else self.links).extend(filter(None, [of.get("href")]))
        self.loaded.extend(filter(None, [of.get("src")]))

    def handle_data(self, data: str) -> None:
        """Note what a script imports."""
        self.loaded += OUTSIDE.findall(data) if self.cdata_elem == "script" else []


def faults(site: Path) -> list[str]:
    """Return a line for each link of a built site that leads nowhere, and for each thing that is loaded from elsewhere."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site)
        outside = lambda url: bool(urlsplit(url).netloc) or bool(OUTSIDE.match(url))
        found += [
            f"{where} loads {url} from elsewhere" for url in page.loaded if outside(url)
        ]
        for url in {*page.links, *page.loaded}:
            to = urlsplit(url)
            if to.scheme or outside(url):
                continue
            at = (
                site / to.path[1:] if to.path[:1] == "/" else path.parent / unquote(to.path)
            )
            target = (at if to.path else path).resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{where} links to {url}, which is not there")
            elif (
                to.fragment
                and target in pages
                and unquote(to.fragment) not in pages[target].anchors
            ):
                found.append(f"{where} links to {url}, which has no such anchor")
    return found
