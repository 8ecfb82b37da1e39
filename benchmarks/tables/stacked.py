"""Modes of stacked MNIST, of 1,000, after PacGAN (Lin et al. 2018, arXiv:1712.04086): 26,000 samples, by a digit classifier.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/stacked.py [--only DCGAN ...] [--seeds 1] [--save]
    ... --set epochs=50         # as long as the paper's, for a GPU

Published: DCGAN 78.9 ± 6.5 modes and KL 4.50, packed by two 1,000 and 0.06, after 50 epochs of 2,000 steps of the discriminator
at 64 decisions, with two of the generator for each (in their code) and more channels. By default a schedule for a CPU: two such
epochs, one step of each. A critic of WGAN-GP takes five steps for one of the generator, and has as many images. Of true data
some (1,000 − 1) / 52,000 = 0.02 nats are the finite number of samples.
"""

from table import arguments, load, quality, report, run_rows

PUBLISHED = {"DCGAN": (78.9, 4.50), "PacDCGAN2": (1000.0, 0.06)}
ROWS = {
    "DCGAN": ("stacked-mnist", {}),
    "PacDCGAN2": ("stacked-mnist", {"packing": 2}),
    "DCGAN, R1": ("stacked-mnist", {"penalty": "r1", "discriminator_norm": "none"}),
    "WGAN-GP": (
        "stacked-mnist",
        {
            "loss": "wasserstein",
            "penalty": "gradient-penalty",
            "discriminator_norm": "none",
            "num_disc_steps": 5,
            "adam_b1": 0.0,
        },
    ),
}

if __name__ == "__main__":
    args = arguments(__doc__, seeds=1)
    results = run_rows(ROWS, args)
    for row, runs in results.items():
        modes, kl = PUBLISHED.get(row, (None, None))
        for run in runs:
            run |= {name: value for name, value in (("published_modes", modes), ("published_kl", kl)) if value is not None}
    row = next(iter(results))
    of_data = quality(load(args, row, 0))
    for name in ("training examples", "noise"):
        found = {f"test_{quantity}": value for quantity, value in of_data[name].items()}
        results[name] = [found | {"device": results[row][0]["device"]}]
    columns = (
        "test_num_modes", "published_modes", "test_reverse_kl", "published_kl", "test_classifier_accuracy", "train_seconds"
    )  # fmt: skip
    report({row: ROWS[row] for row in results if row in ROWS}, results, columns, args)
