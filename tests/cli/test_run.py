"""``caffelite run``: a script sees what it would see of Python, and caffe."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from caffelite.pycaffe import proto


@pytest.fixture(autouse=True)
def process_of_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give back what a script takes of the process."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name, value in [("argv", sys.argv), ("excepthook", sys.excepthook), ("meta_path", list(sys.meta_path))]:
        monkeypatch.setattr(sys, name, value)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(proto, "caffe_pb2", proto.caffe_pb2)
    for name in ("CAFFE_ALLOW_PYTHON", "MPLBACKEND"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("helper_of_") or name.partition(".")[0] == "caffe":
            del sys.modules[name]


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_a_script_sees(caffelite) -> None:
    write("scripts/helper_of_a.py", "value = 3")
    write(
        "scripts/a.py",
        "import os, sys, warnings\nimport caffe, helper_of_a\n"
        "print(sys.argv, __name__, sys.path[0] == os.path.dirname(__file__) == os.path.abspath('scripts'))\n"
        "print(caffe.Net.__module__, helper_of_a.value, sys.modules['__main__'].__file__ == __file__)\n"
        "from caffe.proto import caffe_pb2\n"
        "print(os.environ['CAFFE_ALLOW_PYTHON'], caffe_pb2.LayerParameter().norm_param.scale_filler.type)\n",
    )
    given = ["scripts/a.py", "--snake_case=1", "-solver", "x", "--", "-h", "--python2", "train"]
    assert caffelite("run", "-allow_python", "-fork", "ssd", *given) == (
        0,
        f"{given} __main__ True\ncaffelite.pycaffe.net 3 True\n1 constant\n",
        "",
    )


def test_a_checkout_of_caffe_that_is_not_compiled_is_not_taken(caffelite) -> None:
    write("python/caffe/__init__.py", "raise ImportError('No module named _caffe')")
    write("python/a.py", "import sys\nimport caffe.io, caffe.proto.caffe_pb2\nprint(caffe.__name__, sys.path[0])\n")
    assert caffelite("run", "python/a.py") == (0, f"caffelite.pycaffe.caffe {os.path.abspath('python')}\n", "")


@pytest.mark.parametrize(("argument", "code"), [("3", 3), ("", None), ("'no'", "no")])
def test_its_exit_code(argument, code, caffelite) -> None:
    write("a.py", f"raise SystemExit({argument})")
    with pytest.raises(SystemExit) as ended:
        caffelite("run", "a.py")
    assert ended.value.code == code


def test_a_script_that_fails(python) -> None:
    write("b.py", "def f():\n    xrange(2)\n")
    write("a.py", "import sys\nimport b\nprint(1, flush=True)\nb.f()\n")
    process = python("-m", "caffelite", "run", "a.py")
    out, err = process.communicate()
    here = os.getcwd()
    lines = [line for line in err.splitlines() if "^" not in line and "~" not in line]
    assert (process.returncode, out) == (1, "1\n")
    assert lines == [
        "Traceback (most recent call last):",
        *(f'  File "{here}/a.py", line 4, in <module>', "    b.f()"),
        *(f'  File "{here}/b.py", line 2, in f', "    xrange(2)"),
        "NameError: name 'xrange' is not defined. Did you mean: 'range'?",
        'caffelite: that is Python 2; "caffelite run --python2 a.py" brings it to Python 3',
    ]


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_ctrl_c_is_pythons(python) -> None:
    write("a.py", "import time\nprint(1, flush=True)\ntime.sleep(60)\n")
    process = python("-m", "caffelite", "run", "a.py")
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == -signal.SIGINT
    assert err.startswith("Traceback") and err.endswith("KeyboardInterrupt\n") and "caffelite" not in err


def test_python_2_without_being_told(caffelite) -> None:
    write("a.py", 'x = 1\nprint "a"\n')
    code, out, err = caffelite("run", "a.py")
    assert (code, out) == (1, "")
    assert f'File "{os.getcwd()}/a.py", line 2' in err and "SyntaxError: Missing parentheses" in err
    assert err.endswith('caffelite: that is Python 2; "caffelite run --python2 a.py" brings it to Python 3\n')


def test_python_2_and_what_it_imports(caffelite, monkeypatch) -> None:
    pytest.importorskip("fissix")
    monkeypatch.syspath_prepend(os.path.abspath("library"))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    write("lib/helper_of_b/__init__.py", "from inner import half\n")
    write("lib/helper_of_b/inner.py", 'def half(x):\n    print "half of", x\n    return x / 2\n')
    write("library/helper_of_c.py", "def half(x): return x / 2\n")
    script = "import sys\nsys.path.insert(0, 'lib')\nfrom helper_of_b import half\nimport helper_of_c, caffe\n"
    path = write("a.py", script + "print half(7), helper_of_c.half(7), caffe.TEST\n")
    text = path.read_text()
    code, out, err = caffelite("run", "--python2", "a.py")
    assert (code, out, err) == (0, "half of 7\n3 3.5 1\n", "")
    assert path.read_text() == text and not list(Path().rglob("helper_of_b/__pycache__"))


def test_python_2_in_layers_of_a_net(caffelite) -> None:
    pytest.importorskip("fissix")
    write(
        "nets/helper_of_d.py",
        "import caffe\nclass Half(caffe.Layer):\n"
        "    def reshape(self, bottom, top): top[0].reshape(2)\n"
        "    def forward(self, bottom, top):\n        top[0].data[...] = int(self.param_str) / 2\n        print 'half'\n",
    )
    param = 'python_param { module: "helper_of_d" layer: "Half" param_str: "7" }'
    write("nets/a.prototxt", f'layer {{ name: "half" type: "Python" top: "y" {param} }}')
    write("a.py", "import caffe\nprint caffe.Net('nets/a.prototxt', caffe.TEST).forward()['y'].tolist()\n")
    assert caffelite("run", "--python2", "--allow-python", "a.py")[:2] == (0, "half\n[3.0, 3.0]\n")


def test_lines_of_a_traceback_are_those_that_run(caffelite, capsys) -> None:
    pytest.importorskip("fissix")
    write("a.py", "def f(a, b):\n    return a / b\nprint f(1, 0)\n")
    with pytest.raises(ZeroDivisionError) as error:
        caffelite("run", "--python2", "a.py")
    sys.excepthook(error.type, error.value, error.tb)
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if "^" not in line and "~" not in line]
    assert lines[2:5:2] == ["print(f(1, 0))", "return _py2_div(a, b)"] and "run" not in lines[1]


def test_what_is_changed(caffelite) -> None:
    pytest.importorskip("fissix")
    write("a.py", "# -*- coding: latin-1 -*-\nimport caffe\nprint 1 / 2, '\\\\'\n")
    code, out, err = caffelite("run", "--diff", "a.py")
    assert (code, err) == (0, "")
    assert out.startswith("--- a.py\n+++ a.py (Python 3)\n") and "\n-print 1 / 2" in out and "\n+print(1 // 2" in out
    assert caffelite("run", "--write", "new/b.py", "a.py") == (0, "", "new/b.py: a.py in Python 3\n")
    assert Path("new/b.py").read_text().endswith("import caffe\nprint(1 // 2, '\\\\')\n")
    assert Path("a.py").read_text().endswith("print 1 / 2, '\\\\'\n")


def test_a_notebook(caffelite) -> None:
    cells = [
        "%matplotlib inline\nimport caffe, os\nx = [1,\n 2]\nx",
        "x;",
        "os.path.basename(os.getcwd()), caffe.TRAIN",
    ]
    code = [{"cell_type": "code", "source": cell} for cell in cells]
    write("notes/a.ipynb", json.dumps({"cells": code}))
    assert caffelite("run", "notes/a.ipynb") == (
        0,
        "[1, 2]\n('notes', 0)\n",
        f"caffelite: {Path('notes/a.ipynb')}, cell 1: left out: %matplotlib inline\n",
    )
    assert os.environ["MPLBACKEND"] == "Agg"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--fork", "sd", "b.py"], 1, 'no schema of a fork "sd" is known; did you mean "ssd"?'),
        (["--write", ".", "b.py"], 1, ".: Is a directory"),
        (["missing.py"], 1, "missing.py: No such file or directory"),
        (["a.ipynb"], 1, "a.ipynb: it is no Jupyter notebook"),
        (["--python3", "a.py"], 2, "--python3 is not known to caffelite run; did you mean --python2?"),
        ([], 2, "the following arguments are required: SCRIPT;"),
        (["--write"], 2, "argument --write: expected one argument"),
    ],
)
def test_what_cannot_be_run(arguments, code, text, caffelite) -> None:
    write("a.ipynb", "no")
    pytest.importorskip("fissix")
    write("b.py", "print(1)")
    got, out, err = caffelite("run", *arguments)
    assert (got, out) == (code, "")
    assert err.startswith(f"caffelite: {text}") and err.count("\n") == 1


def test_without_fissix(caffelite, monkeypatch) -> None:
    from caffelite.user_code import python2

    python2._tool.cache_clear()
    monkeypatch.setitem(sys.modules, "fissix.pgen2", None)
    write("a.py", "print 1")
    assert caffelite("run", "--python2", "a.py") == (
        1,
        "",
        "caffelite: --python2 needs fissix: pip install 'caffelite[python2]'\n",
    )


def test_characters_that_are_none(caffelite) -> None:
    Path("a.py").write_bytes(b"x = '\xff'\n")
    code, _, err = caffelite("run", "a.py")
    assert code == 1
    assert "SyntaxError: its characters cannot be read" in err


def test_the_package_stays_what_it_is(caffelite) -> None:
    write("a.py", "import caffe, caffelite\nassert caffe.Net is caffelite.Net\n")
    assert caffelite("run", "a.py") == (0, "", "")
