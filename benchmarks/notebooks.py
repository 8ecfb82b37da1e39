"""Seconds that each notebook takes from top to bottom, with the start of its kernel and all compilation, as a reader has it.

    pip install -e '.[dev]' && python benchmarks/notebooks.py --save

The notebooks are run and left as they are: `notebooks/build.py` writes them.
"""

import sys
import time
from pathlib import Path

from common import arguments, report

sys.path.insert(0, str(Path(__file__).parents[1] / "notebooks"))
import build


def seconds(source: Path) -> float:
    """Run a notebook; return how long it took."""
    start = time.perf_counter()
    build.executed(source)
    took = time.perf_counter() - start
    print(f"{source.stem}: {took:.0f} s", flush=True)
    return took


if __name__ == "__main__":
    args = arguments(__doc__, rounds=1)
    values = {source.stem: [seconds(source) for _ in range(args.rounds)] for source in build.sources()}
    report("s", values, {}, args)
