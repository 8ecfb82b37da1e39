"""One and more layers of latents at equal budget, on dynamically binarised MNIST: NLL, and the KL of each layer.

GEN_JAX_DATA_DIR=DIR python benchmarks/tables/hierarchical.py [--seeds 3] [--save]
"""

from table import arguments, report, run_rows

BUDGET = {"data": "mnist", "epochs": 40, "batch_size": 100, "activation": "tanh", "num_importance_samples": 500}
TWO = BUDGET | {"latent_dims": (100, 50), "hidden_sizes": (200, 100)}
ROWS = {
    "one layer, 50": ("vae-mnist", BUDGET | {"validate_every": 1}),
    "bottom-up, 100 and 50": ("hvae-mnist", TWO),
    "ladder, 100 and 50": ("hvae-mnist", TWO | {"inference": "ladder"}),
    "deep latent Gaussian, 100 and 50": ("hvae-mnist", TWO | {"inference": "independent", "hidden_sizes": (200, 200)}),
}

if __name__ == "__main__":
    args = arguments(__doc__)
    results = run_rows(ROWS, args)
    for runs in results.values():
        for run in runs:
            run.setdefault("test_rate_1", run["test_rate"])
    report(ROWS, results, ("test_nll", "test_elbo", "test_rate_1", "test_rate_2", "train_seconds"), args)
