"""Code of the user's: when it may run, where its modules are found, who is told to be at fault."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from python_nets import inputs, net_of, python

import caffelite as caffe
from caffelite.cli import main
from caffelite.draw.diagram import draw
from caffelite.errors import NetError

# Permission.


def test_without_permission_nothing_of_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("open('ran', 'w')")
    Path("a.prototxt").write_text(inputs((3, 2)) + python("Mine", "x0", "y", module="mine") + "}")
    with pytest.raises(NetError) as error:
        caffe.Net("a.prototxt", caffe.TEST)
    assert str(error.value) == (
        'a.prototxt:3:17: layer "Mine": it is the class Mine of the Python module "mine", and a file\'s own code runs '
        "only where that is allowed: with --allow-python on the command line; in Python with allow_python=True, or where "
        "the program has imported that module before; with CAFFE_ALLOW_PYTHON=1 in the environment anywhere"
    )
    assert draw("a.prototxt", "a.md") == "2 layers"
    assert main(["draw", "a.prototxt", "a.md"]) == 0
    drawn = Path("a.md").read_text()
    # What is before the layer is known.
    assert "module mine, layer Mine" in drawn and "3×2" in drawn
    assert not Path("ran").exists()


def test_with_permission_a_drawing_has_the_shapes(tmp_path: Path) -> None:
    (tmp_path / "drawn_by_me.py").write_text(
        "import caffelite as caffe\n"
        "class Mine(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(7, 11)\n"
        "    def forward(self, bottom, top):\n"
        "        raise RuntimeError\n"
    )
    text = (
        python("Mine", "", "y", module="drawn_by_me") + "}" + 'layer { name: "p" type: "Power" bottom: "y" top: "z" }'
    )
    (tmp_path / "a.prototxt").write_text(text)
    assert main(["draw", str(tmp_path / "a.prototxt"), str(tmp_path / "a.md"), "--allow-python"]) == 0
    assert "7×11" in (tmp_path / "a.md").read_text()
    assert main(["draw", str(tmp_path / "a.prototxt"), str(tmp_path / "a.md")]) == 0
    assert "7×11" not in (tmp_path / "a.md").read_text()


@pytest.mark.parametrize("command", ["train", "time", "test"])
def test_the_commands_ask_for_permission(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"images_to_{command}"
    Path(f"{module}.py").write_text(
        "import caffe\n"
        "class Images(caffe.Layer):\n"
        "    def setup(self, bottom, top):\n"
        "        self.passes = 0\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(2, 3 + self.passes % 2)\n"
        "    def forward(self, bottom, top):\n"
        "        self.passes += 1\n"
        "        top[0].data[...] = 1\n"
        "    def backward(self, top, propagate_down, bottom):\n"
        "        pass\n"
    )
    text = python("Images", "", "x", module=module) + "}"
    text += """layer { name: "m" type: "Reduction" bottom: "x" top: "m" reduction_param { axis: 1 operation: MEAN } }
        layer { name: "s" type: "Scale" bottom: "m" top: "s" scale_param { axis: 0 } }
        layer { name: "r" type: "Reduction" bottom: "s" top: "r" reduction_param { operation: SUMSQ } loss_weight: 1 }"""
    Path("a.prototxt").write_text(text)
    Path("a_solver.prototxt").write_text(
        'net: "a.prototxt" max_iter: 4 base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "a" solver_mode: CPU'
    )
    caffe.Net("a.prototxt", caffe.TRAIN, allow_python=True).save("a.caffemodel")
    more = {"train": [], "time": ["--iterations", "3"], "test": ["--iterations", "3", "--weights", "a.caffemodel"]}
    arguments = [command, "a.prototxt", *more[command]]
    assert main(arguments) == 1
    assert "--allow-python" in capsys.readouterr().err
    assert main([*arguments, "--allow-python"]) == 0
    if command == "test":
        assert "r 2 over 3 batches" in capsys.readouterr().out


# Modules.


def test_import_caffe_is_caffelite_where_there_is_no_caffe(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "helper_of_mine.py").write_text("FACTOR = 3\n")
    (tmp_path / "nets" / "mine.py").write_text(
        "import caffe\n"
        "from helper_of_mine import FACTOR\n"
        "class Times(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(*bottom[0].data.shape)\n"
        "    def forward(self, bottom, top):\n"
        "        from another_of_mine import OFFSET\n"
        "        top[0].data[...] = FACTOR * bottom[0].data + OFFSET\n"
    )
    (tmp_path / "nets" / "another_of_mine.py").write_text("OFFSET = 1\n")
    (tmp_path / "caffe").mkdir()
    (tmp_path / "nets" / "a.prototxt").write_text(inputs((2,)) + python("Times", "x0", "y", module="mine") + "}")
    program = """import sys, caffelite
before = list(sys.path)
assert "caffe" not in sys.modules
net = caffelite.Net("nets/a.prototxt", caffelite.TEST, allow_python=True)
print(net.forward(x0=[1, 2])["y"].tolist(), sys.modules["caffe"].Net is caffelite.Net, sys.path == before)"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(caffe.__file__).parent.parent)},
    )
    assert done.stdout == "[4.0, 7.0] True True\n"


def test_modules_of_one_name_in_two_folders(tmp_path: Path) -> None:
    code = "import caffe\nclass Mine(caffe.Layer):\n    def forward(self, bottom, top):\n        pass\n"
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "of_two_folders.py").write_text(code)
        (tmp_path / name / "n.prototxt").write_text(python("Mine", "", "y", module="of_two_folders") + "}")
    caffe.Net(tmp_path / "a" / "n.prototxt", caffe.TEST, allow_python=True)
    with pytest.raises(NetError) as error:
        caffe.Net(tmp_path / "b" / "n.prototxt", caffe.TEST, allow_python=True)
    assert f'the module "of_two_folders" was loaded from {tmp_path}/a/of_two_folders.py before' in str(error.value)


def test_a_layer_of_another_caffe_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("caffe")
    other.Layer = type("Layer", (), {"__module__": "caffe._caffe"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "caffe", other)
    (tmp_path / "of_another_caffe.py").write_text("import caffe\nclass Mine(caffe.Layer):\n    pass\n")
    (tmp_path / "a.prototxt").write_text(python("Mine", "", "y", module="of_another_caffe") + "}")
    with pytest.raises(NetError, match="no subclass of caffelite.Layer but of a class of caffe._caffe, which was"):
        caffe.Net(tmp_path / "a.prototxt", caffe.TEST, allow_python=True)


# What goes wrong.


@pytest.mark.parametrize(
    ("kind", "more", "module", "text"),
    [
        ("Wrong", "", "no.such_module", 'there is no Python module "no.such_module", neither in'),
        ("Wring", "", "layers_in_python", "layers_in_python.py) has no class Wring"),
        ("NoLayer", "", "layers_in_python", "layers_in_python.py) is no subclass of caffelite.Layer"),
        ("Leaves", "", "layers_in_python", "SystemExit: no configuration (tests/layers_in_python.py:"),
        ("NoShape", 'param_str: "(1, -2)"', "layers_in_python", "ShapeError: 1×-2 is not the shape of a blob (tests"),
        ("NoShape", 'param_str: "(99999, 99999)"', "layers_in_python", "ShapeError: 99999×99999 is not the shape of a"),
        ("NoShape", 'param_str: "((2, 3),)"', "layers_in_python", "ShapeError: a shape is given as whole numbers"),
        ("Old", "", "old_of_mine", "Did you mean print(...)? This is Python 2. (old_of_mine.py:1, in import)"),
        ("Wrong", 'param_str: "setup"', "layers_in_python", "KeyError: 'no such\\n thing' ("),
        ("EuclideanLoss", "", "layers_in_python", "ValueError: two bottoms are needed ("),
        ("Broken", "", "broken_of_mine", "SyntaxError: invalid syntax (broken_of_mine.py:2, in import)"),
        (
            "Broken",
            "",
            "broken_too_of_mine",
            "ZeroDivisionError: division by zero (broken_too_of_mine.py:2, in import)",
        ),
        ("Broken", "", "needs_another", "No module named 'not_there' (needs_another.py:1, in import)"),
    ],
)
def test_what_goes_wrong_when_it_is_built_is_told(
    kind: str, more: str, module: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken_of_mine.py").write_text("a = 1\nb = = 1\n")
    Path("broken_too_of_mine.py").write_text("a = 0\nb = 1 / a\n")
    Path("needs_another.py").write_text("import not_there\n")
    Path("old_of_mine.py").write_text("print 'hello'\n")
    with pytest.raises(NetError) as error:
        net_of(inputs((2, 2)) + python(kind, "x0", "y", more, module) + "}")
    found = str(error.value).replace("\\n  ", "\\n ").replace(f"{Path(__file__).parent.parent.parent}/", "")
    assert text in found and "\n" not in found
    assert found.startswith("a.prototxt:3:") and f'layer "{kind}": ' in found


@pytest.mark.parametrize(
    ("kind", "param", "text"),
    [
        ("Wrong", "forward", "KeyError: 'no such"),
        ("Wrong", "bottom", 'ShapeError: bottom "x0" cannot be reshaped by the layer'),
        ("Wrong", "backward", "KeyError: 'no such"),
        ("Wrong", "shape", "ValueError: could not broadcast input array from shape (3,) into shape (2,2)"),
        ("Wrong", "numpy", "ValueError: cannot reshape array of size 4 into shape (3,)"),
    ],
)
def test_what_goes_wrong_in_a_pass_is_told_and_the_original_is_chained(kind: str, param: str, text: str) -> None:
    net = net_of("force_backward: true " + inputs((2, 2)) + python(kind, "x0", "y", f'param_str: "{param}"') + "}")
    with pytest.raises(NetError) as error:
        net.forward()
        net.backward()
    where = "backward" if param == "backward" else "forward"
    assert f'layer "{kind}": {text}' in str(error.value)
    assert f", in {where})" in str(error.value) and "layers_in_python.py:" in str(error.value)
    assert type(error.value.__cause__).__name__ in str(error.value)
    if param == "forward":
        lines = (Path(__file__).parents[1] / "layers_in_python.py").read_text().splitlines()
        line = lines.index('            raise KeyError("no such\\n  thing")')
        assert f"layers_in_python.py:{line + 1}, in forward)" in str(error.value)


def test_an_error_of_the_layer_is_one_line_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong_of_mine.py").write_text(
        "import caffe\n"
        "class Mine(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(2)\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = self.not_there\n"
    )
    Path("a.prototxt").write_text(python("Mine", "", "y", module="wrong_of_mine") + "}")
    assert main(["time", "a.prototxt", "--allow-python"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "caffelite: a.prototxt:2:41: layer \"Mine\": AttributeError: 'Mine' object has no attribute 'not_there' "
        "(wrong_of_mine.py:6, in forward)"
    )


def test_a_layer_without_forward_is_told_when_it_runs() -> None:
    net = net_of(inputs((2, 3)) + python("Bare", "x0", "y") + "}")
    assert net.blobs["y"].shape == ()
    with pytest.raises(NetError, match=r'layer "Bare": the class Bare \(.*layers_in_python.py\) has no method forward'):
        net.forward()


def test_a_layer_without_backward_is_told_when_it_is_needed() -> None:
    net = net_of("force_backward: true " + inputs((2,)) + python("Phase", "x0", "y") + "}")
    net.forward()
    with pytest.raises(NetError, match=r'layer "Phase": the class Phase \(.*layers_in_python.py\) has no method back'):
        net.backward()
