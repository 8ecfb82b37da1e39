"""The entry of `gen-jax` and `python -m gen_jax`: from its first moment a signal ends the process without a stack trace."""

import os
import signal
import sys
from typing import Any

STOPPED = "Stopped. What a training run had saved stays, and `gen-jax train` goes on from there.\n"


def main() -> int:
    """Import and run the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as it is for a script's background job
            signal.signal(number, _end)
    from gen_jax.cli import main as run

    return run()


def _end(number: int, frame: Any) -> None:
    """End the process at once. Its files are whole then, as after a kill; an exception might be swallowed, or meet other threads.

    While training, the first signal goes to the loop, which saves.
    """
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # which a progress bar hides
    os.write(2, f"{cursor}{STOPPED}".encode())
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
