"""What any file of Caffe's is and holds."""

from collections.abc import Mapping
from pathlib import Path

from caffelite.inspection import kinds
from caffelite.inspection.nets import prototxt_inspection
from caffelite.inspection.records import leveldb_inspection, lmdb_inspection
from caffelite.inspection.told import Inspection, disk_size, size_text
from caffelite.inspection.training_log import log_inspection
from caffelite.inspection.weights import blob_inspection, hdf5_inspection, state_inspection, weights_inspection
from caffelite.schema.text import read_prototxt
from caffelite.words import Shape

_READERS = {
    kinds.LOG: log_inspection,
    kinds.WEIGHTS: weights_inspection,
    kinds.STATE: state_inspection,
    kinds.BLOB: blob_inspection,
    kinds.HDF5: hdf5_inspection,
    kinds.LEVELDB: leveldb_inspection,
}


def inspect_file(path: Path, phase: int, inputs: Mapping[str, Shape], records: int) -> Inspection:
    """Return what a file, or the folder of a database, is and holds.

    Parameters
    ----------
    path : Path
    phase : int
        Of a net, the phase to look at.
    inputs : mapping of str to tuple of int
        Of a net, shapes of blobs.
    records : int
        Of a database, how many records are looked at.

    Raises
    ------
    Error
        It is missing, damaged, or none of Caffe's files; what it looks like is named.
    """
    kind = kinds.kind_of(path)
    if kind == kinds.PROTOTXT:
        inspection = prototxt_inspection(read_prototxt(path), phase, inputs)
    elif kind == kinds.LMDB:
        inspection = lmdb_inspection(path, records)
    else:
        inspection = _READERS[kind](path)
    size, taken = disk_size(path)
    on_disk = f"{size_text(size)}{f', {size_text(taken)} on the disk' if taken < size // 2 else ''}"
    inspection.lines[0] = f"{inspection.lines[0]}; {on_disk}"
    inspection.data = {"kind": inspection.kind, "bytes": size, "bytes_on_disk": taken, **inspection.data}
    return inspection
