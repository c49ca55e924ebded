"""Diagrams: every layer once, edges from who makes to who reads, text that its language cannot misread."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from caffelite.draw.amounts import short_number
from caffelite.draw.boxes import BoxRow, build
from caffelite.draw.diagram import draw
from caffelite.draw.dot import dot
from caffelite.draw.mermaid import mermaid
from caffelite.errors import Error, MissingExtraError
from caffelite.schema.text import net_from_text, read_net

CAFFE = Path(__file__).parent.parent / "caffe"
TOTALS = (
    "10 layers, 1.72 k parameters (6.88 kB), in TRAIN 258 k multiply-adds, 102 kB of blobs, "
    "in TEST 516 k multiply-adds, 203 kB of blobs"
)
MODELS = sorted(p for p in (Path(__file__).parents[2] / "models").glob("*.prototxt") if not p.stem.endswith("_solver"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CAFFE)


def test_boxes_of_a_net_with_layers_split_by_phase(here: None) -> None:
    diagram = build(read_net("net.prototxt"))
    names = [[row.name for row in box.rows] for box in diagram.boxes]
    assert names == [["data"], ["conv1"], ["bn1", "relu1"], ["pool1"], ["ip"], ["accuracy"], ["loss"]]
    data, conv, bn = (diagram.boxes[i].rows[0] for i in range(3))
    assert data.settings == ["TRAIN: train_lmdb, batch 6", "TEST: train_lmdb, batch 12"]
    assert (conv.settings, conv.parameters) == (["3×3 → 6, pad 1"], 168)
    assert bn.settings == ["TRAIN: use_global_stats false", "TEST: use_global_stats true"]
    assert diagram.boxes[5].rows[0].phases == "TEST"
    edges = {(names[e.source][0], names[e.target][0], e.shape, e.phases) for e in diagram.edges}
    assert ("data", "conv1", "6×3×16×16", "") in edges
    assert ("bn1", "pool1", "6×6×16×16", "") in edges
    assert ("ip", "accuracy", "12×4", "TEST") in edges
    assert diagram.parameters == 168 + 13 + 4 * 384 + 4


def test_one_phase(here: None) -> None:
    diagram = build(read_net("net.prototxt"), "TRAIN")
    assert "accuracy" not in [row.name for box in diagram.boxes for row in box.rows]
    assert not any(row.phases for box in diagram.boxes for row in box.rows)


def test_shared_parameters_count_once() -> None:
    text = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }' + "".join(
        f"""layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "{name}" param {{ name: "w" }}
        inner_product_param {{ num_output: 5 bias_term: false }} }}"""
        for name in ("a", "b")
    )
    diagram = build(net_from_text(text))
    assert diagram.parameters == 15
    assert diagram.boxes[2].rows[0].shared == ["w"]


def test_unknown_layers_and_missing_data_are_drawn_all_the_same() -> None:
    text = """layer { name: "d" type: "Data" top: "x" data_param { source: "nowhere" batch_size: 4 } }
    layer { name: "q" type: "Quantum" bottom: "x" top: "y" }"""
    diagram = build(net_from_text(text))
    assert [box.rows[0].type for box in diagram.boxes] == ["Data", "Quantum"]
    assert diagram.edges[0].shape == ""
    assert diagram.parameters is None
    text = (
        'layer { name: "q" type: "Quantum" top: "y" quantization_param { bw_params: 8 } transform_param { scale: 2 } }'
    )
    assert build(net_from_text(text)).boxes[0].rows[0].settings == ["bw_params 8"]


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [
        ("PReLU", "activation"),
        ("Mish", "activation"),
        ("FocalLoss", "loss"),
        ("NoSuchLoss", "loss"),
        ("Quantum", "other"),
    ],
)
def test_the_kind_of_a_layer(type_name: str, kind: str) -> None:
    assert BoxRow("name", type_name).kind == kind
    assert BoxRow("name", "AnnotatedData").kind == "data"


@pytest.mark.parametrize(
    ("layer", "settings"),
    [
        (
            "Convolution convolution_param { num_output: 8 kernel_h: 3 kernel_w: 5 pad: 1 pad: 2 dilation: 2 group: 4 }",
            ["3×5 → 8, pad 1×2, dilation 2, group 4"],
        ),
        ("Im2col convolution_param { kernel_size: 3 }", ["kernel_size 3"]),
        ("Pooling pooling_param { pool: AVE kernel_size: 3 stride: 2 }", ["AVE 3×3, stride 2"]),
        ("Pooling pooling_param { global_pooling: true }", ["MAX over the whole map"]),
        ("InnerProduct inner_product_param { num_output: 10 }", ["→ 10"]),
        ("SoftmaxWithLoss loss_param { ignore_label: 255 } loss_weight: 0.3", ["ignore_label 255", "loss weight 0.3"]),
        ("HingeLoss loss_param { ignore_label: 255 } hinge_loss_param { norm: L2 }", ["norm L2"]),
    ],
)
def test_what_is_told_of_a_layer(layer: str, settings: list[str]) -> None:
    type_name, _, text = layer.partition(" ")
    diagram = build(net_from_text(f'layer {{ name: "a" type: "{type_name}" bottom: "x" top: "y" {text} }}'))
    assert diagram.boxes[0].rows[0].settings == settings


def test_a_diagram_is_the_same_each_time() -> None:
    path = Path(__file__).parents[2] / "models" / "mnist_autoencoder.prototxt"
    program = "import sys; from caffelite.draw.boxes import build; from caffelite.draw.dot import dot; from caffelite.schema.text import read_net; print(dot(build(read_net(sys.argv[1]))))"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(drawn) == 1


def hostile(name: str) -> str:
    return f'layer {{ name: "{name}" type: "Input" top: "x" input_param {{ shape {{ dim: 1 }} }} }}'


@pytest.mark.parametrize(
    "name", ['a\\"b', "a<b>&c", "a|b", "a]b[", "a`b", "é→ü", "a;b}", "a#quot;b", "%%{init: {}}%%", "a\\nb"]
)
def test_names_that_mean_something_in_the_other_language(name: str) -> None:
    diagram = build(net_from_text(hostile(name)))
    chart = mermaid(diagram)
    box = next(line for line in chart.splitlines() if line.startswith("  b0["))
    assert box.count('"') == 2
    assert "%%" not in chart and not re.search("#(?!quot;|[0-9]+;)", box)
    assert len(chart.splitlines()) == 9
    assert "<b>&c" not in dot(diagram)
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=dot(diagram).encode(), check=True, capture_output=True)


NASTY = "<script>alert(1)</script>&lt;script&gt; <img src=x onerror=alert(1)> ]]> \"a' --> </text> $\\\\frac$ \\001\\033[31m\\r```"


@pytest.mark.parametrize("kind", ["svg", "dot", "md"])
def test_names_are_text_in_every_format(kind: str, tmp_path: Path) -> None:
    name = NASTY.replace('"', '\\"')
    layer = f'layer {{ name: "{name}" type: "{name}" bottom: "x" top: "{name}" param {{ name: "{name}" }} }}'
    text = f'name: "{name}"\n{hostile(name)}{layer}{layer.replace("bottom: ", f"""bottom: "{name}" bottom: """)}'
    (tmp_path / "net.prototxt").write_text(text)
    draw(tmp_path / "net.prototxt", tmp_path / f"net.{kind}")
    drawn = (tmp_path / f"net.{kind}").read_text()
    assert "\033" not in drawn and "\001" not in drawn and "\r" not in drawn
    assert "<script" not in drawn and "<img" not in drawn
    if kind == "svg":
        root = ElementTree.fromstring(drawn)
        assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
            *("svg", "g", "title", "polygon", "polyline", "path", "text", "ellipse"),
        }
        assert not [key for element in root.iter() for key in element.attrib if key.startswith("on") or "href" in key]
        shown = "".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
        assert "<script>alert(1)</script>&lt;script&gt;" in shown.replace("\N{NO-BREAK SPACE}", " ")
    if kind == "md":
        assert drawn.count("```") == 2 and len(drawn.splitlines()) == 15


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_example_nets(path: Path, tmp_path: Path) -> None:
    document = read_net(path)
    draw(path, tmp_path / "net.dot")
    draw(path, tmp_path / "net.md")
    text, chart = (tmp_path / "net.dot").read_text(), (tmp_path / "net.md").read_text()
    for name in {layer.name for layer in document.message.layer}:
        assert f">{name}<" in text or f"{name}  <font" in text
        assert f"<b>{name}</b>" in chart
    diagram = build(document)
    for edge in diagram.edges:
        assert re.search(rf"b{edge.source} -> b{edge.target} ", text)
        assert re.search(rf"b{edge.source} (-->|-\.->)\|.*\| b{edge.target}$", chart, re.MULTILINE)
    assert text.count("{") == text.count("}")


def test_a_net_of_150_layers_is_quick() -> None:
    parts = ['layer { name: "in" type: "Input" top: "b0" input_param { shape { dim: 1 dim: 8 dim: 8 dim: 8 } } }']
    for i in range(37):
        parts.append(f"""
        layer {{ name: "c{i}" type: "Convolution" bottom: "b{i}" top: "c{i}" convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 }} }}
        layer {{ name: "n{i}" type: "BatchNorm" bottom: "c{i}" top: "c{i}" }}
        layer {{ name: "r{i}" type: "ReLU" bottom: "c{i}" top: "c{i}" }}
        layer {{ name: "s{i}" type: "Eltwise" bottom: "c{i}" bottom: "b{i}" top: "b{i + 1}" }}""")
    diagram = build(net_from_text("".join(parts)))
    assert diagram.layers == 149
    assert len(diagram.boxes) == 75
    assert len(diagram.edges) == 37 * 3
    assert dot(diagram).count("b74") > 0


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the whole path: no ``dot``."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def no_pygraphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the import of PyGraphviz fail, as where its libraries cannot be loaded."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "pygraphviz.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG\r\n\x1a\n"), ("pdf", b"%PDF-")])
def test_pictures_need_no_program(
    kind: str, start: bytes, here: None, empty_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / f"net.{kind}"
    assert draw("net.prototxt", picture) == TOTALS
    assert picture.read_bytes().startswith(start)
    # Nothing of what Graphviz and its libraries print.
    assert capfd.readouterr() == ("", "")


def test_a_picture_has_every_layer(here: None, empty_path: Path, tmp_path: Path) -> None:
    draw("net.prototxt", tmp_path / "net.svg")
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", (tmp_path / "net.svg").read_text())
    assert {"conv1", "bn1", "pool1", "ip", "accuracy", "loss", "3×3 → 6, pad 1"} <= set(texts)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere fonts are not found by fontconfig")
def test_a_machine_without_fonts(here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fonts.conf").write_text("<fontconfig></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
    with pytest.warns(UserWarning, match="net.png: its text is boxes, because this machine has no fonts"):
        draw("net.prototxt", tmp_path / "net.png")


def test_dot_on_the_path(here: None, no_pygraphviz: None, empty_path: Path, tmp_path: Path) -> None:
    program = empty_path / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:], sys.stdin.read()[:7])\n")
    program.chmod(0o755)
    draw("net.prototxt", tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_text() == "['-Tsvg'] digraph\n"


def test_without_graphviz(here: None, no_pygraphviz: None, empty_path: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingExtraError, match="net.svg: a picture is drawn by Graphviz, which is not installed .pip install pyg"
    ):
        draw("net.prototxt", tmp_path / "net.svg")
    assert not list(tmp_path.glob("*.svg"))


def test_what_graphviz_cannot_read(here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffelite.draw.diagram.dot", lambda *_: "digraph {")
    with pytest.raises(Error, match="Graphviz failed: .*syntax error"):
        draw("net.prototxt", tmp_path / "net.svg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("cifar10_bn", "# cifar10_bn"),
        ("", "# net"),
        ("a <script>b</script> & c", "# a &lt;script&gt;b&lt;/script&gt; &amp; c"),
        ("![x](y) *z* `w` _v_ #", r"# !\[x\](y) \*z\* \`w\` \_v\_ \#"),
        ("a\\n```mermaid", r"# a \`\`\`mermaid"),
    ],
)
def test_the_heading_of_mermaid_is_the_name_and_nothing_else(name: str, heading: str) -> None:
    assert mermaid(build(net_from_text(f'name: "{name}"' + hostile("a")))).splitlines()[0] == heading


def test_numbers() -> None:
    assert [short_number(n) for n in (7, 25600, 1_234_567, 2_000_000_000)] == ["7", "25.6 k", "1.23 M", "2 G"]
