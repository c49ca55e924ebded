"""Give targets their seeds and kept cases, in a process with bounds: ``python tests/fuzz/replay.py TARGET …``.

A case that takes too long or too much memory, ends the process, or raises what is not one of caffelite's own errors makes the
exit code another one than 0; the last line of standard error names it.
"""

import faulthandler
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
#: Seconds a case, and bytes beyond what the process has when it begins.
SECONDS, MEMORY = 5, 1 << 30

sys.path.insert(0, str(HERE.parent))
from fuzz.seeds import seeds  # noqa: E402
from fuzz.targets import try_out  # noqa: E402


def main() -> int:
    names = sys.argv[1:]
    for name in names:  # also what is imported or compiled for the first time
        if not any([try_out(name, seed) for seed in seeds(name)]):
            print(f"{name}: no seed is taken", file=sys.stderr)
            return 1
    _limit_memory()
    faulthandler.enable()
    for name in names:
        cases = {f"seed {i}": seed for i, seed in enumerate(seeds(name))}
        cases |= {path.name: path.read_bytes() for path in sorted((HERE / "cases" / name).glob("*"))}
        for case, data in cases.items():
            print(f"{name}: {case}", file=sys.stderr, flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                try_out(name, data)
            except BaseException:
                traceback.print_exc()
                return 1
            faulthandler.cancel_dump_traceback_later()
        print(f"{name}: {len(cases)}")
    return 0


def _limit_memory() -> None:
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # only Linux tells how much it is
        return
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


if __name__ == "__main__":
    sys.exit(main())
