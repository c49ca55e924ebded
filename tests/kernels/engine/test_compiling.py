from pathlib import Path

import numpy as np
import pytest

from caffelite.kernels.engine import compiling
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import listening, specialised


@specialised
def _fill_with(number: int):
    def fill(begin, end, worker, y):
        for i in range(begin, end):
            y[i] = number

    return fill


def test_versions_with_constants() -> None:
    @specialised
    def make(number):
        def fill(begin, end, worker, y):
            for i in range(begin, end):
                y[i] = number

        return fill

    y = np.zeros(3, np.float32)
    assert make(5) is make(5)
    call(make(5), 3, y)()
    assert y.tolist() == [5, 5, 5]


def test_listeners_are_told_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path)
    y = np.zeros(3, np.float32)
    outer: list[str] = []
    inner: list[str] = []
    with listening(outer.append):
        call(_fill_with(30), 3, y)
        call(_fill_with(30), 3, y)  # it is there
        with pytest.raises(RuntimeError), listening(inner.append):
            call(_fill_with(31), 3, y)
            raise RuntimeError
        with listening(None):
            call(_fill_with(32), 3, y)
        call(_fill_with(33), 3, y)
    call(_fill_with(34), 3, y)
    assert [name.rpartition(":")[2][16:] for name in outer] == ["(30,)", "(33,)"]
    assert [name.rpartition(":")[2][16:] for name in inner] == ["(31,)"]
    assert outer[0].startswith(f"{__name__}._fill_with:")


def test_the_digest_of_a_source_that_is_no_file() -> None:
    names: dict[str, object] = {}
    exec("def one(): return 1\ndef two(): return 2", names)
    digests = {compiling.source_digest(names[name]) for name in ("one", "two")}  # type: ignore[arg-type]
    assert len(digests) == 2
