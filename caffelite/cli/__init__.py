"""The command line: a module a command."""

from caffelite.cli.program import main

__all__ = ["main"]
