"""The command line: ``caffelite COMMAND``."""

from caffelite.cli.main import main

__all__ = ["main"]
