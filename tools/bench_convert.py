"""Images a second of ``caffelite convert_imageset``, beside a loop in Python that only decodes and resizes with Pillow.

The images are JPEGs of 500 x 375 pixels, made here, in files. The loop is on one core and writes nothing; what it does
in a second, times the cores, is what a converter is held against that also writes the database and waits for the disk.
Each figure is the median of rounds in turns; a process of ours is timed as a whole.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from turns import machine

ROOT = Path(__file__).resolve().parent.parent
#: Different images; the others are copies of them.
_DIFFERENT = 100


def make_images(folder: Path, count: int) -> None:
    """Write JPEGs of about 120 kB, as photographs have, and their list."""
    rng = np.random.default_rng(1)
    contents = []
    for _ in range(min(count, _DIFFERENT)):
        coarse = Image.fromarray(rng.integers(0, 256, (75, 100, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        pixels = np.clip(np.asarray(coarse) + rng.normal(0, 12, (375, 500, 3)), 0, 255).astype(np.uint8)
        path = folder / "one.jpg"
        Image.fromarray(pixels).save(path, quality=92)
        contents.append(path.read_bytes())
    (folder / "one.jpg").unlink()
    names = [f"{i:06d}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        (folder / name).write_bytes(contents[i % len(contents)])
    (folder / "list.txt").write_text("".join(f"{name} {i % 1000}\n" for i, name in enumerate(names)))


def pillow_seconds(folder: Path, names: list[str], size: int) -> float:
    """Return how long one core takes to decode and resize images."""
    start = time.perf_counter()
    for name in names:
        with Image.open(folder / name) as image:
            np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    return time.perf_counter() - start


def our_seconds(folder: Path, size: int, threads: int) -> float:
    """Return how long a process takes that writes the database."""
    target = folder / "lmdb"
    shutil.rmtree(target, ignore_errors=True)
    options = [f"--resize_height={size}", f"--resize_width={size}", "--threads", str(threads)]
    command = [sys.executable, "-m", "caffelite", "convert_imageset", *options, f"{folder}/", f"{folder}/list.txt"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run([*command, str(target)], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256, help="that they are resized to")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where images and database lie meanwhile")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        make_images(folder, options.images)
        names = sorted(path.name for path in folder.glob("*.jpg"))[: max(options.images // 10, 100)]
        our_seconds(folder, options.size, options.threads)  # compiles, and brings the files into memory
        peer, ours = [], []
        for _ in range(options.rounds):
            peer.append(len(names) / pillow_seconds(folder, names, options.size))
            ours.append(options.images / our_seconds(folder, options.size, options.threads))
    one, all_cores = statistics.median(peer), statistics.median(ours)
    ratio = all_cores / (one * options.threads)
    if options.json:
        facts = machine(options.threads)
        print(json.dumps({"facts": facts, "pillow_one_core": one, "caffelite": all_cores, "ratio": ratio}, indent=1))
        return
    times = f"times {options.threads} cores: {one * options.threads:,.0f}"
    print(f"Pillow, one core, decode and resize: {one:,.0f} images/s; {times}")
    print(f"caffelite convert_imageset, {options.threads} threads: {all_cores:,.0f} images/s ({ratio:.2f})")
    print(machine(options.threads))


if __name__ == "__main__":
    main()
