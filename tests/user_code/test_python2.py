"""Python 2 in Python 3: what lib2to3 does, and what it leaves undone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caffelite.user_code.python2 import converted, is_python2, is_python3

pytest.importorskip("fissix")


def run(text: str, **values: Any) -> dict[str, Any]:
    exec(converted(text, "script.py"), values)
    return values


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ('print "a", b', 'print("a", b)'),
        ("x = 7 / 2", "x = 7 // 2"),
        ("x = 7 / 2.", "x = 7 / 2."),
        ("x = 0.5 * a / 2", "x = 0.5 * a / 2"),
        ("x = (len(a) - 1) / a.shape[0]", "x = (len(a) - 1) // a.shape[0]"),
        ("x = a / float(b)", "x = a / float(b)"),
        ("x = a.astype(np.float32) / b", "x = a.astype(np.float32) / b"),
        ("x /= 255.", "x /= 255."),
        ("from __future__ import division\nx = 7 / 2", "\nx = 7 / 2"),
        ("from __future__ import (absolute_import,\n  print_function)\nprint(x, end='')", "\nprint(x, end='')"),
        ("x = np.zeros(3, dtype=np.float)", "x = np.zeros(3, dtype=float)"),
        ("x = np.float32(np.int(y))", "x = np.float32(int(y))"),
        (r"x = np.loadtxt(f, str, delimiter='\n')", r"x = np.loadtxt(f, str, delimiter='\x1f')"),
        (r"x = np.loadtxt(f, str, delimiter='\t')", r"x = np.loadtxt(f, str, delimiter='\t')"),
        ("x = np.fromstring(a, np.uint8).max()", "x = np.frombuffer(a, np.uint8).copy().max()"),
        ("x = np.fromstring(a, sep=',')", "x = np.fromstring(a, sep=',')"),
        ("x = edict(yaml.load(f))['a']", "x = edict(yaml.safe_load(f))['a']"),
        ("x = yaml.load(f, yaml.Loader)", "x = yaml.load(f, yaml.Loader)"),
        ("x = np.sort(a)[-n] + b.sort(0)", "x = np.sort(a)[-n] + b.sort(0)"),
        ("a.sort(by_cmp)", "from functools import cmp_to_key\na.sort(key=cmp_to_key(by_cmp))"),
        ("x = sorted(a, f)", "from functools import cmp_to_key\nx = sorted(a, key=cmp_to_key(f))"),
        ("x = f'{a / b}'", "x = f'{a / b}'"),
        ("def f(x: int): return x / 2", "def f(x: int): return x / 2"),
    ],
)
def test_what_becomes_of_a_line(text: str, becomes: str) -> None:
    assert converted(text, "script.py") == becomes


@pytest.mark.parametrize(
    ("a", "b", "quotient"),
    [
        (7, 2, 3),
        (-7, 2, -4),
        (7.0, 2, 3.5),
        (np.array([3, 5]), 2, [1, 2]),
        (np.array([3, 5]), 2.0, [1.5, 2.5]),
        (np.float32(3), 2, 1.5),
        (np.int64(3), np.int64(2), 1),
    ],
)
def test_division_is_what_it_was(a: Any, b: Any, quotient: Any) -> None:
    values = run('"""Doc."""\nx = a / b * 1\n', a=a, b=b)
    np.testing.assert_array_equal(values["x"], quotient)
    assert values["__doc__"] == "Doc."


def test_division_where_numpys_names_are_the_scripts() -> None:
    assert run("from numpy import *\nx = a / b\ny = b\ny /= b", a=1.0, b=2)["x"] == 0.5


def test_an_array_that_is_divided_in_place_stays_the_same() -> None:
    array = np.array([3.0, 4.0])
    assert run("a /= b", a=array, b=2)["a"] is array
    assert array.tolist() == [1.5, 2.0]
    array = np.array([3, 5])
    assert run("a /= b", a=array, b=2)["a"] is array
    assert array.tolist() == [1, 2]
    assert run("a /= b", a=7, b=2)["a"] == 3


def test_divisions_that_are_nested() -> None:
    assert run("x = a / b / 2 * (c / (d / 2)) / 1", a=9, b=2, c=7, d=5)["x"] == 9 // 2 // 2 * (7 // (5 // 2))


def test_indentation_by_tabs_and_spaces() -> None:
    values = run('if 1:\n\tx = 1\n        y = """\n\ttext"""\n')
    assert (values["x"], values["y"]) == (1, "\n\ttext")


@pytest.mark.parametrize(
    ("text", "stream"),
    [
        ("import PIL.Image\nfrom cStringIO import StringIO\nf = StringIO()", "BytesIO"),
        ("from PIL import Image\nimport cStringIO as StringIO\nf = StringIO.StringIO()", "BytesIO"),
        ("import Image0\nfrom StringIO import StringIO\nf = StringIO()", "StringIO"),
    ],
)
def test_a_stream_is_of_bytes_where_there_are_images(text: str, stream: str) -> None:
    text = text.replace("import PIL.Image\n", "name = 'PIL'\n").replace("from PIL import Image\n", "name = 'PIL'\n")
    assert type(run(text.replace("import Image0\n", ""))["f"]).__name__ == stream


@pytest.mark.parametrize(
    ("made", "written", "mode"),
    [
        ("tempfile.NamedTemporaryFile(delete=False)", "str(net)", 'mode="w+", delete=False'),
        ("NamedTemporaryFile()", "'%s' % net", 'mode="w+"'),
        ("tempfile.TemporaryFile()", "data", ""),
        ("tempfile.TemporaryFile('wb')", "str(net)", "'wb'"),
        ("tempfile.TemporaryFile(mode='w')", "str(net)", "mode='w'"),
    ],
)
def test_a_temporary_file_is_of_text_where_text_is_written(made: str, written: str, mode: str) -> None:
    text = f"with {made} as f:\n    f.write({written})\n"
    assert converted(text, "script.py").partition("(")[2].partition(")")[0] == mode


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("x = pickle.load(open(a))['b']", 'x = pickle.load(open(a, "rb"), encoding="latin1")[\'b\']'),
        ("x = cPickle.load(open(a, 'rb'))", "x = cPickle.load(open(a, 'rb'), encoding=\"latin1\")"),
        (
            "with open(a) as f:\n    x = pickle.load(f)",
            'with open(a, "rb") as f:\n    x = pickle.load(f, encoding="latin1")',
        ),
        ("f = open(a, 'w')\npickle.dump(x, f, -1)", "f = open(a, 'wb')\npickle.dump(x, f, -1)"),
        ("x = hashlib.sha1(open(a).read())", 'x = hashlib.sha1(open(a, "rb").read())'),
        (
            "with open(a) as f:\n    x = hashlib.md5(f.read())",
            'with open(a, "rb") as f:\n    x = hashlib.md5(f.read())',
        ),
        ("f = open(a)\nx = f.read(), pickle.loads(b, fix_imports=True)",) * 2,
    ],
)
def test_files_of_pickles_and_digests_are_binary(text: str, becomes: str) -> None:
    assert converted(text, "script.py") == becomes


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\nx = = 2\n", 2), ("x = (1,\n", 2), ("def f():\n    x\n  y\n", 3)],
    ids=["parse", "end", "dent"],
)
def test_what_is_no_python_at_all(text: str, line: int) -> None:
    with pytest.raises(SyntaxError) as error:
        converted(text, "script.py")
    assert (error.value.filename, error.value.lineno) == ("script.py", line)


@pytest.mark.parametrize(
    "text",
    ["print(1, file=f)", "async def f(): pass", "super().f()", "class A(metaclass=B): pass", "raise A from B", "a @ b"],
)
def test_python_3_is_left_alone(text: str) -> None:
    assert is_python3(text)


@pytest.mark.parametrize("text", ["print(1)", "print 1", "super(A, self).f()", "def f(a, *b): return a / b"])
def test_what_both_read_is_python_2(text: str) -> None:
    assert not is_python3(text)


def failure(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print 'a'", True),
        ("try: pass\nexcept A, e: pass", True),
        ("if 1:\n\tx = 1\n        y = 2", True),
        ("x = 0777", True),
        ("x = 1 <> 2", True),
        ("xrange(2)", True),
        ("import cPickle", True),
        ("{}.iteritems()", True),
        ("x = = 2", False),
        ("unknown", False),
        ("import no_such_module", False),
        ("1 / 0", False),
    ],
)
def test_errors_that_look_like_python_2(text: str, told: bool) -> None:
    assert is_python2(failure(lambda: exec(text, {}))) == told
