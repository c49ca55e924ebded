"""The page on batch normalization says what the saved results say."""

import importlib.util
from pathlib import Path

import pytest

from caffelite.experiments import EXPERIMENTS

TOOL = Path(__file__).parents[2] / "tools" / "experiments_page.py"
spec = importlib.util.spec_from_file_location("experiments_page", TOOL)
assert spec is not None and spec.loader is not None
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def test_the_page_is_that_of_the_saved_results() -> None:
    page = tool.PAGE.read_text("utf-8")
    assert tool.filled(page, tool.read(tool.SAVED)) == page
    for name in EXPERIMENTS:
        assert (tool.SAVED / f"{name}.svg").is_file() and (tool.SAVED / f"{name}.png").is_file()


def test_the_saved_results_are_whole_and_on_mnist() -> None:
    for name, result in tool.read(tool.SAVED).items():
        assert result.name == name and result.share == 1 and len(result.seeds) >= 3
        assert result.data.startswith("MNIST: 60,000")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match="has places for speedup"):
        tool.filled("<!-- experiment: speedup -->\n<!-- end -->", {})
