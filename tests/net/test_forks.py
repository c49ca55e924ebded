"""Processes that have come of one in which nets ran: they compute, and the one they come of goes on."""

import os
from pathlib import Path

import pytest
from calling import run_program

PROGRAMS = [
    "from_the_main_thread",
    "from_another_thread",
    "grandchild",
    "while_a_thread_is_in_the_net",
    "while_a_thread_compiles",
    "multiprocessing_by_fork",
    "processes",
    "processes_by_fork",
    "processes_by_spawn",
    "processes_by_forkserver",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system copies no processes")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("program", PROGRAMS)
def test_forks(program: str, threads: int, tmp_path: Path) -> None:
    run_program("forking.py", program, threads, tmp_path)
