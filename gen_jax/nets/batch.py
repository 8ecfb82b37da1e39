"""Networks on a batch: what normalises by it, as pure functions with explicit statistics."""

from typing import Any

import flax.linen as nn

from gen_jax.types import BatchNet, Key, Params, Player


def batch_net(module: nn.Module) -> BatchNet:
    """Return a Flax module as functions of a batch; its `__call__` takes the keyword `train`."""

    def init(key: Key, *inputs: Any) -> Player:
        variables = dict(module.init(key, *inputs, train=False))
        return Player(variables.pop("params"), variables)

    def apply(player: Player, *inputs: Any, train: bool = False) -> tuple[Any, Params]:
        variables = {"params": player.params, **player.statistics}
        if not train:
            return module.apply(variables, *inputs, train=False), player.statistics
        output, statistics = module.apply(variables, *inputs, train=True, mutable=list(player.statistics))
        return output, dict(statistics)

    return BatchNet(init, apply)
