"""Power cuts: what a disk may hold after one, by the calls that a program had made until then.

The model is the worst that POSIX and ext4 allow. The content of a file is sure once the file has been synced; before that
it may be empty or zeros. What was done to a name (a rename, a removal, a new folder) is sure once its folder has been
synced; before that it may have happened or not, each for itself.
"""

import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Event(NamedTuple):
    """What was done to a node of the file system.

    ``content``: of a file, was synced. ``names``: those of a folder were. ``folder``: was made. ``name``: one in a folder
    became this node. ``mark``: see :meth:`Recorder.mark`.
    """

    kind: str
    node: int
    path: Path | None = None
    folder: int = 0
    content: bytes | None = None


class Recorder:
    """Writes down what is done below a folder.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []
        self._held: list[int] = []

    def mark(self, number: int) -> None:
        """Note that the program takes something for done."""
        self.events.append(Event("mark", number))

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        """Record while the block runs."""
        real: Any = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink", "mkdir")}

        def fsync(handle: int) -> None:
            real["fsync"](handle)
            facts = os.fstat(handle)
            if stat.S_ISDIR(facts.st_mode):
                self.events.append(Event("names", facts.st_ino))
            else:
                self.events.append(Event("content", facts.st_ino, content=os.pread(handle, facts.st_size, 0)))

        def replace(source: Any, target: Any, **options: Any) -> None:
            # Held open, so that no other file gets its number.
            self._held.append(os.open(source, os.O_RDONLY))
            real["replace"](source, target, **options)
            self._name(Path(target), os.fstat(self._held[-1]).st_ino)

        def unlink(path: Any, *, dir_fd: int | None = None) -> None:
            real["unlink"](path, dir_fd=dir_fd)
            if dir_fd is None:
                self._name(Path(path), 0)

        def mkdir(path: Any, *mode: Any, **options: Any) -> None:
            real["mkdir"](path, *mode, **options)
            self.events.append(Event("folder", os.stat(path).st_ino))
            self._name(Path(path), os.stat(path).st_ino)

        with pytest.MonkeyPatch.context() as patch:
            for name, function in {"fsync": fsync, "unlink": unlink, "mkdir": mkdir}.items():
                patch.setattr(os, name, function)
            patch.setattr(os, "replace", replace)
            patch.setattr(os, "rename", replace)
            yield self
        for handle in self._held:
            os.close(handle)

    def _name(self, path: Path, node: int) -> None:
        path = path.absolute()
        if path.is_relative_to(self.root) and not any(part.endswith(".unfinished") for part in path.parts):
            self.events.append(Event("name", node, path.relative_to(self.root), os.stat(path.parent).st_ino))


#: The files that are there, by name.
State = dict[Path, bytes]


def states(events: list[Event]) -> Iterator[State]:
    """Yield what the folder may hold if the power is cut after these events."""
    contents: dict[int, bytes] = {}
    folders: set[int] = set()
    # What a name may stand for, and the folder it is in.
    names: dict[Path, tuple[int, list[int]]] = {}
    for event in events:
        if event.kind == "content":
            contents[event.node] = event.content or b""
        elif event.kind == "name":
            assert event.path is not None
            folder, nodes = names.get(event.path, (event.folder, [0]))
            names[event.path] = folder, [*nodes, event.node]
        elif event.kind == "folder":
            folders.add(event.node)
        elif event.kind == "names":
            names = {p: (f, n[-1:] if f == event.node else n) for p, (f, n) in names.items()}
    for chosen in itertools.product(*(nodes for _, nodes in names.values())):
        tree = dict(zip(names, chosen, strict=True))
        for garbage in (b"", bytes(1000)):
            yield {
                path: contents.get(node, garbage)
                for path, node in tree.items()
                if node and node not in folders and all(tree.get(parent, 1) for parent in path.parents)
            }


def cuts(events: list[Event]) -> Iterator[tuple[int, State]]:
    """Yield, for a cut after each event, the highest number that was marked by then, and each possible state."""
    marked = 0
    for end in range(len(events) + 1):
        if end and events[end - 1].kind == "mark":
            marked = events[end - 1].node
        for state in states(events[:end]):
            yield marked, state
