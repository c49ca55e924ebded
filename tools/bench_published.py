"""Training steps of published nets: caffelite beside PyTorch, eager and compiled (``pip install .[bench]``).

Each program is a process of its own that holds one net. In turns, all on the same number of threads, they do forward,
backward and update (SGD with momentum and weight decay) on a batch that lies in memory; the others wait meanwhile,
asleep. What is reported is the median step of each, with the smallest and largest median of a round, its ratio to
caffelite's, and the most memory that its process ever had. ``torch.compile`` needs a C++ compiler.

The nets are read from where they were published, a folder ``OWNER+NAME`` for each repository:

    git clone https://github.com/BVLC/caffe FOLDER/BVLC+caffe
    git clone https://github.com/KaimingHe/deep-residual-networks FOLDER/KaimingHe+deep-residual-networks
    git clone https://github.com/shicai/MobileNet-Caffe FOLDER/shicai+MobileNet-Caffe
    git clone https://github.com/soeaver/caffe-model FOLDER/soeaver+caffe-model

Each of their classifiers gets a loss, BatchNorm takes the statistics of the batch, and all parameters have one rate.
PyTorch's module is what ``caffelite convert`` writes of the same file. Before anything is timed, the losses of the
first steps, without Dropout, are held against each other.
"""

import argparse
import dataclasses
import importlib.util
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from inference_nets import SEED, randomise
from programs import REST
from turns import in_turns, machine, peak_memory, timed, use_threads
from workers import Worker

RATE, MOMENTUM, DECAY = 0.00001, 0.9, 0.0005
#: Steps whose losses are compared, and how much they may differ by their size.
COMPARED, TOLERANCE = 3, 1e-3
CLASSES = 1000
PROGRAMS = ("caffelite", "PyTorch", "compiled")


class Subject(NamedTuple):
    """A published net.

    Attributes
    ----------
    folder, path : str
        Its repository, and where it is there.
    images, size : int
        Of a batch, and pixels of an edge.
    """

    folder: str
    path: str
    images: int
    size: int = 224


NETS = {
    "resnet50": Subject("KaimingHe+deep-residual-networks", "prototxt/ResNet-50-deploy.prototxt", 8),
    "mobilenet": Subject("shicai+MobileNet-Caffe", "mobilenet_deploy.prototxt", 16),
    "googlenet": Subject("BVLC+caffe", "models/bvlc_googlenet/train_val.prototxt", 16),
    "alexnet": Subject("BVLC+caffe", "models/bvlc_alexnet/train_val.prototxt", 32, 227),
    "densenet121": Subject("soeaver+caffe-model", "cls/densenet/deploy_densenet121.prototxt", 8),
}


@dataclass(frozen=True)
class Files:
    """One net for all programs, in one folder; ``steady`` is the net without Dropout."""

    folder: Path

    @property
    def net(self) -> Path:
        return self.folder / "net.prototxt"

    @property
    def steady(self) -> Path:
        return self.folder / "steady.prototxt"

    @property
    def weights(self) -> Path:
        return self.folder / "net.caffemodel"

    @property
    def module(self) -> Path:
        return self.folder / "net_in_torch.py"

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels."""
        with np.load(self.folder / "batch.npz") as arrays:
            return arrays["images"], arrays["labels"]


def prepare(source: Path, files: Files, images: int, size: int) -> None:
    """Write a net for all programs."""
    from caffelite.export.torch.convert import TRAINED_ON, convert
    from caffelite.export.torch.write import save
    from caffelite.net import Net
    from caffelite.net.deploy import deploy
    from caffelite.schema.printer import write_text
    from caffelite.schema.text import net_from_message, read_net
    from caffelite.words import TEST

    rng = np.random.default_rng(SEED)
    shape = (images, 3, size, size)
    read = read_net(source)
    for path, kept in ((files.steady, frozenset[str]()), (files.net, TRAINED_ON)):
        message = deploy(read, inputs={"data": shape}, kept=kept)[0].message
        classifiers = [layer.bottom[0] for layer in message.layer if layer.type == "Softmax"]
        layers = [layer for layer in message.layer if layer.type != "Softmax"]
        del message.layer[:]
        message.layer.extend(layers)
        for layer in message.layer:
            layer.batch_norm_param.ClearField("use_global_stats")
            del layer.param[:]
        bare = net_from_message(message)
        message.layer.add(name="label", type="Input", top=["label"]).input_param.shape.add(dim=[images])
        for i, name in enumerate(classifiers):
            message.layer.add(name=f"loss{i}", type="SoftmaxWithLoss", bottom=[name, "label"], top=[f"loss{i}"])
        write_text(net_from_message(message), path)
    net = Net(bare, TEST, keep=True, learn=False)
    for one in net.layers:
        randomise(one, rng)
    net.save(files.weights)
    save(convert(net, {}), files.module, {})
    values = rng.standard_normal(shape, np.float32)
    np.savez(files.folder / "batch.npz", images=values, labels=rng.integers(0, CLASSES, images))


def solver(files: Files, net: Path) -> Any:
    from caffelite.schema.messages import SolverParameter
    from caffelite.solvers.logs import Listener
    from caffelite.solvers.solver import Solver

    settings = SolverParameter(
        net=str(net), type="SGD", base_lr=RATE, lr_policy="fixed", momentum=MOMENTUM, weight_decay=DECAY
    )
    made = Solver(settings, Listener(), weights=[files.weights])
    made.net.blobs["data"].data[...], made.net.blobs["label"].data[...] = files.batch()
    return made


class Trainer:
    """The module that caffelite has written, with its optimiser and a batch in memory."""

    def __init__(self, files: Files, threads: int, compiled: bool = False, steady: bool = False) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(SEED)
        spec = importlib.util.spec_from_file_location(files.module.stem, files.module)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._model = module.load().train()
        for part in self._model.modules() if steady else ():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        self._x, self._y = (torch.from_numpy(values) for values in files.batch())
        self._optimiser = torch.optim.SGD(self._model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
        self._loss: Callable[[], Any] = torch.compile(self._forward) if compiled else self._forward

    def _forward(self) -> Any:
        from torch.nn import functional

        made = self._model(self._x)
        scores = made.values() if isinstance(made, dict) else [made]
        return sum(functional.cross_entropy(one.flatten(1), self._y) for one in scores)

    def step(self) -> Any:
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._loss()
        loss.backward()
        self._optimiser.step()
        return loss


def first_losses(files: Files, threads: int) -> tuple[list[float], list[float]]:
    """Return what the losses are without Dropout, caffelite's and PyTorch's."""
    ours, theirs = solver(files, files.steady), Trainer(files, threads, steady=True)
    losses: tuple[list[float], list[float]] = ([], [])
    for _ in range(COMPARED):
        ours.step(1)
        losses[0].append(ours.loss)
        losses[1].append(float(theirs.step().detach()))
    return losses


def answering(program: str, files: Files, threads: int) -> Callable[[tuple[int, float]], Any]:
    """Return a function that does steps as :func:`turns.timed` does, and tells the peak of memory."""
    if program == "caffelite":
        ours = solver(files, files.net)
        step: Callable[[], Any] = partial(ours.step, 1)
    else:
        step = Trainer(files, threads, program == "compiled").step

    def answer(request: tuple[int, float]) -> Any:
        step()  # wakes its threads
        times = timed(step, *request)
        time.sleep(REST)
        return times, peak_memory()

    return answer


class Steps(Worker):
    """A program that trains one net, in a process of its own."""

    def __init__(self, program: str, files: Files, threads: int) -> None:
        super().__init__(program, answering, program, files, threads)
        self.peak_mb = 0.0

    def run(self, steps: int) -> list[float]:
        times, self.peak_mb = self.ask((steps, math.inf))
        return times


def measure(name: str, files: Files, options: argparse.Namespace) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        workers = {}
        for program in options.programs:
            workers[program] = worker = Steps(program, files, options.threads)
            stack.callback(worker.close)
        results = in_turns({who: worker.run for who, worker in workers.items()}, options.rounds, options.seconds)
        return [
            {
                "net": name,
                "images": NETS[name].images,
                "program": who,
                **dataclasses.asdict(result),
                "peak_mb": workers[who].peak_mb,
            }
            for who, result in results.items()
        ]


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process that is gone then."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(function, arguments)


def sources(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Path]:
    """Return where the nets are that were asked for; end the tool where one of them, or a package, is not there."""
    paths = {}
    for name in options.names or NETS:
        if name not in NETS:
            parser.error(f"there is no net {name}, but {', '.join(NETS)}")
        paths[name] = options.nets / NETS[name].folder / NETS[name].path
        if not paths[name].is_file():
            parser.error(f"{paths[name]} is missing; --help says where it is published")
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            parser.error(f"{package} is not installed; pip install '.[bench]'")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NET", help=f"{', '.join(NETS)} (all)")
    parser.add_argument("--nets", type=Path, required=True, metavar="FOLDER", help="where the repositories are")
    parser.add_argument(
        "--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS), help="the first is compared with"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each program a round, at least three steps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    paths = sources(parser, options)
    use_threads(options.threads)
    rows = []
    for name, path in paths.items():
        with tempfile.TemporaryDirectory() as temporary:
            files = Files(Path(temporary))
            in_process(prepare, path, files, NETS[name].images, NETS[name].size)
            ours, theirs = in_process(first_losses, files, options.threads)
            if not np.allclose(ours, theirs, rtol=TOLERANCE, atol=0):
                sys.exit(f"{name}: the first losses are {ours} and PyTorch's {theirs}, not timed")
            results = measure(name, files, options)
        rows += results
        for r in results if not options.json else ():
            print(
                f"{name:12s} batch {r['images']:3d}   {r['program']:10s} {r['ms']:8.1f} ms ({r['low']:.1f} to "
                f"{r['high']:.1f})   ratio {r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f})   "
                f"{r['peak_mb']:6.0f} MiB",
                flush=True,
            )
    facts = machine(options.threads)
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
