"""Modes that GANs cover on the ring and the grid of Gaussians, in the protocol of PacGAN (Lin et al. 2018, arXiv:1712.04086).

    python benchmarks/tables/modes.py [--only ring-gan ...] [--seeds 10] [--save]
    ... --set epochs=800 learning_rate=1e-4 adam_b1=0.8 schedule=constant architecture=reference     # the paper's, for a GPU

The paper takes 400,000 steps at batch 100; 800 epochs are as many here, of 50,000 points. By default a schedule for a CPU: 20,000
steps at 1e-3, decaying along a cosine, with perceptrons of 2 x 128; all rows share it. 2,500 samples, of high quality within 3σ;
true data have 98.89 % of them. Every seed is a run folder; `gen-jax sweep` plays seeds at once where folders are not wanted.
"""

from table import arguments, report, run_rows

PUBLISHED = {  # modes, and the share of high quality where the paper has it
    "ring-gan": (6.3, 0.982),
    "ring-pacgan4": (7.8, None),
    "grid-gan": (17.3, 0.948),
    "grid-pacgan4": (24.8, None),
}
VARIANTS = {"gan": {"penalty": "none"}, "pacgan4": {"penalty": "none", "packing": 4}, "r1": {"penalty": "r1"}}
ROWS = {f"{place}-{name}": (f"gan-{place}", changes) for place in ("ring", "grid") for name, changes in VARIANTS.items()}

if __name__ == "__main__":
    args = arguments(__doc__)
    results = run_rows(ROWS, args)
    for name, runs in results.items():
        modes, share = PUBLISHED.get(name, (None, None))
        for run in runs:
            run |= {key: value for key, value in (("published_modes", modes), ("published_share", share)) if value is not None}
            run["covers_all"] = float(run["test_num_modes"] == (8 if name.startswith("ring") else 25))
    columns = ("test_num_modes", "published_modes", "test_high_quality", "published_share", "covers_all", "test_variance_ratio")
    report({name: ROWS[name] for name in results}, results, columns, args)
