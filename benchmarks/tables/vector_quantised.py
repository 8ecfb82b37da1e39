"""VQ-VAEs in bits per dimension, with the perplexity of their codes, beside a Gaussian VAE of the same likelihood.

The bound is −ELBO. Of a VQ-VAE, whose posterior is a point, there is no estimate beyond it; of the other, from 100 samples.

GEN_JAX_DATA_DIR=DIR python benchmarks/tables/vector_quantised.py [--seeds 1] [--save]
"""

from table import arguments, report, run_rows

ROWS = {
    "VQ-VAE, codebook by averages": ("vq-vae", {}),
    "VQ-VAE, codebook by loss": ("vq-vae", {"codebook": "loss"}),
    "Gaussian VAE, 64 latents": (
        "vae-cifar10",
        {"data": "fashion_mnist", "channels": (32, 64), "latent_dim": 64, "epochs": 10, "num_importance_samples": 100},
    ),
}

if __name__ == "__main__":
    args = arguments(__doc__)
    columns = ("test_bits_per_dim_bound", "test_bits_per_dim", "test_perplexity", "test_rate", "test_distortion", "train_seconds")
    report(ROWS, run_rows(ROWS, args), columns, args)
