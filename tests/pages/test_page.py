"""Pages: escaped, self-contained, sortable, light and dark."""

import re
from pathlib import Path

import pytest
from browser import opened

from caffelite.errors import Error
from caffelite.pages.markup import Markup, element, table
from caffelite.pages.page import page, write_page

#: Names that would do harm where they were taken as markup or as script.
NAMES = [
    "</script><script>boom()</script>",
    "<img src=x onerror=boom()>",
    "\"quoted\" & 'such'",
    "a\nb",
    "שלום",
    "x" * 300,
    "\udcff",
    "\x00",
]


def sample(path: Path) -> Path:
    rows = [[name, str(i * 7 % 5), "1,200 KB" if i % 2 else "9 KB"] for i, name in enumerate(NAMES)]
    body = [element("h1", "A page"), table(["name", "number", "size"], rows, frozenset({1, 2}), id="names")]
    script = "document.title = JSON.stringify(pageData().names.length);"
    write_page(path, page("names", body, scripts=(script,), data={"names": NAMES[:-2], "loss": [1.5, float("nan")]}))
    return path


def test_everything_is_in_the_file(tmp_path: Path) -> None:
    text = sample(tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r"(src|href)=.?https?:", text) and "default-src &#x27;none&#x27;" in text
    assert "<script>boom" not in text and "<img src=x" not in text
    assert '"loss":[1.5,null]' in text
    assert text == sample(tmp_path / "again.html").read_text("utf-8")


def test_elements() -> None:
    assert (
        element("p", "a < b", class_="x", data_n=3, hidden=True, id=None)
        == '<p class="x" data-n="3" hidden>a &lt; b</p>'
    )
    assert element("div", Markup("<b>"), element("br")) == "<div><b><br></div>"
    # What turns the text behind it around.
    assert element("p", "a\u202eb\u2066") == "<p>a\ufffdb\ufffd</p>"
    assert element("p", title='"') == '<p title="&quot;"></p>'


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="the page cannot be written"):
        write_page(tmp_path / "file" / "page.html", "")


def test_in_a_browser(tmp_path: Path) -> None:
    with opened(sample(tmp_path / "page.html")) as browser:
        assert browser.title == str(len(NAMES) - 2)
        column = "return [...document.querySelectorAll('#names tbody tr')].map(row => row.cells[%d].textContent)"
        assert browser.execute_script(column % 0)[:5] == NAMES[:5]
        heads = browser.find_elements("css selector", "#names th button")
        heads[1].click()
        numbers = [int(text) for text in browser.execute_script(column % 1)]
        assert numbers == sorted(numbers, reverse=True)
        heads[2].click()
        heads[2].click()
        assert browser.execute_script(column % 2) == ["9 KB"] * 4 + ["1,200 KB"] * 4
        colour = "return getComputedStyle(document.body).backgroundColor"
        before = browser.execute_script(colour)
        browser.find_element("id", "theme").click()
        assert browser.execute_script(colour) != before
