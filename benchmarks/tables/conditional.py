"""How well digits that are drawn by label are recognised: a classifier trained on real digits, on 1,000 drawn ones.

    GEN_JAX_DATA_DIR=DIR python benchmarks/tables/conditional.py [--seeds 3] [--save]

The classifier sees grey values: of real digits as they are, of drawn ones the means of p(x|z, y). Its accuracy on real test
digits stands beside.
"""

import numpy as np
from table import arguments, drawn, load, report, run_rows

from gen_jax.data import load_dataset
from gen_jax.tasks.sample_quality import train_classifier

NUM = 1000
ROWS = {
    "p(z)": ("cvae", {}),
    "p(z|y)": ("cvae", {"latent": "conditional-normal"}),
}

if __name__ == "__main__":
    args = arguments(__doc__)
    results = run_rows(ROWS, args)
    data = load_dataset(load(args, "p(z)", 0).settings.data, "none")
    classifier = train_classifier(data)
    for row, runs in results.items():
        for seed, run in enumerate(runs):
            digits = drawn(load(args, row, seed), NUM)
            named = classifier.probabilities(digits).argmax(axis=1)
            accuracy = float(np.mean(named == np.arange(NUM) % 10))
            run |= {"accuracy_on_drawn": accuracy, "accuracy_on_real": classifier.accuracy}
    report(ROWS, results, ("accuracy_on_drawn", "accuracy_on_real", "test_nll", "test_rate", "train_seconds"), args)
