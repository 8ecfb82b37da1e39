"""log p(x) of `vae-mnist`, 100 epochs: the ELBO, importance weights, and annealed importance sampling.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/annealed.py [--only 1000 10000] [--save]

Means over 100 test images with standard errors of the mean over images, the part of it that is chance of the chains, and seconds,
compilation included. Four chains of ten leapfrog steps.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from table import arguments, device, load, run_rows, save

from gen_jax import tasks
from gen_jax.data import load_dataset
from gen_jax.evaluate import mean_and_standard_error, temperatures
from gen_jax.recipes.settings import SAMPLES, seed_key
from gen_jax.tasks.task import first

ROWS: dict[str, tuple[str, dict[str, Any]]] = {"vae-mnist": ("vae-mnist", {"epochs": 100})}
NUM, CHAINS, WEIGHTS = 100, 4, 5000
CASES: dict[str, dict[str, Any]] = {
    "1000": {},
    "1000 linear": {"schedule": "linear"},
    "1000 from q(z|x)": {"start": "posterior"},
    "10000": {},
}


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, on the host, and its seconds."""
    start = time.perf_counter()
    return jax.device_get(function()), time.perf_counter() - start


if __name__ == "__main__":
    args = arguments(__doc__, seeds=1)
    chosen, args.only = args.only, None
    run_rows(ROWS, args)
    run = load(args, "vae-mnist", 0)
    view, model, key = run.experiment.view, run.experiment.model, seed_key(0, SAMPLES)
    test = first(load_dataset(run.settings.data, run.settings.binarise).test, NUM)
    table: dict[str, Any] = {}

    def tell(name: str, log_prob: np.ndarray, error: np.ndarray, seconds: float, **more: float) -> None:
        """Add a row to the table, and print it."""
        mean, mean_error = mean_and_standard_error(log_prob)
        chance = float(np.sqrt(np.sum(np.square(error, dtype=np.float64))) / len(error))
        table[name] = {"log_prob": mean, "se": mean_error, "se_of_chance": chance, "seconds": seconds, **more}
        print(name, table[name], flush=True)

    found, seconds = timed(lambda: tasks.evaluate(model, run.params, key, test, num_importance_samples=WEIGHTS, view=view).table)
    tell("elbo", found["elbo"], np.zeros(NUM), seconds)
    tell(f"importance weights, {WEIGHTS}", found["log_prob"], found["standard_error"], seconds)
    weighted = found["log_prob"]
    for name, case in CASES.items():
        if chosen and name not in chosen:
            continue
        betas = temperatures(int(name.split()[0]), case.get("schedule", "sigmoid"))
        options = {"num_chains": CHAINS, "start": case.get("start", "prior"), "view": view}
        call = lambda betas=betas, options=options: tasks.annealed_likelihood(model, run.params, key, test, betas, **options)
        found, seconds = timed(call)
        over, over_error = mean_and_standard_error(found.log_prob - weighted)
        more = {"over_importance_weights": over, "over_importance_weights_se": over_error}
        more["acceptance"] = float(found.acceptance.mean())
        tell(f"annealed, {name}", found.log_prob, found.standard_error, seconds, **more)
    assert all(math.isfinite(row["log_prob"]) for row in table.values())
    save(ROWS, {"mean over 100 test images": table}, args, [device()])
