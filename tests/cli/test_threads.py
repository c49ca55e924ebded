"""``--threads N``, and where a command says how many threads there are and why."""

import json
import re

import pytest

import caffelite as public
from caffelite.cli import bn
from caffelite.kernels.engine import thread_count

COMPUTING = ["train", "test", "time", "experiment", *(f"bn {name}" for name in bn.COMMANDS)]


@pytest.fixture(autouse=True)
def none_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_count, "_chosen", None)


@pytest.mark.parametrize("command", COMPUTING)
@pytest.mark.parametrize("text", ["0", "-1", "1025", "two", "1.5", ""])
def test_what_is_no_number_of_threads(command, text, caffelite):
    code, out, err = caffelite(*command.split(), "net.prototxt", "-threads", text)
    assert (code, out) == (2, "")
    assert "--threads: a number of threads is a whole number from 1 to 1024, not " in err and err.count("\n") == 1
    assert thread_count._chosen is None


def test_time_runs_on_as_many_and_says_so(caffelite, run_folder):
    code, out, _ = caffelite("time", "net.prototxt", "--threads", "1", "-iterations", "1")
    assert code == 0
    assert out.splitlines()[-1].startswith("Peaks of this machine on 1 thread (--threads): ")
    found = json.loads(caffelite("time", "net.prototxt", "-iterations", "1", "-threads=3", "--json")[1])
    assert (found["threads"], found["threads_reason"]) == (3, "--threads")


def test_the_log_of_train_begins_with_it(caffelite, run_folder):
    code, _, err = caffelite("train", "solver.prototxt", "--threads", "3")
    assert code == 0
    assert re.fullmatch(r"I\d{4} \S+ +\d+ caffe\.cpp:197\] Use 3 threads \(--threads\)\.", err.splitlines()[0])


def test_a_terminal_is_not_told(caffelite, run_folder, monkeypatch):
    monkeypatch.setattr("caffelite.cli.train.on_terminal", lambda: True)
    code, _, err = caffelite("train", "solver.prototxt", "--threads", "3")
    assert code == 0 and "snapshot" in err
    assert "--threads" not in err


def test_the_log_of_test_begins_with_it(caffelite, run_folder):
    code, _, err = caffelite("test", "net.prototxt", "--weights", "snap_iter_12.caffemodel")
    assert code == 0
    lines = [line.partition("] ")[2] for line in err.splitlines() if "] " in line]
    assert lines[:2] == [f"Use {thread_count.thread_count()}.", "Running for 2 iterations."]


def test_a_device_query_says_why(caffelite, monkeypatch):
    monkeypatch.setattr(thread_count, "_counted", lambda: thread_count.ThreadCount(1, "OMP_NUM_THREADS"))
    assert caffelite("device_query")[1].splitlines()[-1] == "CPU: 1 thread (OMP_NUM_THREADS)"
    found = json.loads(caffelite("device_query", "--json")[1])
    assert (found["threads"], found["threads_reason"]) == (1, "OMP_NUM_THREADS")


def test_from_python():
    public.set_num_threads(17)
    assert public.get_num_threads() == 17
    assert str(thread_count.thread_count()) == "17 threads (set_num_threads)"
    with pytest.raises(ValueError, match="not 0$"):
        public.set_num_threads(0)
    assert public.get_num_threads() == 17
