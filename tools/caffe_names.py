"""Which names of the package caffe the scripts in a folder use, and which of them ours lacks.

Each folder below the one that is given is a repository; files with the same content count once. Names are those that
are reached from an import of caffe: through attributes, other names for it, and the objects that its classes make, as
far as can be read. What lies in a package "caffe" of the repository's own (python/caffe) is no script and is left out.
Nothing of what is read is run. Python 2 is read with fissix (pip install 'caffelite[python2]').
"""

import argparse
import ast
import collections
import hashlib
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import caffelite
from caffelite.errors import Error
from caffelite.user_code.scripts import read

EXAMPLE = """example:
  git clone https://github.com/shelhamer/fcn.berkeleyvision.org scripts/fcn     # and others
  python tools/caffe_names.py scripts
  python tools/caffe_names.py scripts --json names.json
"""
#: The class of what functions and attributes give, where a script goes on from there.
GIVES = {
    "get_solver": "Solver",
    "Solver.net": "Net",
    "Solver.test_nets": "Net",
    **{f"{rule}Solver": "Solver" for rule in ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")},
}
#: Classes whose objects are followed, and those of our modules.
CLASSES = {"Net": "Net", "Solver": "SGDSolver", "Classifier": "Classifier", "Detector": "Detector"}
CLASSES |= {"io.Transformer": "io.Transformer", "NCCL": "NCCL", "Timer": "Timer"}
#: What is left where a source cannot be parsed.
LOOSE = re.compile(r"\b(caffe(?:\.[A-Za-z_]\w*)+)")


class File(NamedTuple):
    """What a script uses.

    Attributes
    ----------
    repository, name : str
    used, missing : list of str
        Names without "caffe.".
    parsed : bool
        Otherwise its text was looked through for names that begin with "caffe.".
    """

    repository: str
    name: str
    used: list[str]
    missing: list[str]
    parsed: bool


class Names(ast.NodeVisitor):
    """Collects the names of caffe that a module uses, as ``used``, a name with dots each."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        #: What the module's names mean: "" is caffe, "io" its module, "Net()" an object of its class.
        self.known: dict[str, str] = {}

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            package, _, rest = alias.name.partition(".")
            if package == "caffe":
                self._use(rest)
                self.known[alias.asname or "caffe"] = rest if alias.asname else ""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        package, _, rest = (node.module or "").partition(".")
        if node.level or package != "caffe":
            return
        for alias in node.names:
            name = rest if alias.name == "*" else f"{rest}.{alias.name}".strip(".")
            self._use(name)
            if alias.name != "*":
                self.known[alias.asname or alias.name] = name

    def visit_Assign(self, node: ast.Assign) -> None:
        meaning = self._meaning(node.value)
        for target in node.targets:
            if meaning is not None and (text := _written(target)):
                self.known[text] = meaning
            elif meaning is None and isinstance(target, ast.Name):
                self.known.pop(target.id, None)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if (meaning := self._meaning(node)) is None:
            self.generic_visit(node)
        else:
            self._use(meaning)
            self._within(node)

    def _within(self, node: ast.AST) -> None:
        """Visit what stands in brackets along a row of attributes, and use the objects on its way."""
        while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
            if (meaning := self._meaning(node)) is not None and _class_of(meaning):
                self._use(meaning)
            for part in ast.iter_child_nodes(node):
                if part is not getattr(node, "value", getattr(node, "func", None)):
                    self.visit(part)
            node = node.func if isinstance(node, ast.Call) else node.value

    def _use(self, name: str) -> None:
        # What is called has been visited by itself.
        if name and "()" not in name:
            self.used.add(name)

    def _meaning(self, node: ast.AST) -> str | None:
        """Return what an expression is, in the words of ``known``; None where that is not known."""
        text = _written(node)
        if text in self.known:
            return self.known[text]
        if isinstance(node, ast.Attribute):
            owner = self._meaning(node.value)
            return None if owner is None else _attribute(owner, node.attr)
        if isinstance(node, ast.Call):
            called = self._meaning(node.func)
            return None if called is None else f"{called}()"
        if isinstance(node, ast.Subscript):
            owner = self._meaning(node.value)
            return owner if owner in GIVES else None
        return None


def _attribute(owner: str, name: str) -> str | None:
    if cls := _class_of(owner):
        return f"{cls}.{name}"
    # What a method gives, and what is in a blob, is not followed.
    if owner.endswith("()") or any(owner.startswith(f"{cls}.") for cls in CLASSES):
        return None
    return f"{owner}.{name}".strip(".")


def _class_of(meaning: str) -> str:
    """Return the class of the object that an expression gives; empty where it is none of CLASSES."""
    name = meaning.removesuffix("()")
    if meaning.endswith("()"):
        return name if name in CLASSES else GIVES.get(name, "")
    return GIVES.get(name, "") if "." in name else ""


def _written(node: ast.AST) -> str:
    """Return ``net`` or ``self.net`` as it is written; empty for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return f"self.{node.attr}"
    return ""


def is_there(caffe: ModuleType, name: str) -> bool:
    """Whether our package has a name; what an object has is looked for in its class."""
    for words, ours in CLASSES.items():
        if name.startswith(f"{words}."):
            return _has(_reached(caffe, ours.split(".")), name[len(words) + 1 :])
    return _reached(caffe, name.split(".")) is not _MISSING


_MISSING = object()


def _reached(value: Any, names: Iterable[str]) -> Any:
    for name in names:
        # What a function or a number has is Python's.
        if not isinstance(value, ModuleType | type) and not hasattr(type(value), "__getattr__"):
            return value
        try:
            value = getattr(value, name)
        except AttributeError:
            return _MISSING
    return value


def _has(cls: Any, name: str) -> bool:
    if hasattr(cls, name):
        return True
    sources = [inspect.getsource(base) for base in cls.__mro__[:-1]]
    return any(
        re.search(rf"\bself\.{re.escape(name)}\b.*=|^    {re.escape(name)}:", text, re.MULTILINE) for text in sources
    )


def used_by(path: Path) -> tuple[set[str], bool]:
    """Return the names that a file uses, and whether it could be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for from_python2 in (False, True):
            try:
                names = Names()
                names.visit(ast.parse(read(path, from_python2).text))
                return names.used, True
            except SyntaxError:
                continue
            except Error:
                break
    text = path.read_bytes().decode("utf-8", "replace")
    return {name.partition(".")[2] for name in LOOSE.findall(text)}, False


def scripts(folder: Path) -> Iterator[Path]:
    """Yield the files that may use caffe."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".py", ".ipynb") or not path.is_file() or ".ipynb_checkpoints" in path.parts:
            continue
        package = path.parent.name == "caffe" and (path.parent / "__init__.py").exists()
        if not package and b"caffe" in path.read_bytes():
            yield path


def looked_into(folder: Path, caffe: ModuleType) -> list[File]:
    """Return what each script below a folder of repositories uses; those that use nothing are left out."""
    seen: set[bytes] = set()
    files = []
    for path in scripts(folder):
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest in seen:
            continue
        seen.add(digest)
        used, parsed = used_by(path)
        if used:
            repository, _, name = (
                path.relative_to(folder.parent if path.parent == folder else folder).as_posix().partition("/")
            )
            missing = sorted(name for name in used if not is_there(caffe, name))
            files.append(File(repository, name, sorted(used), missing, parsed))
    return files


def told(files: list[File]) -> str:
    """Return the table of what is missing, and the totals."""
    lines = []
    repositories = collections.defaultdict[str, list[File]](list)
    where = collections.defaultdict[str, set[str]](set)
    for file in files:
        repositories[file.repository].append(file)
        for name in file.missing:
            where[name].add(file.repository)
    for repository, its in sorted(repositories.items()):
        whole = sum(not file.missing for file in its)
        lines.append(f"{repository}: {whole} of {len(its)} files find all names")
    lines.append("")
    for name, users in sorted(where.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"missing in {len(users)} repositories: caffe.{name} ({', '.join(sorted(users))})")
    used = {name for file in files for name in file.used}
    whole = sum(not file.missing for file in files)
    parsed = sum(file.parsed for file in files)
    lines.append(f"{len(repositories)} repositories, {len(files)} files ({parsed} parsed), {len(used)} names")
    lines.append(f"{whole} files find all names; {len(used) - len(where)} names are there, {len(where)} are missing")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="+", help="folder of repositories")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what each file uses and lacks")
    arguments = parser.parse_args()
    caffe = caffelite.as_caffe()
    files = [file for folder in arguments.folder for file in looked_into(folder, caffe)]
    print(told(files))
    if arguments.json:
        arguments.json.write_text(json.dumps([file._asdict() for file in files], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
