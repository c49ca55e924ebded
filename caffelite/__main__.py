"""The process of the command line: ``caffelite``, ``python -m caffelite``, and Caffe's programs by their own names."""
# PYTHON_ARGCOMPLETE_OK: what argcomplete looks for where it completes all programs.

import os
import signal
import sys
from pathlib import PurePath
from typing import NoReturn


def process() -> NoReturn:
    """Run the command line and end the process with its exit code.

    Where the program was started by the name of one of Caffe's (``caffe``, ``convert_mnist_data.bin``), it is that one.
    """
    # Ctrl-C before and after the command just ends the process: Python's own handler would show where it was.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what a word can become
        from caffelite.cli.completion import complete

        complete()
    from caffelite.cli import main
    from caffelite.cli.program import PROGRAMS

    # Caffe's own build has the programs of its examples with that ending.
    name = PurePath(sys.argv[0]).name.removesuffix(".exe").removesuffix(".bin")
    sys.exit(main([name, *sys.argv[1:]] if name in PROGRAMS else None))


if __name__ == "__main__":
    process()
