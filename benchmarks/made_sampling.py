"""Sampling from a MADE: every unit computed once, when its inputs are known, against a pass of the network for each dimension.

    python benchmarks/made_sampling.py [--rounds N] [--save]

D = 784, hidden layers 500 and 500-500 with direct links (a layer of 500 could not carry every dependency without), a batch of 64.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from common import arguments, report, seconds_in_turn

from gen_jax.made import bernoulli_output, draw_by_passes, made
from gen_jax.nets import Degrees, MaskedMLP, draw_degrees

DIM, BATCH, SEED = 784, 64, 0


def by_passes(net: MaskedMLP, params: Any, degrees: Degrees, key: jax.Array) -> jax.Array:
    """Draw by a pass for each dimension, none of which is observed."""
    return draw_by_passes(net, bernoulli_output(), params, degrees, key, jnp.zeros(DIM), jnp.zeros(DIM, bool))


def main() -> None:
    """Time both ways for both networks, after checking that they draw the same."""
    args = arguments(__doc__ or "", rounds=7)
    programs = {}
    keys = jax.random.split(jax.random.key(SEED), BATCH)
    for hidden_sizes in ((500,), (500, 500)):
        model, net = made(DIM, hidden_sizes, bernoulli_output(), direct=True), MaskedMLP(hidden_sizes, 1, True)
        params, degrees = model.init(jax.random.key(SEED)), draw_degrees(jax.random.key(SEED), model.degrees)
        # parameters and degrees are arguments: nothing of the work can be done at compilation
        in_axes = (None, None, 0)
        cached = jax.jit(jax.vmap(model.sample, in_axes))
        passes = jax.jit(jax.vmap(functools.partial(by_passes, net), in_axes))
        arguments_ = (params, degrees, keys)
        same = float(jnp.mean(cached(*arguments_) == passes(*arguments_)))
        assert same > 0.999, f"only {same:.2%} of the pixels are drawn alike"
        size = "-".join(map(str, hidden_sizes))
        programs[f"cached, {size}"] = lambda f=cached, a=arguments_: jax.block_until_ready(f(*a))
        programs[f"{DIM} passes, {size}"] = lambda f=passes, a=arguments_: jax.block_until_ready(f(*a))

    seconds = seconds_in_turn(programs, args.rounds)
    milliseconds = {name: [1e3 * s for s in row] for name, row in seconds.items()}
    medians = {name: sorted(row)[len(row) // 2] for name, row in seconds.items()}
    ratios = {size: medians[f"{DIM} passes, {size}"] / medians[f"cached, {size}"] for size in ("500", "500-500")}
    report("ms for a batch", milliseconds, ratios, args, SEED, dim=DIM, batch=BATCH)


if __name__ == "__main__":
    main()
