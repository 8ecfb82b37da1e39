"""Modes that GANs cover on the ring and the grid of Gaussians, in the protocol of PacGAN (Lin et al. 2018, arXiv:1712.04086).

    python benchmarks/tables/modes.py [--only ring-gan ...] [--seeds 10] [--save]
    ... --set epochs=800 learning_rate=1e-4 adam_b1=0.8 schedule=constant architecture=reference     # the paper's, for a GPU

The paper takes 400,000 steps at batch 100; 800 epochs are as many here, of 50,000 points. By default a schedule for a CPU, that
of the recipes; the rows of a data set share it. 2,500 samples, of high quality within 3σ; true data have 98.89 % of them. The
seeds of a row are one program (`gen_jax.recipes.sweep`); a row that is done is kept in --out, and not done again.
"""

import dataclasses
import json

from table import arguments, program, save, settings_of

from gen_jax import recipes

PUBLISHED = {  # modes, and the share of high quality where the paper has it
    "ring-gan": (6.3, 0.982),
    "ring-pacgan4": (7.8, None),
    "grid-gan": (17.3, 0.948),
    "grid-pacgan4": (24.8, None),
}
VARIANTS = {"gan": {"penalty": "none"}, "pacgan4": {"penalty": "none", "packing": 4}, "r1": {"penalty": "r1"}}
ROWS = {f"{place}-{name}": (f"gan-{place}", changes) for place in ("ring", "grid") for name, changes in VARIANTS.items()}
COLUMNS = ("num_modes", "share_covering", "high_quality", "reverse_kl", "variance_ratio")

if __name__ == "__main__":
    args = arguments(__doc__, seeds=10)
    found = {}
    for row, settings in settings_of(ROWS, args).items():
        path = args.out / program() / f"{row}.json"
        wanted = {"settings": dataclasses.asdict(settings), "seeds": args.seeds}
        wanted = json.loads(json.dumps(wanted))  # with lists for tuples, as they come back
        kept = json.loads(path.read_text()) if path.exists() else {}
        if {name: kept.get(name) for name in wanted} != wanted:
            kept = wanted | {"found": recipes.sweep(settings, args.seeds, [settings.penalty_weight])[0]}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept))
        modes, share = PUBLISHED.get(row, (None, None))
        found[row] = kept["found"] | {"published_modes": modes, "published_high_quality": share}
        print(row, {name: round(found[row][name], 3) for name in COLUMNS}, "published", modes, share, flush=True)
    save({name: ROWS[name] for name in found}, {"mean and standard error over seeds": found}, args)
