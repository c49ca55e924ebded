"""Charts: what a browser draws of them, and what their controls do."""

from pathlib import Path

import pytest
from browser import opened

from caffelite.pages.charts import Charts, Series, side_by_side
from caffelite.pages.page import write_page

NAME = '</script>"b" <i> שלום'


def sample(path: Path) -> Path:
    charts = Charts()
    loss: list[float | None] = [100 / (i + 1) for i in range(200)]
    loss[50:60] = [None] * 10
    lines = charts.lines(
        "Loss",
        "iteration",
        "loss",
        [Series(NAME, range(200), loss), Series("test", [0, 100], [2.0, 1.0])],
        smooth=0.9,
    )
    values = [[0.0, 1.0, None], [-3.0, 0.5, 2.0]]
    heat = charts.heat("Means", "iteration", "channel", [0, 10, 20], ["7", NAME], values, "deviations", limit=2)
    empty = charts.lines("None", "x", "y", [])
    long = charts.lines("Long", "x", "y", [Series("a", [0, 5e6], [1, 2])])
    write_page(path, charts.page("charts", [side_by_side(lines, heat, empty, long)]))
    return path


def test_lines_and_heat_maps_in_a_browser(tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver", reason="pages are tested with Selenium")
    keys = webdriver.Keys
    with opened(sample(tmp_path / "page.html")) as browser:
        find = browser.find_elements
        lines, heat, empty, long = find("css selector", ".chart")
        right = "return arguments[0].getBoundingClientRect().right"
        edge = browser.execute_script(right, long.find_element("tag name", "svg"))
        last = next(text for text in long.find_elements("css selector", ".axes text") if text.text == "5,000,000")
        assert browser.execute_script(right, last) <= edge
        # Raw and smoothed, and the two points of the test.
        assert len(lines.find_elements("css selector", "path.line")) == 3
        assert len(lines.find_elements("css selector", "circle")) == 2
        assert [mark.get_attribute("textContent")[:1] for mark in lines.find_elements("css selector", ".gap")] == ["✕"]
        assert "</script>" in lines.find_element("css selector", ".legend").text
        readout = lines.find_element("css selector", ".readout")
        plot = lines.find_element("tag name", "svg")
        plot.send_keys(keys.ARROW_RIGHT, keys.ARROW_RIGHT)
        assert readout.text == f"iteration 1: {NAME} 50 (smoothed 73.68); test 2 at 0"
        first, second, log, reset = lines.find_elements("css selector", "button")
        second.click()
        assert len(lines.find_elements("css selector", "circle")) == 0
        log.click()
        assert log.get_attribute("aria-pressed") == "true"

        def ticks() -> list[str]:
            return [text.get_attribute("textContent") for text in lines.find_elements("css selector", ".axes text")]

        whole = ticks()
        webdriver.ActionChains(browser).move_to_element(plot).click_and_hold().move_by_offset(80, 0).release().perform()
        assert ticks() != whole
        # What was switched is there again when the page is.
        zoomed = ticks()
        browser.refresh()
        lines, heat, empty, _ = find("css selector", ".chart")
        assert ticks() == zoomed
        lines.find_elements("css selector", "button")[3].click()
        assert ticks() == whole
        assert not empty.find_elements("css selector", "path.line")

        cells = heat.find_element("tag name", "svg")
        cells.send_keys(keys.ARROW_DOWN)
        readout = heat.find_element("css selector", ".readout")
        assert readout.text == f"iteration 20, channel {NAME}: 2 deviations"
        cells.send_keys(keys.ARROW_UP)
        assert readout.text == "iteration 20, channel 7: not a number"
        assert "≥ 2" in heat.get_attribute("textContent")
        picture = heat.find_element("css selector", "image.cells").get_attribute("href")
        browser.find_element("id", "theme").click()
        assert heat.find_element("css selector", "image.cells").get_attribute("href") != picture
