"""The pages of the site as tests read them: their blocks of Python, their commands, and what they refer to."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gen_jax import arguments, cli, recipes, tasks
from gen_jax.tune.space import checked

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *DOCS.rglob("*.md")])
COMMANDS = (*tasks.TASKS, "train", "sweep", "tune", "recipes", "runs")
PLACEHOLDERS = {"RECIPE", "TASK", "COMMAND"}

sys.path.insert(0, str(DOCS / "gen"))


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language; of commands, those that name none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)
    return [block for name, block in fenced if name == language]


def python_of(page: str) -> str:
    """Return all Python of a page, with few epochs and samples in place of the many that a reader wants."""
    code = "\n".join(blocks(page, "python"))
    code = re.sub(r"\btrials=\d+", "trials=2", code)
    code = re.sub(r"\bepochs=(\d+)", lambda found: f"epochs={1 if int(found[1]) > 3 else found[1]}", code)
    return re.sub(r"(num_importance_samples|num_samples)=\d+", r"\1=5", code)


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words of each `gen-jax` command of a page, of its blocks and of its prose (where a name alone is none)."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`(gen-jax\s+[^\s`]+\s[^`]+)`", prose)
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:
            del words[0]  # a variable of the environment
        if words[:1] == ["gen-jax"] and words[1:] and not PLACEHOLDERS & set(words[1:3]):
            yield words[1:]


def parse(command: list[str]) -> None:
    """Read a command as the command line does, without doing it; raises for what it does not take."""
    name, *rest = command
    if rest == ["--help"]:
        assert name in COMMANDS, command
        return
    if rest[-1:] == ["--help"]:
        del rest[-1]
    if name in ("train", "sweep", "tune"):
        recipe = recipes.find_recipe(rest[0])
        settings, left = arguments.choose(recipe.settings, rest[1:])
        if name == "sweep":
            read = arguments.read(arguments.SweepCommand, left, name, "", arguments.SweepCommand(settings))
            for setting, values in arguments.varied(read.vary).items():
                recipes.change(settings, **dict.fromkeys([setting], values[0]))
        elif name == "tune":
            read = arguments.read(arguments.TuneCommand, left, name, "", arguments.TuneCommand(settings, Path("runs")))
            checked(read.settings, arguments.space(read.vary))
        else:
            read = arguments.read(arguments.TrainCommand, left, name, "", arguments.TrainCommand(settings, Path("runs")))
        recipes.check_settings(read.settings)
    elif name == "runs":
        arguments.read(arguments.runs_folder, rest, name, "")
    elif name == "recipes":
        assert rest == [], command
    else:
        assert name in tasks.TASKS, command
        arguments.read(arguments.task_command(tasks.TASKS[name]), rest, name, "")


def run(command: list[str]) -> None:
    """Do a command, smaller: two steps an epoch, few epochs, samples and seeds."""
    fewer = {"20": "1", "30": "2", "5000": "2", "16": "2", "10": "1", "8": "1", "100": "4", "0.5": "1"}
    name, *rest = [fewer.get(word, word) for word in command]
    if name in ("train", "sweep") and "--help" not in rest:
        rest += ["--epoch-steps", "2"] + ([] if "--epochs" in rest else ["--epochs", "1"])
    if "--help" in rest:
        with pytest.raises(SystemExit, match="0"):
            cli.main([name, *rest])
    else:
        assert cli.main([name, *rest]) == 0, command
