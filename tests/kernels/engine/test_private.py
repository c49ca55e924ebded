import configparser
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from caffelite.kernels.engine import private

_WITHOUT = """
import sys
from caffelite.cli import main
{removal}
sys.exit(main(["train", "no_such_file.prototxt"]))
"""


@pytest.mark.parametrize(
    "removal, missing",
    [
        ("import numba.core.dispatcher as d; del d._FunctionCompiler", "numba.core.dispatcher._FunctionCompiler"),
        ("import numba.cpython.slicing as s; del s.fix_index", "numba.cpython.slicing.fix_index"),
        ("import numba.core.codegen as c; del c.JITCodeLibrary", "numba.core.codegen.JITCodeLibrary"),
        ("import numba, llvmlite.binding.ffi as f; del f.lib._lock", "llvmlite.binding.ffi.lib._lock"),
        (
            "import numba; sys.modules['numba.core.compiler_lock'] = None",
            "numba.core.compiler_lock.global_compiler_lock",
        ),
        (
            "from numba.core.codegen import CPUCodegen as c; c.create_library = lambda *_: object()",
            "numba.core.codegen.CPUCodeLibrary._final_module",
        ),
        (
            "from numba.core.codegen import CPUCodegen as c; f = c._init\n"
            "def init(self, module): f(self, module); del self._tm\n"
            "c._init = init",
            "numba.core.codegen.CPUCodegen._tm",
        ),
    ],
)
def test_a_numba_that_lacks_something_is_one_sentence(removal: str, missing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(removal=removal)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"caffelite: numba {numba.__version__} with llvmlite ")
    assert f" has no {missing}, which compiling kernels takes; " in line
    assert line.endswith('works with numba 0.61 to 0.68: pip install "numba>=0.61,<0.69"')


def test_the_oldest_numba_is_the_one_that_is_asked_for() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[3] / "setup.cfg")
    assert f"numba>={private.OLDEST}" in setup["options"]["install_requires"].split()


def test_what_kernels_read_is_not_looked_at_for_negative_indices() -> None:
    codes = []

    def last(x, i, y):
        y[0] = x[i]

    kinds = (numba.float32[::1], numba.intp, numba.float32[::1])
    private.compiled(last, kinds, {}, lambda result: codes.append(result.library.get_llvm_str()))
    numba_own = numba.njit(numba.void(*kinds))(last)
    assert " select " not in codes[0] and "add nsw i64 %arg.i" not in codes[0]
    assert " select " in numba_own.inspect_llvm(numba_own.signatures[0])
    x, y = np.arange(3, dtype=np.float32), np.zeros(1, np.float32)
    numba_own(x, -1, y)  # and numba's own functions are compiled as before
    assert y[0] == 2
