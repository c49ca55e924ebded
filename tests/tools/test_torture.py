"""Killed and troubled runs lose nothing, and the tool sees it where they do; ``python tools/torture.py`` makes more."""

import random
import sys
from pathlib import Path

import pytest
import torture
import torture_mpi
from torture_kinds import Kind
from torture_runs import COMMANDS, make_inputs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is for Linux")


def test_nothing_is_lost() -> None:
    kinds = torture.torture(["train", "fold"], 3, 20.0, seed=2)
    assert [kind.told for kind in kinds] == [[], []]
    assert [kind.tries for kind in kinds] == [3, 3]


@pytest.fixture
def fold(tmp_path: Path) -> Kind:
    (tmp_path / "inputs").mkdir()
    make_inputs(tmp_path / "inputs")
    kind = Kind("fold", COMMANDS["fold"], tmp_path / "inputs", tmp_path / "fold", random.Random(1))
    kind.prepare()
    return kind


def test_losses_are_seen(fold: Kind) -> None:
    weights, net = fold.out / "new.caffemodel", fold.out / "new.prototxt"
    assert set(fold.reference) == {weights.name, net.name}
    weights.write_bytes(b"cut off")
    (fold.out / ".new.unfinished").mkdir()
    fold.check_files(-1, {net.name}, {".new.unfinished"})
    assert fold.losses == {"not equal": 1, "lost": 1, "leftovers": 1}
    fold.check_end()
    assert fold.losses == {"not equal": 1, "lost": 2, "leftovers": 1}
    assert not any(fold.out.iterdir())


def test_one_of_several_processes_is_killed() -> None:
    pytest.importorskip("mpi4py")
    if torture_mpi.MPIEXEC is None:
        pytest.skip("there is no mpiexec")
    (kind,) = torture.torture(["processes"], 1, 60.0, 1, 1, torture_mpi.kind_of)
    assert kind.told == [] and kind.tries == 1
