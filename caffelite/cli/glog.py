"""Caffe's log: where its lines go, as glog's options say, and the lines that its program writes beside the solver's."""

import argparse
import getpass
import os
import platform
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TextIO, cast

from caffelite.cli.progress import TestLog
from caffelite.errors import Error
from caffelite.net import Net
from caffelite.words import count

#: What a shell tells of a program that has ended itself (SIGABRT), as Caffe's does where it cannot go on.
ABORTED = 134

_SEVERITIES = "IWEF"


def add_glog(parser: argparse.ArgumentParser) -> None:
    """Add glog's options; each can be given as a variable of the environment too, such as ``GLOG_minloglevel``."""
    add = partial(parser.add_argument, default=None)
    add("--log-dir", metavar="DIR", help="write the log to a file in this folder too, which caffe.INFO leads to")
    add("--minloglevel", type=int, metavar="N", help="leave out lines below 0 (all), 1 (warnings), 2 (errors), 3")
    for name in ("logtostderr", "alsologtostderr"):
        parser.add_argument(f"--{name}", action="store_true", help="the log is on standard error in any case")
    for name in ("stderrthreshold", "v"):
        add(f"--{name}", help=argparse.SUPPRESS)


class Glog(TestLog):
    """Lines of Caffe's log, dated as Caffe's own tools read them: of a training, and of a test.

    Parameters
    ----------
    minimum : int
        The least severity that is written: 0, information, to 3, the end of the program.
    folder : path, optional
        Where a file with the same lines is made.
    """

    def __init__(self, minimum: int = 0, folder: str | Path | None = None) -> None:
        super().__init__(None if folder is None else cast(TextIO, _Both(_log_file(Path(folder)))))
        self._minimum = minimum

    @classmethod
    def chosen(cls, arguments: argparse.Namespace) -> "Glog":
        """Return the log that the options and the environment ask for."""
        level = os.environ.get("GLOG_minloglevel", "") if arguments.minloglevel is None else arguments.minloglevel
        folder = arguments.log_dir or (not arguments.logtostderr and os.environ.get("GLOG_log_dir"))
        return cls(int(level) if str(level).isdecimal() else 0, folder or None)

    def _line(self, source: str, text: str, severity: str = "I") -> None:
        if _SEVERITIES.index(severity) >= self._minimum:
            super()._line(source, text, severity)

    def fatal(self, source: str, text: str) -> int:
        """Tell why the program ends; return its exit code."""
        self._line(source, " ".join(text.split()), "F")
        return ABORTED

    def on_net(self, net: Net) -> None:
        """A net has been built."""
        values = 0
        for node in net.graph.nodes:
            self._line("net.cpp:124", f"Setting up {node.layer.name}")
            for top in node.tops:
                values += count(top.shape)
                self._line("net.cpp:131", f"Top shape: {''.join(f'{n} ' for n in top.shape)}({count(top.shape)})")
            self._line("net.cpp:139", f"Memory required for data: {4 * values}")
        for name in sorted(net.outputs):
            self._line("net.cpp:244", f"This network produces output {name}")
        self._line("net.cpp:257", "Network initialization done.")


class _Both:
    """Standard error and a file."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        for stream in (sys.stderr, self._file):
            stream.write(text)

    def flush(self) -> None:
        for stream in (sys.stderr, self._file):
            stream.flush()


def _log_file(folder: Path) -> TextIO:
    now = datetime.now()
    host = platform.node() or "localhost"
    name = f"caffe.{host}.{getpass.getuser()}.log.INFO.{now:%Y%m%d-%H%M%S}.{os.getpid()}"
    file = (folder / name).open("w", encoding="utf-8")  # as long as the process lives
    file.write(
        f"Log file created at: {now:%Y/%m/%d %H:%M:%S}\nRunning on machine: {host}\n"
        "Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n"
    )
    link = folder / "caffe.INFO"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(name)
    return file


def told_as_fatal(log: Glog, action: Callable[[], int]) -> int:
    """Run what a program of Caffe's does; an error is the last line of its log.

    Returns
    -------
    int
        The exit code.
    """
    try:
        return action()
    except Error as error:
        code = log.fatal("caffelite:0", error.message)
        if error.table:
            print(error.table, file=sys.stderr)
        return code
