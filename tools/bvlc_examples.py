"""The shell scripts in the examples of BVLC's Caffe, run as they are with caffelite's programs in ``build/tools``.

    python tools/bvlc_examples.py CHECKOUT --data FOLDER [--only create_mnist train_lenet] [--whole] [--imagenet]

Nothing in a script is changed, and nothing in the checkout: a copy of it is run. What would take hours is made short
around the scripts: solvers there end after a few iterations and test one batch, CaffeNet takes batches of a few images,
and the states that a script goes on from, which a whole run before it would have written, are written by a solver that
is told to have come that far. With ``--whole`` none of this is done. MNIST and CIFAR-10 are real; a few drawn images
stand in for ImageNet, at ``/path/to/imagenet``, which the script names (``--imagenet`` permits that this folder is
made, and removes it again). A program of a few lines stands in for docker: it runs the command that is for the image.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from PIL import Image

from caffelite.cli.program import PROGRAMS
from caffelite.datasets.originals import find_file, opened, places
from caffelite.errors import Error
from caffelite.solvers.settings import load_solver
from caffelite.solvers.solver import Solver

#: So many iterations, from where a script begins, and so many images a batch of CaffeNet.
ITERATIONS, IMAGES = 3, 4
IMAGENET = Path("/path/to/imagenet")

#: In the order in which they need what others make.
SCRIPTS = {
    "mnist": ["create_mnist", "train_lenet", "train_lenet_adam", "train_lenet_consolidated", "train_lenet_docker"]
    + ["train_lenet_rmsprop"]
    + [f"train_mnist_autoencoder{kind}" for kind in ("", "_adadelta", "_adagrad", "_nesterov")],
    "cifar10": ["create_cifar10", "train_full", "train_full_sigmoid", "train_full_sigmoid_bn", "train_quick"],
    "siamese": ["create_mnist_siamese", "train_mnist_siamese"],
    "imagenet": ["create_imagenet", "make_imagenet_mean", "train_caffenet", "resume_training"],
}
#: Of each state that a script goes on from: its solver, and the iteration.
STATES = {
    "examples/cifar10/cifar10_full_iter_60000.solverstate": ("cifar10_full_solver", 60000),
    "examples/cifar10/cifar10_full_iter_65000.solverstate": ("cifar10_full_solver_lr1", 65000),
    "examples/cifar10/cifar10_quick_iter_4000.solverstate": ("cifar10_quick_solver", 4000),
    "models/bvlc_reference_caffenet/caffenet_train_10000.solverstate.h5": ("solver", 10000),
}
#: Where the solvers of the scripts that go on begin.
BEGINNINGS = {"cifar10_full_solver_lr1": 60000, "cifar10_full_solver_lr2": 65000, "cifar10_quick_solver_lr1": 4000}

_DOCKER = """#!/bin/sh
# Stands in for docker: leaves out "run", its options and the image, and runs the command.
while [ $# -gt 0 ]; do
  word=$1; shift
  case $word in caffe:*) break;; esac
done
exec "$@"
"""


class Result(NamedTuple):
    """What came of a script.

    Attributes
    ----------
    script : str
    code : int or None
        Its exit code; None where it could not be run.
    seconds : float
    last : str
        The last line that it wrote.
    """

    script: str
    code: int | None
    seconds: float
    last: str


def copy_tree(checkout: Path, folder: Path) -> None:
    """Write the files of a checkout's last commit into a new folder."""
    folder.mkdir()
    git = ["git", "-C", str(checkout), "archive", "HEAD"]
    archive = subprocess.run(git, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive, check=True)


def link_programs(checkout: Path) -> None:
    """Put the programs where Caffe's build puts them: each is a link to one, and is the one that it is called."""
    tools = checkout / "build" / "tools"
    tools.mkdir(parents=True)
    program = tools / "caffelite"
    program.write_text(f"#!{sys.executable}\nfrom caffelite.__main__ import process\n\nprocess()\n", encoding="utf-8")
    program.chmod(0o755)
    for name in PROGRAMS:
        (tools / name).symlink_to(program)
    for folder, name in (
        ("mnist", "convert_mnist_data"),
        ("cifar10", "convert_cifar_data"),
        ("siamese", "convert_mnist_siamese_data"),
    ):
        examples = checkout / "build" / "examples" / folder
        examples.mkdir(parents=True)
        (examples / f"{name}.bin").symlink_to(program)


def shorten(checkout: Path) -> None:
    """Let the solvers of the examples end soon, and CaffeNet take few images."""
    solvers = [*checkout.glob("examples/*/*solver*.prototxt")]
    solvers.append(checkout / "models" / "bvlc_reference_caffenet" / "solver.prototxt")
    for file in solvers:
        text = file.read_text(encoding="utf-8")
        end = BEGINNINGS.get(file.stem, 0) + ITERATIONS
        for name, value in (("max_iter", end), ("test_iter", 1), ("test_interval", ITERATIONS), ("display", 1)):
            text = re.sub(rf"^{name}: *\d+", f"{name}: {value}", text, flags=re.MULTILINE)
        file.write_text(re.sub(r"^snapshot: *\d+", f"snapshot: {end}", text, flags=re.MULTILINE), encoding="utf-8")
    net = checkout / "models" / "bvlc_reference_caffenet" / "train_val.prototxt"
    net.write_text(re.sub(r"batch_size: *\d+", f"batch_size: {IMAGES}", net.read_text()), encoding="utf-8")


def put_data(data: Path, checkout: Path) -> None:
    """Put the files of MNIST and CIFAR-10 where the scripts in ``data`` would have put them."""
    parts = [f"data_batch_{n}.bin" for n in range(1, 6)]
    for folder, names in (
        ("mnist", [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]),
        ("cifar10", [*parts, "test_batch.bin"]),
    ):
        for name in names:
            files = [find_file(place, name) for place in places(data, ("mnist", "MNIST", "cifar10", "cifar-10"))]
            file = next(file for file in files if file)
            with opened(file) as source, (checkout / "data" / folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def put_imagenet(checkout: Path) -> None:
    """Draw a few images of two classes, and write their lists."""
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        lines = []
        for i in range(2 * IMAGES):
            name = f"n{i % 2:08d}/n{i % 2:08d}_{i}.JPEG" if part == "train" else f"ILSVRC2012_val_{i + 1:08d}.JPEG"
            file = IMAGENET / part / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (256, 256, 3), np.uint8)).save(file)
            lines.append(f"{name} {i % 2}\n")
        (checkout / "data" / "ilsvrc12" / f"{part}.txt").write_text("".join(lines), encoding="utf-8")


def put_states(script: str, checkout: Path) -> None:
    """Write the states that a script goes on from."""
    text = (checkout / script).read_text(encoding="utf-8")
    for state, (stem, iteration) in STATES.items():
        if state not in text:
            continue
        document = load_solver(checkout / Path(state).with_name(f"{stem}.prototxt"))
        if state.endswith(".h5"):
            document.message.snapshot_format = document.message.HDF5
        solver = Solver(document, object())
        try:
            solver.iteration = iteration
            written = Path(solver.snapshot())
        finally:
            solver.close()
        if state.endswith(".h5"):  # the script has a name of its own for it
            written.rename(state)


def run(script: str, checkout: Path, docker: Path, whole: bool) -> Result:
    """Run a script, in the checkout or, with docker, in an empty folder."""
    begun = perf_counter()
    path = os.pathsep.join([str(docker), str(checkout / "build" / "tools"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "CAFFE_ROOT": str(checkout)}
    folder = checkout
    if script.endswith("docker.sh"):
        folder = docker / "workspace"
        shutil.copytree(checkout / "data" / "mnist", folder / "data" / "mnist")
        environment["DOWNLOAD_DATA"] = "0"
    elif not whole:
        try:
            put_states(script, checkout)
        except Error as error:
            return Result(script, None, perf_counter() - begun, f"the state that it goes on from: {error}")
    process = subprocess.run(
        ["sh", str(checkout / script)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = process.stdout.strip().splitlines() or [""]
    return Result(script, process.returncode, perf_counter() - begun, lines[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder with BVLC's Caffe, or a bare repository of it")
    parser.add_argument("--data", type=Path, required=True, help="folder with the originals of MNIST and CIFAR-10")
    names = [name for folder in SCRIPTS.values() for name in folder]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help="names of scripts")
    parser.add_argument(
        "--whole", action="store_true", help="leave solvers and nets as they are: this takes many hours"
    )
    parser.add_argument("--imagenet", action="store_true", help=f"make {IMAGENET} for a moment")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        checkout, docker = Path(scratch) / "caffe", Path(scratch) / "docker"
        copy_tree(arguments.checkout, checkout)
        docker.mkdir()
        (docker / "docker").write_text(_DOCKER, encoding="utf-8")
        (docker / "docker").chmod(0o755)
        link_programs(checkout)
        if not arguments.whole:
            shorten(checkout)
        put_data(arguments.data, checkout)
        made = arguments.imagenet and not IMAGENET.parents[1].exists()
        try:
            if made:
                put_imagenet(checkout)
            os.chdir(checkout)
            print("| script | exit code | seconds | its last line |\n|---|---|---|---|")
            for folder, scripts in SCRIPTS.items():
                for name in scripts:
                    if name not in arguments.only:
                        continue
                    result = run(f"examples/{folder}/{name}.sh", checkout, docker, arguments.whole)
                    print(f"| `{result.script}` | {result.code} | {result.seconds:.1f} | {result.last} |", flush=True)
        finally:
            os.chdir("/")
            if made:
                shutil.rmtree(IMAGENET.parents[1])


if __name__ == "__main__":
    main()
