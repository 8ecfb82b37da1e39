"""Flax modules for a batch, as pure functions with an explicit state."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.types import BatchNet, Key, Params, Variables


def batch_net(module: nn.Module) -> BatchNet:
    """Return a `BatchNet` of a Flax module whose `__call__` takes the keyword `train`.

    The state holds every collection but "params", such as "batch_stats". The key of `apply` is the module's rng "noise".

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gen_jax.nets import MLPGenerator, batch_net
        >>> net = batch_net(MLPGenerator((8,), (2,), batch_norm=True))
        >>> params, state = net.init(jax.random.key(0), jnp.zeros((5, 3)))
        >>> x, new_state = net.apply(params, state, jnp.ones((5, 3)), train=True)
        >>> x.shape, list(new_state)
        ((5, 2), ['batch_stats'])
    """

    def init(key: Key, *inputs: Any) -> Variables:
        state = dict(module.init(key, *inputs, train=False))
        return Variables(state.pop("params"), state)

    def apply(params: Params, state: Params, *inputs: Any, train: bool = False, key: Key | None = None) -> tuple[Any, Params]:
        variables, rngs = {"params": params, **state}, None if key is None else {"noise": key}
        if not train:
            return module.apply(variables, *inputs, train=False, rngs=rngs), state
        output, after = module.apply(variables, *inputs, train=True, mutable=list(state), rngs=rngs)
        return output, jax.tree.map(lambda new, old: new.astype(old.dtype), dict(after), state)  # inputs may be of another type

    return BatchNet(init, apply)


def in_bfloat16(net: BatchNet) -> BatchNet:
    """Return a network that computes in bfloat16: weights and inputs are rounded to it, and outputs are float32 again.

    Parameters, their gradients and the state stay float32, so that small updates are not lost (Micikevicius et al. 2018,
    arXiv:1710.03740); bfloat16 has the range of float32, so that losses need no scale.
    """

    def to(dtype: Any, tree: Any) -> Any:
        is_float = lambda leaf: jnp.issubdtype(getattr(leaf, "dtype", int), jnp.floating)
        return jax.tree.map(lambda leaf: leaf.astype(dtype) if is_float(leaf) else leaf, tree)

    def apply(params: Params, state: Params, *inputs: Any, train: bool = False, key: Key | None = None) -> tuple[Any, Params]:
        low = jnp.bfloat16
        output, after = net.apply(to(low, params), state, *to(low, inputs), train=train, key=key)
        return to(jnp.float32, output), after

    return BatchNet(net.init, apply)
