"""What fuzzing starts from: small whole files of each kind."""

import gzip
import io
import pickle
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from fuzz.targets import LEVELDB, SHAPE

from caffelite.data.writing import write_database
from caffelite.schema.messages import BlobProto, Datum, NetParameter, SolverState

ROOT = Path(__file__).parents[2]


def _text() -> Iterator[bytes]:
    for path in (ROOT / "models").glob("*.prototxt"):
        if path.stat().st_size < 3000:
            yield path.read_bytes()
    for path in (ROOT / "tests" / "layers" / "nets").glob("*.prototxt"):
        yield path.read_bytes()


def _array(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def _weights() -> Iterator[bytes]:
    new = NetParameter(name="n")
    layer = new.layer.add(name="a", type="Scale")
    layer.blobs.add(data=[1, 2, 3, 4]).shape.dim.extend([2, 2])
    layer.blobs.add(double_data=[1, 2]).shape.dim.extend([2])
    yield new.SerializeToString()
    old = NetParameter(name="n")
    one = old.layers.add(name="a", type=4)
    one.blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    first = old.layers.add()
    first.layer.name, first.layer.type = "b", "conv"
    first.layer.blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    yield old.SerializeToString()


def _stored_net() -> Iterator[bytes]:
    net = NetParameter(name="n")
    net.layer.add(name="a", type="TanH", bottom=["x"], top=["y"]).blobs.add(data=[1])
    net.layer.add(name="y_a_0_split", type="Split", bottom=["y"], top=["y_a_0_split_0", "y_a_0_split_1"])
    net.layer.add(name="b", type="TanH", bottom=["y_a_0_split_1"], top=["z"], phase=0)
    yield net.SerializeToString()
    yield from _weights()


def _state() -> Iterator[bytes]:
    state = SolverState(iter=3, current_step=1, learned_net="a.caffemodel")
    state.history.add(data=[1, 2]).shape.dim.extend([2])
    yield state.SerializeToString()
    state.caffelite_state.entry.add(name="train/data/position", dtype="int64", data=bytes(8), shape=[1])
    yield state.SerializeToString()
    yield from _weights()


def _mean() -> Iterator[bytes]:
    yield BlobProto(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4]).SerializeToString()
    blob = BlobProto(double_data=[1, 2])
    blob.shape.dim.extend([1, 2])
    yield blob.SerializeToString()


def _hdf5() -> Iterator[bytes]:
    for kind in ("weights", "state", "rows"):
        memory = io.BytesIO()
        with h5py.File(memory, "w") as file:
            if kind == "weights":
                file["data/conv/0"], file["data/conv/1"] = _array(2, 2), _array(2)
            elif kind == "state":
                file["iter"], file["learned_net"], file["history/0"] = [3], np.bytes_("a"), _array(2, 2)
                file["caffelite_state/a|b"] = _array(3)
            else:
                file.create_dataset("data", data=_array(4, 2), compression="gzip", chunks=(2, 2))
                file["label"] = np.arange(4)
        yield memory.getvalue()


def _datum() -> Iterator[bytes]:
    channels, height, width = SHAPE
    size = channels * height * width
    yield Datum(channels=channels, height=height, width=width, data=bytes(range(size)), label=7).SerializeToString()
    yield Datum(channels=1, height=1, width=3, float_data=[1, 2, 3], label=-1).SerializeToString()
    yield Datum(channels=channels, height=height, width=width, data=b"\x89PNG", encoded=True).SerializeToString()


def _lmdb() -> Iterator[bytes]:
    for count, length in ((3, 30), (300, 60), (2, 9000)):
        with tempfile.TemporaryDirectory() as folder:
            write_database(Path(folder, "db"), [(b"%05d" % i, bytes(length)) for i in range(count)])
            yield Path(folder, "db", "data.mdb").read_bytes()


def _leveldb() -> Iterator[bytes]:
    for i, file in enumerate(sorted(LEVELDB.iterdir())):
        yield b"%d" % i + file.read_bytes()


def _snappy() -> Iterator[bytes]:
    # A literal, a copy of two bytes, one of three, one of five.
    yield b"\x1b\x0cabcd" + b"\x01\x04" + b"\x2a\x08\x00" + b"\x1f\x04\x00\x00\x00"


def _image() -> Iterator[bytes]:
    from PIL import Image

    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    for mode in ("RGB", "L", "P", "1"):
        for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF"):
            memory = io.BytesIO()
            try:
                Image.fromarray(pixels).convert(mode).save(memory, kind)
            except OSError:
                continue
            yield memory.getvalue()


def _inspect() -> Iterator[bytes]:
    for make in (_weights, _state, _mean, _hdf5, _lmdb):
        yield from make()
    log = (ROOT / "tests" / "caffe" / "train.log").read_bytes()[:2000]
    yield from (log, gzip.compress(log), b'net: "a.prototxt" base_lr: 0.1 net_param { name: "n" }')


def _idx() -> Iterator[bytes]:
    labels = np.array([0x801, 3], ">u4").tobytes() + bytes([1, 2, 3])
    images = np.array([0x803, 3, 2, 2], ">u4").tobytes() + bytes(range(12))
    yield len(labels).to_bytes(2, "little") + labels + images


def _cifar() -> Iterator[bytes]:
    yield (bytes([3]) + bytes(3072)) * 2
    for protocol in (0, 2, 5):
        yield pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [3]}, protocol)


def _pickle() -> Iterator[bytes]:
    for protocol in range(6):
        yield pickle.dumps(
            {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2], "x": (1.5, None)}, protocol
        )
        yield pickle.dumps(np.asfortranarray(_array(2, 3)), protocol)


def _tar() -> Iterator[bytes]:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        for mode in ("w", "w:gz"):
            memory = io.BytesIO()
            with tarfile.open(fileobj=memory, mode=mode, format=form) as archive:  # type: ignore[call-overload]
                for name in ("a" * 90 + "/b" * 20 + "/data_batch_1.bin", "é/data_batch_1.bin"):
                    member = tarfile.TarInfo(name)
                    member.size = 5
                    archive.addfile(member, io.BytesIO(b"12345"))
            yield memory.getvalue()


def _npz() -> Iterator[bytes]:
    for save in (np.savez, np.savez_compressed):
        memory = io.BytesIO()
        save(memory, data=_array(2, 3), conv1=np.asfortranarray(_array(2, 2)), whole=np.arange(3))
        yield memory.getvalue()


_MAKERS = {
    **{
        "text": _text,
        "net": _text,
        "weights": _weights,
        "stored_net": _stored_net,
        "state": _state,
        "mean": _mean,
        "hdf5": _hdf5,
        "datum": _datum,
    },
    **{
        "inspect": _inspect,
        "lmdb": _lmdb,
        "leveldb": _leveldb,
        "snappy": _snappy,
        "image": _image,
        "idx": _idx,
        "cifar": _cifar,
        "pickle": _pickle,
        "tar": _tar,
        "npz": _npz,
    },
}


def seeds(name: str) -> Iterator[bytes]:
    """Return the seeds of a target."""
    return _MAKERS[name]()
