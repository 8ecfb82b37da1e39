"""Evaluation: functions of one example mapped over a data set, likelihood estimates, and what the latents carry."""

from gen_jax.evaluate.classifier import label_classifier
from gen_jax.evaluate.latents import active_units, posterior_mean
from gen_jax.evaluate.likelihood import LikelihoodEstimate, importance_weighted, mean_and_standard_error
from gen_jax.evaluate.per_example import example_keys, map_examples
from gen_jax.evaluate.quadrature import kl_on_grid, log_on_grid, square_grid

__all__ = [
    "LikelihoodEstimate",
    "active_units",
    "example_keys",
    "importance_weighted",
    "kl_on_grid",
    "label_classifier",
    "log_on_grid",
    "map_examples",
    "mean_and_standard_error",
    "posterior_mean",
    "square_grid",
]
