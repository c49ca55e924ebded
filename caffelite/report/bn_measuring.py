"""What the stored statistics of batch normalization are worth: measured on test images beside all others."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from caffelite.batchnorm.difference import difference
from caffelite.batchnorm.statistics import brings_data, growing_statistics, normalizing
from caffelite.batchnorm.subject import Subject
from caffelite.errors import DataError, Error, NetError, ShapeError
from caffelite.layers.shared.normalizing import Normalizing, Statistics
from caffelite.net import Net
from caffelite.net.graph import Node
from caffelite.report.bn_folding import Folding, folding
from caffelite.solvers.sources import NetSource
from caffelite.solvers.testing import records_per_pass, run_test
from caffelite.words import TEST, TRAIN

#: Test batches and numbers of training batches that are tried, as far as there are images for them.
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True, slots=True)
class Layer:
    """How far the stored statistics of a layer are from those of the training data.

    Attributes
    ----------
    name : str
    channels : int
    mean, variance_ratio : float
        See :class:`~caffelite.batchnorm.difference.Difference`.
    worst_channel : int
    shifts : list of float
        Stored mean minus measured mean of each channel, in standard deviations of the data.
    """

    name: str
    channels: int
    mean: float
    variance_ratio: float
    worst_channel: int
    shifts: list[float]


@dataclass(slots=True)
class Measured:
    """What was measured; what could not be says why.

    Attributes
    ----------
    output : str
        What was measured on the test images: the name of an output.
    share : bool
        It is a share of right answers, as values from 0 to 1; else a loss.
    images, batch : int
        Test images, and those of a batch as the net has it.
    stored : float or None
        With the stored statistics.
    own : dict of int to float
        With those of each test batch, by its size.
    train_batch : int
        Images of a training batch.
    anew : list of (int, float or None)
        Training batches over which statistics were measured, and what the net is worth with those.
    layers : list of Layer
    folding : Folding or None
    no_test, no_train, no_folding : str
        Why there is nothing of it; empty where there is.
    """

    output: str = ""
    share: bool = True
    images: int = 0
    batch: int = 0
    stored: float | None = None
    own: dict[int, float] = field(default_factory=dict)
    train_batch: int = 0
    anew: list[tuple[int, float | None]] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    folding: Folding | None = None
    no_test: str = ""
    no_train: str = ""
    no_folding: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be measured.

    Attributes
    ----------
    train, test : NetSource
    subject : Subject
        With the weights.
    images : int
        The most test images, and training images, to look at for a figure.
    allow_python : bool
    told : callable
        Makes a context of a text and a number of images; what it gives is called with those of each batch.
    """

    train: NetSource
    test: NetSource
    subject: Subject
    images: int
    allow_python: bool
    told: Callable[[str, int], Any]


@dataclass(slots=True)
class _Tested:
    """A net in TEST, with what is read of it, and where its data began."""

    net: Net
    output: str
    share: bool
    images: int
    batch: int
    start: dict[str, np.ndarray]


def measure(task: Task) -> Measured:
    """Measure all that there is data for.

    Raises
    ------
    NetError, ShapeError, WeightsError
        A net cannot be built, or the weights do not fit.
    """
    result = Measured()
    counts, result.no_train = [], ""
    with _test_net(task, result, stored=True) as tested, _train_net(task, result) as training:
        if training is not None:
            counts = [step for step in _STEPS if step * result.train_batch <= _limit(training, task)] or [1]
        if tested is not None:
            result.output, result.share = tested.output, tested.share
            result.images, result.batch = tested.images, tested.batch
            with task.told("with the stored statistics", tested.images) as advance:
                result.stored = _score(tested, advance)
        if training is not None:
            _measure_anew(task, result, training, tested, counts)
    if result.stored is not None:
        _measure_sizes(task, result)
        _measure_folding(task, result)
    else:
        result.no_folding = result.no_test
    return result


@contextmanager
def _test_net(
    task: Task, result: Measured, stored: bool, batch: int = 0, keep: bool = False
) -> Iterator[_Tested | None]:
    """Give the net in TEST with its weights; None, and why, where it has no test data or nothing to measure."""
    source = task.test._replace(phase=TEST)
    if batch:
        source = source._replace(document=_with_batch(source, batch))
    options = {"global_stats": stored, "keep": keep, "allow_python": task.allow_python, "output_root": None}
    try:
        net = source.net(**options)
    except (DataError, NetError) as error:
        result.no_test = str(error)
        yield None
        return
    try:
        tested = _of_use(task, net)
        if isinstance(tested, str):
            result.no_test = tested
            yield None
        else:
            for path in task.subject.weight_files:
                net.copy_from(path)
            yield tested
    finally:
        net.close()


def _of_use(task: Task, net: Net) -> _Tested | str:
    """Return a net that has test data and an output to measure; else what is missing."""
    name = net.document.filename
    if not brings_data(net.graph):
        return f"{name} has no layer that reads data in TEST"
    outputs = [node.tops[0] for node in net.graph.nodes if node.tops and node.tops[0].name in net.outputs]
    shares = [top.name for top in outputs if top.producer.layer.facts.share]
    losses = [top.name for top in outputs if top.loss_weight]
    if not (shares or losses):
        return f"{name} has neither an accuracy nor a loss in TEST"
    batch = records_per_pass(net)
    images = max(_limit(net, task) // batch, 1) * batch
    start = {key: array.copy() for key, array in net.state().items()}
    return _Tested(net, (shares or losses)[0], bool(shares), images, batch, start)


def _limit(net: Net, task: Task) -> int:
    """Return how many images of its data a net is to see."""
    records = max((getattr(layer, "epoch_size", 0) for layer in net.layers), default=0)
    return min(records or task.images, task.images)


def _score(tested: _Tested, advance: Callable[[int], object]) -> float:
    """Return the mean of the output over the first images of the test data."""
    tested.net.load_state(tested.start)
    outputs, _ = run_test(tested.net, tested.images // tested.batch, on_batch=lambda batch: advance(tested.batch))
    return next(one.value for one in outputs if one.name == tested.output)


@contextmanager
def _train_net(task: Task, result: Measured) -> Iterator[Net | None]:
    """Give the net in TRAIN that normalizes by the batch; None, and why, where it has no data."""
    try:
        net = task.train._replace(phase=TRAIN).net(
            global_stats=False, learn=False, allow_python=task.allow_python, output_root=None
        )
    except (DataError, NetError) as error:
        # A net to be deployed may have no TRAIN.
        result.no_train = str(error)
        yield None
        return
    try:
        if brings_data(net.graph):
            for path in task.subject.weight_files:
                net.copy_from(path)
            result.train_batch = records_per_pass(net)
            yield net
        else:
            result.no_train = f"{net.document.filename} has no layer that reads data in TRAIN"
            yield None
    finally:
        net.close()


def _measure_anew(task: Task, result: Measured, training: Net, tested: _Tested | None, counts: Sequence[int]) -> None:
    """Measure the statistics over more and more training batches, and what the net is worth with each."""
    layers = [(node, layer) for node, layer in normalizing(training.graph) if layer.layout.factor]
    images = counts[-1] * result.train_batch + (0 if tested is None else len(counts) * tested.images)
    statistics: dict[str, Statistics] = {}
    done = 0
    with task.told("with statistics measured anew", images) as advance:
        for total, statistics in zip(counts, growing_statistics(training, layers, counts), strict=True):
            advance((total - done) * result.train_batch)
            done = total
            if tested is not None:
                _set(tested.net, statistics)
            result.anew.append((total, None if tested is None else _score(tested, advance)))
    task.subject.measured = statistics
    result.layers = list(_layers(task.subject, layers, statistics))


def _set(net: Net, statistics: dict[str, Statistics]) -> None:
    """Let the layers of a net have these statistics."""
    for node, layer in normalizing(net.graph):
        if node.name in statistics and layer.layout.factor:
            mean, variance, factor = layer.sums
            mean[...], variance[...], factor[...] = statistics[node.name].mean, statistics[node.name].variance, 1
    net.changed()


def _layers(
    subject: Subject, layers: Sequence[tuple[Node, Normalizing]], measured: dict[str, Statistics]
) -> Iterator[Layer]:
    for node, layer in layers:
        stored, data = subject.stored(node.name), measured.get(node.name)
        if stored is None or data is None or stored.mean.shape != data.mean.shape:
            continue
        far = difference(stored, data, layer.eps)
        shifts = (stored.mean - data.mean) / np.sqrt(data.variance + layer.eps)
        yield Layer(node.name, shifts.size, far.mean, far.variance_ratio, far.worst_channel, shifts.tolist())


def _measure_sizes(task: Task, result: Measured) -> None:
    """Test by the statistics of each test batch, in batches of several sizes."""
    most = max(result.batch, result.train_batch)
    sizes = sorted({*(step for step in _STEPS if step < most), most, result.batch})
    sizes = [size for size in sizes if size <= result.images]
    with task.told("with the statistics of each test batch", len(sizes) * result.images) as advance:
        for size in sizes:
            try:
                with _test_net(task, result, stored=False, batch=size) as tested:
                    if tested is not None and tested.batch == size:
                        result.own[size] = _score(tested, advance)
            except (NetError, ShapeError):
                # Some nets are made for one size of batch.
                if size == result.batch:
                    raise


def _with_batch(source: NetSource, size: int) -> Any:
    """Return the net with other batches, of which ever type its layers of data are."""
    message = type(source.document.message)()
    message.CopyFrom(source.document.message)
    for layer in message.layer:
        for descriptor, settings in layer.ListFields():
            if descriptor.message_type is not None and "batch_size" in descriptor.message_type.fields_by_name:
                settings.batch_size = size
    return replace(source.document, message=message)


def _measure_folding(task: Task, result: Measured) -> None:
    """Hold the folded net's scores against those of the net as it is, on test images."""
    try:
        with _test_net(task, result, stored=True, keep=True) as tested:
            assert tested is not None
            with task.told("folded", tested.images) as advance:
                result.folding = folding(tested.net, tested.images, tested.batch, advance)
    except Error as error:
        result.no_folding = str(error)
