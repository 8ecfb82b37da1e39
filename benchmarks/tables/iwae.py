"""The table of the IWAE paper: VAE and IWAE of one and two layers at k = 1, 5, 50, on dynamically binarised MNIST.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/iwae.py [--only one-layer-iwae-50 ...] [--seeds 1] [--save]
    ... --set epochs=3280 schedule=iwae         # the paper's own schedule, for a GPU

By default a schedule for a CPU: 20 epochs at batch 20, a cosine from 1e-3. All cells share it, so that what they differ in is the
objective; the published numbers (Burda et al. 2016, arXiv:1509.00519, table 1) are of 3,280 epochs at batch 20.
"""

from table import arguments, report, run_rows

PUBLISHED = {
    "one-layer-vae-1": 86.76,
    "one-layer-vae-5": 86.47,
    "one-layer-vae-50": 86.35,
    "one-layer-iwae-5": 85.54,
    "one-layer-iwae-50": 84.78,
    "two-layers-vae-1": 85.33,
    "two-layers-vae-5": 85.01,
    "two-layers-vae-50": 84.78,
    "two-layers-iwae-5": 83.89,
    "two-layers-iwae-50": 82.90,
}
SHORT = {"data": "mnist", "epochs": 20, "batch_size": 20, "schedule": "cosine", "num_importance_samples": 5000}
OBJECTIVES = {"vae": {"objective": "elbo", "kl_warmup_steps": 0}, "iwae": {"objective": "iwae"}}


def row(name: str) -> tuple[str, dict]:
    """Return the recipe of a cell, and what it changes."""
    layers, model, num = name.rsplit("-", 2)
    recipe = {"one-layer": "vae-mnist", "two-layers": "hvae-mnist"}[layers]
    return recipe, OBJECTIVES[model] | {"activation": "tanh", "num_train_samples": int(num), "validate_every": 1}


ROWS = {name: row(name) for name in PUBLISHED}

if __name__ == "__main__":
    args = arguments(__doc__)
    given = {item.partition("=")[0] for item in args.set}
    args.set += [f"{name}={value}" for name, value in SHORT.items() if name not in given]
    results = run_rows(ROWS, args)
    for name, runs in results.items():
        for run in runs:
            run["published_nll"] = PUBLISHED[name]
    report({name: ROWS[name] for name in results}, results, ("test_nll", "published_nll", "train_seconds"), args)
