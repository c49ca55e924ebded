"""How many threads there are, and why: fake machines, and what this one lets a test change."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffelite.cgroups import cgroup_folders
from caffelite.kernels.engine import settings, thread_count
from caffelite.kernels.engine.thread_count import ThreadCount, choose_threads, cores, cpu_quota, least, let_numba_start

ROOT = Path(__file__).parents[3]
TELL = "from caffelite.kernels.engine import settings, thread_count; print(thread_count.thread_count(), {})"
#: What stands in mountinfo and in cgroup beside what counts.
MOUNTS = ["22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw", "24 22 0:22 / /proc rw shared:13 - proc proc rw"]
OTHERS = ["9:name=systemd:/init.scope", "3:cpuset:/elsewhere", "2:cpuacct:/elsewhere"]

V2 = "31 22 0:26 {} {} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 22 0:27 {} {} rw,nosuid - cgroup cgroup rw,cpu,cpuacct"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Lay out a file system of a machine with 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)

    def machine(cgroup: list[str], mounts: list[str], **files: str) -> Path:
        files |= {"proc/self/cgroup": "\n".join([*OTHERS, *cgroup, ""])}
        files |= {"proc/self/mountinfo": "\n".join([*MOUNTS, *mounts, ""])}
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return machine


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


def test_a_container_with_a_quota_of_one_and_a_half_on_64_cores_has_two_threads(fake: Callable[..., Path]) -> None:
    root = fake(["0::/"], [V2.format("/", "/sys/fs/cgroup")], **{"sys/fs/cgroup/cpu.max": "150000 100000\n"})
    count = least(cores(root), {})
    assert count == (2, "the CPU quota of the cgroup: 1.5 of 64 cores")
    assert str(count) == "2 threads (the CPU quota of the cgroup: 1.5 of 64 cores)"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "files", "quota"),
    [
        # Version 2: none, a container, a service whose slice has less, a mount that begins further down.
        (["0::/"], [V2.format("/", "/sys/fs/cgroup")], {"sys/fs/cgroup/cpu.max": "max 100000\n"}, np.inf),
        (["0::/"], [V2.format("/", "/sys/fs/cgroup")], {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        (
            ["0::/a.slice/b.service"],
            [V2.format("/", "/sys/fs/cgroup")],
            {
                "sys/fs/cgroup/a.slice/cpu.max": "300000 100000",
                "sys/fs/cgroup/a.slice/b.service/cpu.max": "800000 100000",
                "sys/fs/cgroup/a.slice/c.service/cpu.max": "10000 100000",
            },
            3,
        ),
        (
            ["0::/a/b"],
            [V2.format("/", "/sys/fs/cgroup")],
            {"sys/fs/cgroup/a/cpu.max": "max 100000", "sys/fs/cgroup/a/b/cpu.max": "250000 100000"},
            2.5,
        ),
        (["0::/pod/x/y"], [V2.format("/pod/x", "/cg")], {"cg/cpu.max": "9 3", "cg/y/cpu.max": "max 3"}, 3),
        # The path is the host's, or one beside the root that is seen: the mount itself counts.
        (["0::/docker/77"], [V2.format("/", "/cg")], {"cg/cpu.max": "400000 100000"}, 4),
        (["0::/docker/77"], [V2.format("/docker/9", "/cg")], {"cg/cpu.max": "400000 100000"}, 4),
        (["0::/../beside"], [V2.format("/", "/cg")], {"cg/cpu.max": "4 1", "beside/cpu.max": "1 1"}, 4),
        # A blank in the mount's path.
        (["0::/"], [V2.format("/", r"/my\040cg")], {"my cg/cpu.max": "7 2"}, 3.5),
        # Version 1.
        (["1:cpu,cpuacct:/"], [V1.format("/", "/cg/cpu")], v1("cg/cpu", -1), np.inf),
        (["1:cpuacct,cpu:/"], [V1.format("/", "/cg/cpu")], v1("cg/cpu", 150_000), 1.5),
        (
            ["1:cpu:/docker/a/b"],
            [V1.format("/docker/a", "/cg/cpu")],
            v1("cg/cpu", 200_000) | v1("cg/cpu/b", 20_000, 5000),
            2,
        ),
        # Both, of which version 2 usually has no controllers; another hierarchy's files do not count.
        (
            ["1:cpu:/a", "0::/b"],
            [
                V2.format("/", "/cg/unified"),
                V1.format("/", "/cg/cpu"),
                V1.replace("cpu,cpuacct", "cpuset").format("/", "/s"),
            ],
            v1("cg/cpu/a", 300_000) | v1("s/elsewhere", 1000) | {"cg/unified/b/cgroup.procs": ""},
            3,
        ),
        # Nothing, and nonsense.
        (["0::/"], [], {}, np.inf),
        ([], [V2.format("/", "/cg")], {"cg/cpu.max": "1 1"}, np.inf),
        (["0::/"], [V2.format("/", "/cg")], {"cg/cpu.max": "1 0"}, np.inf),
        (["0::/"], [V2.format("/", "/cg")], {"cg/cpu.max": ""}, np.inf),
        (["words"], ["words"], {}, np.inf),
        (["0::/"], ["words - "], {}, np.inf),
    ],
)
def test_quota(fake: Callable[..., Path], cgroup: list[str], mounts: list[str], files: dict, quota: float) -> None:
    assert cpu_quota(fake(cgroup, mounts, **files)) == quota


def test_a_machine_without_proc_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) == np.inf


@pytest.mark.parametrize(
    ("quota", "number"), [(0.01, 1), (1, 1), (1.01, 2), (62.5, 63), (63, 63), (63.5, 64), (64, 64), (100, 64)]
)
def test_a_quota_is_rounded_up(fake: Callable[..., Path], quota: float, number: int) -> None:
    root = fake(["0::/"], [V2.format("/", "/cg")], **{"cg/cpu.max": f"{round(quota * 1000)} 1000"})
    count = cores(root)
    assert count.number == number
    assert count.reason == (
        "cores this process may use" if number == 64 else f"the CPU quota of the cgroup: {quota:g} of 64 cores"
    )


def test_without_an_affinity_mask_all_cores_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert cores(tmp_path) == (12, "cores this process may use")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores(tmp_path).number == 1


FOUR = ThreadCount(4, "cores")


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, FOUR),
        ({"NUMBA_NUM_THREADS": "3"}, (3, "NUMBA_NUM_THREADS")),
        ({"OMP_NUM_THREADS": "1"}, (1, "OMP_NUM_THREADS")),
        ({"OMP_NUM_THREADS": " 2 , 9"}, (2, "OMP_NUM_THREADS")),
        ({"NUMBA_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, (2, "OMP_NUM_THREADS")),
        ({"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"}, (2, "NUMBA_NUM_THREADS")),
        # They lower the number, they do not raise it.
        ({"NUMBA_NUM_THREADS": "17", "OMP_NUM_THREADS": "17"}, FOUR),
        ({"NUMBA_NUM_THREADS": "4"}, FOUR),
        ({"NUMBA_NUM_THREADS": "", "OMP_NUM_THREADS": " "}, FOUR),
    ],
)
def test_the_environment(environment: dict[str, str], count: tuple[int, str]) -> None:
    assert least(FOUR, environment) == count


@pytest.mark.parametrize("name", ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize("text", ["0", "-2", "two", "2.5", ",2", "9" * 5000])
def test_what_is_no_number_of_threads_is_ignored(name: str, text: str) -> None:
    with pytest.warns(UserWarning, match=f'^{name}="{re.escape(text)}" is no positive number of threads') as told:
        assert least(FOUR, {name: text}) == FOUR
    assert len(told) == 1


def test_numba_is_not_shown_what_it_cannot_read() -> None:
    environment = {"NUMBA_NUM_THREADS": "0", "OMP_NUM_THREADS": "0"}
    with pytest.warns(UserWarning, match='NUMBA_NUM_THREADS="0"'):
        let_numba_start(environment)
    assert environment == {"OMP_NUM_THREADS": "0"}
    let_numba_start(kept := {"NUMBA_NUM_THREADS": "3"})
    assert kept == {"NUMBA_NUM_THREADS": "3"}


def test_what_is_asked_for_goes_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_count, "_chosen", None)
    monkeypatch.setattr(thread_count, "_counted", lambda: FOUR)
    compilers = settings.compilers()
    assert settings.threads() == 4
    choose_threads(17, "--threads")
    assert settings.threads() == 17
    assert str(thread_count.thread_count()) == "17 threads (--threads)"
    choose_threads(np.int64(1), "set_num_threads")
    assert str(thread_count.thread_count()) == "1 thread (set_num_threads)"
    assert settings.compilers() == compilers


@pytest.mark.parametrize("number", [0, -1, 1025, 2.0, "2", None, True])
def test_what_cannot_be_asked_for(number: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_count, "_chosen", FOUR)
    with pytest.raises(ValueError, match=f"whole number from 1 to 1024, not {number!r}$"):
        choose_threads(number, "set_num_threads")
    assert thread_count.thread_count() == FOUR


def told(program: str, *before: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, whose environment says nothing else of threads."""
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])} | variables
    command = [*before, sys.executable, "-c", program]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask")
def test_the_affinity_mask() -> None:
    one = min(os.sched_getaffinity(0))
    done = told(f"import os; os.sched_setaffinity(0, {{{one}}}); {TELL.format('settings.compilers()')}")
    assert done.stdout == "1 thread (cores this process may use) 1\n"


@pytest.mark.parametrize("text", ["0", "many"])
def test_a_process_says_once_what_it_ignores(text: str) -> None:
    program = "from caffelite.kernels.engine import settings, thread_count as t; t.thread_count(); t.thread_count()"
    done = told(program, NUMBA_NUM_THREADS=text)
    assert done.stderr.count("Warning") == 1
    assert f'NUMBA_NUM_THREADS="{text}" is no positive number of threads, it is ignored' in done.stderr


def test_a_real_quota() -> None:
    """Needs a machine whose cgroups this user may change, and two cores."""
    folders = list(cgroup_folders("cpu", Path("/"))) if sys.platform.startswith("linux") else []
    group = next((folder / f"caffelite-test-{os.getpid()}" for folder in folders if os.access(folder, os.W_OK)), None)
    if group is None or cores().number < 2:
        pytest.skip("no cgroup can be made here, or there is one core")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        try:
            if (group / "cpu.cfs_quota_us").exists():
                (group / "cpu.cfs_period_us").write_text("100000")
                (group / "cpu.cfs_quota_us").write_text("75000")
            else:
                (group / "cpu.max").write_text("75000 100000")
            (group / "cgroup.procs").read_text()
        except OSError as error:
            pytest.skip(f"this cgroup takes no quota: {error}")
        enter = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs")]
        done = told(TELL.format("settings.compilers()"), *enter)
    finally:
        group.rmdir()
    assert done.stdout == f"1 thread (the CPU quota of the cgroup: 0.75 of {len(os.sched_getaffinity(0))} cores) 1\n"
