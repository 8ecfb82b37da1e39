"""Samples of Fashion-MNIST: four GANs of one architecture and budget, VAEs and MADE, beside training examples and noise.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/sample_quality.py [--seeds 1] [--save]

The four GANs have the same networks (but for the critic's batch norm, which a gradient penalty forbids) and see as many images:
ten epochs, in which the two Wasserstein ones take five steps of the critic for each of the generator. The others have the
schedules of their recipes. Each number is of 5,000 samples against 5,000 test images, in features of a classifier trained here.
"""

from table import arguments, load, quality, report, run_rows

FASHION = {"data": "fashion_mnist"}
ROWS = {
    "DCGAN": ("dcgan-mnist", FASHION),
    "LSGAN": ("lsgan", {}),
    "WGAN": ("wgan", {}),
    "WGAN-GP": ("wgan-gp", {}),
    "VAE of MLPs": ("vae-fashion", {}),
    "VAE of convolutions": (
        "vae-cifar10",
        FASHION | {"channels": (32, 64), "latent_dim": 64, "epochs": 10, "num_importance_samples": 100},
    ),
    "VQ-VAE": ("vq-vae", {}),
    "MADE, binary": ("made-mnist", FASHION),
}
COLUMNS = (
    "frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "classifier_score", "sliced_wasserstein",
    "classifier_accuracy",
)  # fmt: skip

if __name__ == "__main__":
    args = arguments(__doc__)
    results = run_rows(ROWS, args)
    measured: dict = {}
    for row, runs in results.items():
        for seed, run in enumerate(runs):
            found = quality(load(args, row, seed))
            measured.setdefault(row, []).append(run | found.pop("model"))
            for name, numbers in found.items():  # of the data alone: the same for every row
                measured[name] = [numbers | {"device": run["device"]}]
    report({name: ROWS[name] for name in results}, measured, (*COLUMNS, "train_seconds"), args)
