"""What is told while a command runs, all of it on standard error: standard output is for results."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from caffelite.cli.streams import is_quiet

_ERASE = "\r\033[K"


def on_terminal() -> bool:
    """Whether standard error is looked at by a person."""
    return sys.stderr.isatty() and not is_quiet()


def say(text: str) -> None:
    """Tell the user a sentence."""
    if is_quiet():
        return
    print(f"{_ERASE if on_terminal() else ''}{text}", file=sys.stderr, flush=True)


def brief(text: str) -> None:
    """Show what is going on in a line that the next one is written over."""
    print(f"{_ERASE}{text} …", end="\r", file=sys.stderr, flush=True)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show on a terminal what is going on while the block runs."""
    if on_terminal():
        brief(text)
    try:
        yield
    finally:
        if on_terminal():
            print(_ERASE, end="", file=sys.stderr, flush=True)


@contextmanager
def progress(total: int, text: str, unit: str = "it") -> Iterator[Callable[[], object]]:
    """Show on a terminal how far something is: the function that is given is called after each part of it."""
    with tqdm(total=total, desc=text, unit=unit, leave=False, disable=not on_terminal(), file=sys.stderr) as bar:
        yield bar.update


@contextmanager
def amount(size: int, text: str, unit: str = "B") -> Iterator[Callable[[int], object]]:
    """Show on a terminal how many of so many bytes are done, how fast, and how long the rest takes.

    The function that is given takes those of each part; ``unit`` says what they are if not bytes.
    """
    hidden = not on_terminal()
    with tqdm(total=size, desc=text, leave=False, disable=hidden, file=sys.stderr, unit=unit, unit_scale=True) as bar:
        yield bar.update


def counted(batches: Iterable[int], text: str) -> Iterable[int]:
    """Show on a terminal how far a loop is."""
    return tqdm(batches, desc=text, leave=False, disable=not on_terminal(), file=sys.stderr)
