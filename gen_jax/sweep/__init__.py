"""Many seeds and values of settings as one program: `train_many` trains them, `sweep` measures them too."""

from gen_jax.sweep.measure import sweep
from gen_jax.sweep.training import ManyTrained, train_many
