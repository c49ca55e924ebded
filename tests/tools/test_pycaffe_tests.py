"""The tool that runs BVLC's unit tests counts what passes and tells what does not."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from pycaffe_tests import TESTS, unpack

ROOT = Path(__file__).parent.parent.parent


def test_what_the_tests_need_is_unpacked(tmp_path: Path) -> None:
    archive = io.BytesIO()
    names = (
        f"{TESTS}/test_a.py",
        "python/caffe/__init__.py",
        "models/a/deploy.prototxt",
        "models/a/readme.md",
        "../b.py",
    )
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(f"caffe-1.0/{name}"))
    unpack(archive.getvalue(), tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {f"{TESTS}/test_a.py", "models/a/deploy.prototxt"}


def test_tests_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / TESTS
    folder.mkdir(parents=True)
    (folder / "test_one.py").write_text(
        "import unittest\nimport caffe\nfrom helpers import CONVOLUTION\n"
        "class One(unittest.TestCase):\n"
        "    def test_passes(self):\n        self.assertEquals(caffe.layer_type_list().count(CONVOLUTION), 1)\n"
        "    def test_fails(self):\n        self.fail('as it should')\n"
        "    @unittest.skip('no reason')\n    def test_skipped(self):\n        pass\n"
    )
    (folder / "helpers.py").write_text("CONVOLUTION = 'Convolution'\n")
    (folder / "test_two.py").write_text("import no_such_module\n")

    def run(checkout: Path) -> subprocess.CompletedProcess[str]:
        tool = [sys.executable, "-W", "ignore", str(ROOT / "tools" / "pycaffe_tests.py"), str(checkout)]
        return subprocess.run(tool, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})

    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stdout == (
        "test_one.One.test_fails: AssertionError: as it should\n"
        "unittest.loader._FailedTest.test_two: ModuleNotFoundError: No module named 'no_such_module'\n"
        "test_one.One.test_skipped: skipped: no reason\n"
        "1 of 4 tests pass\n"
    )
    assert f"there is no {TESTS} in it" in run(tmp_path / "none").stderr
