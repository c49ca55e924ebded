"""tools/bench_serve.py runs, and says what it must."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "bench_serve.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_answers_and_memory(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    options = ["lenet", "--programs", "caffelite, 1 net", "--json", tmp_path / "found.json"]
    done = run(*options, "--seconds", "0.05", "--rounds", "2")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["clients"] for row in rows] == [1, 2, 8]
    assert all(
        row["answers"] >= row["clients"] and 0 < row["ms_50"] <= row["ms_99"] and row["rate"] > 0 for row in rows
    )
    done = run(*options, "--answers", "100", "--memory")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert len(row["mib"]) == 10 and min(row["mib"]) > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["googlenet"], "--nets FOLDER has to say where googlenet is"),
        (["vgg"], "there is no net vgg, but googlenet and lenet"),
    ],
)
def test_what_it_is_not_for(options: list[str], sentence: str) -> None:
    done = run(*options)
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_answer_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_serve
    import numpy as np

    scores = np.linspace(0, 1, 10, dtype=np.float32)
    client = bench_serve.Client(scores)
    answers = iter([scores, scores * np.float32(1 + 1e-6), scores[::-1]])
    monkeypatch.setattr(client, "ask", lambda connection: next(answers).tobytes())
    client.run(1, 3, float("inf"))
    assert len(client.times) == 3 and client.wrong == 1
