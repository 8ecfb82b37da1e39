"""Modes of stacked MNIST, of 1,000, after PacGAN (Lin et al. 2018, arXiv:1712.04086): 26,000 samples, by a digit classifier.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/stacked.py [--only DCGAN ...] [--seeds 1] [--save]
    ... --set epochs=25         # a longer schedule, for a GPU

Published: DCGAN 78.9 ± 6.5 modes and KL 4.50, packed by two 1,000 and 0.06. By default a schedule for a CPU: two epochs of 2,000
steps at batch 64. Of true data some (1,000 − 1) / 52,000 = 0.02 nats are the finite number of samples.
"""

from table import arguments, report, run_rows

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
    columns = ("test_num_modes", "published_modes", "test_reverse_kl", "published_kl", "train_seconds")
    report({row: ROWS[row] for row in results}, results, columns, args)
