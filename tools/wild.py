"""What caffelite takes of a folder of published nets and solvers: reads, plans and draws every ``.prototxt`` in it.

Nothing is run and no data is read: a net whose data layers want files is planned up to the shapes.
"""

import argparse
import collections
import contextlib
import functools
import json
import multiprocessing
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caffelite.convert.boxes import build
from caffelite.convert.diagram import dot
from caffelite.errors import DataError, Error, SchemaError
from caffelite.graph import Graph
from caffelite.layers.base import TEST, TRAIN, Context, registry
from caffelite.schema.lexer import tokens
from caffelite.schema.messages import NetParameter, SolverParameter
from caffelite.schema.text import SchemaWarning, is_net, net_from_text, read_text
from caffelite.solvers.settings import Settings, load_solver

ENDINGS = (".prototxt", ".pt")


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
        if is_net(path):
            return "net"
        text = read_text(path).removeprefix("\ufeff")
        found = {token.text for token in tokens(text, "") if token.kind == "name"}
    except SchemaError:
        return "net" if b"layer" in path.read_bytes() else "solver"
    return "solver" if found & (known - {"name"}) else "other"


def examine(path: Path, folder: Path, seconds: int) -> dict[str, Any]:
    """Return what came of one file."""
    row: dict[str, Any] = {"file": str(path.relative_to(folder)), "kind": "other", "parsed": "", "fields": []}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", SchemaWarning)
        try:
            with at_most(seconds):
                row["kind"] = kind_of(path)
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
    for name, phase in (("TRAIN", TRAIN), ("TEST", TEST)):
        row[name] = planned(document, phase, path)
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
        return "" if graph.nodes else "no layers in this phase"
    except DataError:
        return "needs data"
    except Error as error:
        return "unknown type" if " no layer type " in str(error) else told(error, path)
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
    yield f"files {len(rows)}: " + ", ".join(f"{kind} {n}" for kind, n in by_kind.most_common())
    yield share("parsed", sum(not row["parsed"] for row in real), len(real))
    yield from reasons([row for row in real if row["parsed"]], "parsed")
    solvers = [row for row in real if "settings" in row]
    yield share("solvers that can be followed", sum(not row["settings"] for row in solvers), len(solvers))
    yield from reasons([row for row in solvers if row["settings"]], "settings")
    nets = [row for row in real if row["kind"] == "net" and not row["parsed"]]
    yield share("nets with every layer type known", sum(not row["unknown"] for row in nets), len(nets))
    types = collections.Counter(name for row in nets for name in row["unknown"])
    yield from (f"  {n:5} {name}" for name, n in types.most_common())
    for phase in ("TRAIN", "TEST"):
        yield share(f"{phase} planned", sum(row[phase] == "" for row in nets), len(nets))
        for known in ("needs data", "unknown type", "no layers in this phase"):
            yield share(f"  {known}", sum(row[phase] == known for row in nets), len(nets))
        kept = ("", "needs data", "unknown type", "no layers in this phase")
        yield from reasons([row for row in nets if row[phase] not in kept], phase)
    yield share("drawn", sum(not row["drawn"] for row in nets), len(nets))
    yield from reasons([row for row in nets if row["drawn"]], "drawn")
    fields = collections.Counter(name for row in rows for name in row["fields"])
    yield f"fields that no schema has: {len(fields)}"
    yield from (f"  {n:5} {name}" for name, n in fields.most_common())


def share(what: str, n: int, total: int) -> str:
    return f"{what}: {n} of {total} ({n / max(total, 1):.1%})"


def reasons(rows: list[dict[str, Any]], column: str) -> Iterator[str]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(general(row[column]), []).append(row)
    for group in sorted(groups.values(), key=len, reverse=True):
        yield f"  {len(group):5} {group[0][column][:200]}  ({group[0]['file']})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="a row a file instead of the table")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=60, help="seconds a file")
    options = parser.parse_args()
    files = sorted(f for f in options.folder.rglob("*") if f.suffix in ENDINGS and f.is_file())
    work = functools.partial(examine, folder=options.folder, seconds=options.timeout)
    with multiprocessing.Pool(options.workers) as pool:
        rows = pool.map(work, files, chunksize=8)
    if options.json:
        json.dump(rows, sys.stdout, indent=1)
    else:
        print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
