"""What trained models of every family are good for: representation and novelty, on MNIST and Fashion-MNIST.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/uses.py [--only mnist-vae ...] [--save]

One seed each, in sizes for a CPU. Representation: accuracy of a linear probe and of ten nearest neighbours on 5,000 test images
from 100, 1,000 and 10,000 labels. Novelty: test images of the run's own data against those of the other set, 1,000 each.
"""

import sys
from typing import Any

from table import arguments, device, load, run_rows, save

from gen_jax import runs

OTHER = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}
BINARY = {"binarise": "dynamic", "epochs": 6, "num_importance_samples": 20}
GREY = {"binarise": "none"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("vae", BINARY),
    "beta-vae": ("vae", BINARY | {"beta": 4.0}),
    "gaussian-vae": ("vae-fashion", {"epochs": 6, "num_importance_samples": 20}),
    "vq-vae": ("vq-vae", {"epochs": 1}),
    "autoencoder": ("autoencoder", GREY | {"epochs": 6}),
    "autoencoder-denoising": ("autoencoder-denoising", GREY | {"epochs": 6}),
    "autoencoder-contractive": ("autoencoder-contractive", GREY | {"epochs": 2}),
    "made": ("made-mnist", {"binarise": "dynamic", "hidden_sizes": (500,), "epochs": 5}),
    "gan": ("dcgan-mnist", {"epochs": 2}),
}
ROWS = {f"{data}-{name}": (recipe, changes | {"data": data}) for data in OTHER for name, (recipe, changes) in MODELS.items()}
NOT_NOVELTY = ("beta-vae", "autoencoder-denoising", "autoencoder-contractive")

if __name__ == "__main__":
    args = arguments(__doc__, seeds=1)
    if args.seeds != 1:
        sys.exit("One seed: leave --seeds out.")
    results = run_rows(ROWS, args)
    table: dict[str, Any] = {"representation": {}, "novelty": {}}
    for row in results:
        run = load(args, row, 0)
        data, _, name = row.partition("-")
        table["representation"][row] = runs.perform(run, "representation").summary
        print(row, table["representation"][row], flush=True)
        if name not in NOT_NOVELTY:
            outcome = runs.perform(run, "novelty", other=OTHER[data])
            runs.save(run, outcome)
            table["novelty"][row] = outcome.summary
            aurocs = {score: round(found["auroc"], 3) for score, found in outcome.summary.items() if isinstance(found, dict)}
            print(row, aurocs, flush=True)
    save({row: ROWS[row] for row in results}, table, args, [device()])
