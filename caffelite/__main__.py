"""The process of the command line: ``caffelite`` and ``python -m caffelite``."""
# PYTHON_ARGCOMPLETE_OK: what argcomplete looks for where it completes all programs.

import os
import signal
import sys
from typing import NoReturn


def process() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    # Ctrl-C before and after the command just ends the process: Python's own handler would show where it was.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what a word can become
        from caffelite.cli.completion import complete

        complete()
    from caffelite.cli import main

    sys.exit(main())


if __name__ == "__main__":
    process()
