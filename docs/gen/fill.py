"""What stands between double braces in a page.

`{{ table NAME }}` becomes a table of `tables.py`, `{{ number FILE PATH DIGITS }}` a number of `benchmarks/results` (with ~ for a
space), `{{ recipes }}`, `{{ tasks }}` and `{{ results }}` the table of recipes, that of tasks, and all tables of results.
"""

import re

import reference
import tables


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
                raise ValueError(f"{found[0]} is nothing that docs/gen/fill.py makes")

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
