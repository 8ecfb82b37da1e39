"""Evaluation: functions of one example mapped over a data set, likelihood estimates, and what the latents carry."""

from gen_jax.evaluate.latents import active_units, posterior_mean
from gen_jax.evaluate.likelihood import LikelihoodEstimate, importance_weighted, mean_and_standard_error
from gen_jax.evaluate.per_example import example_keys, map_examples

__all__ = [
    "LikelihoodEstimate",
    "active_units",
    "example_keys",
    "importance_weighted",
    "map_examples",
    "mean_and_standard_error",
    "posterior_mean",
]
