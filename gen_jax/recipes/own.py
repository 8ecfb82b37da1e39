"""Recipes of a user's own: read from a file, and told apart by what they compute."""

import contextlib
import json
import sys
import zlib
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

from gen_jax.data import Dataset
from gen_jax.recipes.experiment import Experiment, Recipe, fit_options
from gen_jax.recipes.settings import MAY_CHANGE, RUN, Settings, read_settings, seed_key
from gen_jax.train import CHECKPOINTS, programs, read_config, saved_epochs
from gen_jax.types import InputError

UNNAMED = "(a Recipe object)"


def is_file_name(name: str) -> bool:
    """Return whether it is FILE.py:NAME, the name of a recipe in a user's file."""
    return ".py:" in name


def is_own(name: str) -> bool:
    """Return whether the name that a run folder has is of a user's recipe."""
    return is_file_name(name) or name == UNNAMED


def read_recipe(name: str) -> Recipe:
    """Return the recipe FILE.py:NAME. The file is executed, once for each content, as a script is: it may import its neighbours.

    Raises:
        InputError: there is no such file or recipe, or the file raises an error.
    """
    path, _, attribute = name.rpartition(":")
    if not Path(path).is_file():
        raise InputError(f"There is no file {path}: give FILE.py:NAME, a file that defines a Recipe of that name.")
    module = _execute(Path(path).resolve(), path)
    found = getattr(module, attribute, None)
    if not isinstance(found, Recipe):
        known = ", ".join(n for n, value in vars(module).items() if isinstance(value, Recipe)) or "none"
        raise InputError(f"{path} has no recipe {attribute!r}: its recipes are {known}.")
    return guarded(found, name, Path(path).resolve().parent)


def full_name(name: str) -> str:
    """Return the name of a recipe with the whole path of its file, if it is a user's."""
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).resolve()}:{attribute}" if is_file_name(name) else name


def default_folder(name: str) -> Path:
    """Return where a recipe is trained by default: `runs/NAME`, for a user's `runs/FILE`."""
    return Path("runs") / Path(name.partition(".py:")[0]).name


def _execute(file: Path, shown: str) -> ModuleType:
    source = file.read_bytes()
    name = f"{file.with_suffix('')} {zlib.crc32(source):08x}"  # no other module's, and another one after an edit
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module  # where `dataclasses` looks up the names of types
    try:
        with blame(shown, file.parent):
            exec(compile(source, file, "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def guarded(recipe: Recipe, name: str, folder: Path | None = None) -> Recipe:
    """Return a user's recipe with a `build`, and an optimizer that it builds, that raise no other errors than an InputError.

    Args:
        recipe: as the user made it.
        name: for messages.
        folder: from which `build` may import.

    Raises:
        InputError: its settings do not extend `Settings`.
    """
    if not isinstance(recipe.settings, Settings):
        raise InputError(
            f"The settings of {name} are of type {type(recipe.settings).__name__}: give an instance of a dataclass that extends "
            "recipes.Settings."
        )

    def build(settings: Any, event_shape: tuple[int, ...]) -> Experiment:
        with blame(f"build of {name}", folder):
            experiment: Any = recipe.build(settings, event_shape)
        if not isinstance(experiment, Experiment):
            raise InputError(f"build of {name} returns {type(experiment).__name__}: return a recipes.Experiment.")

        def optimizer(num_steps: int) -> Any:
            with blame(f"optimizer of {name}", folder):
                return experiment.optimizer(num_steps)

        return experiment._replace(optimizer=optimizer)

    return recipe._replace(build=build)


@contextlib.contextmanager
def blame(what: str, folder: Path | None = None) -> Generator[None]:
    """Turn what a user's code raises into an InputError that says so; meanwhile it may import from a folder."""
    path = [] if folder is None else [str(folder)]
    sys.path[:0] = path
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever it is
        said = next(iter(str(error).splitlines()), "")
        raise InputError(f"{what} raises {type(error).__name__} ({said}): correct it; --debug shows where.") from error
    finally:
        for added in path:
            with contextlib.suppress(ValueError):  # the code may have changed the list itself
                sys.path.remove(added)


def checked_programs(
    directory: Path, config: dict[str, Any], recipe: Recipe, settings: Settings, data: Dataset
) -> dict[str, str]:
    """Return the checksums of what a user's recipe computes in a run of these settings.

    Raises:
        InputError: with the settings of the epochs in the run directory, it computes something else than it did. (Under other
            versions of the libraries, which may compute the same in another way, it may.)
    """

    def of(settings: Settings) -> dict[str, str]:
        experiment = recipe.build(settings, data.event_shape)
        options = fit_options(experiment, settings)
        with blame(f"What {config['recipe']} builds"):
            return programs(seed_key(settings.seed, RUN), experiment.model, experiment.loss, data, **options)

    stored = read_config(directory) if saved_epochs(directory / CHECKPOINTS) else {}
    versions = stored.get("versions", {})
    same = _lasting(stored) == _lasting(json.loads(json.dumps(config))) and config["versions"].items() <= versions.items()
    if same and "program" in versions:  # other settings are told by `open_run`
        before = read_settings(type(settings), json.dumps(stored["settings"]))
        if of(before) != versions["program"]:
            raise InputError(
                f"{directory} was made before {config['recipe']} was edited: what its model, loss, optimizer or validation "
                "computes is not the same. Undo the edit, or choose another folder."
            )
    return of(settings)


def _lasting(config: Any) -> Any:
    """Return the parts of a config that stay the same when a run is resumed."""
    if not isinstance(config, dict):
        return config
    return {name: _lasting(value) for name, value in config.items() if name not in MAY_CHANGE | {"versions"}}
