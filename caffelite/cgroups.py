"""Where Linux says how much of the machine this process may use: the folders of its cgroups, version 1 or 2."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cgroup_folders(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the cgroups that limit this process: its own, and those around it as far as they are seen.

    What the two files say is in cgroups(7) and proc(5).

    Parameters
    ----------
    controller : str
        What is limited: ``cpu`` or ``memory``, as version 1 calls it.
    root : Path
        Of the file system that has ``proc/self`` and the mounts of cgroups.

    Raises
    ------
    OSError, ValueError, IndexError
        The system has no cgroups, or something that only looks like them.
    """
    own: dict[str, PurePosixPath] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            own["cgroup2"] = PurePosixPath(path)
        elif controller in controllers.split(","):
            own["cgroup"] = PurePosixPath(path)
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, filesystem = line.partition(" - ")
        kind, *_, options = filesystem.split()
        if kind not in own or (kind == "cgroup" and controller not in options.split(",")):
            continue
        top, folder = map(_unescaped, mount.split()[3:5])
        # In a container the path may be the host's, and the mount begin further down or beside it.
        seen = own[kind].is_relative_to(top) and ".." not in own[kind].parts
        inside = own[kind].relative_to(top) if seen else PurePosixPath()
        for one in (inside, *inside.parents):
            yield root / folder.lstrip("/") / one


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8", errors="surrogateescape").splitlines()


def _unescaped(text: str) -> str:
    """Return a path of mountinfo, where blanks are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
