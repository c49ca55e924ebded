"""Logs of training runs in the dialects that Caffe, its forks and Windows write."""

import gzip
import math
import os
from datetime import datetime
from pathlib import Path

import pytest

from caffelite.errors import DataError
from caffelite.report.logs import TrainingLog, labels, read_log

CAFFE_LOG = Path(__file__).parent.parent / "caffe" / "train.log"


def glog(text: str, head: str = "I0105 10:00:{:02d}.000000  4711 solver.cpp:228] ") -> str:
    """Return these lines as glog writes them, a second after each other."""
    return "".join(f"{head.format(i % 60)}{line}\n" for i, line in enumerate(text.strip("\n").split("\n")))


RUN = """
Solving net
Iteration 0, Testing net (#0)
    Test net output #0: accuracy = 0.1
    Test net output #1: loss = 2.3 (* 1 = 2.3 loss)
Iteration 0, loss = 2.4
    Train net output #0: loss = 2.5 (* 1 = 2.5 loss)
Iteration 0, lr = 0.01
Iteration 100, loss = 1.4
    Train net output #0: loss = 1.5 (* 1 = 1.5 loss)
Iteration 100, lr = 0.001
Snapshotting to binary proto file a_iter_100.caffemodel
Iteration 100, Testing net (#0)
    Test net output #0: accuracy = 0.6
    Test net output #1: loss = 1.2 (* 1 = 1.2 loss)
Optimization Done.
"""


@pytest.fixture
def read(tmp_path: Path):
    def call(text: str | bytes) -> TrainingLog:
        path = tmp_path / "a.log"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_log(path)

    return call


HEADS = {
    "Caffe": "I0105 10:00:{:02d}.000000  4711 solver.cpp:228] ",
    "the year": "I20260105 10:00:{:02d}.000000  4711 solver.cpp:228] ",
    "a process of MPI": "[0] I0105 10:00:{:02d}.000000  4711 solver.cpp:228] ",
    "mpirun's tags": "[1,0]<stderr>:I0105 10:00:{:02d}.000000  4711 solver.cpp:228] ",
    "Windows": "I0105 10:00:{:02d}.000000  4711 C:\\my caffe\\solver.cpp:228] ",
    "no glog": "INFO - 10:00:{:02d} - ",
    "another program's time": "2026-01-05T10:00:01Z I0105 10:00:{:02d}.000000 4711 solver.cpp:228] ",
    "none": "",
}


@pytest.mark.parametrize("dialect", HEADS)
@pytest.mark.parametrize("form", ["plain", "packed", "CRLF"])
def test_heads(dialect, form, read):
    data = glog(RUN, HEADS[dialect]).encode()
    log = read({"plain": data, "packed": gzip.compress(data), "CRLF": data.replace(b"\n", b"\r\n")}[form])
    assert (log.net, log.finished, log.snapshots, log.starts) == ("net", True, ["a_iter_100.caffemodel"], [0])
    assert [(row.iteration, row.rate, row.loss, row.values) for row in log.train] == [
        (0, 0.01, 2.4, {(0, "loss"): 2.5}),
        (100, 0.001, 1.4, {(0, "loss"): 1.5}),
    ]
    assert [(row.iteration, row.rate, *row.values.values()) for row in log.tests[0]] == [
        (0, 0.01, 0.1, 2.3),
        (100, 0.001, 0.6, 1.2),
    ]
    if dialect != "none":
        assert [row.seconds for row in log.train] == [5, 8] and [row.seconds for row in log.tests[0]] == [2, 12]
    else:
        assert math.isnan(log.train[0].seconds)
    assert log.losses == {"loss"} and log.damaged == 0


@pytest.mark.parametrize(
    ("line", "loss"),
    [
        ("Iteration 7, loss = 0.5", 0.5),
        ("Iteration 7 (12.5 iter/s, 8.1s/100 iters), loss = 5e-05", 5e-05),
        ("Iteration 7 (-5.9e-21 iter/s, 1.8s/1000 iter), 0.3/90ep, loss = 3", 3),
        ("Iteration 7 (12 s), loss = .25", 0.25),
    ],
)
def test_forms_of_the_loss(line, loss, read):
    (row,) = read(glog(line)).train
    assert (row.iteration, row.loss) == (7, loss)


@pytest.mark.parametrize("text", ["nan", "-nan", "-nan(ind)", "1.#QNAN", "-1.#IND", "-1.#IND00"])
def test_what_is_no_number_is_kept(text, read):
    log = read(glog(f"Iteration 7, loss = {text}\n    Train net output #0: a = {text} (* 1 = {text} loss)"))
    assert math.isnan(log.train[0].loss) and math.isnan(log.train[0].values[0, "a"]) and log.damaged == 0


def test_infinity_and_damage(read):
    log = read(glog("Iteration 7, loss = -1.#INF\n    Train net output #0: a = inf\nIteration 8, loss = 0    .5\n"))
    assert log.train[0].loss == -math.inf and log.train[0].values[0, "a"] == math.inf
    assert (len(log.train), log.damaged) == (1, 1)


def test_lines_of_2013_and_of_forks(read):
    log = read(
        glog(
            "Iteration 20, lr = 0.01\nIteration 20, loss = 6.5\nSnapshotting to a_iter_20\nIteration 20, Testing net\n"
            "Test score #0: 0.4\nTest score #1: 0.7\nIteration 40, lr = 0.02, m = 0.9\nIteration 40, loss = 5"
        )
    )
    assert [(row.rate, row.loss) for row in log.train] == [(0.01, 6.5), (0.02, 5)] and log.snapshots == ["a_iter_20"]
    assert list(labels(log.tests[0]).values()) == ["score[0]", "score[1]"]
    assert list(log.tests[0][0].values.values()) == [0.4, 0.7]


def test_several_nets_and_values(read):
    text = "Iteration 5, Testing net (#{0})\nTest loss: {0}.5\n    Test net output #0: detection_eval = 0.{0}"
    log = read(glog("\n".join(text.format(net) for net in (1, 0))))
    assert {net: (rows[0].loss, *rows[0].values.values()) for net, rows in log.tests.items()} == {
        0: (0.5, 0.0),
        1: (1.5, 0.1),
    }
    assert list(log.tests) == [0, 1]


def test_two_threads_on_one_line(read):
    lines = glog("Iteration 5, loss = 0.5\nIteration 5, lr = 0.1").replace("\n", "")
    (row,) = read(lines).train
    assert (row.loss, row.rate) == (0.5, 0.1)


def test_what_a_later_run_made_again_counts_once(read):
    first = "\n".join(f"Iteration {i}, loss = 1" for i in range(0, 60, 10))
    second = "\n".join(f"Iteration {i}, loss = 2" for i in range(30, 70, 10))
    log = read(glog(f"Solving a\n{first}\nOptimization Done.\nSolving a\n{second}"))
    assert (len(log.train), log.starts, log.finished) == (10, [0, 30], False)
    made = log.made(log.train)
    assert [row.iteration for row in made] == list(range(0, 70, 10)) and [row.loss for row in made] == [1] * 3 + [2] * 4


def test_a_run_that_goes_on_where_the_first_ended(read):
    test = "Iteration 20, Testing net (#0)\n    Test net output #0: accuracy = 0.{}"
    log = read(glog(f"Solving a\nIteration 10, loss = 1\n{test.format(4)}\nSolving a\nIteration 20, loss = 2"))
    # Nothing tested the net again at iteration 20.
    assert log.starts == [10, 20] and len(log.made(log.tests[0])) == 1
    log = read(glog(f"Solving a\nIteration 10, loss = 1\n{test.format(4)}\nSolving a\n{test.format(5)}"))
    assert [row.values for row in log.made(log.tests[0])] == [{(0, "accuracy"): 0.5}]


def test_of_several_processes_the_first_counts(read):
    lines = "".join(
        f"[{rank}] I0502 16:52:1{i}.000000 137{rank} solver.cpp:312] Iteration {i}, loss = {rank}\n"
        for i in range(4)
        for rank in (3, 0, 5)
    )
    log = read(lines)
    assert log.ranks == [0, 3, 5] and [row.loss for row in log.train] == [0] * 4


def test_the_turn_of_the_year_and_a_leap_day(read):
    heads = ["I1231 23:59:59.500000", "I0101 00:00:00.500000", "I1231 23:59:59.900000", "I0229 00:00:00.000000"]
    lines = [f"{head} 1 s.cpp:1] Iteration {i}, loss = 1\n" for i, head in enumerate(heads[:3])]
    assert [row.seconds for row in read("".join(lines)).train] == [0, 1, 0.4]
    lines = [f"I02{day:02d} 00:00:00.000000 1 s.cpp:1] Iteration {day}, loss = 1\n" for day in (28, 29, 30)]
    seconds = [row.seconds for row in read("".join(lines)).train]
    assert seconds[:2] == [0, 86400] and math.isnan(seconds[2])


def test_a_leap_day_in_a_leap_year(tmp_path):
    path = tmp_path / "a.log"
    heads = ("I0228 23:00:00.000000", "I0229 23:00:00.000000", "I0301 23:00:00.000000")
    path.write_text("".join(f"{head} 1 s.cpp:1] Iteration {i}, loss = 1\n" for i, head in enumerate(heads)))
    for year in (2024, 2026):
        os.utime(path, (datetime(year, 6, 1).timestamp(),) * 2)
        assert [row.seconds for row in read_log(path).train] == [0, 86400, 2 * 86400]


def test_days_that_there_are_not(read):
    heads = [
        "I99991231 23:59:59.000000 1 a] ",
        "INFO - 00:00:01 - ",
        "I99990101 25:00:00.000000 1 a] ",
        "I0101 00:00:00.0 1 a] ",
    ]
    log = read("".join(f"{head}Iteration {i}, loss = 1\n" for i, head in enumerate(heads)))
    assert len(log.train) == 4 and math.isnan(log.train[1].seconds) and math.isnan(log.train[2].seconds)


def test_as_parse_log_reads_what_caffe_wrote():
    log = read_log(CAFFE_LOG)
    assert (len(log.train), len(log.tests[0]), log.finished) == (13, 4, True)
    assert all(row.values for row in log.tests[0])


def test_a_damaged_file_and_hostile_lines(read):
    with pytest.raises(DataError, match="damaged or cut off"):
        read(gzip.compress(glog(RUN * 100).encode())[:-20])
    assert not read(b"\xff\x00Iteration\n" + b"Iteration 9999999999999999999, loss = 1\n" + b"x" * 100_000).rows
    many = "\n".join(f"    Train net output #{i}: {'n' * 300}{i} = 1" for i in range(1200))
    (row,) = read(glog(f"Iteration 1, loss = 1\n{many}", "")).train
    assert len(row.values) == 1000
