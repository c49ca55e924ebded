"""Processes that have come of one in which nets ran: they compute, and the one they come of goes on."""

import os
from pathlib import Path

import pytest
from calling import run_program
from forking import PROGRAMS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system copies no processes")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("program", PROGRAMS)
def test_forks(program: str, threads: int, tmp_path: Path) -> None:
    run_program("forking.py", program, threads, tmp_path)
