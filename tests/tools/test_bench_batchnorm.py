import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "bench_batchnorm.py"


def test_a_small_shape() -> None:
    pytest.importorskip("torch")
    command = [sys.executable, str(TOOL), "2x3x4x4", "--rounds", "1", "--seconds", "0.001", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert {(row["pass"], row["program"]) for row in found["rows"]} == {
        (direction, program) for direction in ("forward", "backward") for program in ("copy", "caffelite", "PyTorch")
    }
    assert all(row["ms"] > 0 and row["shape"] == [2, 3, 4, 4] for row in found["rows"])
