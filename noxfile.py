"""Sessions in environments of their own: ``nox --list`` tells them, ``nox -s SESSION`` runs one."""

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["quick"]
# Those that are not at hand are told and left out.
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
#: The lower bounds of setup.cfg.
OLDEST = ["numpy==1.26.0", "protobuf==5.26.1", "numba==0.61.0", "lmdb==1.4.1"]
#: What scripts import.
CAFFE_CHECK = """
import caffe.io, caffe.draw
from caffe import layers as L
from caffe.proto import caffe_pb2
from caffe.pycaffe import Net
assert caffe.Net is Net and L.ReLU and caffe_pb2.NetParameter
"""


def install(session: nox.Session, *packages: str) -> None:
    """Install packages, of which ``.`` is this checkout."""
    # What an earlier build left there would be part of this one, modules that are gone since, too.
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    session.install(*packages)


def main_job(session: nox.Session) -> None:
    """Train, test and draw by the commands, in a folder where the checkout cannot be imported."""
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    shutil.copytree(ROOT / "models", folder / "models")
    net = "models/mnist_mlp_bn.prototxt"
    commands = [
        ["train", net, "--iterations", "200"],
        ["test", net, "--weights", "snapshots/mnist_mlp_bn_iter_200.caffemodel"],
        ["draw", net, "mnist_mlp_bn.svg"],
    ]
    with session.chdir(folder):
        for command in commands:
            # All of it is shown where it fails.
            said = session.run("caffelite", *command, silent=True)
            session.log(str(said).rstrip().rpartition("\n")[2])


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests, or those that are named behind ``--``."""
    install(session, ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS)
def quick(session: nox.Session) -> None:
    """Run the tests of the file formats, one training, its test and its diagram."""
    install(session, ".", "pytest", "pytest-xdist", "h5py")
    session.run("python", "--version")
    session.run("pytest", "tests/schema")
    main_job(session)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Do the same, and test databases and kernels, with the oldest packages that are supported."""
    install(session, ".", "pytest", "pytest-xdist", "h5py", "pillow", *OLDEST)
    session.run("pytest", "tests/schema", "tests/data/test_database.py", "tests/data/test_lmdb_index.py")
    session.run("pytest", "tests/kernels", "-k", "not other_vector_widths")
    main_job(session)


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist, and the wheel from it, of both distributions into dist/."""
    session.install("build", "twine")
    for folder in ("build/lib", "caffe-package/build", "dist"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    for distribution in (".", "caffe-package"):
        session.run("python", "-m", "build", distribution, "--outdir", "dist")
    session.run("twine", "check", "--strict", *(str(path) for path in (ROOT / "dist").iterdir()))


@nox.session(requires=["build"])
def release(session: nox.Session) -> None:
    """Install the wheels that are to be released in a fresh environment, and do the main job with them."""
    caffelite, caffe = (str(next((ROOT / "dist").glob(f"{name}-*.whl"))) for name in ("caffelite", "caffelite_caffe"))
    session.install(caffelite)
    session.run("python", "-c", "from importlib.util import find_spec; assert find_spec('caffe') is None")
    session.install(caffe)
    # Outside of the checkout, where the folders of packages are not those that are installed.
    with session.chdir(session.create_tmp()):
        session.run("python", "-c", CAFFE_CHECK)
    main_job(session)


@nox.session(python=PYTHONS[0])
def fuzz(session: nox.Session) -> None:
    """Look for files that break a reader, five minutes long or as is said behind ``--``."""
    install(session, ".[test]", "atheris")
    session.run("python", "tests/fuzz/run.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation's pages into build/docs; a warning is an error."""
    install(session, ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "docs", "build/docs")


@nox.session
def mutations(session: nox.Session) -> None:
    """Read 10,000 damaged LMDBs, or as many as stand behind ``--``; a minute."""
    install(session, ".", "pillow")
    session.run("python", "tools/mutate_lmdb.py", *(session.posargs or ["10000"]))


@nox.session
def aarch64(session: nox.Session) -> None:
    """Hold a small net on an emulated aarch64 against this machine; some six minutes on two cores."""
    install(session, ".")
    session.run("python", "tools/aarch64.py", "--folder", str(ROOT / "build" / "aarch64"))
