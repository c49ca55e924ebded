"""Runs BVLC's own unit tests of pycaffe, unmodified, against the package ``caffe``, and prints which fail, and why.

They are not kept here: they are taken from a checkout of BVLC/caffe, or downloaded. They need ``six``
(``pip install six``). What each of them asserts stands in our own words in ``tests/pycaffe/test_bvlc.py``.
"""

import argparse
import io
import os
import tarfile
import tempfile
import unittest
import urllib.request
from pathlib import Path

from caffelite.pycaffe.package import as_caffe

ARCHIVE = "https://github.com/BVLC/caffe/archive/9b891540183ddc834a02b2bd81b31afae71b2153.tar.gz"
TESTS = "python/caffe/test"


def is_needed(path: str) -> bool:
    """Return whether the tests read this file of Caffe's tree."""
    if path.startswith(TESTS):
        return path.endswith(".py")
    return path.startswith(("models/", "examples/")) and path.endswith(".prototxt")


def unpack(archive: bytes, folder: Path) -> None:
    """Write those files of an archive of Caffe's tree that the tests need; their other names are not taken."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            # Not by extract, whose filter Python 3.11.2 has not.
            if (file := tar.extractfile(member)) and is_needed(path) and ".." not in path.split("/"):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())


def run(checkout: Path) -> tuple[int, dict[str, str]]:
    """Return how many tests there are, and the last line of what those raise that do not pass.

    It has to be a process of its own: the tests are imported, and ``caffe`` with them.
    """
    # Those names that Python 3.12 has no longer.
    for old, new in (("assertEquals", "assertEqual"), ("assertRaisesRegexp", "assertRaisesRegex")):
        if not hasattr(unittest.TestCase, old):
            setattr(unittest.TestCase, old, getattr(unittest.TestCase, new))
    as_caffe()
    result = unittest.TestResult()
    suite = unittest.defaultTestLoader.discover(str(checkout.resolve() / TESTS))
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # snapshots are written there
        try:
            suite.run(result)
        finally:
            os.chdir(here)
    failed = [*result.failures, *result.errors, *((test, f"skipped: {reason}") for test, reason in result.skipped)]
    return result.testsRun, {test.id(): text.strip().rpartition("\n")[2] for test, text in failed}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", type=Path, help="a checkout of BVLC/caffe; by default it is downloaded")
    checkout = parser.parse_args().checkout
    os.environ.setdefault("GLOG_minloglevel", "2")
    with tempfile.TemporaryDirectory() as folder:
        if checkout is None:
            checkout = Path(folder)
            with urllib.request.urlopen(ARCHIVE, timeout=60) as response:
                unpack(response.read(), checkout)
        elif not (checkout / TESTS).is_dir():
            parser.error(f"{checkout} is no checkout of BVLC/caffe: there is no {TESTS} in it")
        count, failed = run(checkout)
    for name, text in failed.items():
        print(f"{name}: {text}")
    print(f"{count - len(failed)} of {count} tests pass")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    raise SystemExit(main())
