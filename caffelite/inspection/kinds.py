"""Which kind of file something is, by how it begins; what is none of Caffe's is named."""

import gzip
import mmap
import re
import stat
import zlib
from itertools import islice
from pathlib import Path
from typing import NoReturn

from caffelite.errors import DataError, Error, WeightsError
from caffelite.report.log_lines import LOG_LINE
from caffelite.schema.messages import NetParameter, SolverParameter
from caffelite.schema.text import siblings
from caffelite.schema.wire import BYTES, FIXED32, VARINT, Wire
from caffelite.words import did_you_mean, quoted

PROTOTXT, LOG, WEIGHTS, STATE, BLOB, HDF5, LMDB, LEVELDB = (
    *("prototxt", "log", "caffemodel", "solverstate", "binaryproto", "HDF5", "LMDB", "LevelDB"),
)

#: A field of a prototxt, at the beginning of a line.
_FIELD = re.compile(r"^[ \t]*([a-z_]+)\s*[:{]", re.MULTILINE)
#: So many bytes tell what a file is.
_HEAD = 1 << 16
#: So many fields of a protobuf tell which message it is.
_FIELDS = 4096
_GZIP = b"\x1f\x8b"
_LMDB_MAGIC = b"\xde\xc0\xef\xbe"
#: What no text has: control characters other than white space, and ESC, which colours logs.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_PYTHON = "is never opened, because it can run code; save its arrays some other way"

#: Where in a file of other programs which bytes stand, and what it is then.
_OTHERS = (
    (0, b"version https://git-lfs", "a pointer of Git LFS: the file itself was not fetched (git lfs pull)"),
    *((0, b"\x80" + bytes([n]), f"a Python pickle, as PyTorch's older files are; it {_PYTHON}") for n in range(2, 6)),
    (0, b"\x93NUMPY", "an array of NumPy's (.npy)"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF", "a PDF"),
    (0, b"GGUF", "weights in llama.cpp's GGUF"),
    (4, b"TFL3", "a model of TensorFlow Lite's"),
    (8, b'{"', "weights as safetensors"),
    (0, b"BZh", "packed by bzip2; unpack it first"),
    (0, b"\xfd7zXZ\x00", "packed by xz; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"\x00\x00\x08\x03", "images of MNIST in their original form (caffelite data mnist makes an LMDB of them)"),
    (0, b"\x00\x00\x08\x01", "labels of MNIST in their original form (caffelite data mnist makes an LMDB of them)"),
    (0, b"7767517\n", "a net of ncnn's"),
    (0, b"\x7fELF", "a program"),
)


def kind_of(path: Path) -> str:
    """Return which kind of file of Caffe's something is.

    Raises
    ------
    DataError
        It is missing, empty, or none; names what it looks like.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _folder(path)
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: neither a file nor a folder")
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        hint = did_you_mean(path.name, siblings(path), write=lambda name: quoted(str(path.parent / name)))
        raise DataError(f"{path}: {error.strerror}{'' if path.exists() else hint}") from None
    if not head:
        raise DataError(f"{path}: the file is empty")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return HDF5
    if _LMDB_MAGIC in (head[12:16], head[16:20], head[24:28]) or _LMDB_MAGIC[::-1] in (head[12:16], head[16:20]):
        return LMDB
    if head.startswith(_GZIP):
        return _packed(path)
    _refuse_other(path, head)
    return _text(path, head) if _is_text(head) else _message(path)


def _folder(path: Path) -> str:
    names = [entry.name for entry in path.iterdir()]
    if "data.mdb" in names:
        return LMDB
    if any(name.startswith("MANIFEST-") for name in names):
        return LEVELDB
    raise DataError(f"{path}: a folder that is neither an LMDB (no data.mdb is in it) nor a LevelDB (no MANIFEST)")


def _packed(path: Path) -> str:
    try:
        with gzip.open(path) as stream:
            head = stream.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        raise DataError(f"{path}: begins as a gzip file does, but cannot be unpacked") from None
    if _is_text(head) and _is_log(head):
        return LOG
    raise DataError(f"{path}: packed by gzip, and no log; unpack it first (gunzip)")


def _refuse_other(path: Path, head: bytes) -> None:
    """Raise DataError for a file of another program's."""
    for place, bytes_there, what in _OTHERS:
        if head.startswith(bytes_there, place):
            _other(path, what)
    if head.startswith(b"PK\x03\x04"):
        if b"data.pkl" in head[:4096]:
            _other(path, f"a file of PyTorch's, a pickle in a zip; it {_PYTHON}")
        _other(path, "NumPy's arrays (.npz)" if b".npy" in head[:4096] else "a zip file; unpack it first")
    start = head.lstrip()[:100].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        _other(path, "an HTML page, saved in place of the file; download it again, from the address of the file")
    if start.startswith(b"<?xml"):
        _other(path, "XML, as OpenVINO's nets are")
    if start.startswith((b"{", b"[")):
        _other(path, "JSON")


def _other(path: Path, what: str) -> NoReturn:
    raise DataError(f"{path}: none of Caffe's files: it looks like {what}")


def _is_text(head: bytes) -> bool:
    # Any protobuf or HDF5 has control characters in it; letters that are not UTF-8 the reader of a prototxt tells of.
    return not _BINARY.search(head)


def _text(path: Path, head: bytes) -> str:
    if _is_log(head):
        return LOG
    messages = (NetParameter, SolverParameter)
    known = {field.name for message in messages for field in message.DESCRIPTOR.fields}
    if not any(match[1] in known for match in _FIELD.finditer(head.decode(errors="replace"))):
        raise DataError(f"{path}: none of Caffe's files: a text that is neither a prototxt nor a log")
    return PROTOTXT


def _is_log(head: bytes) -> bool:
    return any(LOG_LINE.match(line) for line in head.decode(errors="replace").splitlines())


def _message(path: Path) -> str:
    """Return which protobuf message a file is, by the numbers and kinds of its first fields."""
    kinds: dict[int, int] = {}
    names, whole = 0, True
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        wire = Wire(memoryview(mapped), 0, len(mapped), str(path))
        try:
            for number, kind, _, _ in islice(wire.fields(), _FIELDS):
                kinds.setdefault(number, kind)
                names += number == 1 and kind == BYTES
        except WeightsError:
            whole = False
        finally:
            wire.data.release()
    if kinds.get(100) == BYTES:
        return WEIGHTS
    if names > 1:
        _other(path, "a graph of TensorFlow's")
    if kinds.get(1) == BYTES and (kinds.get(2) == BYTES or not whole) or (1 not in kinds and kinds.get(2) == BYTES):
        return WEIGHTS
    if kinds.get(1) == VARINT and kinds.get(7) == BYTES and (kinds.get(2) == BYTES or kinds.get(8) == BYTES):
        _other(path, "an ONNX model")
    if kinds.get(1) == VARINT and BYTES in (kinds.get(2), kinds.get(3)):
        return STATE
    if kinds.get(5) in (BYTES, FIXED32) or kinds.get(8) == BYTES:
        return BLOB
    if kinds.get(1) == BYTES and whole:
        raise Error(f"{path}: a binary net without a layer, or no file of Caffe's")
    raise DataError(f"{path}: none of Caffe's files, nor one of another program that is known here")
