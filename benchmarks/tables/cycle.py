"""Translations of images that have true partners: CycleGAN, what each of its parts is worth, and what stands below and above it.

    [GEN_JAX_DATA_DIR=DIR] python benchmarks/tables/cycle.py --only edges [edges-no-cycle ...] [--seeds 2] [--save]

On the edges of digits (embedded) and on emoji in two styles, 500 test pairs. The cycle loss is taken away, and the pool; the
identity loss is added, and the weights are the paper's. Below are the images as they are and the mean image of the target domain.
Above is a regression: the same generators, trained on as many true pairs for as long by the L1 distance to the partner, which
CycleGAN never sees. Features are of a classifier trained here.
"""

from typing import Any

from table import arguments, load, report, run_directory, run_rows

import gen_jax
from gen_jax import runs, tasks
from gen_jax.data import load_true_pairs
from gen_jax.gan import DIRECTIONS
from gen_jax.recipes.settings import RUN, seed_key
from gen_jax.types import Adversaries

DATA = {"edges": "cyclegan", "emoji": "cyclegan-emoji"}
WITHOUT: dict[str, dict[str, Any]] = {"": {}, "-no-cycle": {"cycle_weight": 0.0}, "-no-pool": {"pool_size": 0}}
ROWS = {f"{data}{what}": (recipe, changes) for data, recipe in DATA.items() for what, changes in WITHOUT.items()}
ROWS |= {
    "edges-identity": ("cyclegan", {"identity_weight": 5.0}),
    "edges-paper": ("cyclegan", {"cycle_weight": 10.0, "identity_weight": 5.0}),
    "emoji-no-cycle": ("cyclegan-emoji", {"cycle_weight": 0.0, "identity_weight": 5.0}),  # by default half of the cycle's
    "emoji-no-identity": ("cyclegan-emoji", {"identity_weight": 0.0}),
}
MEASURES = ("l1", "psnr", "ssim", "median_rank_by_pixels", "rank_by_features", "frechet_distance", "kernel_distance", "cycle_l1")
COLUMNS = tuple(f"test_{direction.replace('-', '_')}_{measure}" for direction in DIRECTIONS for measure in MEASURES)


def regression(run: runs.Run, directory: Any) -> dict[str, Any]:
    """Return what the generators of a run's settings find when true pairs train them."""
    settings, experiment = run.settings, run.experiment
    model, data = experiment.model, load_true_pairs(settings.data)
    half = len(data.train.x) // 2  # as many as each domain of the unpaired data has
    data = data._replace(train=data.train._replace(x=data.train.x[:half]), view=experiment.view)

    def loss(params: Adversaries, state: Any, key: Any, step: Any, batch: Any) -> Any:
        a, b = model.domains(batch.x)
        there, back = model.translate(params, a, "a-to-b"), model.translate(params, b, "b-to-a")
        value = abs(there - b).mean() + abs(back - a).mean()
        return value, (state, {"l1": value})

    fitted = gen_jax.fit(
        seed_key(settings.seed, RUN),
        model,
        loss,
        data,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        epoch_steps=settings.epoch_steps,
        optimizer=lambda num_steps: experiment.optimizer(num_steps).generator,
        best_metric=None,
        directory=directory,
    )
    found = {}
    for direction in DIRECTIONS:
        rows = tasks.translation_quality(model, fitted.params, None, data, direction, view=experiment.view)
        found |= {f"test_{direction.replace('-', '_')}_{name}": value for name, value in rows["model"].items()}
    return found


if __name__ == "__main__":
    args = arguments(__doc__, seeds=2)
    results = run_rows(ROWS, args)
    for row in [row for row in results if row in DATA]:
        for seed in range(args.seeds):
            directory = run_directory(args, f"{row}-regression", seed)
            found = regression(load(args, row, seed), directory) | {"device": results[row][seed]["device"]}
            results.setdefault(f"{row}-regression", []).append(found)
        for direction in DIRECTIONS:
            rows = runs.perform(load(args, row, 0), "translate", direction=direction).summary
            for name in ("identity map", "mean image"):
                numbers = {f"test_{direction.replace('-', '_')}_{measure}": value for measure, value in rows[name].items()}
                results.setdefault(f"{row}, {name}", [{"device": results[row][0]["device"]}])[0].update(numbers)
    report({row: ROWS[row] for row in results if row in ROWS}, results, (*COLUMNS, "train_seconds"), args)
