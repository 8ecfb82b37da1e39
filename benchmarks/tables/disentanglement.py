"""Objectives for disentanglement, on sprites of known factors: every score over seeds.

    python benchmarks/tables/disentanglement.py [--seeds 3] [--only tcvae ...] [--set data=sprites-colour] [--save]

The seeds of a row are one vmapped program (`gen_jax.sweep.train_many`). Small nets and few steps, for a CPU: disentanglement_lib
(Locatello et al. 2019, arXiv:1811.12359) takes convolutions and 300,000 steps. Scores of posterior means of 15,000 examples that
were drawn from the training data; `traversals` has a picture of each row's first seed.
"""

import time
from typing import Any

import jax
import numpy as np
from table import arguments, device, mean_and_error, save, settings_of

from gen_jax import plots, tasks
from gen_jax.recipes.settings import SAMPLES, seed_key
from gen_jax.sweep import ManyTrained, train_many
from gen_jax.tasks import disentanglement, traversal
from gen_jax.train import write_whole

SMALL = {
    "architecture": "mlp",
    "hidden_sizes": (128, 64),
    "epochs": 8,
    "epoch_steps": 500,
    "learning_rate": 1e-3,
    "schedule": "cosine",
}
DISC = {"disc_hidden_sizes": (128, 128, 128)}
OBJECTIVES: dict[str, dict[str, Any]] = {
    **{f"beta-{beta}": {"objective": "elbo", "beta": float(beta)} for beta in (1, 2, 4, 8, 16)},
    "capacity": {"objective": "capacity", "gamma": 100.0, "capacity": 25.0, "capacity_steps": 3200, "huber_width": 0.0},
    "tcvae": {"objective": "tcvae"},
    "factor": {"objective": "factor", **DISC},
    "dip-i": {"objective": "dip-i"},
    "dip-ii": {"objective": "dip-ii"},
}
ROWS = {name: ("beta-vae-sprites", SMALL | changes) for name, changes in OBJECTIVES.items()}
PAPER = {"gamma": 30.0, "capacity": 20.0, "capacity_steps": 15_000, "huber_width": 0.0, "epochs": 72}
ROWS["capacity-long"] = ("beta-vae-sprites", PAPER)  # |KL − C| with its corner: 36,000 steps of wider nets
ROWS["capacity-huber-long"] = ("beta-vae-sprites", {})  # the recipe as it is: 60,000 steps


def subject_of(trained: ManyTrained, seed: int) -> tasks.Subject:
    """Return one of the models as tasks take it."""
    variables = jax.tree.map(lambda leaf: leaf[0, seed], trained.variables)
    model, view, data = trained.experiment.model, trained.experiment.view, trained.data
    return tasks.Subject(model, variables, view, seed_key(seed, SAMPLES), lambda *_, **__: data, data.name)


if __name__ == "__main__":
    args = arguments(__doc__, seeds=3)
    table: dict[str, Any] = {}
    for row, settings in settings_of(ROWS, args).items():
        start = time.perf_counter()
        trained = train_many(ROWS[row][0], settings, num_seeds=args.seeds)
        jax.block_until_ready(trained.variables)
        seconds = time.perf_counter() - start
        found = []
        for seed in range(args.seeds):
            subject = subject_of(trained, seed)
            scores = disentanglement.perform(subject, seed=seed).summary
            terms = tasks.evaluate(
                subject.model, subject.params, subject.key, trained.data.test, num_importance_samples=1, view=subject.view
            ).summary
            scores = {name: value for name, value in scores.items() if isinstance(value, float)}
            found.append(scores | {name: terms[name] for name in ("rate", "distortion", "active_units")})
            if seed == 0:
                args.out.mkdir(parents=True, exist_ok=True)
                figures = traversal.perform(subject).figures
                write_whole(args.out / f"disentanglement-{row}.png", plots.png(next(iter(figures.values()))))
        table[row] = {name: mean_and_error([float(one[name]) for one in found]) for name in found[0]} | {"seconds": seconds}
        shown = {n: f"{v[0]:.3f} ± {v[1] or np.nan:.3f}" for n, v in table[row].items() if isinstance(v, tuple)}
        print(row, f"{seconds:.0f} s", shown, flush=True)
    save({row: ROWS[row] for row in table}, {"mean and standard error over seeds": table}, args, [device()])
