"""Recipes: what is trained, each as a frozen dataclass of settings and a function that builds the experiment from them."""

from gen_jax.recipes import autoencoder, flow, gan_images, gan_points, hierarchical, made, vae, vq_vae
from gen_jax.recipes.settings import Experiment, Recipe, Settings, change, check_settings
from gen_jax.types import unknown

RECIPES: dict[str, Recipe] = {
    name: recipe
    for family in (vae, hierarchical, vq_vae, autoencoder, flow, made, gan_points, gan_images)
    for name, recipe in family.RECIPES.items()
}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        InputError: there is none of that name; the nearest one is named.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


__all__ = ["RECIPES", "Experiment", "Recipe", "Settings", "change", "check_settings", "find_recipe"]
