"""What is fuzzed: a function for each kind of file, which takes its bytes and reads them as caffelite does.

A reader either returns or raises one of caffelite's own errors. Anything else, a crash, a hang or memory without end is a
finding.
"""

import ctypes
import json
import mmap
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from caffelite.data import records
from caffelite.data.database import open_database
from caffelite.data.images import decode_image
from caffelite.data.leveldb import LevelDb
from caffelite.data.snappy import decompress
from caffelite.datasets import cifar10, mnist, originals, pickled
from caffelite.draw.boxes import build
from caffelite.draw.diagram import dot, mermaid
from caffelite.errors import DataError, Error
from caffelite.export.stored_net import plain_net
from caffelite.inspection.files import inspect_file
from caffelite.kernels import transform
from caffelite.schema import hdf5
from caffelite.schema.blobs import read_blob
from caffelite.schema.documents import NetDocument
from caffelite.schema.npz import read_npz
from caffelite.schema.printer import to_text
from caffelite.schema.stored_net import read_stored_net
from caffelite.schema.text import net_from_text, read_prototxt
from caffelite.schema.weights import read_weights
from caffelite.solvers.snapshots import read_state
from caffelite.words import TRAIN

#: In memory where the system has a folder for that.
_MEMORY = Path("/dev/shm")
#: Images and labels of a record that the compiled reader expects, as the seeds have it.
SHAPE = (2, 3, 4)
#: A LevelDB's files: those of ``tests/data/leveldb``.
LEVELDB = Path(__file__).parents[1] / "data" / "leveldb"


@cache
def _scratch(_process: int) -> Path:
    return Path(tempfile.mkdtemp(prefix="caffelite_fuzz.", dir=_MEMORY if _MEMORY.is_dir() else None))


def _file(data: bytes, name: str = "file") -> Path:
    path = _scratch(os.getpid()) / name
    path.write_bytes(data)
    return path


def text(data: bytes) -> None:
    """Read a prototxt of a net or a solver."""
    read_prototxt(_file(data))


def net(data: bytes) -> None:
    """Read a prototxt, set up the layers of its net without their data, and draw it."""
    document = read_prototxt(_file(data))
    if isinstance(document, NetDocument):
        diagram = build(document)
        dot(diagram)
        mermaid(diagram)


def weights(data: bytes) -> None:
    """Read weights: every value of a ``.caffemodel``."""
    for layer in read_weights(_file(data)):
        for blob in layer.blobs:
            np.asarray(blob).sum()


def stored_net(data: bytes) -> None:
    """Take the net out of a ``.caffemodel``, and read the text that it gives."""
    path = _file(data)
    document, _ = plain_net(read_stored_net(path), path)
    net_from_text(to_text(document))


def state(data: bytes) -> None:
    """Read a ``.solverstate``."""
    read_state(_file(data))


def mean(data: bytes) -> None:
    """Read a ``.binaryproto``."""
    read_blob(_file(data))


def hdf5_file(data: bytes) -> None:
    """Read an HDF5 file as weights, as a solver's state and as rows of data."""
    path = _file(data, "file.h5")
    readers: list[Callable[[], object]] = [
        lambda: hdf5.read_hdf5_weights(path),
        lambda: hdf5.read_hdf5_state(path),
        lambda: hdf5.read_rows(path, ["data", "label"], "file"),
    ]
    for read in readers:
        try:
            read()
        except Error:
            pass


def datum(data: bytes) -> None:
    """Read a record of a database, in Python and by the compiled reader: both find the same."""
    pages = _guarded()
    size = mmap.PAGESIZE
    data = data[:size]
    pages[size - len(data) : size] = data
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + size - len(data)
    addresses, lengths, pixels, status = (np.array([n], np.int64) for n in (address, len(data), 0, 0))
    labels = np.zeros(1, np.float32)
    transform.parse(addresses, lengths, SHAPE, pixels, labels, status)()
    try:
        image, label = records.decode(data)
    except DataError:
        assert status[0], "the compiled reader takes what is no record"
        raise
    if not status[0]:
        seen = np.frombuffer(ctypes.string_at(int(pixels[0]), int(np.prod(SHAPE))), np.uint8)
        assert image.dtype == np.uint8 and image.shape == SHAPE and np.array_equal(image.reshape(-1), seen)
        assert labels[0] == np.float32(label)


@cache
def _guarded() -> mmap.mmap:
    """Return a page of memory behind which nothing can be read: whoever reads on ends the process."""
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    if os.name == "posix":
        behind = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + mmap.PAGESIZE
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(behind), mmap.PAGESIZE, 0) == 0
    return pages


def lmdb(data: bytes) -> None:
    """Read the records of an LMDB."""
    folder = _scratch(os.getpid()) / "lmdb"
    folder.mkdir(exist_ok=True)
    (folder / "data.mdb").unlink(missing_ok=True)
    (folder / "data.mdb").write_bytes(data)
    database = open_database(folder)
    try:
        for position in range(min(len(database), 100)):
            database.read(position)
    finally:
        database.close()


def leveldb(data: bytes) -> None:
    """Read a LevelDB of which one file, the one that the first byte numbers, has these bytes."""
    folder = _scratch(os.getpid()) / "leveldb"
    folder.mkdir(exist_ok=True)
    for i, file in enumerate(sorted(LEVELDB.iterdir())):
        (folder / file.name).write_bytes(data[1:] if data[:1] == b"%d" % i else file.read_bytes())
    for _ in LevelDb(folder).records():
        pass


def snappy(data: bytes) -> None:
    """Decompress a block of Snappy's."""
    try:
        decompress(data)
    except ValueError:
        raise DataError("the block is damaged") from None


def inspected(data: bytes) -> None:
    """Find out what a file is, and tell what it holds."""
    told = inspect_file(_file(data), TRAIN, {}, records=20)
    told.text("file")
    json.dumps(told.data, allow_nan=False)


def image(data: bytes) -> None:
    """Decode an image."""
    decode_image(data, "image")


def idx(data: bytes) -> None:
    """Read MNIST's files: the images, and behind the first two bytes, which tell where they begin, the labels."""
    cut = 2 + int.from_bytes(data[:2], "little")
    images, labels = _file(data[cut:], "images"), _file(data[2:cut], "labels")
    for _ in mnist.read(images, labels):
        pass


def cifar(data: bytes) -> None:
    """Read a file of CIFAR-10, in the binary form and in that of Python."""
    path = _file(data)
    for read in (cifar10._read_binary, cifar10._read_pickled):
        try:
            for _ in cifar10._each([path], read):
                pass
        except Error:
            pass


def pickle(data: bytes) -> None:
    """Read the arrays of a pickle."""
    pickled.read_arrays(data, "file")


def tar(data: bytes) -> None:
    """Unpack an archive."""
    originals.unpack(_file(data, "file.tar"), ["data_batch_1.bin"], _scratch(os.getpid()))


def npz(data: bytes) -> None:
    """Read the arrays of an ``.npz`` file."""
    read_npz(_file(data))


#: By name.
TARGETS: dict[str, Callable[[bytes], None]] = {
    **{
        "text": text,
        "net": net,
        "weights": weights,
        "stored_net": stored_net,
        "state": state,
        "mean": mean,
        "hdf5": hdf5_file,
        "datum": datum,
    },
    **{"inspect": inspected, "lmdb": lmdb, "image": image, "idx": idx, "cifar": cifar, "pickle": pickle, "tar": tar},
    **{"leveldb": leveldb, "snappy": snappy, "npz": npz},
}


def try_out(name: str, data: bytes) -> bool:
    """Give a target some bytes; return whether they were taken.

    Raises
    ------
    Exception
        What is not one of caffelite's own errors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            TARGETS[name](data)
        except Error:
            return False
    return True
