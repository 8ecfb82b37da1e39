"""Pages that are made of the code: the command line, the tables of recipes and tasks, and the Python reference."""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import itertools
import os
from pathlib import Path
from typing import Any
from unittest import mock

from gen_jax import cli, recipes, tasks
from gen_jax.recipes.settings import settings_json, variants
from rich.console import Console

ROOT = Path(__file__).parents[2]
FACES = (
    *(
        "types",
        "distributions",
        "nets",
        "flows",
        "made",
        "vae",
        "gan",
        "autoencoders",
        "densities",
    ),
    *("train", "data", "evaluate", "plots", "recipes", "tasks", "runs", "sweep", "tune"),
)


def help_text(*arguments: str) -> str:
    """Return what `gen-jax ARGUMENTS --help` prints: by its own console, or by tyro's, which is as wide as COLUMNS says."""
    printed = io.StringIO()
    with (
        mock.patch.object(cli, "out", Console(file=printed, width=180)),
        mock.patch.dict(os.environ, COLUMNS="86"),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        cli.main([*arguments, "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()).strip()


def block(*arguments: str) -> str:
    """Return that text as a block of a page."""
    return f"```text\n{help_text(*arguments)}\n```\n"


def added(command: str) -> str:
    """Return the options of a command that takes a recipe, without the settings of the recipe, as a block of a page."""
    options = (
        help_text(command, "vae")
        .partition("\n options\n")[2]
        .partition("\n settings options\n")[0]
    )
    assert options
    return f"```text\nusage: gen-jax {command} RECIPE [-h] [OPTIONS]\n\n options\n{options.rstrip()}\n```\n"


def families() -> list[list[str]]:
    """Return the names of the recipes that share their settings."""
    found: dict[type, list[str]] = {}
    for name, recipe in recipes.RECIPES.items():
        found.setdefault(type(recipe.settings), []).append(name)
    return list(found.values())


COMMAND_LINE = """# Command line

Made from the parser itself: what `--help` prints, for every command.

{all}

## `gen-jax train RECIPE`

The settings of every recipe are [below](#settings-of-the-recipes).

{train}

## `gen-jax sweep RECIPE`

It takes the settings of the recipe too, and adds:

{sweep}

## `gen-jax tune RECIPE`

It takes the settings of the recipe too, and adds:

{tune}

## Tasks

{tasks}

## `gen-jax runs`

{runs}

## Settings of the recipes

Recipes with the same settings stand together; their defaults differ.

{recipes}
"""


def command_line() -> str:
    """Return the page of all commands and settings, each with its help."""
    of_recipes = [
        f"### {', '.join(f'`{name}`' for name in names)}\n\n{block('train', names[0])}{choices(names[0])}{changes(names)}"
        for names in families()
    ]
    return COMMAND_LINE.format(
        all=block(),
        train=block("train"),
        sweep=added("sweep"),
        tune=added("tune"),
        tasks="\n".join(f"### `gen-jax {name}`\n\n{block(name)}" for name in tasks.TASKS),
        runs=block("runs"),
        recipes="\n".join(of_recipes),
    )


def flags(settings: dict[str, Any]) -> dict[str, str]:
    """Return settings as they stand on the command line, a choice by its kind and what comes with it."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= flags(
                {
                    name: value["kind"] or "plain",
                    **{key: part for key, part in value.items() if key != "kind"},
                }
            )
        else:
            shown = (
                " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            )
            found[name] = f"--{name.replace('_', '-')} {shown}"
    return found


def changes(names: list[str]) -> str:
    """Return how the defaults of a family's other recipes differ from those of its first."""
    of = {name: flags(settings_json(recipes.RECIPES[name].settings)) for name in names}
    first, *others = names
    lines = []
    for name in others:
        differ = [
            f"`{flag}`"
            for setting, flag in of[name].items()
            if of[first].get(setting) != flag
        ]
        lines.append(f"- `{name}`: {', '.join(differ)}")
    return (
        f"\nWhere the defaults of the others differ from those of `{first}`:\n\n"
        + "\n".join(lines)
        + "\n"
        if lines
        else ""
    )


def choices(name: str) -> str:
    """Return the settings that come with a choice, for the choices of a recipe that bring some."""
    lines = []
    for choice, kinds in variants(type(recipes.RECIPES[name].settings)).items():
        for kind, option in kinds.items():
            brought = [
                flag
                for setting, flag in flags(dataclasses.asdict(option(kind=kind))).items()
                if setting != "kind"
            ]
            if brought:
                lines.append(
                    f"- `--{choice.replace('_', '-')} {kind}` brings "
                    + ", ".join(f"`{flag}`" for flag in brought)
                )
    return (
        "\nSettings that come with a choice, with their defaults:\n\n"
        + "\n".join(lines)
        + "\n"
        if lines
        else ""
    )


def recipe_table() -> str:
    """Return the table of recipes: name, data, what it is."""
    lines = ["| recipe | data | what it is |", "| --- | --- | --- |"]
    lines += [
        f"| `{name}` | `{recipe.settings.data}` | {recipe.summary} |"
        for name, recipe in recipes.RECIPES.items()
    ]
    return "\n".join(lines)


def task_table() -> str:
    """Return the table of tasks: the first line of the help of each."""
    lines = ["| task | what it does |", "| --- | --- |"]
    lines += [
        f"| `gen-jax {name} RUN` | {(task.__doc__ or '').splitlines()[0]} |"
        for name, task in tasks.TASKS.items()
    ]
    return "\n".join(lines)


def constants(module: str) -> list[str]:
    """Return the names of a module that have a docstring below them."""
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    body = ast.parse(source.read_text()).body
    found = []
    for node, below in itertools.pairwise(body):
        named = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else getattr(node, "target", None)
        )
        if (
            isinstance(named, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found.append(named.id)
    return found


def exported(package: str) -> list[str]:
    """Return the functions, classes and constants with a docstring that a package exports, with where each is defined.

    These are what its `__init__` imports. A page names them by where they are defined: `gen_jax.made.made` alone could be the
    module. Of a single module, none.
    """
    face = ROOT / "gen_jax" / package / "__init__.py"
    if not face.exists():
        return []
    module = importlib.import_module(f"gen_jax.{package}")
    found = [
        f"{node.module}.{alias.name}"
        for node in ast.parse(face.read_text()).body
        if isinstance(node, ast.ImportFrom)
        and str(node.module).startswith(f"gen_jax.{package}.")
        for alias in node.names
        if callable(getattr(module, alias.name))
        or alias.name in constants(str(node.module))
    ]
    return sorted(found, key=lambda path: path.rpartition(".")[2].lower())


HEAD = """# gen_jax.{package}

::: gen_jax.{package}
    options:
      show_root_heading: false
      show_root_toc_entry: false
      members: {members}
"""


def api_pages() -> dict[str, str]:
    """Return the pages of the Python reference by their paths: a module with all that it has, a package with what it exports."""
    index = "# Python\n\nA page for each package. `help(gen_jax.vae.elbo_terms)` says the same in Python.\n\n"
    pages = {}
    for package in FACES:
        names = exported(package)
        parts = [f"\n::: {name}\n" for name in names]
        pages[f"api/{package}.md"] = HEAD.format(
            package=package, members="false" if names else "null"
        ) + "".join(parts)
        says = inspect.getdoc(importlib.import_module(f"gen_jax.{package}")) or ""
        first = " ".join(says.split("\n\n")[0].split())
        index += f"- [`gen_jax.{package}`]({package}.md). {first}\n"
    return {"api/index.md": index} | pages
