"""The entry of `gen-jax` and `python -m gen_jax`: the imports take seconds, and Ctrl-C may come in them."""

import signal
import sys


def main() -> int:
    """Import and run the command line; a signal that comes early ends it as one that comes later does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from gen_jax.cli import main as run
    except KeyboardInterrupt:
        print("Stopped before anything was done.", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
