"""Lines of metrics: what is read again, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from caffelite.errors import DataError, Error
from caffelite.report.metrics import MetricsFile, Run, before, number, read_lines, read_run

START = {"event": "start", "iteration": 0, "net": "n", "max_iter": 9, "test_nets": 1, "shares": [], "batchnorm": {}}
TRAIN = {
    "event": "train",
    "iteration": 5,
    "rate": 0.1,
    "losses": [1.0, None],
    "images_per_second": 10,
    "seconds_left": None,
    "waiting": 0,
    "outputs": {"loss": [1.0]},
    "norms": {"ip": {"weights": 1.0}},
    "batchnorm": {"bn": {"mean": [0.1], "deviation": [None]}},
}
TEST = {"event": "test", "iteration": 6, "net": 0, "outputs": {"loss": [1.0]}}
END = {"event": "end", "iteration": 9, "reason": ""}


def test_written_lines_are_read_again_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    file = MetricsFile(path, [START])
    for line in (TRAIN, TEST, END):
        file.write(line)
    # Each is there at once; the last one is cut.
    path.write_text(path.read_text() + '{"event":"tra')
    assert read_lines(path) == [START, TRAIN, TEST, END]
    run = read_run(path)
    assert run.name == "run" and run.train == [TRAIN] and run.tests == [TEST] and run.end == END
    assert before(read_lines(path), 5) == [START, TRAIN]
    file.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("[]", "no event, one of start, train"),
        ({"event": "stat"}, "no event"),
        ({**TRAIN, "iteration": -1}, 'the event "train" is not as it is written'),
        ({**TRAIN, "losses": 3}, "not as it is written"),
        ({**TRAIN, "losses": [float("inf")]}, "not as it is written"),
        ({**TRAIN, "batchnorm": {"bn": {"mean": [1]}}}, "not as it is written"),
        ({**TRAIN, "outputs": {"loss": []}}, "not as it is written"),
        ({**START, "shares": [[]]}, "not as it is written"),
        ({**START, "batchnorm": {"bn": 3}}, "not as it is written"),
        ({**START, "batchnorm": {"bn": {"channels": [], "of": 1, "images": 0, "fraction": 1}}}, "not as it is written"),
        ({**TEST, "net": "0"}, "not as it is written"),
        ({**END, "reason": None}, "not as it is written"),
        (TEST, "no line of the beginning"),
    ],
)
def test_what_is_no_file_of_metrics(line: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text((line if isinstance(line, str) else json.dumps(line)) + "\n")
    with pytest.raises(DataError, match=said):
        read_run(path)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, said in (
        ("empty", "no whole line in it"),
        ("bytes", "no text"),
        ("none", "cannot be read: No such file"),
    ):
        with pytest.raises(DataError, match=said):
            read_lines(tmp_path / name)
    with pytest.raises(Error, match="the metrics cannot be written"):
        MetricsFile(tmp_path / "empty" / "run.jsonl", [])


def test_a_long_run_keeps_what_a_page_has_room_for() -> None:
    run = Run("long")
    for i in range(1, 5001):
        run.add({**TRAIN, "iteration": i})
    detailed = [line["iteration"] for line in run.train if line["batchnorm"]]
    assert len(run.train) == 5000 and 300 <= len(detailed) <= 605 and all(line["losses"] for line in run.train)
    assert detailed[0] == 1 and detailed[-5:] == [4996, 4997, 4998, 4999, 5000]
    assert max(b - a for a, b in zip(detailed, detailed[1:], strict=False)) <= 32
    assert run.train[0]["norms"] and not run.train[1]["norms"] and TRAIN["norms"]


def test_numbers() -> None:
    assert number(float("nan")) is None and number(-float("inf")) is None and number(1 / 3, 3) == 0.333
