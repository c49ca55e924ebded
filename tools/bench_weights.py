"""Memory that reading a large .caffemodel takes, and how long: a file of ``--mb`` MB into a net of that size.

The file is made in a temporary folder. What the net itself takes is subtracted; pages of the file that the system keeps
mapped are not counted as caffelite's own, but are told.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import caffelite

LAYERS = 8


def memory() -> tuple[int, int]:
    """Return this process's own memory, and the pages of files mapped into it, in bytes."""
    status = Path("/proc/self/status").read_text()
    own, mapped = (int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) << 10 for name in ("RssAnon", "RssFile"))
    return own, mapped


def load(folder: Path) -> dict[str, float]:
    """Make the net, read the file into it, and return what that took."""
    net = caffelite.Net(str(folder / "net.prototxt"), caffelite.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = 0  # so that the pages of the net itself are there
    peak = before = memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            own, mapped = memory()
            peak = max(peak[0], own), max(peak[1], mapped)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    net.copy_from(str(folder / "net.caffemodel"))
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {
        "net_mib": before[0] / 2**20,
        "more_own_mib": (peak[0] - before[0]) / 2**20,
        "more_mapped_mib": (peak[1] - before[1]) / 2**20,
        "seconds": seconds,
    }


def make(folder: Path, megabytes: int) -> int:
    """Write the net and its weights; return the size of the file in bytes."""
    side = int((megabytes * 1e6 / 4 / LAYERS) ** 0.5)
    layers = [f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: {side} }} }} }}']
    layers += [
        f'layer {{ name: "ip{i}" type: "InnerProduct" bottom: "x" top: "x{i}" '
        f"inner_product_param {{ num_output: {side} bias_term: false }} }}"
        for i in range(LAYERS)
    ]
    (folder / "net.prototxt").write_text("\n".join(layers))
    net = caffelite.Net(str(folder / "net.prototxt"), caffelite.TEST)
    rng = np.random.default_rng(1)
    for blobs in net.params.values():
        blobs[0].data[...] = rng.standard_normal(blobs[0].shape, np.float32)
    net.save(str(folder / "net.caffemodel"))
    return (folder / "net.caffemodel").stat().st_size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=500, help="size of the file in MB (default 500)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(load(options.load)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        size = make(Path(name), options.mb)
        # A process of its own: what making the file took is not counted.
        done = subprocess.run([sys.executable, __file__, "--load", name], capture_output=True, text=True, check=True)
    result = {"file_mib": size / 2**20, **json.loads(done.stdout)}
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"file {result['file_mib']:.0f} MiB; net before reading {result['net_mib']:.0f} MiB; while "
            f"reading {result['more_own_mib']:.0f} MiB more of its own, {result['more_mapped_mib']:.0f} MiB mapped; "
            f"{result['seconds']:.2f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
