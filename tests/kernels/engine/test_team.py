import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from caffelite.kernels.engine import settings, team
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.engine.team import TEAM, Team


@kernel
def _who(begin, end, worker, counts, workers):
    for i in range(begin, end):
        counts[i] += 1
        workers[i] = worker


@kernel
def _dawdle(begin, end, worker, x, counts):
    for i in range(begin, end):
        for _ in range(200_000):
            x[i] = np.sin(x[i])
        counts[i] += 1


def _table(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(rows, np.intp)


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes a team of so many threads, which end with the test."""
    made: list[Team] = []

    def make(threads: int) -> Team:
        monkeypatch.setattr(settings, "threads", lambda: threads)
        made.append(Team())
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one._stop()


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 17])
def test_every_task_is_done_once(crew, threads: int) -> None:
    one = crew(threads)
    for tasks, shares, blocks in [(0, 1, 1), (0, 2, 3), (1, 2, 1), (7, 1, 1), (7, 3, 2), (7, 17, 4), (1000, 17, 4)]:
        counts, seen = np.zeros(tasks, np.int64), np.full(tasks, -1)
        bound = call(_who, tasks, counts, seen)
        address, context, *_ = bound.words()
        table = _table((address, context, tasks, shares, blocks), (address, context, tasks, 1, 1))
        for passes in range(1, 51):
            team.run(one.address, table.ctypes.data, 1)
            assert (counts == passes).all()
            assert set(seen) <= set(range(min(shares, threads)))
        team.run(one.address, table.ctypes.data, 2)
        assert (counts == 52).all() and not seen.any()


def test_a_thread_that_does_not_come_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    deserted = Team()
    deserted._set(team.THREADS, 4)
    counts = np.zeros(100, np.int64)
    bound = call(_who, 100, counts, counts.copy())
    address, context, *_ = bound.words()
    table = _table((address, context, 100, 4, 4))
    team.run(deserted.address, table.ctypes.data, 1)
    assert (counts == 1).all()
    assert deserted.waited() == 0


def test_who_finds_the_team_taken_does_all_alone(crew) -> None:
    one = crew(2)
    one._set(team.OWNER, 1)
    counts, seen = np.zeros(100, np.int64), np.ones(100, np.int64)
    address, context, *_ = call(_who, 100, counts, seen).words()
    team.run(one.address, _table((address, context, 100, 2, 4)).ctypes.data, 1)
    assert (counts == 1).all() and not seen.any()


def test_several_callers_at_once(crew) -> None:
    one = crew(3)
    arrays = [(np.zeros(64, np.int64), np.zeros(64, np.int64)) for _ in range(5)]
    bound = [call(_who, 64, *pair) for pair in arrays]

    def many(own) -> None:
        address, context, *_ = own.words()
        table = _table(*[(address, context, 64, 3, 4)] * 10)
        for _ in range(300):
            team.run(one.address, table.ctypes.data, 10)

    callers = [threading.Thread(target=many, args=(own,)) for own in bound]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert all((counts == 3000).all() for counts, _ in arrays)


def test_the_caller_sleeps_until_others_are_done(crew) -> None:
    one = crew(3)
    x, counts = np.ones(3, np.float32), np.zeros(3, np.int64)
    address, context, *_ = call(_dawdle, 3, x, counts).words()
    one.wait_so(0, 0)
    for _ in range(20):
        team.run(one.address, _table((address, context, 3, 3, 1)).ctypes.data, 1)
    assert (counts == 20).all()


def test_threads_without_work_sleep_and_are_woken(crew) -> None:
    one = crew(2)
    counts = np.zeros(64, np.int64)
    address, context, *_ = call(_who, 64, counts, counts.copy()).words()
    table = _table((address, context, 64, 2, 4))
    for passes in range(1, 4):
        team.run(one.address, table.ctypes.data, 1)
        time.sleep(0.1)
        assert (counts == passes).all()
        assert one._memory[team.ASLEEP // 8] == 1
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_threads_that_the_system_does_not_give_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    monkeypatch.setattr(settings, "threads", lambda: 8)
    one = Team()
    one.start()
    assert one.ready
    counts = np.zeros(64, np.int64)
    address, context, *_ = call(_who, 64, counts, counts.copy()).words()
    team.run(one.address, _table((address, context, 64, 8, 4)).ctypes.data, 1)
    assert (counts == 1).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_copy_of_the_process_has_a_team_of_its_own() -> None:
    counts = np.zeros(64, np.int64)
    bound = call(_who, 64, counts, counts.copy())
    bound()
    child = os.fork()
    if not child:
        fresh = not TEAM.ready
        bound()
        os._exit(0 if fresh and (counts == 2).all() and TEAM.ready else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    bound()
    assert (counts == 2).all()


@pytest.mark.parametrize("policy, spins", [("passive", 0), ("ACTIVE", 2000), ("", 2000)])
def test_how_threads_wait_can_be_said(policy: str, spins: int) -> None:
    code = "from caffelite.kernels.engine import settings; print(settings.waiting()[0])"
    environment = dict(os.environ, OMP_WAIT_POLICY=policy, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert int(done.stdout) == spins
