"""Damaged LMDBs, read as training reads them: none may end the process, hang, or be anything else than a sentence.

    python tools/mutate_lmdb.py 10000

Each case is one of a few small databases with one to three mutations: of bits and bytes anywhere, of whole pages, of
the file's length, or of a field of the format, with a value that is likely to do harm. What case n is depends on n
alone; ``--first`` begins with a later one. Exit code 1 if anything but a DataError came out.
"""

import argparse
import collections
import faulthandler
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np

from caffelite.data.database import open_database
from caffelite.data.records import RecordStream
from caffelite.data.share import whole
from caffelite.errors import DataError
from caffelite.schema.messages import Datum, TransformationParameter
from caffelite.words import TEST

CAFFE = Path(__file__).parent.parent / "tests" / "caffe"
PAGE = 4096

#: Fields, as (place, bytes): of a page's header, of a meta page behind it, of a node.
HEADER = [(0, 8), (8, 2), (10, 2), (12, 2), (14, 2), (12, 4)]
META = [(16, 4), (20, 4), (32, 8), (40, 4), (44, 2), (88, 4), (92, 2), (94, 2)]
META += [(place, 8) for place in range(96, 152, 8)]
NODE = [(0, 4), (4, 2), (6, 2), (0, 8)]

#: More than this for a case is a hang, in seconds: each takes some milliseconds.
LIMIT = 10.0


def datum(size: int, label: int) -> bytes:
    """Return a record of ``size`` pixels."""
    return Datum(channels=1, height=1, width=size, label=label, data=bytes([label % 251]) * size).SerializeToString()


def databases(folder: Path) -> dict[str, bytes]:
    """Return small databases of different shapes, by their names."""
    files = {name: (CAFFE / name / "data.mdb").read_bytes() for name in ("train_lmdb", "encoded_lmdb")}

    def written(name: str, write: Callable[[lmdb.Environment], None]) -> None:
        with lmdb.open(str(folder / name), subdir=False, lock=False, map_size=1 << 24) as environment:
            write(environment)
        files[name] = (folder / name).read_bytes()

    def put(environment: lmdb.Environment, key: Callable[[int], bytes], numbers: range, size: int) -> None:
        with environment.begin(write=True) as transaction:
            for i in numbers:
                transaction.put(key(i), datum(size, i))

    def changed(environment: lmdb.Environment) -> None:
        put(environment, lambda i: b"%03d" % (i * 37 % 101), range(101), 300)
        with environment.begin(write=True) as transaction:
            for i in range(0, 101, 3):
                transaction.delete(b"%03d" % i)
        put(environment, lambda i: b"%03d" % i, range(50, 60), 300)

    written("large", lambda environment: put(environment, lambda i: b"%08d" % i, range(12), 5000))
    written("deep", lambda environment: put(environment, lambda i: b"%0400d" % i, range(150), 8))
    written("changed", changed)
    return files


def value(random: np.random.Generator, size: int, old: int, file_size: int) -> int:
    """Return a number for a field of ``size`` bytes."""
    pages = file_size // PAGE
    interesting = [0, 1, 2, 3, 7, 8, 16, 17, 18, PAGE - 1, PAGE, pages - 1, pages, pages + 1, 0x7FFF, 0x8000, 0xFFFF]
    interesting += [
        2**31 - 1,
        2**31,
        2**32 - 1,
        2**47,
        2**48 - 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        file_size,
        file_size - PAGE,
    ]
    interesting += [old + 1, old - 1, old + 2, old - 2, 2 * old, old ^ (1 << int(random.integers(8 * size)))]
    if random.random() < 0.3:
        return int(random.integers(pages + 1))
    return interesting[random.integers(len(interesting))] % (1 << (8 * size))


def field(random: np.random.Generator, data: bytearray) -> None:
    """Change a field of the format."""
    page = int(random.integers(max(len(data) // PAGE, 1))) * PAGE
    (flags,) = struct.unpack_from("<H", data, page + 10)
    lower = min(int.from_bytes(data[page + 12 : page + 14], "little"), PAGE)
    kind = random.random()
    if flags & 8 and kind < 0.9:
        place, size = META[random.integers(len(META))]
    elif kind < 0.3 or lower < 18 or flags & 4:
        place, size = HEADER[random.integers(len(HEADER))]
    else:
        place = 16 + 2 * int(random.integers((lower - 16) // 2))
        size = 2
        if kind > 0.5:  # the node there, or what lies behind its key: the number of a page, or the record
            node = int.from_bytes(data[page + place : page + place + 2], "little")
            key = int.from_bytes(data[page + node + 6 : page + node + 8], "little")
            place, size = NODE[random.integers(len(NODE))] if kind < 0.8 else (8 + key, 8)
            place += node
    place = min(page + place, len(data) - 8)
    old = int.from_bytes(data[place : place + size], "little")
    data[place : place + size] = value(random, size, old, len(data)).to_bytes(size, "little")


def mutate(random: np.random.Generator, data: bytearray) -> None:
    """Damage a database in one way."""
    kind = random.random()
    place = int(random.integers(len(data)))
    if kind < 0.55:
        field(random, data)
    elif kind < 0.65:
        data[place] ^= 1 << int(random.integers(8))
    elif kind < 0.75:
        data[place : place + 4] = random.bytes(min(4, len(data) - place))
    elif kind < 0.85:  # a page in place of another
        source, target = (int(n) * PAGE for n in random.integers(len(data) // PAGE, size=2))
        data[target : target + PAGE] = data[source : source + PAGE]
    elif kind < 0.9:  # one of zeros, or of noise
        start = place // PAGE * PAGE
        size = len(data[start : start + PAGE])
        data[start : start + PAGE] = bytes(size) if random.random() < 0.5 else random.bytes(size)
    else:
        del data[place if random.random() < 0.5 else place // PAGE * PAGE :]
        data.extend(bytes(max(2 * PAGE - len(data), 0)) if random.random() < 0.3 else b"")


def case(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name of a database and what has become of it."""
    random = np.random.default_rng(number)
    name = list(files)[random.integers(len(files))]
    data = bytearray(files[name])
    for _ in range(random.integers(1, 4)):
        if len(data) >= 2 * PAGE:
            mutate(random, data)
    return name, bytes(data)


def read(path: Path) -> str:
    """Read a database as training does, round and round; return what was said, or ``read``."""
    try:
        database = open_database(path)
        try:
            stream = RecordStream(database, whole(10), TransformationParameter(), TEST, 1, str)
            batches = stream.batches(1)
            # A file may tell of more records than anyone would wait for.
            for position in range(0, min(2 * len(database), 1000), 10):
                batches.fill(position)
            database.read(len(database) - 1)
        finally:
            database.close()
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return "read"


def run(numbers: range, folder: Path) -> tuple[collections.Counter[str], list[str]]:
    """Read damaged databases.

    Returns
    -------
    said : Counter
        How often what was said; page numbers and the like are left out.
    wrong : list of str
        What was no DataError, and cases that took too long.
    """
    files = databases(folder)
    said: collections.Counter[str] = collections.Counter()
    wrong = []
    for number in numbers:
        name, data = case(number, files)
        path = folder / "mutated.mdb"
        path.write_bytes(data)
        start = time.perf_counter()
        faulthandler.dump_traceback_later(6 * LIMIT, exit=True)
        try:
            outcome = read(path)
        except Exception:  # noqa: BLE001 - that is what is looked for
            wrong.append(f"case {number}, {name}: {traceback.format_exc()}")
        else:
            said["".join("0" if letter.isdigit() else letter for letter in outcome)] += 1
        if time.perf_counter() - start > LIMIT:
            wrong.append(f"case {number}, {name}: {time.perf_counter() - start:.1f} s")
    faulthandler.cancel_dump_traceback_later()
    return said, wrong


def main() -> int:
    """Run as many cases as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(range(1), Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        said, wrong = run(range(options.first, options.first + options.cases), Path(folder))
        seconds = time.perf_counter() - start
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for sentence, times in said.most_common():
        print(f"{times:7}  {sentence}")
    print(*wrong, sep="\n")
    print(f"{options.cases} cases in {seconds:.0f} s, {more:.0f} MB of memory more, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
