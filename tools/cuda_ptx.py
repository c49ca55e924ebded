"""Compile the kernels for GPUs to PTX, without a GPU, and tell what is in it: 16-byte loads, local memory, registers.

    python tools/cuda_ptx.py                    # for sm_90 (H100, H200)
    python tools/cuda_ptx.py --arch 80 --json

Needs the extra: pip install "caffelite[cuda]". Registers and spills are told by ptxas, where that is found
(pip install nvidia-cuda-nvcc), or with --link by NVIDIA's linker, which optimizes once more: by default numba has that
make the code that runs. Exit code 1: a kernel uses local memory, or reads other than 16 bytes at once where it
could; 3: nothing can be compiled here.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

COLUMNS = ("kernel", "bytes", "loads", "stores", "local", "float64", "registers", "spilled")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", type=int, default=90, help="compute capability times ten (90)")
    parser.add_argument("--only", default="", metavar="TEXT", help="kernels whose names have this in them")
    parser.add_argument("--link", action="store_true", help="registers and spills as the linker has them")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    reason = why_not()
    if reason:
        print(reason, file=sys.stderr)
        return 3
    found = [
        measured(name, size, make, arguments.arch, arguments.link)
        for name, size, make in kernels()
        if arguments.only in name
    ]
    print(json.dumps(found) if arguments.json else table(found))
    return int(any(row["wrong"] for row in found))


def why_not() -> str:
    """Return why nothing can be compiled here, or nothing."""
    if find_spec("numba_cuda") is None:
        return 'numba-cuda is not installed: pip install "caffelite[cuda]"'
    from numba.cuda.cudadrv import nvrtc, nvvm

    try:
        found = nvvm.is_available() and nvrtc.get_supported_ccs()
    except Exception:  # each version of NVIDIA's packages has an error of its own for what is missing
        found = False
    return "" if found else 'NVIDIA\'s compiler is not installed: pip install "caffelite[cuda]"'


def kernels() -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Yield name, bytes that are read at once, and what makes function and signature, of all kernels."""
    from caffelite.kernels.cuda import backward, forward
    from caffelite.kernels.cuda.access import KINDS

    for kind, itemsize in KINDS.items():
        for width in (16 // itemsize, 1):
            for activation in ("ReLU", "Sigmoid") if kind == "float32" and width > 1 else ("ReLU",):
                size, options = width * itemsize, (kind, width, activation)
                if activation == "ReLU":
                    yield f"statistics {kind}", size, lambda o=options: forward.statistics(*o[:2])
                for source in forward.SOURCES:
                    name = f"normalise {kind} {activation} {source}"
                    yield name, size, lambda o=options, s=source: forward.normalise(*o, s)
                yield f"sums {kind} {activation}", size, lambda o=options: backward.sums(*o)
                for source in backward.SOURCES:
                    name = f"gradient {kind} {activation} {source}"
                    yield name, size, lambda o=options, s=source: backward.gradient(*o, s)


def measured(name: str, size: int, make: Callable[[], Any], arch: int, link: bool) -> dict[str, Any]:
    """Compile a kernel; return what was found in it."""
    text = str(compiled(*make(), arch))
    kind = {16: "v4.b32", 4: "b32", 2: "b16"}[size]
    row: dict[str, Any] = {
        "kernel": name,
        "bytes": size,
        "loads": text.count(f"ld.global.{kind} "),
        "stores": text.count(f"st.global.{kind} "),
        "local": len(re.findall(r"\.local\b", text)),
        "float64": len(re.findall(r"\.f64\b", text)),
        **(linked(compiled(*make(), arch, "ltoir"), arch) if link else assembled(text, arch)),
    }
    row["wrong"] = bool(row["local"] or row["spilled"] or not row["loads"])
    return row


def compiled(function: Any, signature: Any, arch: int, output: str = "ptx") -> Any:
    """Return a kernel as PTX, or as what the linker takes."""
    from numba import cuda
    from numba.cuda import dispatcher

    # Functions that kernels call are compiled for the current GPU; there is none.
    capability = divmod(arch, 10)
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    return cuda.compile(function, signature, cc=capability, device=False, output=output, abi="numba")[0]


def assembler() -> str | None:
    """Return where ptxas is: in NVIDIA's package, which goes with the compiler, or on the path."""
    spec = find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = (str(path) for folder in folders for path in Path(folder).glob("*/bin/ptxas"))
    return next(found, shutil.which("ptxas"))


def assembled(text: str, arch: int) -> dict[str, int | None]:
    """Return registers of a thread and bytes that are spilled; None where there is no ptxas, or one that is older."""
    unknown = {"registers": None, "spilled": None}
    ptxas = assembler()
    if ptxas is None:
        return unknown
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(text)
        file.flush()
        run = subprocess.run(
            [ptxas, "-v", f"-arch=sm_{arch}", "-o", "/dev/null", file.name], capture_output=True, text=True
        )
    if run.returncode:
        return unknown
    return told(run.stderr)


def linked(code: bytes, arch: int) -> dict[str, int | None]:
    """Return the same of what the linker makes."""
    from cuda.bindings import nvjitlink

    options = [f"-arch=sm_{arch}", "-lto", "-verbose"]
    linker = nvjitlink.create(len(options), options)
    nvjitlink.add_data(linker, nvjitlink.InputType.LTOIR, code, len(code), "kernel")
    nvjitlink.complete(linker)
    log = bytearray(nvjitlink.get_info_log_size(linker))
    nvjitlink.get_info_log(linker, log)
    nvjitlink.destroy(linker)
    return told(log.decode())


def told(log: str) -> dict[str, int | None]:
    """Return what the assembler's log says."""
    registers = re.findall(r"Used (\d+) registers", log)
    spilled = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", log)
    return {"registers": max(map(int, registers)), "spilled": sum(map(int, spilled))}


def table(found: list[dict[str, Any]]) -> str:
    rows = [COLUMNS, *[tuple("?" if row[key] is None else str(row[key]) for key in COLUMNS) for row in found]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        f"{row[0]:<{widths[0]}}" + "".join(f"{row[i]:>{widths[i] + 2}}" for i in range(1, len(row))) for row in rows
    ]
    wrong = [row["kernel"] for row in found if row["wrong"]]
    end = f"wrong: {', '.join(wrong)}" if wrong else "no local memory, and vectors of 16 bytes wherever they fit"
    unknown = any(row["registers"] is None for row in found)
    note = ["ptxas of this version is not installed: registers and spills are not known"] if unknown else []
    return "\n".join([*lines, *note, end])


if __name__ == "__main__":
    sys.exit(main())
