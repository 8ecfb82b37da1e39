"""Recipes: an experiment each, as a frozen dataclass of settings and a function that builds the experiment from them."""

from gen_jax.recipes.catalogue import RECIPES, find_recipe
from gen_jax.recipes.experiment import Evaluation, Experiment, Recipe, Settings
from gen_jax.recipes.quality import quality, save_quality
from gen_jax.recipes.run import (
    Run,
    evaluate,
    load_run,
    sample,
    save_evaluation,
    save_samples,
    save_traversal,
    train,
)
from gen_jax.recipes.sweep import sweep
from gen_jax.recipes.vae import VaeSettings

__all__ = [
    "RECIPES",
    "Evaluation",
    "Experiment",
    "Recipe",
    "Run",
    "Settings",
    "VaeSettings",
    "evaluate",
    "find_recipe",
    "load_run",
    "quality",
    "sample",
    "save_evaluation",
    "save_quality",
    "save_samples",
    "save_traversal",
    "sweep",
    "train",
]
