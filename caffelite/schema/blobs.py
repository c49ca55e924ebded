"""Arrays as BlobProto messages, and single arrays in files (``mean.binaryproto``)."""

import math
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from caffelite.errors import WeightsError
from caffelite.files import atomic_write
from caffelite.schema import messages

#: No array of a Caffe file has more elements than this; Caffe itself counts them in an int.
LARGEST_BLOB = (1 << 31) - 1
#: Caffe's kMaxBlobAxes.
MOST_AXES = 32


def blob_to_array(blob: messages.BlobProto, what: str = "blob") -> np.ndarray:
    """Return the values of a BlobProto as float32, in its shape (old form: num, channels, height, width).

    Raises
    ------
    WeightsError
        The shape does not hold as many values as there are.
    """
    values = np.asarray(blob.double_data if blob.double_data else blob.data, dtype=np.float32)
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    elif any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    else:
        shape = (len(values),)
    return shaped(values, shape, what)


def shaped(values: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return ``values`` in ``shape``; raise WeightsError where the numbers do not agree."""
    if len(shape) > MOST_AXES:
        raise WeightsError(f"{what}: its shape has {len(shape)} axes, at most {MOST_AXES} are allowed")
    # One by one: beside an axis of 0, another could be larger than any array.
    if any(not 0 <= n <= LARGEST_BLOB for n in shape) or math.prod(shape) != values.size:
        raise WeightsError(
            f"{what}: its shape {'×'.join(map(str, shape)) or 'scalar'} does not hold the "
            f"{values.size} values that are there"
        )
    return values.reshape(shape)


def array_to_blob(
    array: np.ndarray, blob: messages.BlobProto | None = None, legacy: bool = False
) -> messages.BlobProto:
    """Return (or fill) a BlobProto with the values of an array; ``legacy`` writes the shape in the four old fields."""
    blob = messages.BlobProto() if blob is None else blob
    if legacy:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    else:
        blob.shape.dim.extend(array.shape)
    blob.data.extend(np.ascontiguousarray(array, np.float32).reshape(-1))
    return blob


def read_blob(path: str | Path) -> np.ndarray:
    """Read an array from a file that holds one BlobProto, as ``compute_image_mean`` writes."""
    blob = messages.BlobProto()
    try:
        blob.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    except DecodeError:
        raise WeightsError(f"{path}: not a binaryproto file, or cut off") from None
    if not blob.data and not blob.double_data:
        raise WeightsError(f"{path}: holds no values; not a binaryproto file")
    return blob_to_array(blob, str(path))


def write_blob(path: str | Path, array: np.ndarray) -> None:
    """Write an array as ``compute_image_mean`` does: one BlobProto with num, channels, height, width."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(array_to_blob(array, legacy=True).SerializeToString())
