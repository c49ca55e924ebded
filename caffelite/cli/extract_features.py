"""Write blobs of a trained net into databases, a record for each image, as Caffe's program of this name does: a Datum
with the values as float_data, under the image's number in ten digits."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from caffelite.cli.arguments import UsageError, add_python, add_threads, names, the_gpu, whole
from caffelite.cli.databases import BACKENDS, add_json, new_database, report
from caffelite.cli.preparing import prepare_data
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import progress, say
from caffelite.data.writing import write_database
from caffelite.files import scratch_folder
from caffelite.net import Net
from caffelite.schema.messages import Datum
from caffelite.schema.text import read_net
from caffelite.solvers.sources import NetSource
from caffelite.words import TEST, Shape, count, did_you_mean, text_of

EXAMPLES = """examples:
  caffelite extract_features lenet_iter_5000.caffemodel models/lenet.prototxt ip1 features_lmdb 100 lmdb
  caffelite extract_features lenet_iter_5000.caffemodel models/lenet.prototxt ip1,ip2 ip1_lmdb,ip2_lmdb 100 lmdb GPU 0

The net is built in the phase TEST. A batch that goes beyond the last image begins anew with the first.
"""

#: Caffe's Datum has three axes, and one is the images.
_MOST_AXES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("weights", metavar="WEIGHTS", help="weights of the net")
    add("net", type=Path, metavar="NET", help="prototxt of the net, with its data")
    add("blobs", type=names, metavar="BLOB[,BLOB]", help="names of blobs")
    add("databases", type=names, metavar="DATABASE[,DATABASE]", help="a folder to make for each")
    add("batches", type=whole, metavar="BATCHES", help="number of batches")
    add("type", choices=BACKENDS, help="an LMDB is what is written")
    add("mode", nargs="?", choices=("CPU", "GPU"), default="CPU", help="what it runs on (CPU)")
    add("device", nargs="?", type=int, default=0, metavar="DEVICE_ID", help="number of the GPU (0)")
    add_json(parser)
    add_threads(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the net and write the databases, each whole or not at all."""
    blobs = arguments.blobs
    if len(blobs) != len(arguments.databases):
        raise UsageError(f"{len(blobs)} blobs and {len(arguments.databases)} databases: give a database for each blob")
    targets = [new_database(Path(path), arguments.type) for path in arguments.databases]
    if len(set(targets)) != len(targets):
        raise UsageError(f"{', '.join(map(str, targets))}: give each blob a database of its own")
    arguments.gpu = arguments.device if arguments.mode == "GPU" else None
    gpu = the_gpu(arguments)
    source = NetSource(read_net(arguments.net), 0, (), TEST, f"net file: {arguments.net}")
    prepare_data([source], None, say)
    with compiling():
        net = source.net(
            keep=True, learn=False, weights=arguments.weights, allow_python=arguments.allow_python, gpu=gpu
        )
        try:
            counts = _extract(net, blobs, targets, arguments.batches)
        finally:
            net.close()
    return report(arguments, dict(zip(targets, counts, strict=True)), "records")


def _extract(net: Net, blobs: Sequence[str], targets: Sequence[Path], batches: int) -> list[int]:
    """Write the databases; return the numbers of their records."""
    for name in blobs:
        if name not in net.blobs:
            hint = did_you_mean(name, net.blobs, f"there are {', '.join(net.blobs)}")
            raise UsageError(f'{net.document.filename}: there is no blob "{name}" in the phase TEST{hint}')
        if not 0 < len(net.blobs[name].shape) <= _MOST_AXES:
            raise UsageError(
                f'{net.document.filename}: blob "{name}" is of {text_of(net.blobs[name].shape)}; a Datum holds '
                f"what has 1 to {_MOST_AXES} axes, the first of them the images"
            )
    spooled: list[list[int]] = [[] for _ in blobs]
    with scratch_folder(targets[0].parent, "features") as scratch, progress(batches, "extracting") as advance:
        # One database is written at a time: the values of the others wait in files.
        files = [scratch / str(i) for i in range(len(blobs))]

        def first() -> Iterator[bytes]:
            with ExitStack() as stack:
                streams = [stack.enter_context(file.open("wb")) for file in files]
                for _ in range(batches):
                    net.forward()
                    for i, name in enumerate(blobs[1:], 1):
                        values = net.blobs[name].data
                        streams[i].write(values.tobytes())
                        spooled[i].append(len(values))
                    yield from _records(net.blobs[blobs[0]].data)
                    advance()

        counts = [write_database(targets[0], _numbered(first()))]
        for i, name in enumerate(blobs[1:], 1):
            counts.append(write_database(targets[i], _numbered(_read(files[i], spooled[i], net.blobs[name].shape))))
    return counts


def _read(file: Path, batches: Sequence[int], shape: Shape) -> Iterator[bytes]:
    """Yield the records of the values in a file: of batches of so many images, each of ``shape[1:]``."""
    with file.open("rb") as stream:
        for images in batches:
            values = np.fromfile(stream, np.float32, images * count(shape[1:]))
            yield from _records(values.reshape(images, *shape[1:]))


def _numbered(records: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for number, record in enumerate(records):
        yield b"%010d" % number, record


def _records(values: np.ndarray) -> list[bytes]:
    """Return each image of a blob as a Datum."""
    channels, height, width = (*values.shape[1:], 1, 1, 1)[:3]
    datum = Datum(channels=channels, height=height, width=width)
    records = []
    for image in values:
        datum.ClearField("float_data")
        datum.float_data.extend(image.ravel())
        records.append(datum.SerializeToString())
    return records
