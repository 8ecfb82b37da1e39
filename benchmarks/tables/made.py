"""MADE on DNA and on dynamically binarised MNIST.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/made.py [--only ROW] [--save]

The MADE paper (Germain et al. 2015, arXiv:1502.03509, table 4) has on DNA a test NLL of 83.64 nats under a fixed mask, and of
79.66 with mask sampling. All the DNA rows have one hidden layer of 500, direct links, and stop early on the validation split.
"""

from table import arguments, report, run_rows

FIXED = {
    "activation": "tanh",
    "masks": "fixed",
    "shuffle": "orderings",
    "learning_rate": 1e-3,
    "weight_decay": 1.0,
}
ROWS = {
    "dna-fixed-mask": ("made-dna", FIXED),
    "dna-fixed-natural-order": ("made-dna", FIXED | {"shuffle": "none"}),
    "dna-fresh-masks": ("made-dna", {}),
    "mnist": ("made-mnist", {}),
}

if __name__ == "__main__":
    args = arguments(__doc__)
    report(ROWS, run_rows(ROWS, args), ("test_nll", "train_seconds"), args)
