"""A command reads and parses a net file once, however many nets it builds of it."""

from collections import Counter

import pytest

from caffelite.schema import parser, text
from caffelite.solvers.solver import Solver

WEIGHTS = ["--weights", "snap_iter_12.caffemodel"]


@pytest.fixture
def counted(monkeypatch):
    """Count the reads and the parses of each file."""
    counts = Counter()
    read, parse = text.read_text, parser._Parser.__init__

    def read_text(path):
        counts["read", str(path)] += 1
        return read(path)

    def parse_from(self, content, filename):
        counts["parsed", filename] += 1
        parse(self, content, filename)

    monkeypatch.setattr(text, "read_text", read_text)
    monkeypatch.setattr(parser._Parser, "__init__", parse_from)
    return counts


@pytest.mark.parametrize(
    "command",
    [
        ["train", "net.prototxt", "--iterations", "1"],
        ["train", "solver.prototxt", "--iterations", "1"],
        ["train", "own.prototxt", "--iterations", "1"],
        ["test", "net.prototxt", *WEIGHTS, "--iterations", "1"],
        ["test", "solver.prototxt", *WEIGHTS, "--iterations", "1"],
        ["time", "net.prototxt", "--iterations", "1"],
        ["time", "solver.prototxt", "--iterations", "1"],
        ["draw", "net.prototxt", "net.dot"],
        ["bn", "check", "net.prototxt"],
        ["bn", "check", "solver.prototxt", *WEIGHTS, "--iterations", "1"],
        ["bn", "recalibrate", "solver.prototxt", *WEIGHTS, "--iterations", "1"],
    ],
    ids=" ".join,
)
def test_each_file_is_read_once(command, caffelite, run_folder, counted):
    (run_folder / "own.prototxt").write_text((run_folder / "net.prototxt").read_text())
    solver = (run_folder / "solver.prototxt").read_text()
    # Spelled in another way than on the command line.
    (run_folder / "own_solver.prototxt").write_text(solver.replace('"net.prototxt"', '"../run/own.prototxt"'))
    assert caffelite(*command)[0] == (1 if "check" in command else 0)
    net = "own.prototxt" if "own.prototxt" in command else "net.prototxt"
    times = {what: sum(n for (did, file), n in counted.items() if did == what and net in file) for what, _ in counted}
    assert times == {"read": 1, "parsed": 1}
    assert set(counted.values()) == {1}


def test_a_solver_reads_the_net_that_it_trains_and_tests_once(run_folder, counted):
    Solver("solver.prototxt", object()).close()
    assert counted["parsed", "net.prototxt"] == counted["read", "net.prototxt"] == 1
