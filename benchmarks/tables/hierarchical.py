"""One and more layers of latents at equal budget, on dynamically binarised MNIST: NLL, and the KL of each layer.

20 epochs at batch 20, ReLU, and the weight of the KL rising over the first 10,000 steps, for every row. Of the
bottom-up model, whose q and p draw the layers in opposite orders, only the sum of the layers' rates is a KL.

GEN_JAX_DATA_DIR=DIR python benchmarks/tables/hierarchical.py [--seeds 3] [--save]
"""

from table import arguments, report, run_rows

BUDGET = {"epochs": 20, "batch_size": 20, "activation": "relu", "kl_warmup_steps": 10_000, "num_importance_samples": 500}
ROWS = {
    "one layer, 50": ("vae-mnist", BUDGET | {"validate_every": 1}),
    "bottom-up, 100 and 50": ("hvae-mnist", BUDGET),
    "ladder, 100 and 50": ("hvae-mnist", BUDGET | {"inference": "ladder"}),
    "ladder, 64, 32 and 16": ("ladder-mnist", BUDGET),
    "deep latent Gaussian, 100 and 50": ("dlgm-mnist", BUDGET),
}

if __name__ == "__main__":
    args = arguments(__doc__)
    results = run_rows(ROWS, args)
    for runs in results.values():
        for run in runs:
            run.setdefault("test_rate_1", run["test_rate"])
    report(ROWS, results, ("test_nll", "test_elbo", "test_rate_1", "test_rate_2", "test_rate_3", "train_seconds"), args)
