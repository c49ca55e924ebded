"""The same numbers on any number of threads, in any circumstances: many passes of a net, each compared bit for bit.

    python tools/stress_threads.py --passes 10000

Circumstances: as it is; on one core (affinity); with the lowest priority; stopped and continued all the time; beside a
busy process for each core; in a cgroup with a quota of 0.75 of a core, where this process may make one. For each and
each number of threads a process runs forward and backward passes and holds what comes out, gradients too, against what
one thread computed. A pass that differs, a process that dies and one that takes too long end it with exit code 1. Needs
Linux.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Small kernels one after the other, so that threads meet often; branches, sums over images, batch statistics.
NET = """
name: "stress"
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 8 dim: 3 dim: 12 dim: 12 }
  shape { dim: 8 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param { num_output: 16 kernel_size: 3 pad: 1
  weight_filler { type: "xavier" } } }
layer { name: "b1" type: "BatchNorm" bottom: "c1" top: "b1" }
layer { name: "r1" type: "ReLU" bottom: "b1" top: "b1" }
layer { name: "p1" type: "Pooling" bottom: "b1" top: "p1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "c2" type: "Convolution" bottom: "p1" top: "c2" convolution_param { num_output: 16 kernel_size: 3 pad: 1
  weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "p1" bottom: "c2" top: "sum" }
layer { name: "ip1" type: "InnerProduct" bottom: "sum" top: "ip1" inner_product_param { num_output: 64
  weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 10
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
THREADS = (1, 2, 3, 8, 17)
QUOTA = 75_000, 100_000
#: Seconds that a pass may take at most, on the mean: a process that takes longer hangs.
_SLOWEST = 0.05


def net(folder: Path) -> Any:
    """Return the net with its data."""
    from caffelite.net import Net

    path = folder / "stress.prototxt"
    path.write_text(NET)
    made = Net(path)
    rng = np.random.default_rng(1)
    made.blobs["data"].data[...] = rng.standard_normal(made.blobs["data"].shape)
    made.blobs["label"].data[...] = rng.integers(0, 10, 8)
    return made


def numbers(one: Any) -> bytes:
    """Return what a pass computes."""
    one.zero_grad()
    loss = one.forward()
    one.backward()
    return np.float64(loss).tobytes() + one.diff.tobytes()


def work(threads: int, passes: int, folder: str) -> int:
    """Do passes on so many threads; return how many differ from that of one."""
    import caffelite

    caffelite.set_num_threads(1)
    expected = numbers(net(Path(folder)))
    caffelite.set_num_threads(threads)
    one = net(Path(folder))
    return sum(numbers(one) != expected for _ in range(passes))


@contextlib.contextmanager
def _quota(process: int) -> Iterator[bool]:
    """Give a process less than a core's time; yield whether that could be done."""
    for root, setting in (("/sys/fs/cgroup", "cpu.max"), ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us")):
        group = Path(root, f"stress_threads_{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not (group / setting).exists():
                continue
            (group / setting).write_text(f"{QUOTA[0]} {QUOTA[1]}" if setting == "cpu.max" else str(QUOTA[0]))
            (group / "cgroup.procs").write_text(str(process))
            yield True
            return
        except OSError:
            continue
        finally:
            with contextlib.suppress(OSError):
                Path(root, "cgroup.procs").write_text(str(process))
            with contextlib.suppress(OSError):
                group.rmdir()
    yield False


def _stopped_and_continued(process: subprocess.Popen[str], end: float) -> None:
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.01)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.03)


def run(circumstance: str, threads: int, passes: int, folder: str) -> str:
    """Have a process do passes; return what came out: "equal", or what went wrong, or why it was not tried."""
    command = [sys.executable, __file__, "--work", str(threads), "--passes", str(passes), "--folder", folder]
    if circumstance == "lowest priority":
        command = ["nice", "-n", "19", *command]
    cores = {min(os.sched_getaffinity(0))} if circumstance == "one core" else os.sched_getaffinity(0)
    limit = 60 + passes * _SLOWEST
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in (os.sched_getaffinity(0) if circumstance == "busy machine" else ())
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    try:
        with contextlib.ExitStack() as stack:
            if circumstance == "quota" and not stack.enter_context(_quota(process.pid)):
                return "not tried: no cgroup can be made here"
            if circumstance == "stopped and continued":
                _stopped_and_continued(process, time.monotonic() + limit)
            out, _ = process.communicate(timeout=limit)
            if process.returncode:
                return f"ended with exit code {process.returncode}"
            return "equal" if out.strip() == "0" else f"{out.strip()} of {passes} differ"
    except subprocess.TimeoutExpired:
        return f"took more than {limit:.0f} s"
    finally:
        for one in [process, *busy]:
            one.kill()
            one.wait()


CIRCUMSTANCES = ("as it is", "one core", "lowest priority", "stopped and continued", "busy machine", "quota")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=10_000)
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS)
    parser.add_argument("--circumstances", nargs="+", default=CIRCUMSTANCES, choices=CIRCUMSTANCES, metavar="NAME")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(work(options.work, options.passes, options.folder))
        return 0
    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        for circumstance in options.circumstances:
            for threads in options.threads:
                start = time.monotonic()
                found = run(circumstance, threads, options.passes, folder)
                wrong |= not found.startswith(("equal", "not tried"))
                seconds = time.monotonic() - start
                print(
                    f"{circumstance:22s} {threads:2d} threads, {options.passes} passes: {found} ({seconds:.1f} s)",
                    flush=True,
                )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
