"""WGAN-GP on points of the plane, after figure 2 of Gulrajani et al. 2017 (arXiv:1704.00028): W₂ to test points, and a figure.

    python benchmarks/tables/wgan_points.py [--seeds 1] [--save]

Both networks are MLPs of 3 x 512, ReLU; five steps of the critic, each on 256 points, for one of the generator; λ = 0.1 and
Adam of β₁ = 0.5, β₂ = 0.999 (the paper, for its images: λ = 10, β₁ = 0, β₂ = 0.9). 4,992 steps of the generator, of the paper's
100,000. The distance is an exact matching of 2,000 samples with as many test points; as many training points stand beside. With
`--save` the samples of seed 0 go to docs/images/wgan_points.png.
"""

from pathlib import Path

import numpy as np
from table import arguments, drawn, load, quality, report, run_rows

from gen_jax import plots
from gen_jax.data import load_dataset

FIGURE = Path(__file__).parents[2] / "docs/images/wgan_points.png"
GAME = {
    "loss": "wasserstein",
    "penalty": "gradient-penalty",
    "penalty_weight": 0.1,
    "hidden_sizes": (512, 512, 512),
    "disc_activation": "relu",
    "num_disc_steps": 5,
    "batch_size": 256,
    "learning_rate": 1e-4,
    "schedule": "constant",
    "epochs": 128,  # of 39 steps
    "validate_every": 16,
}
DATA = ("swiss-roll", "eight-gaussians", "twenty-five-gaussians")
ROWS = {name: ("gan-ring", GAME | {"data": f"toy:{name}"}) for name in DATA}

if __name__ == "__main__":
    args = arguments(__doc__, seeds=1)
    results = run_rows(ROWS, args)
    panels = []
    for row, runs in results.items():
        trained = [load(args, row, seed) for seed in range(args.seeds)]
        for run, loaded in zip(runs, trained, strict=True):
            run["training_points"] = quality(loaded)["training examples"]["wasserstein_2"]
        test = load_dataset(ROWS[row][1]["data"]).test.x[:2000]
        bound = 1.2 * float(np.abs(test).max())
        panels += [(f"{row}: test points", test / bound), ("WGAN-GP", drawn(trained[0], 2000) / bound)]
    report({row: ROWS[row] for row in results}, results, ("test_wasserstein_2", "training_points", "train_seconds"), args)
    if args.save:
        plots.plane(panels, 1.0).savefig(FIGURE, dpi=80)
