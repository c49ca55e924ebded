"""The page of a run: what it says first, what is drawn, what names may not do, how it follows a run."""

import math
from pathlib import Path

import pytest
from browser import opened

from caffelite.errors import Error
from caffelite.pages.page import write_page
from caffelite.report import live_page
from caffelite.report.curves import thinned
from caffelite.report.live_page import LivePage
from caffelite.report.metrics import Line, Run
from caffelite.report.run_page import run_page

NAME = '</script><b> "bn" שלום ' + 60 * "x"


def train(iteration: int, distance: float, layers: list[str], losses: list[float | None] | None = None) -> Line:
    norms = {"weights": 1.0, "gradients": 0.1, "updates": 0.01}
    return {
        "event": "train",
        "iteration": iteration,
        "rate": 0.1,
        "losses": losses or [1 / (iteration - 9 + i) for i in range(10)],
        "outputs": {"loss": [1.0]},
        "images_per_second": 1234.0,
        "seconds_left": 75.0,
        "waiting": 0.01,
        "norms": dict.fromkeys(layers, norms),
        "batchnorm": {name: {"mean": [distance, -distance], "deviation": [0.0, None]} for name in layers},
    }


def run_of(distance: float, layers: list[str], name: str = "run") -> Run:
    behind = {one: {"channels": [0, 7], "of": 8, "images": 100, "fraction": 0.999} for one in layers}
    start = {"event": "start", "iteration": 0, "net": NAME, "max_iter": 900, "test_nets": 1, "shares": ["accuracy"]}
    run = Run(name)
    run.add(start | {"batchnorm": behind})
    run.add({"event": "test", "iteration": 0, "net": 0, "outputs": {"accuracy": [0.25], "loss": [2.0]}})
    for iteration in range(10, 310, 10):
        run.add(train(iteration, distance, layers))
    return run


def test_what_it_says_first() -> None:
    run = run_of(1.5, [NAME, "ip"])
    text = run_page(run)
    assert "Iteration 300 of 900; 1 min 15 s left; 1,234 images a second; 1% of the time waiting for data; " in text
    assert "test at iteration 0: accuracy 25%, loss 2" in text
    assert "an average over about the last 300 batches, are behind at iteration 300" in text
    assert "1 more of 2 layers is behind as well" in text and '"live":true' in text
    assert "</script><b>" not in text

    run.add(train(310, 0.1, ["ip"], [1.0, None, None]))
    run.add({"event": "note", "iteration": 310, "text": "the loss <stands>"})
    run.add({"event": "end", "iteration": 311, "reason": "a gradient is not finite"})
    text = run_page(run)
    assert "This run did not come to its end: a gradient is not finite" in text
    assert "The loss is not a number from iteration 309 on." in text
    assert "iteration 310: the loss &lt;stands&gt;" in text and '"live":false' in text

    assert "no mean is more than 0.1 standard deviations away" in run_page(run_of(0.1, ["ip"]))
    assert "Nothing is measured yet" in run_page(Run("none"))


def test_points_are_thinned() -> None:
    x = list(range(100_000))
    y: list[float | None] = [math.sin(i) for i in x]
    y[500] = 100.0
    y[70_000] = None
    xs, ys = thinned(x, y)
    assert len(xs) <= 4001 and max(value for value in ys if value is not None) == 100 and None in ys
    assert xs == sorted(xs)


def test_in_a_browser(tmp_path: Path) -> None:
    support = pytest.importorskip("selenium.webdriver.support.ui", reason="pages are tested with Selenium")
    path = tmp_path / "run.html"
    layers = [NAME, *(f"bn{i}" for i in range(13))]
    write_page(path, run_page(run_of(1.5, layers), [run_of(0.1, ["ip"], "other")]))
    with opened(path) as browser:
        legends = [one.text for one in browser.find_elements("css selector", ".legend")]
        assert legends[:4] == ["run: training", "run: test: loss", "other: training", "other: test: loss"]
        # More than a dozen layers are a heat map; those of six layers are open, the rest unfolds.
        wait = support.WebDriverWait(browser, 10)
        wait.until(lambda _: len(browser.find_elements("css selector", "image.cells")) == 1 + 4 + 2 * 6)
        browser.find_element("css selector", "details summary").click()
        wait.until(lambda _: len(browser.find_elements("css selector", "image.cells")) == 1 + 4 + 2 * 7)
        # It goes on by itself when there is something new.
        write_page(path, run_page(run_of(0.1, ["ip"])).replace("<h1>", "<h1>new "))
        browser.find_element("id", "again").click()
        assert browser.find_element("tag name", "h1").text.startswith("new ")
        browser.find_element("id", "follow").click()
        browser.refresh()
        assert browser.find_element("id", "follow").get_attribute("aria-pressed") == "false"


def test_a_live_page(tmp_path: Path) -> None:
    path, said = tmp_path / "run.html", list[str]()
    page = LivePage(path, Run("run"), [], said.append)
    assert "Nothing is measured yet" in path.read_text("utf-8")
    run = run_of(1.5, ["ip"])
    for line in [*run.starts, *run.train]:
        page.write(line)
    page.close()
    assert "Iteration 300 of 900" in path.read_text("utf-8") and not said


def test_a_page_that_cannot_be_written_any_more(tmp_path: Path, monkeypatch) -> None:
    said = list[str]()
    page = LivePage(tmp_path / "run.html", Run("run"), [], said.append)

    def fail(path: Path, text: str) -> None:
        raise Error(f"{path}: the page cannot be written: the disk is full")

    monkeypatch.setattr(live_page, "write_page", fail)
    page.close()
    assert said == [
        f"{tmp_path / 'run.html'}: the page cannot be written: the disk is full; training goes on without it"
    ]
