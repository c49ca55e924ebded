"""Scripts for Python 2, brought to Python 3 in memory: lib2to3, as its fork ``fissix`` keeps it, and fixers of ours."""

import ast
import io
import re
import tokenize
import warnings
from functools import cache
from typing import Any

from caffelite.errors import MissingExtraError

#: What a tab goes to in Python 2.
_TAB = 8
#: Syntax that Python 2 has not, aside from what is looked into below.
_NEW = (ast.JoinedStr, ast.AnnAssign, ast.AsyncFunctionDef, ast.Nonlocal, ast.NamedExpr, ast.YieldFrom, ast.MatMult)

#: In a notebook these stand anywhere.
_FUTURE = re.compile(r"^[ \t]*from __future__ import (\([^)]*\)|.*)", re.MULTILINE)
#: How Python 3 speaks of the syntax of Python 2, and of its names.
_SYNTAX = re.compile(
    r"Missing parentheses in call to|multiple exception types must be parenthesized|leading zeros in decimal|"
    r"inconsistent use of tabs"
)
_LINE = re.compile(r"<>|`|\b\d+L\b|\bur['\"]|\braise\s+\w+\s*,|\bexcept\b.*,|^\s*(print|exec)\s+\S")
_NAMES = set(
    "xrange unicode unichr basestring raw_input long reload execfile reduce cmp file iteritems itervalues iterkeys "
    "has_key maxint cPickle StringIO cStringIO urllib2 urlparse ConfigParser Queue Tkinter __builtin__ copy_reg".split()
)


def converted(text: str, name: str, *, in_package: bool = False) -> str:
    """Return what becomes of a source in Python 3.

    Parameters
    ----------
    text : str
        In Python 2. What Python 2 could not read is left as it is.
    name : str
        Its file: what an error names, and beside which implicit relative imports look.
    in_package : bool, optional
        Whether it is a module of a package.

    Raises
    ------
    SyntaxError
        It is no Python 2 either.
    MissingExtraError
    """
    if is_python3(text):
        return text
    future = {word for words in _FUTURE.findall(text) for word in re.findall(r"\w+", words)}
    tool = _tool(in_package, frozenset(future & {"division", "print_function"}))
    from fissix.pgen2.parse import ParseError
    from fissix.pgen2.tokenize import TokenError

    try:
        made = str(tool.refactor_string(text + "\n", name))[:-1]
    except ParseError as error:
        line, column = error.context[1]
        raise _syntax_error("this is the syntax of neither Python 3 nor Python 2", text, name, line, column) from None
    except TokenError as error:
        raise _syntax_error(str(error.args[0]), text, name, *error.args[1]) from None
    except IndentationError as error:
        raise _syntax_error(error.msg, text, name, error.args[1][1], error.args[1][2]) from None
    return _with_helper(_with_spaces(made))


def is_python3(text: str) -> bool:
    """Whether a source can be read by Python 3 and not by Python 2."""
    try:
        tree = _parsed(text)
    except SyntaxError:
        return False
    printing = "print_function" in text
    return any(_is_new(node, printing) for node in ast.walk(tree))


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python gives them again when it compiles what is run
        return ast.parse(text)


def _is_new(node: ast.AST, printing: bool) -> bool:
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        return bool(arguments.kwonlyargs or node.returns or any(one.annotation for one in every))
    if isinstance(node, ast.ClassDef):
        return bool(node.keywords)
    if isinstance(node, ast.Raise):
        return node.cause is not None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        bare = node.func.id == "super" and not node.args
        return bare or (node.func.id == "print" and bool(node.keywords) and not printing)
    return isinstance(node, _NEW)


def is_python2(error: BaseException) -> bool:
    """Whether an error looks like that of a source for Python 2 that Python 3 runs."""
    if isinstance(error, SyntaxError):
        return bool(_SYNTAX.search(error.msg or "") or _LINE.search(error.text or ""))
    return isinstance(error, NameError | AttributeError | ImportError) and error.name in _NAMES


@cache
def _tool(in_package: bool, future: frozenset[str]) -> Any:
    """Return what refactors a source that has these of Python 3's ways already."""
    try:
        from fissix.pgen2 import driver, pgen

        # Its own way goes through a pickle in the user's cache folder.
        driver.load_packaged_grammar = lambda package, source: pgen.generate_grammar(source)
        from fissix.refactor import RefactoringTool, get_fixers_from_package
    except ImportError:
        raise MissingExtraError("--python2 needs fissix: pip install 'caffelite[python2]'") from None
    from caffelite.user_code.python2_fixes import FIXERS, FixDivision, FixDivisionInPlace

    divides = "division" in future
    ours = [fixer for fixer in FIXERS if not (divides and fixer in (FixDivision, FixDivisionInPlace))]

    class Tool(RefactoringTool):
        def get_fixers(self) -> tuple[list[Any], list[Any]]:
            before, after = super().get_fixers()
            return before, [*(fixer(self.options, self.fixer_log) for fixer in ours), *after]

    # One of ours is that one, but for arrays.
    names = [name for name in get_fixers_from_package("fissix.fixes") if not name.endswith(".fix_sorted")]
    # A script's own folder is no package, whatever is in it.
    names = [name for name in names if in_package or not name.endswith(".fix_import")]
    return Tool(names, {"print_function": "print_function" in future})


def _syntax_error(said: str, text: str, name: str, line: int, column: int) -> SyntaxError:
    lines = text.split("\n")
    line = min(line, len(lines))
    return SyntaxError(said, (name, line, column + 1, lines[line - 1]))


def _with_spaces(text: str) -> str:
    """Return a source whose indentation is made of spaces, where Python 3 does not take it as it is."""
    try:
        _parsed(text)
    except TabError:
        # Within strings, tabs are text.
        inside: set[int] = set()
        from fissix.pgen2 import tokenize as tolerant

        for kind, _, (first, _), (last, _), _ in tolerant.generate_tokens(io.StringIO(text).readline):
            if kind == tokenize.STRING:
                inside.update(range(first + 1, last + 1))
        lines = io.StringIO(text).readlines()
        return "".join(line if number in inside else _spaced(line) for number, line in enumerate(lines, 1))
    except SyntaxError:
        pass  # Python tells it better, with its place
    return text


def _spaced(line: str) -> str:
    rest = line.lstrip(" \t")
    return line[: len(line) - len(rest)].expandtabs(_TAB) + rest


def _with_helper(text: str) -> str:
    """Return a source with the function for divisions before its first statement, where it calls that."""
    if "_py2_div(" not in text:
        return text
    from caffelite.user_code.python2_fixes import HELPER

    try:
        body = _parsed(text).body
    except SyntaxError:
        return text
    first = body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    above = [one.lineno for one in getattr(first, "decorator_list", [])]
    place = (first.end_lineno or 1) if documented else min([first.lineno, *above]) - 1
    lines = io.StringIO(text).readlines()
    return "".join([*lines[:place], HELPER, *lines[place:]])
