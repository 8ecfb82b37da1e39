"""A process of many that train together on this machine, and print as JSON what came out.

python -m tests.train.many_hosts WHAT COORDINATOR COUNT INDEX FOLDER, where WHAT is a function of this file.
COUNT 0 is a process that is connected to no other.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gen_jax
from gen_jax import train
from gen_jax.data import Dataset, Split, load_dataset
from gen_jax.recipes import RECIPES, change
from gen_jax.recipes.experiment import as_seen, fit_options
from gen_jax.types import InputError

STEPS, BATCH, EPOCHS = 20, 48, 6
SMALL: dict[str, dict[str, Any]] = {
    "vae": {"hidden_sizes": (16,), "latent_dim": 3},
    "dcgan-mnist": {"channels": (4, 8), "ema_decay": 0.9},
}


def losses(folder: Path, all_ways: bool = True) -> dict[str, Any]:
    """Train for 20 steps: a VAE; if asked, it streamed and with parameters that are cut, and a GAN with batch norm too."""

    def fit(recipe: str, **other: Any) -> dict[str, Any]:
        settings = change(
            RECIPES[recipe].settings, data="mnist-5k", batch_size=BATCH, epochs=1, epoch_steps=STEPS, **SMALL[recipe]
        )
        stored = load_dataset(settings.data, "none")
        experiment = RECIPES[recipe].build(settings, stored.event_shape)
        data, options = as_seen(stored, settings, experiment), fit_options(experiment, settings)
        fitted = gen_jax.fit(jax.random.key(0), experiment.model, experiment.loss, data, **(options | other))
        leaves = jax.tree.leaves(fitted.state)
        return {
            "row": fitted.history[-1],
            "devices": len({device for leaf in leaves for device in leaf.sharding.device_set}),
            "cut": sum(not leaf.is_fully_replicated for leaf in leaves),
            "here": all(leaf.is_fully_addressable for leaf in jax.tree.leaves(fitted.params)),
            "params": _sum(fitted.params),
        }

    found = {"vae": fit("vae")}
    if all_ways:
        found |= {"streamed": fit("vae", stream=True), "dcgan": fit("dcgan-mnist")}
        if jax.process_count() > 1:
            found["cut"] = fit("vae", shard_params=True)
    return found


def vae(folder: Path) -> dict[str, Any]:
    """Train the VAE alone."""
    return losses(folder, all_ways=False)


class Line(NamedTuple):
    """A model that trains in milliseconds: y = w · x."""

    @staticmethod
    def init(key: Any, x: Any) -> Any:
        return {"w": jnp.zeros(x.shape)}


def _fit_line(
    folder: Path | None, seen: Any = lambda epoch: None, seed: int = 0, scale: float = 1, **options: Any
) -> train.Fitted:
    """Train it, and call `seen` in each process as an epoch is dispatched."""
    x = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    data = Dataset(Split(x[:64]), Split(x[64:72]), Split(x[72:]))

    def objective(params: Any, key: Any, example: Any) -> Any:
        noise = 0.1 * jax.random.normal(key)
        return scale * (jnp.dot(params["w"], example.x) - jnp.sum(example.x) + noise) ** 2, {}

    score = jax.jit(lambda params: -jnp.mean((data.valid.x @ (params["w"] - 1)) ** 2))
    epochs = iter(range(1, 1000))

    def validate(params: Any, key: Any, valid: Any) -> Any:
        seen(next(epochs))
        return {"valid_score": score(params)}

    loss = train.batch_mean(objective)
    options = {"epochs": EPOCHS, "batch_size": 8, "validate": validate, "ema_decay": 0.9, **options}
    return gen_jax.fit(jax.random.key(seed), Line, loss, data, directory=folder, **options)


def whole(folder: Path) -> dict[str, Any]:
    """Train to the end in a folder, or go on in it, and try what is refused."""
    shown: list[int] = []
    fitted = _fit_line(folder, report=lambda row: shown.append(row["epoch"]))
    refused = []
    if jax.process_count() > 1:
        index = jax.process_index()
        wrongs: tuple[dict[str, Any], ...] = (
            {"batch_size": 7},
            {"devices": 3},
            {"devices": 5},
            {"seed": index},
            {"learning_rate": 0.01 * (1 + index)},
            {"schedule": ("cosine", "constant")[index]},
            {"ema_decay": (0.9, 0.8)[index]},
            {"best_metric": (None, "valid_score")[index]},
            {"optimizer": optax.sgd(0.01 * (1 + index))},
            {"scale": 1.0 + index},
            {"folder": (None, folder)[index]},
            {"folder": folder.with_name(f"{folder.name} of {index}")},
        )
        for wrong in wrongs:
            try:
                _fit_line(**({"folder": None} | wrong))
            except InputError as error:
                refused.append(str(error))
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in fitted.history]
    state = fitted.state._replace(key=jax.random.key_data(fitted.state.key))
    digest = [np.asarray(leaf).tobytes().hex() for leaf in jax.tree.leaves(state)]
    return {"digest": digest, "rows": rows, "shown": shown, "refused": refused, "finished": fitted.finished}


def killed(folder: Path, index: int = 1) -> dict[str, Any]:
    """Train until process 1 is killed, as its fourth epoch is on its way."""

    def die(epoch: int) -> None:
        if epoch == 4 and jax.process_index() == index:
            os.kill(os.getpid(), signal.SIGKILL)

    _fit_line(folder, die)
    return {}


def first_killed(folder: Path) -> dict[str, Any]:
    """The same of process 0, which writes, and which the others find each other by."""
    return killed(folder, 0)


def stopped(folder: Path) -> dict[str, Any]:
    """Train until process 1 gets a signal, as its third epoch is on its way."""

    def stop(epoch: int) -> None:
        if epoch == 3 and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    fitted = _fit_line(folder, stop, epochs=20)
    return {"finished": fitted.finished, "epoch": len(fitted.history), "step": int(fitted.state.step)}


def failing(folder: Path) -> dict[str, Any]:
    """Train until process 0 alone meets an error, such as of a user's function."""

    def fail(row: Any) -> None:
        raise RuntimeError("of process 0 alone")

    _fit_line(folder, report=fail)
    return {}


def _sum(tree: Any) -> float:
    return float(sum(np.sum(np.abs(np.asarray(leaf, np.float64))) for leaf in jax.tree.leaves(tree)))


def main(what: str, coordinator: str, count: int, index: int, folder: str) -> None:
    """Join the others, do it, and print."""
    if coordinator == "auto":
        train.connect()
    elif count:
        train.connect(coordinator, count, index)
    print(json.dumps(globals()[what](Path(folder))))


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
