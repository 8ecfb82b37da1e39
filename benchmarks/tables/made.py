"""MADE on DNA and on dynamically binarised MNIST.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/made.py [--only ROW] [--save]

The MADE paper (Germain et al. 2015, arXiv:1502.03509, table 4) has on DNA a test NLL of 83.64 nats under a fixed mask, and of
79.66 with mask sampling. All the DNA rows have one hidden layer of 500, direct links, and stop early on the validation split.

    python benchmarks/tables/made.py --data npz:PATH [--trials 12] [--seeds 3] [--save FILE]

Of any other binary data set, with arrays `train`, `valid` and `test`: the settings of `made-dna`, and settings chosen on its
validation data among combinations of two learning rates, two widths and three weight decays: all twelve with `--trials 12`, each
trained once, and stopped after a third of its epochs where it is below the median. Trials have 16 masks in the mixture, which is
faster; both rows have 128. Runs go to a folder of the data set's name.
"""

import sys
from pathlib import Path
from typing import Any

from table import arguments, report, run_directory, run_rows

from gen_jax.recipes import RECIPES, change
from gen_jax.tune import tune
from gen_jax.types import InputError

FIXED = {
    "activation": "tanh",
    "masks": "fixed",
    "shuffle": "orderings",
    "batch_size": 100,
    "weight_decay": 1.0,
    "ema_decay": None,
    "validate_every": 10,
    "patience": 10,
}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "dna-fixed-mask": ("made-dna", FIXED),
    "dna-fixed-natural-order": ("made-dna", FIXED | {"shuffle": "none"}),
    "dna-fresh-masks": ("made-dna", {}),
    "mnist": ("made-mnist", {}),
}
VARIED = {"learning_rate": (1e-3, 3e-4), "hidden_sizes": ((500,), (100,)), "weight_decay": (0.0, 0.1, 1.0)}


def rows_of(data: str, trials: int, args: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the rows of a data set: as `made-dna` has them, and as a study on validation data chooses them."""
    settings = change(RECIPES["made-dna"].settings, data=data, num_masks=16)
    tuned = tune("made-dna", settings, vary=VARIED, trials=trials, out=run_directory(args, "study", 0), on_trial=print)
    if tuned is None:
        raise SystemExit(130)
    chosen = {name: getattr(tuned.settings, name) for name in VARIED}
    return {"as on DNA": ("made-dna", {"data": data}), "chosen": ("made-dna", {"data": data} | chosen)}


if __name__ == "__main__":
    args = arguments(__doc__, data={"metavar": "npz:PATH"}, trials={"type": int, "default": 12})
    rows = ROWS
    if args.data is not None:
        if args.set or args.only:
            sys.exit("--data makes both rows of a data set, as they are: leave out --set and --only.")
        args.out /= Path(args.data.partition(":")[2]).stem
        try:
            rows = rows_of(args.data, args.trials, args)
        except InputError as error:
            sys.exit(str(error))
    results = run_rows(rows, args)
    if args.data is not None:  # where it lies is this machine's own business
        rows = {name: (recipe, changes | {"data": f"npz:{Path(args.data).name}"}) for name, (recipe, changes) in rows.items()}
    report(rows, results, ("test_nll", "train_seconds"), args)
