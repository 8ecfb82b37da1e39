"""Recipes: default settings, and a function that builds the experiment from settings.

A recipe of one's own, such as `examples/own_vae.py`, imports what it needs from here.
"""

from gen_jax.recipes import autoencoder, cycle, flow, gan_images, gan_points, hierarchical, made, style, vae, vq_vae
from gen_jax.recipes.experiment import Experiment, Recipe, adam_of, image_shape, view_of
from gen_jax.recipes.own import UNNAMED, default_folder, guarded, is_file_name, read_recipe
from gen_jax.recipes.settings import (
    KIND,
    Choice,
    Count,
    Decay,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Nothing,
    Positive,
    Settings,
    Sizes,
    change,
    check_settings,
)
from gen_jax.types import InputError, unknown

RECIPES: dict[str, Recipe] = {
    name: recipe
    for family in (vae, hierarchical, vq_vae, autoencoder, flow, made, gan_points, gan_images, style, cycle)
    for name, recipe in family.RECIPES.items()
}


def find_recipe(recipe: str | Recipe) -> Recipe:
    """Return one of the library's recipes by name, `FILE.py:NAME` from a user's file, which is executed, or a recipe as it is.

    Raises:
        InputError: there is no such recipe, its settings do not extend `Settings`, or the file raises an error.
    """
    if isinstance(recipe, Recipe):
        return guarded(recipe, UNNAMED)
    if is_file_name(recipe):
        return read_recipe(recipe)
    if recipe.endswith(".py"):
        raise InputError(f"{recipe} is a file: give the name of a Recipe in it too, as in {recipe}:RECIPE.")
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    return RECIPES[recipe]
