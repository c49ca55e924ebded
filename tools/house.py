"""Hold the imports of a checkout against the table of floors in its docs/architecture.md, or draw them.

python tools/house.py                     what goes up, round in a circle, or where it must not
python tools/house.py --draw house.svg    the rooms as boxes, imports as arrows
"""

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "caffelite"


class Room(NamedTuple):
    """A row of the table, or one of the names in it.

    Attributes
    ----------
    floor : int
    name : str
        The first part of the names of its modules, behind the package's.
    forbidden : frozenset of str
        Rooms below it that it must not import, as "room", or "room but room.module".
    """

    floor: int
    name: str
    forbidden: frozenset[str] = frozenset()


def rooms(text: str) -> list[Room]:
    """Return the rooms in the table of floors, from the top down.

    Parameters
    ----------
    text : str
        A page with a table whose first columns are the floor and the rooms (``cli/``, ``words.py``), and whose last one
        may say ``not `kernels` `` or ``of `kernels` only `kernels.update` ``.
    """
    listed = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or not cells[0].isdigit():
            continue
        forbidden = frozenset(re.findall(r"not `(\w+)`", cells[-1]))
        forbidden |= {f"{room} but {module}" for room, module in re.findall(r"of `(\w+)` only `([\w.]+)`", cells[-1])}
        for name in re.findall(r"`(\w+)(?:/|\.py)`", cells[1]):
            listed.append(Room(int(cells[0]), name, forbidden))
    return listed


def imports(root: Path) -> dict[str, set[str]]:
    """Return, for each module of the package, those of its modules that it imports, wherever in the file."""
    files = {".".join(path.relative_to(root).with_suffix("").parts): path for path in (root / PACKAGE).rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    return {name: set(_imported(path, files)) - {name} for name, path in files.items()}


def _imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in known else node.module


def room_of(module: str) -> str:
    """Return the name of the room of a module; empty for the package itself."""
    return ".".join(module.split(".")[1:2])


def faults(graph: dict[str, set[str]], listed: list[Room]) -> list[str]:
    """Return what the imports do that the table does not allow, a line each."""
    order = {room.name: place for place, room in enumerate(listed)}
    found = [f"{module} is in no room of the table" for module in sorted(graph) if not _placed(module, order)]
    for module, imported in sorted(graph.items()):
        here = order.get(room_of(module))
        for other in sorted(imported):
            there = order.get(room_of(other))
            if here is None or there is None or here == there:
                continue
            if there < here:
                found.append(f"{module} imports {other}, from further up")
            elif any(_is_forbidden(other, rule) for rule in listed[here].forbidden):
                found.append(f"{module} imports {other}, which {room_of(module)} must not know")
    return found + [f"a circle of imports: {' -> '.join(circle)}" for circle in circles(graph)]


def _placed(module: str, order: dict[str, int]) -> bool:
    # What a user imports or runs: caffelite, caffelite.__main__.
    return room_of(module) in order or room_of(module) in ("", "__main__")


def _is_forbidden(module: str, rule: str) -> bool:
    room, _, allowed = rule.partition(" but ")
    return room_of(module) == room and module != f"{PACKAGE}.{allowed}"


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or not: Tarjan's strongly connected components."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for other in sorted(graph[module]):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in path:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            group = path[path.index(module) :]
            del path[path.index(module) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return groups


#: Everybody imports these: their arrows would hide the others.
_EVERYWHERE = ("errors", "words")


def dot(graph: dict[str, set[str]], listed: list[Room]) -> str:
    """Return the rooms as a graph in Graphviz's language: a row a floor, arrows up and both ways in red."""
    floors = {room.name: room.floor for room in listed}
    files = Counter(room_of(module) for module in graph)
    for name in ("", "__main__", *_EVERYWHERE):
        files.pop(name, None)
    arrows = Counter(
        (room_of(module), room_of(other))
        for module, imported in graph.items()
        for other in imported
        if room_of(module) != room_of(other) and {room_of(module), room_of(other)} <= set(files)
    )
    lines = [
        "digraph {",
        '  ranksep=0.7; nodesep=0.3; edge [color="#8a94a3" fontname="Helvetica" fontsize=10 fontcolor="#5b6470"];',
        '  node [shape=box style="filled,rounded" fillcolor="#eef2f7" fontname="Helvetica"];',
    ]
    levels = sorted({floors.get(name, 0) for name in files}, reverse=True)
    for floor in levels:
        members = " ".join(f'"{name}";' for name in sorted(files) if floors.get(name, 0) == floor)
        lines.append(f'  {{ rank=same; {floor} [shape=none style="" label=""]; {members} }}')
    lines.append(f"  edge [style=invis] {' -> '.join(map(str, levels))}; edge [style=solid];")
    for name, size in sorted(files.items()):
        lines.append(f'  "{name}" [label="{name}\\n{size} file{"s" if size > 1 else ""}"];')
    for (one, other), number in sorted(arrows.items()):
        wrong = (other, one) in arrows or floors.get(other, 0) > floors.get(one, 0)
        style = ' color="#c0392b" penwidth=1.6 constraint=false' if wrong else ""
        lines.append(f'  "{one}" -> "{other}" [label="{number}"{style}];')
    return "\n".join([*lines, "}"]) + "\n"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--draw", metavar="FILE", help="write the picture: .svg, .png or .pdf, or .dot")
    options = parser.parse_args()
    graph = imports(options.checkout)
    listed = rooms((options.checkout / "docs" / "architecture.md").read_text(encoding="utf-8"))
    if options.draw:
        target = Path(options.draw)
        if target.suffix == ".dot":
            target.write_text(dot(graph, listed), encoding="utf-8")
        else:
            import pygraphviz

            pygraphviz.AGraph(dot(graph, listed)).draw(str(target), prog="dot")
        return 0
    problems = faults(graph, listed)
    print("\n".join(problems) or f"{len(graph)} modules in {len(listed)} rooms: every import goes down")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
