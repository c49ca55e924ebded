"""What caffelite takes of a folder of published nets and solvers: it reads, plans and draws each and prints a table.

Files with the same content count once. No net is run, no data is read and no code that a net names is started: a net
is planned up to the shapes of its blobs, in TRAIN and in TEST, and counts where one of the two can be.
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import json
import multiprocessing
import re
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from caffelite.draw.boxes import build
from caffelite.draw.dot import dot
from caffelite.errors import DataError, Error, SchemaError
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.registry import registry
from caffelite.net.graph import Graph
from caffelite.schema.documents import SchemaWarning
from caffelite.schema.lexer import tokens
from caffelite.schema.messages import NetParameter, SolverParameter
from caffelite.schema.text import is_net, net_from_text, read_text
from caffelite.solvers.settings import Settings, load_solver
from caffelite.words import TEST, TRAIN

EXAMPLE = """example:
  git clone https://github.com/shicai/DenseNet-Caffe nets/DenseNet-Caffe   # and others
  python tools/wild.py nets
  protoc -I BVLC/src/caffe/proto --descriptor_set_out=bvlc.pb caffe.proto
  python tools/wild.py nets --schema bvlc.pb --json rows.json
"""
ENDINGS = (".prototxt", ".pt")
NO_DATA, NO_TYPE, NO_CODE = "needs its data", "has a layer type that is not known", "runs Python code of its own"
NO_LAYERS, NO_INPUT = "has no layers", "has a bottom that no layer produces"


class TooLongError(Exception):
    pass


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLongError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def kind_of(path: Path) -> str:
    """Say what the fields of the outermost message belong to: a net, a solver or another file."""
    known = {*NetParameter.DESCRIPTOR.fields_by_name, *SolverParameter.DESCRIPTOR.fields_by_name}
    try:
        text = read_text(path).removeprefix("\ufeff")
        if is_net(text):
            return "net"
        found = {token.text for token in tokens(text, "") if token.kind == "name"}
    except SchemaError:
        return "net" if b"layer" in path.read_bytes() else "solver"
    return "solver" if found & (known - {"name"}) else "other"


def examine(path: Path, folder: Path, seconds: int, schema: Path | None) -> dict[str, Any]:
    """Return what came of one file."""
    row: dict[str, Any] = {"file": str(path.relative_to(folder)), "kind": "other", "parsed": "", "fields": []}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", SchemaWarning)
        try:
            with at_most(seconds):
                row["kind"] = kind_of(path)
                if schema and row["kind"] != "other":
                    row["schema"] = accepted(path, row["kind"], schema)
                if row["kind"] == "net":
                    net(path, row)
                elif row["kind"] == "solver":
                    solver(path, row)
        except Error as error:
            row["parsed"] = told(error, path)
        except TooLongError:
            row["parsed"] = "took too long"
        except Exception as error:  # a defect, to be seen in the table
            row["parsed"] = f"DEFECT {type(error).__name__}: {error}"
    found = (re.search(r'(\w+) has no field "(\w+)"', str(one.message)) for one in said)
    row["fields"] = sorted({f"{match[1]}.{match[2]}" for match in found if match})
    return row


@functools.cache
def classes(schema: Path) -> dict[str, Any]:
    """Return the messages of another schema: NetParameter and SolverParameter."""
    files = descriptor_pb2.FileDescriptorSet.FromString(schema.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    names = {"net": "caffe.NetParameter", "solver": "caffe.SolverParameter"}
    return {kind: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for kind, name in names.items()}


def accepted(path: Path, kind: str, schema: Path) -> bool:
    """Return whether protobuf's own parser takes the file by another schema."""
    try:
        text_format.Parse(path.read_bytes().decode(), classes(schema)[kind]())
    except (text_format.ParseError, UnicodeDecodeError):
        return False
    return True


def solver(path: Path, row: dict[str, Any]) -> None:
    document = load_solver(path)
    try:
        Settings(document)
        row["settings"] = ""
    except Error as error:
        row["settings"] = told(error, path)


def net(path: Path, row: dict[str, Any]) -> None:
    document = net_from_text(read_text(path), str(path))
    row["unknown"] = sorted({layer.type for layer in document.message.layer} - set(registry()))
    outcomes = {phase: planned(document, number, path) for phase, number in (("TRAIN", TRAIN), ("TEST", TEST))}
    row |= outcomes
    # Many files are for one phase alone, and in the other have no layer that brings data.
    row["planned"] = min(outcomes.values(), key=lambda outcome: (outcome in (NO_LAYERS, NO_INPUT), outcome != ""))
    try:
        row["drawn"] = "" if dot(build(document)).count("\n") > 5 else "nothing in it"
    except Error as error:
        row["drawn"] = told(error, path)


def planned(document: Any, phase: int, path: Path) -> str:
    """Return "" for a phase whose shapes are all known, else why they are not."""
    graph = None
    try:
        graph = Graph(document, Context(phase))
        graph.infer_shapes()
        for node in graph.nodes:
            node.layer.parameters(*[version.shape for version in node.bottoms])
        return "" if graph.nodes else NO_LAYERS
    except DataError:
        return NO_DATA
    except Error as error:
        text = told(error, path)
        if " no layer type " in text:
            return NO_TYPE
        if "Python module" in text and "allow" in text:
            return NO_CODE
        return NO_INPUT if " is not produced by any layer before it" in text else text
    finally:
        for node in graph.nodes if graph is not None else []:
            node.layer.close()


def told(error: Error, path: Path) -> str:
    return str(error).replace(str(path), "").lstrip(":0123456789 ").splitlines()[0]


def general(reason: str) -> str:
    """Leave out of a reason what differs from file to file."""
    reason = re.sub(r'^layer "[^"]*": ', "", reason)
    reason = re.sub(r'"[^"]*"', '"…"', reason)
    return re.sub(r"-?\d[\d×.]*", "N", reason)


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    by_kind = collections.Counter(row["kind"] for row in rows)
    real = [row for row in rows if row["kind"] != "other"]
    yield f"different files: {len(rows)} ({', '.join(f'{kind} {n}' for kind, n in by_kind.most_common())})"
    yield share("nets and solvers that parse", sum(not row["parsed"] for row in real), len(real))
    yield from reasons([row for row in real if row["parsed"]], "parsed")
    if any("schema" in row for row in real):
        yield share("by the other schema", sum(row.get("schema", False) for row in real), len(real))
    solvers = [row for row in real if "settings" in row]
    yield share("solvers that can be followed", sum(not row["settings"] for row in solvers), len(solvers))
    yield from reasons([row for row in solvers if row["settings"]], "settings")
    nets = [row for row in real if row["kind"] == "net" and not row["parsed"]]
    yield share("nets with every layer type known", sum(not row["unknown"] for row in nets), len(nets))
    types = collections.Counter(name for row in nets for name in row["unknown"])
    yield from (f"  {n:5} {name}" for name, n in types.most_common())
    yield share("nets that are planned", sum(not row["planned"] for row in nets), len(nets))
    yield from reasons([row for row in nets if row["planned"]], "planned")
    yield share("nets that are drawn", sum(not row["drawn"] for row in nets), len(nets))
    yield from reasons([row for row in nets if row["drawn"]], "drawn")
    fields = collections.Counter(name for row in rows for name in row["fields"])
    yield f"fields that the schema lacks: {len(fields)}"
    yield from (f"  {n:5} {name}" for name, n in fields.most_common())


def share(what: str, n: int, total: int) -> str:
    return f"{what}: {n} of {total} ({n / max(total, 1):.1%})"


def reasons(rows: list[dict[str, Any]], column: str) -> Iterator[str]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(general(row[column]), []).append(row)
    for group in sorted(groups.values(), key=len, reverse=True):
        yield f"  {len(group):5} {group[0][column][:200]}  ({group[0]['file']})"


def different(folder: Path) -> list[Path]:
    """Return the files of a folder, one of each content."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in ENDINGS and file.is_file())
    first: dict[bytes, Path] = {}
    for file in files:
        first.setdefault(hashlib.sha256(file.read_bytes()).digest(), file)
    return list(first.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the files are, at any depth")
    parser.add_argument("--schema", type=Path, help="another caffe.proto, compiled: how many files it takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of each file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=60, help="seconds a file")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    work = functools.partial(examine, folder=options.folder, seconds=options.timeout, schema=options.schema)
    with multiprocessing.Pool(options.workers) as pool:
        rows = pool.map(work, different(options.folder), chunksize=8)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
