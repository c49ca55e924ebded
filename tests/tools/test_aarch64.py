"""tools/aarch64.py: what it takes for agreement, and what it says where it cannot run."""

import subprocess
import sys
from pathlib import Path

import aarch64
import numpy as np
import pytest


@pytest.mark.parametrize(("value", "agree"), [(2.000001, True), (2.00001, False), (np.nan, False)])
def test_six_digits(tmp_path: Path, value: float, agree: bool) -> None:
    here, there = tmp_path / "here.npz", tmp_path / "there.npz"
    np.savez(here, x=np.array([1.0, 2.0]), zero=np.zeros(2))
    np.savez(there, x=np.array([1.0, value]), zero=np.zeros(2))
    assert aarch64.compare(here, there) is agree


def test_it_is_left_out_without_an_emulator(tmp_path: Path) -> None:
    command = [sys.executable, aarch64.__file__]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("left out: it takes a Debian or Ubuntu with QEMU"), done
