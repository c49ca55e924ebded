"""What lib2to3 leaves of Python 2: ``/`` between whole numbers, images in a StringIO, names that NumPy dropped."""

from typing import Any

from fissix.fixer_base import BaseFix
from fissix.fixer_util import BlankLine, Call, Comma, Dot, LParen, Name, RParen, syms, token
from fissix.pytree import Leaf, Node

#: Stands in the script where the types of what is divided are only known when it runs.
HELPER = """def _py2_div(a, b, in_place=False):  # what "/" and "/=" are in Python 2
    whole = all(isinstance(x, int) or getattr(getattr(x, "dtype", None), "kind", "f") in "biu" for x in (a, b))
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


class FixFromstring(BaseFix):
    """``np.fromstring`` of bytes, which NumPy dropped: an array of its own, as it was."""

    PATTERN = "power< ('np' | 'numpy') trailer< '.' name='fromstring' > trailer< '(' arguments=any ')' > any* >"

    def transform(self, node: Node, results: Any) -> None:
        if "sep" in str(results["arguments"]):  # of text
            return
        results["name"].replace(Name("frombuffer", prefix=results["name"].prefix))
        node.insert_child(3, Node(syms.trailer, [Dot(), Name("copy")]))
        node.insert_child(4, Node(syms.trailer, [LParen(), RParen()]))


FIXERS = (FixDivision, FixDivisionInPlace, FixFutureNames, FixImageStream, FixNumpyTypes, FixFromstring)
