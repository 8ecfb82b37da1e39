"""Networks on a batch, which may normalise by it, as pure functions with an explicit state."""

from typing import Any

import flax.linen as nn

from gen_jax.types import BatchNet, Key, Params, Variables


def batch_net(module: nn.Module) -> BatchNet:
    """Return a Flax module as functions of a batch; its `__call__` takes the keyword `train`.

    The state is every collection but the parameters: batch statistics, spectral vectors. A key, where it is given, is the
    module's stream "noise".
    """

    def init(key: Key, *inputs: Any) -> Variables:
        variables = dict(module.init({"params": key, "noise": key}, *inputs, train=False))
        return Variables(variables.pop("params"), variables)

    def apply(params: Params, state: Params, *inputs: Any, train: bool = False, key: Key | None = None) -> tuple[Any, Params]:
        variables, rngs = {"params": params, **state}, None if key is None else {"noise": key}
        if not train:
            return module.apply(variables, *inputs, train=False, rngs=rngs), state
        output, new = module.apply(variables, *inputs, train=True, rngs=rngs, mutable=list(state))
        return output, dict(new)

    return BatchNet(init, apply)
