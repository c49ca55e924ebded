"""The floors of the house: what the table in docs/architecture.md says of imports is true."""

from pathlib import Path

import house
import pytest

ROOT = Path(__file__).parent.parent

TABLE = """
| floor | room | knows | must not import |
|---|---|---|---|
| 2 | `cli/` | users' words | not `kernels` |
| 2 | `solvers/` | nets | of `kernels` only `kernels.update` |
| 0 | `kernels/`, `words.py` | arrays | |
"""


def test_every_import_goes_down() -> None:
    listed = house.rooms((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(listed) > 12
    assert house.faults(house.imports(ROOT), listed) == []


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        (
            "kernels/update.py",
            "from caffelite import cli",
            "caffelite.kernels.update imports caffelite.cli, from further up",
        ),
        (
            "solvers/solver.py",
            "def f():\n    import caffelite.cli.main",
            "caffelite.solvers.solver imports caffelite.cli.main, from further up",
        ),
        (
            "cli/main.py",
            "from caffelite.kernels.update import step",
            "caffelite.cli.main imports caffelite.kernels.update, which cli must not know",
        ),
        (
            "solvers/rules.py",
            "from caffelite.kernels import tile",
            "caffelite.solvers.rules imports caffelite.kernels.tile, which solvers must not know",
        ),
        ("solvers/rules.py", "from caffelite.kernels import update", ""),
        ("cli/main.py", "from caffelite import words", ""),
        ("attic.py", "", "caffelite.attic is in no room of the table"),
        (
            "kernels/update.py",
            "from caffelite.kernels import tile",
            "a circle of imports: caffelite.kernels.tile -> caffelite.kernels.update",
        ),
    ],
)
def test_what_is_a_fault(module: str, text: str, said: str, tmp_path: Path) -> None:
    files = dict.fromkeys(
        ["__init__.py", "words.py", *(f"{room}/__init__.py" for room in ("cli", "solvers", "kernels"))], ""
    )
    files |= {
        "cli/main.py": "",
        "kernels/update.py": "",
        "kernels/tile.py": "from caffelite.kernels.update import step",
    }
    for name, content in (files | {module: text}).items():
        path = tmp_path / "caffelite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert "\n".join(house.faults(house.imports(tmp_path), house.rooms(TABLE))) == said


def test_the_picture(tmp_path: Path) -> None:
    text = house.dot(house.imports(ROOT), house.rooms((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")))
    assert '"cli" -> "net"' in text and "#c0392b" not in text
