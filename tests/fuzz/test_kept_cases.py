"""Files that once broke a reader, and those that fuzzing starts from, break none: ``tests/fuzz/run.py`` looks for more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.targets import TARGETS, try_out

HERE = Path(__file__).parent


def test_no_reader_is_broken_by_a_kept_file() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, HERE / "replay.py", *TARGETS], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(TARGETS)


def test_a_finding_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "text", lambda data: data.index(b"x"))
    with pytest.raises(ValueError, match="subsection not found"):
        try_out("text", b"")


def test_kept_cases_are_few_and_small() -> None:
    cases = [path for path in (HERE / "cases").rglob("*") if path.is_file()]
    assert {path.parent.name for path in cases} <= TARGETS.keys()
    assert sum(path.stat().st_size for path in cases) < 300_000
