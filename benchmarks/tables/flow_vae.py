"""VAEs with and without flow posteriors, at equal budget, on dynamically binarised MNIST.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/flow_vae.py [--set epochs=2000] [--save]

The sizes are those of van den Berg et al. 2018 (arXiv:1803.05649, table 1): 64 latent dimensions, four flows, amortised. Their
networks are gated convolutions, trained for up to 2,000 epochs with a KL warm-up over 100; here the networks are MLPs,
784-300-300-64, and by default there are 30 epochs, of which 8 are warm-up. Their −ELBO: VAE 86.55, planar 86.06, IAF 84.20,
orthogonal Sylvester 83.32.
"""

from table import arguments, report, run_rows

SIZES = {
    "data": "mnist",
    "latent_dim": 64,
    "hidden_sizes": (300, 300),
    "epochs": 30,
    "kl_warmup_steps": 4400,
    "num_importance_samples": 500,
}
ROWS = {
    "vae": ("vae", SIZES),
    "planar": ("vae-planar", SIZES),
    "iaf": ("vae-iaf", SIZES),
    "sylvester": ("vae-planar", SIZES | {"flow": "sylvester"}),
}

if __name__ == "__main__":
    args = arguments(__doc__)
    results = run_rows(ROWS, args)
    for runs in results.values():
        for run in runs:
            run["negative_elbo"] = -run["test_elbo"]
    report(ROWS, results, ("negative_elbo", "test_nll", "train_seconds"), args)
