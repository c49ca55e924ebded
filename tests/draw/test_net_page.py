"""The page of a net: what it holds, and every control of it in a browser."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import opened
from deep_nets import HOSTILE, residual_net

from caffelite.draw.diagram import draw
from caffelite.errors import Error
from caffelite.schema.messages import NetParameter
from caffelite.schema.text import read_net
from caffelite.schema.weights import write_caffemodel

#: What belongs to one phase, to a stage, and to nobody: a type that is not known, and names that are markup.
AROUND = (
    'layer { name: "labels" type: "Input" top: "label" include { phase: TRAIN } input_param { shape { dim: 1 } } }\n'
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" include { phase: TRAIN } }\n'
    'layer { name: "watch" type: "Power" bottom: "fc" top: "watch" include { stage: "odd" } }\n'
    'layer { name: "q" type: "Quantum" bottom: "fc" top: "q" include { phase: TEST stage: "odd" } }\n'
)


def write_net(folder: Path, stages: tuple[int, ...] = (3,)) -> Path:
    file = folder / "net.prototxt"
    hostile = "".join(
        f'layer {{ name: "{name}" type: "ReLU" bottom: "fc" top: "{i}" }}\n' for i, name in enumerate(HOSTILE)
    )
    file.write_text(residual_net(stages) + AROUND + hostile, encoding="utf-8")
    return file


def write_weights(folder: Path, net: Path) -> Path:
    generator = np.random.default_rng(1)
    blobs = {}
    message = NetParameter()
    for layer in read_net(net).message.layer:
        one = message.layer.add(name=layer.name, type=layer.type)
        if layer.type == "BatchNorm":
            blobs[one.name] = [np.arange(1, 5) * 10.0, np.full(4, 20.0), np.array([10.0])]
        elif layer.type == "Scale":
            blobs[one.name] = [np.ones(4), np.array([0, 1, np.nan, 3])]
        elif layer.type == "Convolution":
            blobs[one.name] = [generator.normal(size=(4, 4, 3, 3))]
    write_caffemodel(folder / "net.caffemodel", message, blobs)
    return folder / "net.caffemodel"


def write_times(folder: Path) -> Path:
    rows = [
        {"layer": "conv1+bn_conv1+scale_conv1+conv1_relu", "forward": 2.0, "backward": 1.0},
        {"layer": "fc", "forward": 0.75, "backward": 0.25},
        {"layer": "of another net", "forward": 1.0, "backward": 0.0},
    ]
    (folder / "run.json").write_text(json.dumps({"layers": rows}))
    return folder / "run.json"


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'type="application/json" id="page-data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_what_a_page_holds(tmp_path: Path) -> None:
    net = write_net(tmp_path)
    page = tmp_path / "net.html"
    told = draw(net, page, weights=write_weights(tmp_path, net), times=write_times(tmp_path), color="time")
    assert told.startswith("59 layers")
    text, data = page.read_text("utf-8"), data_of(page)
    assert "<script>boom" not in text and "<img src=x" not in text and str(tmp_path) not in text
    layers = {layer["name"]: layer for layer in data["layers"]}
    conv = layers["conv1"]
    assert conv["place"] == "net.prototxt:3:1" and 'name: "conv1"\ntype: "Convolution"\n' in conv["text"]
    assert conv["time"] == "Time: 3 ms, 60.0% of the time, with bn_conv1, scale_conv1, conv1_relu"
    assert layers["scale_conv1"]["time"] == "Time: timed with conv1" and "time" not in layers["prob"]
    (histogram,) = conv["charts"]
    assert sum(histogram["counts"]) == 144 and "from" in histogram["told"]
    mean, variance = layers["bn_conv1"]["charts"]
    scale = data["layers"][layers["bn_conv1"]["scale"]]
    assert (mean["title"], mean["low"], mean["high"]) == ("stored mean by channel", 1.0, 4.0)
    assert variance["low"] == variance["high"] == 2.0
    assert scale["name"] == "scale_conv1" and scale["charts"][1]["told"].endswith("1 not finite")
    facts = data["known"][data["facts"]["in any stage"]["TRAIN"]["1"]]
    assert (facts["in"], facts["out"], facts["field"]) == ([["data", "1×3×32×32"]], [["conv1", "1×4×32×32"]], "3×3")
    assert [state["stage"] for state in data["states"][::3]] == ["in any stage", "no stage", "odd"]


def test_a_net_of_700_layers_is_small(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(residual_net((3, 8, 36, 3)))
    assert draw(net, tmp_path / "net.html").startswith("669 layers")
    # Graphviz's own drawing of it has 800 kB.
    assert (tmp_path / "net.html").stat().st_size < 1_000_000
    (view,) = data_of(tmp_path / "net.html")["views"]
    assert [layout["open"] for layout in view["layouts"]] == ["", "0", "1", "2", "3", "all"]
    assert [len(layout["boxes"]) for layout in view["layouts"]] == [40, 44, 64, 176, 44, 208]


class Page:
    """What the tests do and look at on the page."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.run = browser.execute_script

    def click(self, selector: str) -> None:
        self.run(
            "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))", selector
        )

    def key(self, key: str, selector: str = "#diagram") -> None:
        self.run(
            "document.querySelector(arguments[1]).dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))",
            key,
            selector,
        )

    def set(self, selector: str, value: str, event: str = "change") -> None:
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event(arguments[2]))",
            selector,
            value,
            event,
        )

    def rows(self, kind: str = "") -> list[str]:
        """The names of the layers that are drawn, of those that are "match" or "selected"."""
        return self.run(
            "return [...document.querySelectorAll('svg .row' + arguments[0] + ' > title')].map(t => t.textContent)",
            kind,
        )

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0])?.textContent || ''", selector)

    def place(self) -> tuple[float, float, float]:
        """Return where the diagram is, and how large."""
        text = self.run("return document.querySelector('#diagram > g').getAttribute('transform')")
        x, y, scale = map(float, re.findall(r"-?[\d.]+", text))
        return x, y, scale

    def hidden(self, selector: str) -> bool:
        return self.run("return document.querySelector(arguments[0]).hidden", selector)


def test_every_control(tmp_path: Path) -> None:
    net = write_net(tmp_path)
    page_file = tmp_path / "net.html"
    draw(net, page_file, weights=write_weights(tmp_path, net), times=write_times(tmp_path))
    with opened(page_file) as browser:
        page = Page(browser)
        folding(page)
        moving(page)
        choosing(page)
        searching(page)
        switching(page)
        printing(page)


def folding(page: Page) -> None:
    folded = page.rows()
    assert "res2_1_branch2a" in folded and "res2_2_branch2a" not in folded
    assert set(HOSTILE) - {r"\"quoted\" & \'such\'", r"a\nb"} | {"\"quoted\" & 'such'", "a\nb"} <= set(folded)
    page.click(".frame rect")
    assert "res2_2_branch2a" in page.rows()
    page.click(".frame rect")
    assert page.rows() == folded
    page.click("#unfold")
    assert "res2_2_branch2a" in page.rows() and page.run("return document.querySelectorAll('.unfolded').length") == 1
    page.click("#fold")
    page.key("u")
    assert "res2_2_branch2a" in page.rows()
    page.key("f")
    page.key("Enter", ".frame")
    assert "res2_2_branch2a" in page.rows()
    page.key("f")
    assert page.rows() == folded


def moving(page: Page) -> None:
    page.click("#width")
    x, y, scale = page.place()
    page.click("#in")
    assert page.place()[2] == pytest.approx(1.25 * scale, rel=1e-3)
    page.click("#out")
    page.key("ArrowDown")
    page.key("ArrowLeft")
    assert page.place() == pytest.approx((x + 60, y - 60, scale), abs=0.1)
    page.click("#whole")
    assert page.place()[2] < scale
    page.key("1")
    assert page.place() == pytest.approx((x, y, scale), abs=0.1)
    page.key("+")
    page.key("-")
    assert page.place() == pytest.approx((x, y, scale), abs=0.1)
    page.key("0")
    page.run(
        "document.getElementById('diagram').dispatchEvent(new WheelEvent('wheel', {deltaY: -400, clientX: 300, clientY: 300}))"
    )
    assert page.place()[2] > scale * 0.2
    page.key("1")
    from selenium.webdriver import ActionChains

    svg = page.browser.find_element("id", "diagram")
    before = page.place()
    ActionChains(page.browser).move_to_element(svg).click_and_hold().move_by_offset(40, -30).release().perform()
    assert page.place() == pytest.approx((before[0] + 40, before[1] - 30, before[2]), abs=3)
    assert page.hidden("#panel")


def choosing(page: Page) -> None:
    page.click('svg [data-layer="2"]')
    panel = page.text("#panel")
    assert "bn_conv1" in panel and "net.prototxt:4:1" in panel and "1×4×32×32" in panel
    assert "stored mean by channel" in panel and "scale_conv1" in panel
    assert page.run("return document.querySelectorAll('#panel svg.chart').length") == 4
    page.run("document.querySelector('#panel svg.chart').dispatchEvent(new PointerEvent('pointermove', {clientX: 0}))")
    assert page.text("#panel figure span") == "channel 0: 1.00"
    assert page.rows(".selected") == ["bn_conv1"]
    assert page.text("#layers tr.selected button") == "bn_conv1"
    page.key("n")
    assert page.rows(".selected") == ["scale_conv1"] and "3×3" in page.text("#panel .facts")
    page.key("p")
    page.key("p")
    assert page.rows(".selected") == ["conv1"] and "60.0% of the time" in page.text("#panel .time")
    # One of a block that is folded away is unfolded and brought into the middle.
    page.run("[...document.querySelectorAll('#layers button')].find(b => b.textContent == 'res2_2_branch2b').click()")
    assert page.rows(".selected") == ["res2_2_branch2b"]
    page.click("#close")
    assert page.hidden("#panel") and page.rows(".selected") == []
    heads = page.browser.find_elements("css selector", "#layers th button")
    heads[5].click()
    assert page.text("#layers tbody tr td:nth-child(6)") == "147,456"


def searching(page: Page) -> None:
    page.set("#search", "branch2b", "input")
    assert page.text("#count") == "12 layers" and len(page.rows(".match")) == 12
    page.key("f")
    # What is folded away is found all the same.
    assert page.text("#count") == "12 layers" and len(page.rows(".match")) == 8
    page.key("Enter", "#search")
    first = page.rows(".selected")
    page.key("Enter", "#search")
    assert first != page.rows(".selected") and page.text("#count").startswith("2 of ")
    page.key("/", "body")
    assert page.run("return document.activeElement.id") == "search"
    page.key("Escape", "body")
    assert page.rows(".match") == [] and page.hidden("#panel")
    page.set("#search", "quantum", "input")
    assert page.rows(".match") == ["q"]
    page.set("#search", "", "input")


def switching(page: Page) -> None:
    fill = "return document.querySelector('[data-layer=\"1\"] rect').style.fill"
    assert page.run(fill) == ""
    for colour in ("macs", "size", "bytes", "ms"):
        page.set("#colour", colour)
        assert "color-mix" in page.run(fill), colour
    page.set("#colour", "phase")
    assert page.run("return document.querySelectorAll('.only-TRAIN').length") == 2
    page.set("#colour", "kind")
    radio = "input[name=phase][value=%s]"
    assert {"labels", "q"} <= set(page.rows())
    page.run("document.querySelector(arguments[0]).click()", radio % "TRAIN")
    assert "labels" in page.rows() and "q" not in page.rows()
    page.run("document.querySelector(arguments[0]).click()", radio % "TEST")
    assert "labels" not in page.rows() and "q" in page.rows()
    page.set("#stage", "odd")
    assert {"watch", "q"} <= set(page.rows())
    page.set("#stage", "no stage")
    assert not {"watch", "q"} & set(page.rows())
    page.run("[...document.querySelectorAll('#layers button')].find(b => b.textContent == 'labels').click()")
    assert "not in the net that is shown" in page.text("#panel")
    colour = "return getComputedStyle(document.querySelector('.kind-weights')).fill"
    light = page.run(colour)
    page.click("#theme")
    assert page.run(colour) != light


def printing(page: Page) -> None:
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    assert page.run("return document.querySelector('#diagram').getAttribute('viewBox')").startswith("0 0 ")
    assert page.run("return document.querySelector('#diagram > g').getAttribute('transform')") is None
    page.run("window.dispatchEvent(new Event('afterprint'))")
    assert page.run("return document.querySelector('#diagram').getAttribute('viewBox')") is None
    page.place()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", 'run.json: expected what "caffelite time --json" writes'),
        ('{"layers": [{"layer": "conv1"}]}', "run.json: expected what"),
        ('{"layers": [{"layer": "conv1", "forward": -1, "backward": 0}]}', "run.json: a time is not a number"),
        ('{"layers": [{"layer": "other", "forward": 1, "backward": 0}]}', "run.json: none of the layers"),
        (None, "run.json: No such file"),
    ],
)
def test_times_that_are_none(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(Error, match=re.escape(message)):
        draw(write_net(tmp_path), tmp_path / "net.md", times=tmp_path / "run.json", color="time")
    assert not (tmp_path / "net.md").exists()


def test_weights_of_another_net(tmp_path: Path) -> None:
    net = write_net(tmp_path)
    write_caffemodel(tmp_path / "w", NetParameter(layer=[{"name": "other"}]), {"other": [np.ones(3)]})
    with pytest.raises(Error, match="w: it has no weights of a layer of .*net.prototxt"):
        draw(net, tmp_path / "net.html", weights=tmp_path / "w")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color": "macz"}, 'did you mean "macs"'),
        ({"color": "time"}, "--time run.json"),
        ({"weights": "w.caffemodel"}, "weights are shown on a page"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        draw(write_net(tmp_path), tmp_path / "net.svg", **options)


@pytest.mark.parametrize(
    ("color", "fills"),
    [("macs", ["#f5965a", "multiply-adds"]), ("phase", ["#ffe0b8", "#cfe3f7"]), ("time", ["60.0% of the time"])],
)
def test_colours_of_pictures(color: str, fills: list[str], tmp_path: Path) -> None:
    net = write_net(tmp_path)
    draw(net, tmp_path / "net.dot", color=color, times=write_times(tmp_path), fold=True)
    text = (tmp_path / "net.dot").read_text("utf-8")
    assert all(fill in text for fill in fills) and "subgraph cluster_0" in text
    draw(net, tmp_path / "net.md", color=color, times=write_times(tmp_path))
    assert "classDef c0 " in (tmp_path / "net.md").read_text("utf-8")
