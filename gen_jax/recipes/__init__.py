"""Recipes: default settings, and a function that builds the experiment from settings."""

import importlib.util
from pathlib import Path

from gen_jax.recipes import autoencoder, flow, gan_images, gan_points, hierarchical, made, vae, vq_vae
from gen_jax.recipes.experiment import Experiment, Recipe
from gen_jax.recipes.settings import Settings, change, check_settings
from gen_jax.types import InputError, unknown

OWN_RECIPE = ".py:"
"""Part of every name FILE.py:NAME, that of a recipe in a user's file, and of no other recipe's."""

RECIPES: dict[str, Recipe] = {
    name: recipe
    for family in (vae, hierarchical, vq_vae, autoencoder, flow, made, gan_points, gan_images)
    for name, recipe in family.RECIPES.items()
}


def find_recipe(name: str) -> Recipe:
    """Return one of the library's recipes by name, or `FILE.py:NAME` from a user's file, which is executed.

    Raises:
        InputError: there is no such recipe, or the file raises an error.
    """
    if OWN_RECIPE not in name:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES)
        return RECIPES[name]
    path, _, attribute = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no file {path}: give FILE.py:NAME, a file that defines a Recipe of that name.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None  # the file ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's code raises
        raise InputError(f"{path} raises {type(error).__name__} ({error}): correct it; --debug shows where.") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Recipe):
        known = ", ".join(n for n, value in vars(module).items() if isinstance(value, Recipe)) or "none"
        raise InputError(f"{path} has no recipe {attribute!r}: its recipes are {known}.")
    return found
