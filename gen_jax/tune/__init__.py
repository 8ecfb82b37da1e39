"""Settings chosen on validation data: `tune` trains some by Optuna, and makes a run of the best."""

from gen_jax.tune.space import Range, Vary
from gen_jax.tune.study import Tuned, tune
