"""Layers that users write in Python."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import caffelite as caffe
from caffelite.cli import main
from caffelite.draw.diagram import draw
from caffelite.errors import NetError, ShapeError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

RNG = np.random.default_rng(2)


def python(kind: str, bottom: str, top: str, more: str = "", module: str = "layers_in_python") -> str:
    blobs = " ".join([f'bottom: "{b}"' for b in bottom.split()] + [f'top: "{t}"' for t in top.split()])
    return f'layer {{ name: "{kind}" type: "Python" {blobs}\n python_param {{ module: "{module}" layer: "{kind}" {more} }} '


def inputs(*shapes: tuple[int, ...]) -> str:
    tops = " ".join(f'top: "x{j}"' for j in range(len(shapes)))
    dims = " ".join(f"shape {{ {' '.join(f'dim: {n}' for n in shape)} }}" for shape in shapes)
    return f'layer {{ name: "in" type: "Input" {tops} input_param {{ {dims} }} }}\n'


def net_of(text: str, phase: int = TRAIN, **options: Any) -> Net:
    options = {"allow_python": True, "keep": True, **options}
    return Net(net_from_text(text, "a.prototxt"), phase, **options)


def test_a_loss_is_that_of_the_layer_in_caffe() -> None:
    text = "force_backward: true " + inputs((3, 4), (3, 4))
    mine = net_of(text + python("EuclideanLoss", "x0 x1", "y", 'param_str: ""') + "loss_weight: 1 }")
    theirs = net_of(text + 'layer { name: "l" type: "EuclideanLoss" bottom: "x0" bottom: "x1" top: "y" }')
    values = RNG.standard_normal((2, 3, 4))
    for net in (mine, theirs):
        for j in range(2):
            net.blobs[f"x{j}"].data[...] = values[j]
        net.forward()
        net.backward()
    assert mine.loss() == pytest.approx(theirs.loss(), rel=1e-6)
    for j in range(2):
        found, expected = mine.blobs[f"x{j}"].diff, theirs.blobs[f"x{j}"].diff
        np.testing.assert_allclose(found, expected, rtol=1e-5)  # type: ignore[arg-type]


def test_shapes_that_change_from_pass_to_pass() -> None:
    text = (
        python("Images", "", "x t", 'param_str: "[(4, 5), (7, 3), (7, 3), (1, 1)]"')
        + """}
        layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 1
          weight_filler { type: "constant" value: 1 } } }
        layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }
        layer { name: "f" type: "Flatten" bottom: "p" top: "f" }
        layer { name: "l" type: "SoftmaxWithLoss" bottom: "f" bottom: "t" top: "l" }"""
    )
    for keep in (False, True):
        net = net_of(text, keep=keep)
        for i in range(9):
            net.forward()
            net.backward()
            assert net.blobs["x"].shape == (1, 2, *[(4, 5), (7, 3), (7, 3), (1, 1)][i % 4])
            assert (net.blobs["x"].data == i + 1).all()
            assert net.blobs["t"].data.tolist() == [(i + 1) % 2]
            assert net.loss() == pytest.approx(np.log(3), rel=1e-4)
            if keep:
                assert net.blobs["c"].shape[2:] == net.blobs["x"].shape[2:]
                np.testing.assert_allclose(net.blobs["p"].data, 2 * (i + 1), rtol=1e-4)


def test_a_shape_that_parameters_do_not_fit_is_refused_and_the_net_goes_on() -> None:
    net = net_of(
        python("Images", "", "x t", 'param_str: "[(4, 5), (7, 3), (4, 5)]"')
        + '} layer { name: "i" type: "InnerProduct" bottom: "x" top: "i" inner_product_param { num_output: 2 '
        'weight_filler { type: "constant" value: 1 } } }'
    )
    net.forward()
    for _ in range(2):
        with pytest.raises(ShapeError, match=r'layer "i": with the new input its parameters would need shapes 2×42, 2'):
            net.forward()
        net.forward()
        assert (net.blobs["i"].data == 40 * net.blobs["x"].data[0, 0, 0, 0]).all()
        net.forward()
        assert (net.blobs["i"].data == 40 * net.blobs["x"].data[0, 0, 0, 0]).all()


def test_shapes_that_depend_on_the_data() -> None:
    net = net_of(
        "force_backward: true "
        + inputs((3, 4))
        + python("Positive", "x0", "y")
        + "}"
        + 'layer { name: "p" type: "Power" bottom: "y" top: "z" power_param { scale: 3 } loss_weight: 1 }'
    )
    for _ in range(5):
        values = RNG.standard_normal((3, 4)).astype(np.float32)
        net.blobs["x0"].data[...] = values
        net.forward()
        np.testing.assert_array_equal(net.blobs["z"].data, 3 * values[values > 0])
        net.backward()
        np.testing.assert_array_equal(net.blobs["x0"].diff, 3 * (values > 0))


#: As py-faster-rcnn is built: what one layer makes of the images meets what another makes of them in ``forward``.
TWICE = """
    layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 1
      weight_filler { type: "constant" value: 1 } } }
    %s }
    layer { name: "s" type: "Scale" bottom: "o" top: "s" scale_param { filler { value: 2 } } }
    %s }
    layer { name: "e" type: "Eltwise" bottom: "p" bottom: "s" top: "e" }
    layer { name: "l" type: "EuclideanLoss" bottom: "c" bottom: "e" top: "l" }"""
TWICE %= python("Ones", "c", "o"), python("Ones", "s", "p")


@pytest.mark.parametrize("keep", [False, True])
def test_layers_behind_two_that_give_shapes_in_forward(keep: bool) -> None:
    sizes = [(4, 5), (7, 3), (7, 3), (1, 1), (2, 9)]
    net = net_of(python("Images", "", "x t", f'param_str: "{sizes}"') + "}" + TWICE, keep=keep)
    for i in range(12):
        height, width = sizes[i % 5]
        assert net.forward() == pytest.approx(3 * height * width * (2 * (i + 1) - 3) ** 2 / 2, rel=1e-5)
        net.zero_grad()
        net.backward()
        weights, scale = net.params["c"][0].diff, net.params["s"][0].diff
        assert weights is not None and scale is not None
        each = (2 * (i + 1) - 3) * height * width
        np.testing.assert_allclose(weights, each * (i + 1), rtol=1e-4)
        np.testing.assert_allclose(scale, -each, rtol=1e-4)


def test_inputs_that_are_reshaped_before_such_layers(tmp_path: Path) -> None:
    (tmp_path / "a.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 5 } } }' + TWICE
    )
    net = caffe.Net(tmp_path / "a.prototxt", caffe.TRAIN, allow_python=True)
    for height, width in [(4, 5), (7, 3), (7, 3), (2, 9)]:
        net.blobs["x"].reshape(1, 2, height, width)
        net.reshape()
        assert net.blobs["c"].shape == (1, 3, height, width)
        net.blobs["x"].data[...] = 5
        assert net.forward()["l"] == pytest.approx(3 * height * width * 49 / 2, rel=1e-5)
        assert net.blobs["e"].shape == (1, 3, height, width)
        net.backward()


def test_in_place() -> None:
    net = net_of(
        "force_backward: true "
        + inputs((3, 4))
        + 'layer { name: "p" type: "Power" bottom: "x0" top: "y" }'
        + python("Half", "y", "y")
        + "loss_weight: 1 }",
        keep=False,
    )
    values = RNG.standard_normal((3, 4)).astype(np.float32)
    net.blobs["x0"].data[...] = values
    for _ in range(2):
        assert net.forward() == pytest.approx(values[values > 0].sum(), rel=1e-5)
        net.backward()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("through", ["top", "bottom"])
def test_a_blob_that_is_written_in_place_is_one_object(through: str, keep: bool) -> None:
    net = net_of(
        "force_backward: true " + inputs((3, 4)) + 'layer { name: "p" type: "Power" bottom: "x0" top: "y" '
        "power_param { scale: 3 } }" + python("Doubled", "y", "y", f'param_str: "{through}"') + "loss_weight: 2 }",
        keep=keep,
    )
    values = RNG.standard_normal((3, 4)).astype(np.float32)
    net.blobs["x0"].data[...] = values
    for _ in range(2):
        assert net.forward() == pytest.approx(12 * values.sum(), rel=1e-5)
        net.backward()
        gradient = net.blobs["x0"].diff
        assert gradient is not None and (gradient == 12).all()


def test_a_blob_in_place_keeps_its_shape() -> None:
    text = inputs((3, 4)) + 'layer { name: "p" type: "Power" bottom: "x0" top: "y" }'
    with pytest.raises(NetError, match='ShapeError: bottom "y" cannot be reshaped by the layer'):
        net_of(text + python("NoShape", "y", "y", 'param_str: "(4, 3)"') + "}")


@pytest.mark.parametrize("keep", [False, True])
def test_gradients_that_are_computed_in_forward(keep: bool) -> None:
    net = net_of(
        "force_backward: true " + inputs((2, 3), (2, 3)) + python("Early", "x0 x1", "y") + "loss_weight: 1 }", keep=keep
    )
    for i in range(3):
        net.blobs["x0"].data[...] = i
        net.forward()
        for _ in range(2):
            net.backward()
            first, second = net.blobs["x0"].diff, net.blobs["x1"].diff
            assert first is not None and (first == 2 * i).all()
            assert second is not None and not second.any()


def test_the_layer_is_told_which_gradients_are_wanted() -> None:
    text = inputs((2, 2)) + "".join(
        f'layer {{ name: "{name}" type: "{kind}" bottom: "x0" top: "{name}" {more} }}'
        for name, kind, more in [
            ("a", "Power", ""),
            ("b", "InnerProduct", "inner_product_param { num_output: 2 }"),
            ("c", "Bias", ""),
        ]
    )
    loss = python("Wanted", "a b c", "y") + "propagate_down: true propagate_down: true propagate_down: false "
    net = net_of(text + loss + "loss_weight: 1 }")
    net.forward()
    net.backward()
    user = net.layers[-1].user  # type: ignore[attr-defined]
    assert user.wanted == [False, True, False]


def test_share_in_parallel_changes_nothing() -> None:
    net = net_of(python("Phase", "", "y", "share_in_parallel: true") + "}")
    net.forward()
    assert net.blobs["y"].data == TRAIN


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_it_knows_the_phase(phase: int) -> None:
    net = net_of(python("Phase", "", "y") + "}", phase)
    net.forward()
    assert net.blobs["y"].data == phase and net.blobs["y"].shape == ()
    # Older versions of Caffe have the name.
    told = net.layers[0].user.phase  # type: ignore[attr-defined]
    assert told == phase and str(told) == ("TRAIN", "TEST")[phase]


FILE = "force_backward: true " + inputs((3, 2, 4)) + python("Scaled", "x0", "y", 'param_str: "0.5"') + "}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.prototxt").write_text(FILE)
    return tmp_path / "a.prototxt"


def test_the_python_interface_shows_the_object_and_its_parameters(file: Path, tmp_path: Path) -> None:
    net = caffe.Net(file, caffe.TRAIN, allow_python=True)
    user = net.layers[1]
    assert (type(user).__name__, user.type, user.name, user.param_str) == ("Scaled", "Python", "Scaled", "0.5")
    assert isinstance(user, caffe.Layer) and isinstance(net.layers[0], caffe.Layer)
    assert net.layer_dict["Scaled"] is user
    assert user.blobs[0].data.tolist() == [2, 2]
    net.params["Scaled"][0].data[...] = [1, 3]
    out = net.forward(x0=np.ones((3, 2, 4)))
    assert out["y"][0, :, 0].tolist() == [1.5, 3.5]
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert user.blobs[0].diff.tolist() == net.params["Scaled"][0].diff.tolist() == [12, 12]
    net.save(tmp_path / "a.caffemodel")
    other = caffe.Net(file, caffe.TEST, weights=tmp_path / "a.caffemodel", allow_python=True)
    assert other.layers[1].blobs[0].data.tolist() == [1, 3]
    third = caffe.Net(file, caffe.TEST, allow_python=True)
    third.share_with(net)
    user.blobs[0].data[...] = 7
    assert third.layers[1].blobs[0].data.tolist() == third.params["Scaled"][0].data.tolist() == [7, 7]
    net.blobs["x0"].reshape(5, 2, 1)
    assert net.forward()["y"].shape == (5, 2, 1)
    assert user.blobs[0].data.tolist() == [7, 7]


def test_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOG_minloglevel", "1")
    text = inputs((3, 2, 4)) + python("Scaled", "x0", "y", 'param_str: "0"') + "}\n"
    text += (
        'layer { name: "r" type: "Reduction" bottom: "y" top: "l" reduction_param { operation: SUMSQ } loss_weight: 1 }'
    )
    (tmp_path / "a.prototxt").write_text(text)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        f'net: "{tmp_path}/a.prototxt" base_lr: 0.005 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/s" max_iter: 9'
    )
    for made in (caffe.SGDSolver(solver, allow_python=True), caffe.get_solver(solver, allow_python=True)):
        made.net.blobs["x0"].data[...] = 1
        made.step(3)
        # The loss is 12 w² of each, its gradient 24 w.
        np.testing.assert_allclose(made.net.params["Scaled"][0].data, 2 * (1 - 0.005 * 24) ** 3, rtol=1e-5)
    with pytest.raises(NetError, match="allow_python=True"):
        caffe.get_solver(solver)


# Permission.


def test_without_permission_nothing_of_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("open('ran', 'w')")
    Path("a.prototxt").write_text(inputs((3, 2)) + python("Mine", "x0", "y", module="mine") + "}")
    with pytest.raises(NetError) as error:
        caffe.Net("a.prototxt", caffe.TEST)
    assert str(error.value) == (
        'a.prototxt:3:17: layer "Mine": it is the class Mine of the Python module "mine", and a file\'s own code runs '
        "only where that is allowed: with --allow-python on the command line, with allow_python=True in Python"
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
        "caffelite: a.prototxt:1:1: layer \"Mine\": AttributeError: 'Mine' object has no attribute 'not_there' "
        "(wrong_of_mine.py:6, in forward)"
    )


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
print(net.forward(x0=[1, 2])["y"].tolist(), sys.modules["caffe"] is caffelite, sys.path == before)"""
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


@pytest.mark.parametrize(
    ("kind", "more", "module", "text"),
    [
        ("Wrong", "", "no.such_module", 'there is no Python module "no.such_module", neither in'),
        ("Wring", "", "layers_in_python", "layers_in_python.py) has no class Wring"),
        ("NoLayer", "", "layers_in_python", "layers_in_python.py) is no subclass of caffelite.Layer"),
        ("Bare", "", "layers_in_python", "layers_in_python.py) has no method forward"),
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


def test_a_layer_without_backward_is_told_when_it_is_needed() -> None:
    net = net_of("force_backward: true " + inputs((2,)) + python("Phase", "x0", "y") + "}")
    net.forward()
    with pytest.raises(NetError, match=r'layer "Phase": the class Phase \(.*layers_in_python.py\) has no method back'):
        net.backward()


def test_a_layer_of_another_caffe_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("caffe")
    other.Layer = type("Layer", (), {"__module__": "caffe._caffe"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "caffe", other)
    (tmp_path / "of_another_caffe.py").write_text("import caffe\nclass Mine(caffe.Layer):\n    pass\n")
    (tmp_path / "a.prototxt").write_text(python("Mine", "", "y", module="of_another_caffe") + "}")
    with pytest.raises(NetError, match="no subclass of caffelite.Layer but of a class of caffe._caffe, which was"):
        caffe.Net(tmp_path / "a.prototxt", caffe.TEST, allow_python=True)


@pytest.mark.parametrize("missing", ["module", "layer"])
def test_module_and_class_are_needed(missing: str) -> None:
    text = python("Phase", "", "y").replace(f'{missing}: "', 'param_str: "') + "}"
    with pytest.raises(NetError, match=f'layer "Phase": python_param needs {missing}'):
        net_of(text)
