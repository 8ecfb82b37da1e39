"""Modes that GANs cover on the ring and the grid of Gaussians, in the protocol of PacGAN (Lin et al. 2018, arXiv:1712.04086).

    python benchmarks/tables/modes.py [--only ring-gan ...] [--seeds 10] [--save]
    ... --set epochs=800 learning_rate=1e-4 adam_b1=0.8 schedule=constant architecture=reference     # the paper's, for a GPU

The paper takes 400,000 steps of 100 decisions of the discriminator; 800 epochs are as many here, of 50,000 points. By default a
schedule for a CPU, that of the recipes; the rows of a data set share it. 2,500 samples, of high quality within 3σ; true data have
98.89 % of them. The seeds of a row are one program (`gen_jax.sweep`); a row that is done is kept in --out, and not done
again.
"""

import dataclasses
import json
from typing import Any

import numpy as np
from table import arguments, device, program, save, settings_of

from gen_jax.data import MODES, load_dataset
from gen_jax.evaluate import mode_coverage
from gen_jax.recipes.gan_points import NUM_POINTS
from gen_jax.sweep import sweep

PUBLISHED = {  # modes, and the share of high quality where the paper has it
    "ring-gan": (6.3, 0.982),
    "ring-pacgan4": (7.8, None),
    "grid-gan": (17.3, 0.948),
    "grid-pacgan4": (24.8, None),
}
VARIANTS = {"gan": {"penalty": "none"}, "pacgan4": {"penalty": "none", "packing": 4}, "r1": {"penalty": "r1"}}
ROWS = {f"{place}-{name}": (f"gan-{place}", changes) for place in ("ring", "grid") for name, changes in VARIANTS.items()}
COLUMNS = ("num_modes", "share_covering", "high_quality", "reverse_kl", "variance_ratio")


def of_true_data(data: str, num_seeds: int) -> dict[str, Any]:
    """What as many draws of the data themselves are found to be, 2,500 each of the training points."""
    points, draws = load_dataset(data).train.x, np.random.default_rng(0)
    found = [mode_coverage(points[draws.permutation(len(points))[:NUM_POINTS]], *MODES[data]) for _ in range(num_seeds)]
    covering = np.mean([coverage.num_modes == len(MODES[data][0]) for coverage in found])
    return {name: float(np.mean(values)) for name, values in zip(found[0]._fields, zip(*found, strict=True), strict=True)} | {
        "share_covering": float(covering)
    }


if __name__ == "__main__":
    args = arguments(__doc__, seeds=10)
    found = {}
    for row, settings in settings_of(ROWS, args).items():
        path = args.out / program() / f"{row}.json"
        wanted = {"settings": dataclasses.asdict(settings), "seeds": args.seeds}
        wanted = json.loads(json.dumps(wanted))  # with lists for tuples, as they come back
        kept = json.loads(path.read_text()) if path.exists() else {}
        if {name: kept.get(name) for name in wanted} != wanted:
            kept = wanted | {"device": device(), "found": sweep(ROWS[row][0], settings, num_seeds=args.seeds)[0]}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept))
        modes, share = PUBLISHED.get(row, (None, None))
        found[row] = kept["found"] | {"device": kept["device"], "published_modes": modes, "published_high_quality": share}
        print(row, {name: found[row][name] for name in COLUMNS}, "published", modes, share, flush=True)
    rows = {name: ROWS[name] for name in found}
    devices = sorted({row["device"] for row in found.values()})
    for data in MODES:
        found[f"{data} itself"] = of_true_data(data, args.seeds)
        print(data, found[f"{data} itself"])
    save(rows, {"mean and standard error over seeds": found}, args, devices)
