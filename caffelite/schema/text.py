"""Reading prototxt files: nets and solvers, upgraded to the present form."""

import re
from pathlib import Path

from caffelite.errors import SchemaError
from caffelite.schema import messages
from caffelite.schema.documents import Document, NetDocument, SolverDocument
from caffelite.schema.lexer import STRING
from caffelite.schema.parser import parse_text
from caffelite.schema.upgrade import upgrade_net, upgrade_solver
from caffelite.words import did_you_mean, quoted

#: Far more than any net needs.
_LARGEST_FILE = 16 << 20
#: The other fields of a net; a file that has none but these is one that has no layers yet.
_BESIDE_LAYERS = {"input", "input_dim", "input_shape", "name", "force_backward", "state"}

#: What tells which fields a file has: names, what encloses a message, and what is to be passed over.
_OUTLINE = re.compile(rf"(?P<name>[A-Za-z_][A-Za-z0-9_]*)|[{{}}<>:]|\#[^\n]*|{STRING}|[\"']")


def read_text(path: str | Path) -> str:
    """Return the text of a prototxt file; raise SchemaError where it cannot be one."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise SchemaError(f"{path}: more than {_LARGEST_FILE >> 20} MB, which no prototxt has")
        return content.decode()
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"{path}: not a text file (byte {error.start} is not UTF-8); weights are given with --weights"
        ) from None
    except OSError as error:
        hint = did_you_mean(file.name, siblings(file), write=lambda name: quoted(str(file.parent / name)))
        raise SchemaError(f"{path}: {error.strerror}{'' if file.exists() else hint}") from None


def siblings(file: Path) -> list[str]:
    """Return the names of the files beside one, hidden ones aside, which a wrong name may be meant for."""
    try:
        return [entry.name for entry in file.parent.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return []


def net_from_text(text: str, filename: str = "<string>") -> NetDocument:
    """Read a net from text and upgrade it."""
    return upgrade_net(parse_text(text, messages.NetParameter, filename))


def read_net(path: str | Path) -> NetDocument:
    """Read a net from a file and upgrade it to the present form."""
    return net_from_text(read_text(path), str(path))


def net_from_message(message: messages.NetParameter, filename: str = "net") -> NetDocument:
    """Take a net made in Python; a copy is upgraded."""
    copy = messages.NetParameter()
    copy.CopyFrom(message)
    return upgrade_net(Document(copy, filename))


def read_solver(path: str | Path) -> SolverDocument:
    """Read a solver from a file and upgrade it."""
    return upgrade_solver(parse_text(read_text(path), messages.SolverParameter, str(path)))


def read_prototxt(path: str | Path) -> NetDocument | SolverDocument:
    """Read a net or a solver, whichever the file holds; a net is a :class:`NetDocument`.

    Raises
    ------
    SchemaError
    """
    text = read_text(path)
    if is_net(text):
        return upgrade_net(parse_text(text, messages.NetParameter, str(path)))
    return upgrade_solver(parse_text(text, messages.SolverParameter, str(path)))


def is_net(text: str) -> bool:
    """Whether a file is a net rather than a solver; no more of it is read than it takes."""
    depth = 0
    name = ""
    fields, beside_layers = False, True
    for match in _OUTLINE.finditer(text):
        piece = match.group()
        if piece in "\"'":
            break  # A string has no end, and what follows is not what it looks like.
        if piece in "{<:" and name and not depth:
            if name in ("layer", "layers"):
                return True
            fields, beside_layers = True, beside_layers and name in _BESIDE_LAYERS
        depth += (piece in "{<") - (piece in "}>")
        if piece[0] != "#":
            name = piece if match.lastgroup else ""
    return fields and beside_layers
