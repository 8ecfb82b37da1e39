"""The Flax (linen) modules. Models take them by their `init` and `apply`; no other package imports Flax."""

from gen_jax.nets.mlp import MLP

__all__ = ["MLP"]
