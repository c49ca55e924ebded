"""What the kernels for a GPU are compiled to; needs no GPU, but the compiler (pip install "caffelite[cuda]")."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "cuda_ptx.py"


@pytest.mark.parametrize("only", ["float32 ReLU", "statistics"])
def test_kernels_read_16_bytes_and_keep_all_in_registers(only: str) -> None:
    run = subprocess.run([sys.executable, TOOL, "--json", "--only", only], capture_output=True, text=True)
    if run.returncode == 3:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert len(found) >= 6
    for row in found:
        assert row["loads"] >= 5 and not row["local"] and not row["float64"], row
        # Two blocks of 256 threads on each multiprocessor at the very least.
        assert row["registers"] is None or row["registers"] <= 64, row
