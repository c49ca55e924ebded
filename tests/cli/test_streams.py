"""Standard streams that are closed, full or gone: a run goes on without them, and its exit code tells."""

import errno
import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caffelite.cli.streams import SteadyStream, steady_streams

SOLVER = """
net_param {
  name: "tiny"
  layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
    shape { dim: 4 dim: 3 } shape { dim: 4 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
  layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
}
base_lr: 0.1 lr_policy: "fixed" max_iter: 400 display: 1 snapshot: 200 snapshot_prefix: "tiny"
"""
FILES = [f"tiny_iter_{n}.{end}" for n in (200, 400) for end in ("caffemodel", "solverstate")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell; ``caffelite`` in it is the program, and the exit code is that of the program."""
    line = f"set -o pipefail; caffelite() {{ '{sys.executable}' -m caffelite \"$@\"; }}; {command}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("solver.prototxt").write_text(SOLVER)
    return tmp_path


@pytest.mark.parametrize(
    ("streams", "out", "err"),
    [
        ("", "tiny: iteration 400", "Iteration 399"),
        (">&-", "", "caffelite: standard output cannot be written: Bad file descriptor"),
        (">/dev/full", "", "caffelite: standard output cannot be written: No space left on device"),
        ("2>&-", "tiny: iteration 400", ""),
        ("2>/dev/full", "tiny: iteration 400", ""),
        (">&- 2>&-", "", ""),
        ("<&- >&- 2>&-", "", ""),
        (">/dev/full 2>&1", "", ""),
        ("2>&1 | head -1", "caffe.cpp:197] Use", ""),
        ("2>&1 >/dev/null | head -1", "caffe.cpp:197] Use", ""),
    ],
)
def test_training_goes_on(streams, out, err):
    done = shell(f"caffelite train solver.prototxt {streams}")
    assert done.returncode == (1 if streams else 0)
    assert out in done.stdout and err in done.stderr
    assert bool(done.stdout) == bool(out) and bool(done.stderr) == bool(err)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert sorted(os.listdir()) == ["solver.prototxt", *FILES]


def test_training_goes_on_when_the_terminal_is_closed():
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "caffelite", "train", "solver.prototxt", "--iterations", "60000"]
    Path("solver.prototxt").write_text(SOLVER.replace("snapshot: 200", "snapshot: 30000"))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT, start_new_session=True
    )
    os.close(theirs)
    seen = b""
    while b"iteration" not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)
    process.send_signal(signal.SIGHUP)  # it has no controlling terminal here, which would send it
    assert process.wait(timeout=60) == 1
    assert {"tiny_iter_30000.solverstate", "tiny_iter_60000.solverstate"} < set(os.listdir())
    assert len(list(Path().glob("*.solverstate"))) == 3  # that of the hangup


@pytest.mark.parametrize("command", ["time solver.prototxt --iterations 2 --json", "device_query --json", "--help"])
def test_a_result_that_cannot_be_written(command):
    done = shell(f"caffelite {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "caffelite: standard output cannot be written: No space left on device"


def test_a_reader_that_has_seen_enough_is_not_told():
    done = shell("caffelite --help | head -1")
    assert (done.returncode, done.stderr) in [(0, ""), (1, "")]  # it may have been quick enough
    assert done.stdout.startswith("usage")


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_stream_takes_everything():
    stream = SteadyStream(Broken())
    assert stream.failure is None
    assert print("one", file=stream) is None
    assert stream.failure.errno == errno.EIO
    assert stream.write("two") == 3
    assert not stream.isatty()
    whole = SteadyStream(io.StringIO())
    whole.write("one")
    assert whole.getvalue() == "one" and whole.failure is None


def test_other_errors_are_those_of_the_writer(capsys):
    with pytest.raises(TypeError), steady_streams() as lost:
        sys.stdout.write(3)
    assert lost == []


def test_nothing_is_lost_without_reason(capsys):
    before = sys.stdout, sys.stderr
    with steady_streams() as lost:
        print("one")
        print("two", file=sys.stderr)
    assert lost == []
    assert capsys.readouterr() == ("one\n", "two\n")
    assert (sys.stdout, sys.stderr) == before
