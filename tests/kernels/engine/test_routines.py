from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from llvmlite import ir

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.calls import call, together
from caffelite.kernels.engine.compiling import kernel, listening
from caffelite.kernels.engine.routines import Routine, address_of, pointer, routine, run_routine


def _write_scaled(builder: Any, element: Any, shape: tuple[int, ...], x: Any, y: Any, places: Any) -> None:
    (factor,) = shape
    value = builder.load(pointer(builder, x, element))
    builder.store(builder.fmul(value, ir.Constant(element, factor)), pointer(builder, y, element, places))


class _Scaling(NamedTuple):
    place: int
    scale: Routine


@kernel
def _scale(begin, end, worker, g, second, x, y):
    for i in range(begin, end):
        run_routine(g.scale, (address_of(x, i), address_of(y, i), g.place))
        run_routine(second, (address_of(x, i), address_of(y, i), 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_routines_are_arguments_and_fields_of_records(dtype: type) -> None:
    x, y = np.array([1, 2], dtype), np.zeros(6, dtype)
    call(_scale, 2, _Scaling(4, routine(_write_scaled, (3,), x.dtype)), routine(_write_scaled, (5,), x.dtype), x, y)()
    assert y.tolist() == [5, 10, 0, 0, 3, 6]


def test_a_kernel_is_compiled_once_whatever_its_routines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path)
    monkeypatch.setattr(settings, "compilers", lambda: 2)
    x, y = np.array([1, 2], np.float32), np.zeros((4, 2), np.float32)
    compiled: list[str] = []
    with listening(compiled.append):
        with together():
            calls = []
            for i in range(4):
                one = routine(_write_scaled, (10 + i,), x.dtype)
                calls.append(call(_scale, 2, _Scaling(0, one), one, x, y[i]))
        for run in calls:
            run()
    assert y[:, 1].tolist() == [20, 22, 24, 26]
    kinds = [path.read_bytes().split(b"\n")[0].decode() for path in tmp_path.glob("*.code")]
    assert sum("_write_scaled" in kind for kind in kinds) == 4
    before = len(compiled)
    with listening(compiled.append):
        call(_scale, 2, _Scaling(0, one), one, x, y[0])()
    assert len(compiled) == before
