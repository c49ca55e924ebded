"""Nets that tests of callers run, and how their programs are started: each in a process that is given a time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from caffelite.data.writing import write_database
from caffelite.net import Net
from caffelite.schema.messages import Datum
from caffelite.schema.text import net_from_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver
from caffelite.words import TEST

#: Seconds after which a program hangs; kernels may have to be compiled in it.
LIMIT = 120

BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""
INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 20 dim: 20 } } }'
PROBABILITIES = BODY + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'
LOSS = BODY + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
#: More than the Data layer has ahead, and not a number of whole batches.
RECORDS = 73


class AnswerNet:
    """A net that answers an image's number with an array."""

    def __init__(self) -> None:
        self.net = Net(net_from_text(f'name: "answers" {INPUT} {PROBABILITIES}', "answers.prototxt"), TEST)

    def __call__(self, image: int) -> np.ndarray:
        self.net.blobs["data"].data[...] = images(image)
        self.net.forward()
        return self.net.blobs["prob"].data.copy()


def images(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((10, 3, 20, 20))


def answer(image: int) -> np.ndarray:
    """Answer with a net that is made for it."""
    return AnswerNet()(image)


def write_records(folder: Path) -> str:
    """Write a database; return the text of a net that learns from it, ten records at a time."""
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (3, 20, 20), np.uint8) for _ in range(RECORDS)]
    records = [
        (b"%03d" % i, Datum(channels=3, height=20, width=20, data=p.tobytes(), label=i % 5).SerializeToString())
        for i, p in enumerate(pixels)
    ]
    write_database(folder / "lmdb", records)
    data = f'data_param {{ source: "{folder / "lmdb"}" backend: LMDB batch_size: 10 }}'
    scale = "transform_param { scale: 0.01 mirror: true }"
    return f'name: "records" layer {{ name: "d" type: "Data" top: "data" top: "label" {data} {scale} }} {LOSS}'


def trainer(folder: Path) -> Solver:
    """Return a solver that trains a net on records."""
    (folder / "net.prototxt").write_text(write_records(folder))
    solver = f'net: "{folder / "net.prototxt"}" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 1000'
    (folder / "solver.prototxt").write_text(solver)
    return Solver(folder / "solver.prototxt", Listener())


def train(solver: Solver, iterations: int) -> bytes:
    """Train; return all that came out, bit for bit."""
    losses = []
    for _ in range(iterations):
        solver.step(1)
        losses.append(solver.smoothed_loss)
    return np.array(losses).tobytes() + solver.net.data.tobytes()


def run_program(program: str, name: str, threads: int, folder: Path) -> None:
    """Run a function of a program of ``tests/`` in a process of its own, which ends well and says nothing.

    Parameters
    ----------
    program : str
        The file.
    name : str
        The function, which takes the folder.
    threads : int
        Of the kernels.
    folder : Path
    """
    here = Path(__file__).parent
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(sys.path)}
    # The standard streams are files: a pipe would be waited for until every process that has come of it is gone.
    with (folder / "said").open("w+") as said:
        command = [sys.executable, str(here / program), name, str(folder)]
        code = subprocess.run(command, env=environment, stdout=said, stderr=said, timeout=LIMIT, check=False).returncode
        said.seek(0)
        text = said.read()
    assert code == 0 and not text, f"{name} ended with {code}: {text}"
