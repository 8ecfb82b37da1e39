"""Planar flows on the four energies of Rezende & Mohamed 2015 (arXiv:1505.05770, §6.1): KL(q ‖ p) by quadrature, by layers.

    python benchmarks/tables/energies.py [--save]

With `--save` it draws docs/images/energies.png too: every energy's target, then what 2, 8 and 32 layers make of it (seed 0).
"""

import argparse
from pathlib import Path

import numpy as np
from table import Rows, arguments, load, report, run_rows

from gen_jax import plots
from gen_jax.data import ENERGIES
from gen_jax.evaluate import log_density_on_grid, square_grid
from gen_jax.tasks.sampling import log_density

LAYERS = (2, 8, 32)
BOUND, PIXELS = 4.0, 200
FIGURE = Path(__file__).parents[2] / "docs/images/energies.png"


def rows() -> Rows:
    """Return a row for every energy and number of layers."""
    return {
        f"{name} {num_layers}": ("energy-2d", {"data": f"toy:{name}", "num_layers": num_layers})
        for name in ENERGIES
        for num_layers in LAYERS
    }


def panels(name: str, args: argparse.Namespace) -> list[tuple[str, np.ndarray]]:
    """Return the density of an energy and those of its flows, on a grid."""
    points, _ = square_grid(BOUND, PIXELS)
    square = lambda log_density: np.exp(np.asarray(log_density)).reshape(PIXELS, PIXELS)
    energy = ENERGIES[name]
    densities = [(f"{name}: target", square(log_density_on_grid(lambda z: -energy(z), points)))]
    for num_layers in LAYERS:
        run = load(args, f"{name} {num_layers}", 0)
        densities.append((f"K = {num_layers}", square(log_density(run.experiment.model, run.params, points))))
    return densities


if __name__ == "__main__":
    args = arguments(__doc__)
    results = run_rows(rows(), args)
    report(rows(), results, ("kl", "mass_on_grid", "train_seconds"), args)
    if args.save:
        plots.plane_grid([panels(name, args) for name in ENERGIES], BOUND).savefig(FIGURE, dpi=100)
