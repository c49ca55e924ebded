import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "bench_kernels.py"


def run(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(TOOL), "2x3x5x5", "--family", "direct", "--family", "max_pooling"]
    return subprocess.run([*command, "--rounds", "2", "--seconds", "0", *options], capture_output=True, text=True)


def test_figures_and_their_ratios_to_others(tmp_path: Path) -> None:
    first = run("--json", str(tmp_path / "first.json"))
    assert first.returncode == 0, first.stderr
    found = json.loads((tmp_path / "first.json").read_text())
    assert [(row["family"], row["pass"]) for row in found["rows"]] == [
        ("direct", "forward"),
        ("direct", "data"),
        ("direct", "weights"),
        ("max_pooling", "forward"),
        ("max_pooling", "data"),
    ]
    assert all(row["shape"] == [2, 3, 5, 5] and 0 < row["least"] <= row["median"] for row in found["rows"])
    assert "ratio" not in first.stdout
    for row in found["rows"]:
        row["median"], row["least"] = 1e6, 1e6
    (tmp_path / "other.json").write_text(json.dumps(found))
    lines = run("--against", str(tmp_path / "other.json")).stdout.splitlines()
    assert len(lines) == 5
    assert all(line.endswith("ratio 0.000  0.000") for line in lines)


@pytest.mark.parametrize("options", [["--against", "none.json"], ["--family", "pool"], ["3xa"]], ids=str)
def test_what_it_is_not_for(options: list[str]) -> None:
    found = run(*options)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "error: " in found.stderr
