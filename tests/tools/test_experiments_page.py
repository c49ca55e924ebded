"""The page on batch normalization says what the saved results say."""

import experiments_page
import pytest

from caffelite.experiments import EXPERIMENTS


def test_the_page_is_that_of_the_saved_results() -> None:
    page = experiments_page.PAGE.read_text("utf-8")
    assert experiments_page.filled(page, experiments_page.read(experiments_page.SAVED)) == page
    for name in EXPERIMENTS:
        assert (experiments_page.SAVED / f"{name}.svg").is_file() and (experiments_page.SAVED / f"{name}.png").is_file()


def test_the_saved_results_are_whole_and_on_mnist() -> None:
    for name, result in experiments_page.read(experiments_page.SAVED).items():
        assert result.name == name and result.share == 1 and len(result.seeds) >= 3
        assert result.data.startswith("MNIST: 60,000")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match="has places for speedup"):
        experiments_page.filled("<!-- experiment: speedup -->\n<!-- end -->", {})
