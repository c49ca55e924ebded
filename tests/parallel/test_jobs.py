"""Tasks side by side: what comes back, and what is left when a process dies."""

import math
import operator
import os
import signal
from functools import partial

import pytest

from caffelite.net.machine import thread_count
from caffelite.parallel import jobs
from caffelite.parallel.jobs import Processes, WorkerError


def test_results_errors_and_a_process_that_dies():
    blocked = partial(signal.pthread_sigmask, signal.SIG_BLOCK, [])
    tasks = [partial(math.sqrt, 4), partial(math.sqrt, -1), partial(os._exit, 3), blocked]
    outcomes = {one.number: one for one in Processes(len(tasks), 1).finish(operator.call, tasks)}
    assert outcomes[0].result == 2 and outcomes[0].error is None
    assert isinstance(outcomes[1].error, ValueError)
    assert isinstance(outcomes[2].error, WorkerError) and "exit code 3" in str(outcomes[2].error)
    # The next one has a process of its own, which Ctrl-C at a terminal does not reach.
    assert signal.SIGINT in outcomes[3].result


def test_what_runs_is_ended_with_the_iteration():
    waiting = Processes(1, 1).finish(operator.call, [partial(os.getpid), partial(signal.pause)])
    process = next(waiting).result
    waiting.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize(
    ("tasks", "asked", "cores", "side_by_side", "threads"),
    [(8, None, 4, 4, 1), (2, None, 4, 2, 2), (8, 2, 4, 2, 2), (8, 6, 4, 6, 1), (3, 8, 4, 3, 1), (1, None, 4, 1, 4)],
)
def test_threads_are_divided(tasks, asked, cores, side_by_side, threads, monkeypatch):
    monkeypatch.setattr(jobs, "thread_count", lambda: thread_count()._replace(number=cores))
    team = Processes(tasks, asked)
    assert (team.jobs, team.threads) == (side_by_side, threads)


def test_how_a_process_ended():
    assert "SIGKILL" in jobs._ended_by(-signal.SIGKILL) and "memory" in jobs._ended_by(-signal.SIGKILL)
    assert jobs._ended_by(-200) == "signal 200" and jobs._ended_by(3) == "exit code 3"
