"""Trains a small model on 1 and on 8 devices, in a process that has 8, and prints as JSON what came out.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.train.many_devices RECIPE
"""

import json
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gen_jax
from gen_jax import train
from gen_jax.data import load_dataset
from gen_jax.recipes import RECIPES, change
from gen_jax.recipes.experiment import as_seen, fit_options
from gen_jax.train.devices import devices_for

STEPS = 20
CONSTANT = {"schedule": "constant"}  # one that decays is another for more epochs
SMALL: dict[str, dict[str, Any]] = {
    "vae": {"hidden_sizes": (16,), "latent_dim": 3} | CONSTANT,
    "made-mnist": {"data": "mnist-5k", "hidden_sizes": (16,)} | CONSTANT,
    "flow-2d": {"learning_rate": 1e-3} | CONSTANT,  # at 2e-3, never lowered, 20 steps make 3e-5 of rounding
    "dcgan-mnist": {"data": "mnist-5k", "channels": (4, 8), "ema_decay": 0.9},
    "wgan-gp": {"data": "mnist-5k", "channels": (4, 8), "batch_size": 16},
}


def main(name: str) -> None:
    """Compare the losses of 20 steps, and the parameters after them."""
    settings = change(RECIPES[name].settings, **{"batch_size": 48, "epochs": 1, "epoch_steps": STEPS, **SMALL[name]})
    stored = load_dataset(settings.data, "none")
    experiment = RECIPES[name].build(settings, stored.event_shape)
    data, options = as_seen(stored, settings, experiment), fit_options(experiment, settings)

    def fit(**where: Any) -> Any:
        return gen_jax.fit(jax.random.key(0), experiment.model, experiment.loss, data, **(options | where))

    one, eight = fit(devices=1), fit(devices=8)
    compilations: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compilations.append(event) if "backend_compile" in event else None
    )
    counts: list[int] = []

    def count(params: Any, key: Any, valid: Any) -> dict[str, float]:  # called as soon as an epoch is compiled and sent off
        counts.append(len(compilations))
        return {"counted": 0.0}

    longer = fit(devices=8, epochs=2)
    counted = {"devices": 8, "epochs": 2, "validate": count, "validate_every": 1, "best_metric": None}
    fit(**counted)
    streamed = fit(**counted, stream=True)
    with tempfile.TemporaryDirectory() as folder:
        shared = fit(devices=8, shard_params=True, directory=folder)
        on_two = fit(devices=2, epochs=2, directory=folder)  # goes on
    leaves = jax.tree.leaves(eight.state.params)
    found = {
        "compilations": counts,
        "longer": [fitted.history[-1] for fitted in (longer, on_two, streamed)],
        "went_on": on_two.history[0] == shared.history[0],  # with its seconds
        "devices": len({device for leaf in leaves for device in leaf.sharding.device_set}),
        "whole": all(leaf.sharding.is_fully_replicated for leaf in leaves),
        "shared": sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(shared.state)),
        "history": [fitted.history[0] for fitted in (one, eight, shared, streamed)],
        "apart": [_apart(one.params, fitted.params) for fitted in (eight, shared)],
        **_program(experiment, settings, data, options),
    }
    print(json.dumps(found))


def _apart(a: Any, b: Any) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.max(np.abs(np.asarray(x, np.float64) - np.asarray(y)), initial=0)) for x, y in pairs)


def _program(experiment: Any, settings: Any, data: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return what an epoch's program does: lines in which devices pass on as much as the data set, whether it computes on an
    eighth of a batch, and whether devices add up what they found.
    """
    devices = devices_for(settings.examples_per_step, 8)
    assert devices is not None
    losses = jax.tree.map(lambda loss: train.on_stored(data.view, experiment.model, loss), experiment.loss, is_leaf=callable)
    make = experiment.make_step or train.make_step
    step = make(losses, experiment.optimizer(STEPS), options["ema_decay"])
    epoch = jax.jit(train.scan_epoch(step, settings.examples_per_step, STEPS))
    begin = lambda key: train.start(key, experiment.model, experiment.optimizer(STEPS), data.event_shape, options["ema_decay"])
    state = jax.device_put(begin(jax.random.key(0)), devices.replicated)
    with devices.use():
        text = (
            epoch.lower(state, jax.device_put(data.train.on_device(), devices.replicated), jax.random.key(1)).compile().as_text()
        )
    collective = ("all-gather", "all-to-all", "collective-permute")
    whole = (f"[{len(data.train.x)},", f"[{len(data.train.x)}]")
    passed = [line for line in text.splitlines() if any(f" {c}" in line for c in collective)]
    return {
        "gathers": [line for line in passed if any(shape in line for shape in whole)],
        "shares": f"f32[{settings.batch_size // 8}," in text,
        "sums": " all-reduce(" in text,
    }


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    assert jnp.ones(1).device.platform == "cpu"
    main(sys.argv[1])
