"""What is said in more than one place at the top of the repository is the same in all of them."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

import caffelite

ROOT = Path(__file__).parent.parent
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_the_version_is_said_once_and_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    version, released = re.findall(r"^## (\S+) \((\S+)\)$", changes, re.MULTILINE)[0]
    assert version == caffelite.__version__
    assert f"\nversion: {version}\n" in citation and f"\ndate-released: {released}\n" in citation
    package = tomllib.loads((ROOT / "caffe-package" / "pyproject.toml").read_text())["project"]
    assert package["version"] == version and package["dependencies"] == [f"caffelite=={version}"]


def test_changes_are_grouped() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text().partition("## Unreleased\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^### (.*)$", unreleased, re.MULTILINE)) <= {"Added", "Changed", "Fixed", "Faster"}
    assert not unreleased.partition("###")[0].strip(), "a change stands before the first group"


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_date_its_reason_and_its_price(page: Path) -> None:
    title, day, *rest = filter(None, page.read_text().splitlines())
    assert title.startswith("# ") and page.name.startswith(day) and date.fromisoformat(day)
    assert any(line.startswith("**Why.**") for line in rest) and any(line.startswith("**Its price.**") for line in rest)
