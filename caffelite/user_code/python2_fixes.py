"""What lib2to3 leaves of Python 2: ``/`` between whole numbers, binary files, what libraries dropped."""

import re
from typing import Any

from fissix.fixer_base import BaseFix
from fissix.fixer_util import BlankLine, Call, Comma, Dot, LParen, Name, RParen, syms, token
from fissix.fixes.fix_sorted import FixSorted
from fissix.pytree import Leaf, Node

#: Stands in the script where the types of what is divided are only known when it runs. It must not call "all": where
#: the script says "from pylab import *", that is NumPy's.
HELPER = """def _py2_div(a, b, in_place=False):  # what "/" and "/=" are in Python 2
    whole = True
    for x in (a, b):
        whole = whole and (isinstance(x, int) or getattr(getattr(x, "dtype", None), "kind", "f") in "biu")
    if not in_place:
        return a // b if whole else a / b
    if whole:
        a //= b
    else:
        a /= b
    return a
"""

_WHOLE_CALLS = {"len", "int"}
_FLOAT_CALLS = {"float", "float32", "float64", "sqrt", "exp", "log", "mean", "std", "rand", "randn", "uniform", "time"}
#: Names that NumPy had for Python's own types, until 1.24, and the types.
_NUMPY_TYPES = {"float": "float", "int": "int", "bool": "bool", "object": "object", "complex": "complex", "str": "str"}
_NUMPY_TYPES |= {"long": "int", "unicode": "str"}
#: Of what is written to a file, ``str(…)`` and strings are text.
_TEXT_WRITTEN = re.compile(r"\.write\(\s*(?:str\(|['\"])")
_TEXT_MODES = {f"{quote}{mode}{quote}" for quote in "'\"" for mode in "rwa"}
#: A file that gets a name where it is opened, and what FILE is where it is binary.
_NAMED_FILE = re.compile(r"with\s+open\(.*\)\s*as\s+(\w+)\s*:|(\w+)\s*=\s*open\(")
_BINARY = r"\bc?[pP]ickle\.(?:load\(|dump\(.*)\s*\bFILE|\bhashlib\.\w+\(\s*FILE.*\.read\("
#: What a function that compares is, or is called, where a list is sorted by it.
_COMPARES = re.compile("lambda|cmp|compar")


def kind(node: Any) -> str:
    """Return ``float`` or ``int`` where an expression can be nothing else, as it stands; else the empty string."""
    if node.type == token.NUMBER:
        text = node.value.lower()
        return "int" if text.startswith("0x") or not set(".ej") & set(text) else "float"
    if isinstance(node, Leaf):
        return ""
    if node.type == syms.factor:
        return kind(node.children[-1])
    if node.type == syms.atom and len(node.children) == 3 and node.children[0].value == "(":
        return kind(node.children[1])
    if node.type == syms.power:
        return _power_kind(node)
    if node.type in (syms.term, syms.arith_expr):
        return _joined(node.children[::2])
    return ""


def _joined(operands: list[Any]) -> str:
    kinds = {kind(operand) for operand in operands}
    return "float" if "float" in kinds else "int" if kinds == {"int"} else ""


def _power_kind(node: Node) -> str:
    last = node.children[-1]
    if last.type != syms.trailer:  # a ** b
        return _joined([node.children[0], last]) if "**" in map(str, node.children) else ""
    before = node.children[-2]
    name = before.children[-1] if before.type == syms.trailer else before
    called = getattr(name, "value", "")
    if last.children[0].value == "(":
        if called == "astype":
            return "float" if "float" in str(last) else ""
        return "int" if called in _WHOLE_CALLS else "float" if called in _FLOAT_CALLS else ""
    return "int" if last.children[0].value == "[" and called == "shape" and ":" not in str(last) else ""


def _divided(left: Any, right: Any, *more: Any) -> Node:
    """Return a call of the helper."""
    arguments = [left.clone(), Comma(), right.clone()]
    arguments[0].prefix, arguments[2].prefix = "", " "
    for word in more:
        arguments += [Comma(), Name(word, prefix=" ")]
    return Call(Name("_py2_div"), arguments)


class FixDivision(BaseFix):
    """``a / b``: ``a // b`` where both are whole numbers, and asked of them at run time where that cannot be read."""

    _accept_type = syms.term

    def match(self, node: Node) -> bool:
        return any(child.type == token.SLASH for child in node.children)

    def transform(self, node: Node, results: Any) -> Node | None:
        left, *rest = node.children
        changed = False
        for operator, right in zip(rest[::2], rest[1::2], strict=True):
            if operator.type == token.SLASH and (both := _joined([left, right])) != "float":
                changed = True
                if not both:
                    left = _divided(left, right)
                    continue
                operator = Leaf(token.DOUBLESLASH, "//", prefix=operator.prefix)
            parts = left.children if left.type == syms.term else [left]
            left = Node(syms.term, [part.clone() for part in (*parts, operator, right)])
        if not changed:
            return None
        left.prefix = node.prefix
        return left


class FixDivisionInPlace(BaseFix):
    """``a /= b``, in the same way; an array stays the same array."""

    _accept_type = syms.expr_stmt

    def match(self, node: Node) -> bool:
        return len(node.children) == 3 and node.children[1].type == token.SLASHEQUAL

    def transform(self, node: Node, results: Any) -> Node | None:
        target, _, value = node.children
        if kind(value) == "float":
            return None
        call = _divided(target, value, "True")
        call.prefix = " "
        return Node(syms.expr_stmt, [target.clone(), Leaf(token.EQUAL, "=", prefix=" "), call])


class FixFutureNames(BaseFix):
    """Python 3 has it all; of several names at once lib2to3 leaves the import."""

    PATTERN = "import_from< 'from' '__future__' 'import' any* >"

    def transform(self, node: Node, results: Any) -> Any:
        line = BlankLine()
        line.prefix = node.prefix
        return line


class FixImageStream(BaseFix):
    """A StringIO that an image of Pillow is written to or read from is a BytesIO."""

    PATTERN = """
    import_from< 'from' ('StringIO' | 'cStringIO') 'import' name='StringIO' > |
    power< ('StringIO' | 'cStringIO') trailer< '.' name='StringIO' > any* >
    """

    def start_tree(self, tree: Any, filename: str) -> None:
        super().start_tree(tree, filename)
        text = str(tree)
        self.skip = "PIL" not in text and "import Image" not in text

    def transform(self, node: Node, results: Any) -> None:
        if self.skip:
            return
        is_import = node.type == syms.import_from
        results["name"].replace(Name("BytesIO as StringIO" if is_import else "BytesIO", prefix=results["name"].prefix))


class FixNumpyTypes(BaseFix):
    """``np.float`` is ``float``, and so on."""

    PATTERN = "power< ('np' | 'numpy') trailer< '.' name=NAME > any* >"

    def transform(self, node: Node, results: Any) -> Node | None:
        own = _NUMPY_TYPES.get(results["name"].value)
        if own is None:
            return None
        rest = [child.clone() for child in node.children[2:]]
        name = Name(own, prefix=node.prefix)
        return Node(syms.power, [name, *rest]) if rest else name


class FixNumpyLines(BaseFix):
    """``np.loadtxt(file, str, delimiter="\\n")`` reads whole lines, which NumPy takes no line end for any more."""

    PATTERN = """
    power< ('np' | 'numpy') trailer< '.' 'loadtxt' >
      trailer< '(' arglist< any* argument< 'delimiter' '=' end=STRING > any* > ')' > any* >
    """

    def transform(self, node: Node, results: Any) -> None:
        if results["end"].value in ("'\\n'", '"\\n"'):
            results["end"].value = r"'\x1f'"  # stands in no text: it separates units


class FixPickle(BaseFix):
    """A pickle of Python 2 is read with its strings as text, as which bytes of any kind come through."""

    PATTERN = "power< ('pickle' | 'cPickle') trailer< '.' ('load' | 'loads') > trailer< '(' argument=any ')' > any* >"

    def transform(self, node: Node, results: Any) -> None:
        argument = results["argument"]
        if argument.type not in (syms.arglist, syms.argument):
            argument.replace([argument.clone(), Comma(), Name('encoding="latin1"', prefix=" ")])


class FixBinaryFile(BaseFix):
    """A file for a pickle, or for a digest, is binary."""

    PATTERN = "power< 'open' trailer< '(' argument=any ')' > any* >"

    def transform(self, node: Node, results: Any) -> None:
        argument = results["argument"]
        parts = argument.children if argument.type == syms.arglist else [argument]
        mode = parts[2] if len(parts) == 3 else None
        if len(parts) > 3 or (mode and str(mode).strip() not in _TEXT_MODES):
            return
        if not self._is_binary(node):
            return
        if mode:
            mode.value = f"{mode.value[:-1]}b{mode.value[-1]}"
        else:
            argument.replace([argument.clone(), Comma(), Name('"rb"', prefix=" ")])

    def _is_binary(self, node: Node) -> bool:
        block, name = node.parent, ""
        while block.type not in (syms.with_stmt, syms.simple_stmt, syms.file_input):
            block = block.parent
        if named := _NAMED_FILE.match(str(block).lstrip()):
            name = re.escape(named[1] or named[2])
            block = block if block.type == syms.with_stmt else block.parent
        return re.search(_BINARY.replace("FILE", name or r"open\("), str(block)) is not None


class FixTemporaryFile(BaseFix):
    """A temporary file that is not told its mode, and that text is written to where it is made, is one of text."""

    PATTERN = """
    power< ('NamedTemporaryFile' | 'TemporaryFile') arguments=trailer< '(' any* ')' > > |
    power< 'tempfile' trailer< '.' ('NamedTemporaryFile' | 'TemporaryFile') > arguments=trailer< '(' any* ')' > >
    """

    def transform(self, node: Node, results: Any) -> None:
        opening, *given, _ = results["arguments"].children
        first = str(given[0]).partition(",")[0] if given else "="
        if "mode" in "".join(map(str, given)) or "=" not in first:
            return
        block = node.parent
        while block.type not in (syms.with_stmt, syms.suite, syms.file_input):
            block = block.parent
        if _TEXT_WRITTEN.search(str(block)):
            opening.value = '(mode="w+"' + (", " if given else "")


class FixFromstring(BaseFix):
    """``np.fromstring`` of bytes, which NumPy dropped: an array of its own, as it was."""

    PATTERN = "power< ('np' | 'numpy') trailer< '.' name='fromstring' > trailer< '(' arguments=any ')' > any* >"

    def transform(self, node: Node, results: Any) -> None:
        if "sep" in str(results["arguments"]):  # of text
            return
        results["name"].replace(Name("frombuffer", prefix=results["name"].prefix))
        node.insert_child(3, Node(syms.trailer, [Dot(), Name("copy")]))
        node.insert_child(4, Node(syms.trailer, [LParen(), RParen()]))


class FixSortFunction(FixSorted):
    """A function that compares two values becomes a key; what ``np.sort``, or an array's, is given is no function."""

    def match(self, node: Node) -> Any:
        results = super().match(node)
        if not results or node.children[0] == Name("sorted"):
            return results
        given = "".join(map(str, results.get("func_args", results.get("func_arg"))))
        return results if _COMPARES.search(given) else False


class FixYamlLoad(BaseFix):
    """``yaml.load(x)``, which needs a loader since PyYAML 6, is ``yaml.safe_load(x)``: data, no Python objects."""

    PATTERN = "power< 'yaml' trailer< '.' name='load' > trailer< '(' argument=any ')' > any* >"

    def transform(self, node: Node, results: Any) -> None:
        if results["argument"].type != syms.arglist:
            results["name"].replace(Name("safe_load"))


FIXERS = (
    FixBinaryFile,
    FixDivision,
    FixDivisionInPlace,
    FixFromstring,
    FixFutureNames,
    FixImageStream,
    FixNumpyLines,
    FixNumpyTypes,
    FixPickle,
    FixSortFunction,
    FixTemporaryFile,
    FixYamlLoad,
)
