"""Databases: records, their shapes, their labels."""

import io
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from caffelite.data.database import open_database
from caffelite.inspection.told import Inspection, plural
from caffelite.schema.messages import Datum
from caffelite.words import text_of

#: So many different labels are listed with their numbers.
_FEW_LABELS = 20
#: So many different shapes are listed.
_FEW_SHAPES = 10


@dataclass(slots=True)
class _Records:
    """What was counted."""

    shapes: Counter[str] = field(default_factory=Counter)
    labels: Counter[int] = field(default_factory=Counter)
    encoded: int = 0
    floats: int = 0
    broken: int = 0

    def add(self, record: bytes) -> None:
        datum = Datum()
        try:
            datum.ParseFromString(record)
        except DecodeError:
            self.broken += 1
            return
        self.labels[datum.label] += 1
        self.encoded += datum.encoded
        self.floats += not datum.data and bool(datum.float_data)
        shape = (datum.channels, datum.height, datum.width)
        self.shapes[_image_shape(datum.data) if datum.encoded else text_of(shape)] += 1


def _image_shape(image: bytes) -> str:
    """Return the shape of an encoded image, of which no more than its head is decoded."""
    try:
        from PIL import Image
    except ImportError:
        return "size not known without Pillow"
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(image)) as opened:
            warnings.simplefilter("ignore")
            return text_of((len(opened.getbands()), opened.height, opened.width))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return "cannot be decoded"


def lmdb_inspection(path: Path, most: int) -> Inspection:
    """Return what is told of an LMDB.

    Parameters
    ----------
    path : Path
    most : int
        So many records are looked at, from the first one on.

    Raises
    ------
    DataError
        It is damaged, or of a kind that is not read.
    """
    database = open_database(path)
    try:
        number = len(database)
        looked = min(most, number)
        records = _Records()
        for i in range(looked):
            records.add(database.read(i))
    finally:
        database.close()
    looked_at = "All records" if looked == number else f"The first {looked:,} records"
    lines = [f"LMDB, {plural(number, 'record')}", f"{looked_at}: {_kinds(records, looked)}"]
    if records.labels:
        low, high = min(records.labels), max(records.labels)
        lines.append(f"Labels of these: {low} to {high}, {len(records.labels):,} different")
    rows: list[list[str]] = []
    if len(records.labels) <= _FEW_LABELS and records.labels:
        rows = [["label", "records"], *([str(label), f"{n:,}"] for label, n in sorted(records.labels.items()))]
    data = {
        "records": number,
        "looked_at": looked,
        "shapes": dict(records.shapes.most_common()),
        "encoded": records.encoded,
        "float": records.floats,
        "not_datum": records.broken,
        "labels": {str(label): n for label, n in sorted(records.labels.items())},
    }
    return Inspection("LMDB", lines, rows, data)


def _kinds(records: _Records, looked: int) -> str:
    parts = []
    if records.broken:
        parts.append(f"{records.broken:,} are no Datum")
    if records.shapes:
        shown = [shape if n == looked else f"{shape} ({n:,})" for shape, n in records.shapes.most_common(_FEW_SHAPES)]
        more = len(records.shapes) - len(shown)
        parts.append(", ".join([*shown, *([f"{more:,} other shapes"] if more else [])]))
        encoded, read = records.encoded, looked - records.broken
        parts.append("encoded" if encoded == read else f"{encoded:,} encoded" if encoded else "not encoded")
        if records.floats:
            parts.append("float" if records.floats == read else f"{records.floats:,} float")
    return "; ".join(parts)


def leveldb_inspection(path: Path) -> Inspection:
    """Return what is told of a LevelDB: that it is one, and how large."""
    tables = sum(entry.suffix in (".ldb", ".sst") for entry in path.iterdir())
    logs = sum(entry.suffix == ".log" for entry in path.iterdir())
    lines = [f"LevelDB, {plural(tables, 'table')}, {plural(logs, 'log')}"]
    return Inspection("LevelDB", lines, [], {"tables": tables, "logs": logs})
