"""Two nets beside each other: what differs is found, told and marked, and every control of the page works."""

from pathlib import Path

import pytest
from browser import opened

from caffelite.draw.diagram import draw_difference
from caffelite.errors import Error

TRAINED = """
name: "trained"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { source: "a" batch_size: 4 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } data_param { source: "b" batch_size: 8 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "ip" type: "InnerProduct" bottom: "bn" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "</script><b>loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
DEPLOYED = """
name: "deployed"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def nets(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "train.prototxt").write_text(TRAINED)
    (tmp_path / "deploy.prototxt").write_text(DEPLOYED)
    return tmp_path / "train.prototxt", tmp_path / "deploy.prototxt"


def test_what_differs(nets: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert draw_difference(*nets, page, inputs={"data": (2, 3, 8, 8)}) == (
        "7 layers in train.prototxt, 5 layers in deploy.prototxt, 3 only in train.prototxt, 1 only in deploy.prototxt, "
        "3 with other settings, 1 with others in training alone"
    )
    assert "</script><b>" not in page.read_text("utf-8") and "Not all is known" not in page.read_text("utf-8")
    draw_difference(*nets, page)
    assert page.read_text("utf-8").count("--input data=N,C,H,W tells its shape instead</p>") == 1
    draw_difference(nets[0], nets[0], page)
    assert "<p>Nothing.</p>" in page.read_text("utf-8")


def test_errors(nets: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"out.svg: two nets are drawn on a page, whose name ends in .html"):
        draw_difference(*nets, tmp_path / "out.svg")
    with pytest.raises(Error, match='"dat", which neither net has; did you mean "data"'):
        draw_difference(*nets, tmp_path / "out.html", inputs={"dat": (1,)})
    assert not list(tmp_path.glob("out*"))


def test_every_control(nets: tuple[Path, Path], tmp_path: Path) -> None:
    draw_difference(*nets, tmp_path / "out.html")
    with opened(tmp_path / "out.html") as browser:
        run = browser.execute_script

        def rows(kind: str) -> list[str]:
            return run(
                "return [...document.querySelectorAll('svg .row' + arguments[0] + ' > title')].map(t => t.textContent)",
                kind,
            )

        def text(selector: str) -> str:
            return run("return document.querySelector(arguments[0]).textContent", selector)

        def click(selector: str) -> None:
            run(
                "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))", selector
            )

        assert rows('[data-mark="only"]') == ["bn", "</script><b>loss", "prob"]
        assert rows('[data-mark="changed"]') == ["data", "relu", "ip", "data", "relu", "ip"]
        assert rows('[data-mark="training"]') == ["conv", "conv"]
        click("#diagram0 [data-layer='2']")
        assert rows(".selected") == ["conv", "conv"]
        assert "what training alone reads" in text("#panel") and "lr_mult: 2" in text("#panel del:nth-of-type(2)")
        assert "1×4×6×6" in text("#panel") and run("return document.querySelectorAll('#panel .facts').length") == 2
        click("#next")
        assert rows(".selected") == ["data", "data"] and 'type: "Input"' in text("#panel ins")
        click("#close")
        assert rows(".selected") == [] and run("return document.getElementById('panel').hidden")
        click("#layers tbody tr:last-child button")
        assert rows(".selected") == ["prob"] and "in this net alone" in text("#panel")
        run("const s = document.getElementById('search'); s.value = 'relu'; s.dispatchEvent(new Event('input'))")
        assert rows(".match") == ["relu", "relu"] and text("#count") == "1 and 1 layers"
        place = "return [0, 1].map(i => document.querySelector(`#diagram${i} > g`).getAttribute('transform'))"
        seen = []
        for button in ("#width", "#in", "#out", "#whole"):
            click(button)
            seen.append(run(place))
        assert seen[0] != seen[1] and seen[0] != seen[3]
        run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}))")
        assert run("return document.activeElement.id") == "search"
        run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))")
        assert run("return document.getElementById('panel').hidden")
