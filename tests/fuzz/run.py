"""Fuzz the readers of files, guided by coverage: ``python tests/fuzz/run.py [TARGET …] --seconds 300``.

The seconds are shared out between the targets. What led to new code is kept in ``build/fuzz/TARGET`` for the next run; what
was found lies beside it, is told, and belongs, made small, into ``tests/fuzz/cases/TARGET``, which the tests run. Needs
atheris (``pip install atheris``; Linux, Python 3.11 to 3.13): ``nox -s fuzz`` installs it.
"""

import argparse
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "fuzz"
CASES = HERE / "cases"
#: A case may take so many seconds and so many megabytes.
SECONDS, MEGABYTES = 10, 2048
#: Bytes of a case; other targets take 4096 at most.
LONGEST = {"inspect": 16384, "lmdb": 65536, "hdf5": 16384, "tar": 10240, "cifar": 6146}


def fuzz(name: str, arguments: list[str]) -> None:
    """Be the process that fuzzes a target; libFuzzer ends it."""
    import atheris

    sys.path.insert(0, str(HERE.parent))
    # Kernels are numba's to compile: nothing may be added to them.
    importlib.import_module("caffelite.kernels.transform")
    with atheris.instrument_imports(include=["caffelite", "tarfile", "pickletools"]):
        from fuzz.targets import try_out

    atheris.Setup([name, *arguments], lambda data: try_out(name, data))
    atheris.Fuzz()


def start(name: str, seconds: int) -> tuple[str, bool]:
    """Fuzz a target in a process of its own; return a line about it, and whether nothing was found."""
    sys.path.insert(0, str(HERE.parent))
    from fuzz.seeds import seeds

    corpus, found = FOLDER / name, FOLDER / f"{name}-found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds(name)):
        (corpus / f"seed{i}").write_bytes(seed)
    folders = [corpus, *(folder for folder in (CASES / name,) if folder.is_dir())]
    limits = [f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}"]
    limits += [f"-max_len={LONGEST.get(name, 4096)}", f"-artifact_prefix={found}/", "-print_final_stats=1"]
    command = [sys.executable, __file__, "--target", name, *limits, *map(str, folders)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path[1:]])}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", env=environment)
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    line = f"{name}: {int(runs[1]) if runs else 0:,} cases in {seconds} s, {len(list(corpus.iterdir())):,} of them kept"
    if done.returncode:
        line += f"; a finding, in {found}:\n" + "\n".join(done.stderr.splitlines()[-40:])
    return line, not done.returncode


def main() -> int:
    """Fuzz the targets that are named, or all; the exit code is 1 where one has a finding."""
    if sys.argv[1:2] == ["--target"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 0
    sys.path.insert(0, str(HERE.parent))
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--seconds", type=int, default=300, help="for all of them together (300)")
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    good = True
    for name in names:
        line, nothing = start(name, max(arguments.seconds // len(names), 1))
        print(line, flush=True)
        good = good and nothing
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
