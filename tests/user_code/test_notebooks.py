"""Notebooks as scripts."""

import json

import pytest

from caffelite.errors import ScriptError
from caffelite.user_code.notebooks import script


def notebook(*cells: str) -> bytes:
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["# Title"]}, *code]}).encode()


def test_cells_and_what_is_left_out() -> None:
    text, left_out = script(
        notebook(
            "%matplotlib inline\nx = 1", "%%bash\nls", "if x:\n    !ls a \\\n    b\n%time y = 2", "'''\n%s %d\n'''"
        ),
        "a.ipynb",
    )
    assert text == (
        "# %% cell 1\npass  # %matplotlib inline\nx = 1\n# %% cell 2\n# %%bash\n# ls\n"
        "# %% cell 3\nif x:\n    pass  # !ls a \\\n#     b\ny = 2\n# %% cell 4\n'''\n%s %d\n'''\n"
    )
    assert left_out == [
        "a.ipynb, cell 1: left out: %matplotlib inline",
        "a.ipynb, cell 2: left out without --shell, all of it: %%bash",
        "a.ipynb, cell 3: left out without --shell: !ls a \\",
    ]


def test_commands_of_a_shell(capfd: pytest.CaptureFixture[str]) -> None:
    cells = ["word = 'a'\n!echo $word {word} {no} $? \\\n  b # $no", "def f(word):\n    !echo $word\nf('c')"]
    text, left_out = script(notebook(*cells, "\n%%bash\ncd /\npwd"), "a.ipynb", shell=True)
    exec(text, {})
    assert (capfd.readouterr().out, left_out) == ("a a {no} 0 b\nc\n/\n", [])


def test_what_is_timed_runs_once_with_names_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    cells = ["x = []", "%timeit -n 10 -r3 x.append(1)", "%%timeit -n 1\n# adds\ny = 2\nx.append(y)", "%%timeit"]
    text, left_out = script(notebook(*cells), "a.ipynb")
    values: dict[str, list[int]] = {}
    exec(text, values)
    assert values["x"] == [1, 2]
    assert "y" not in values
    assert left_out == []


def test_the_older_format() -> None:
    cells = [{"cell_type": "code", "input": "x = 1\n"}]
    assert script(json.dumps({"worksheets": [{"cells": cells}]}).encode(), "a")[0] == "# %% cell 1\nx = 1\n"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"cells": [{}]}', b'{"cells": 3}', b"[" * 100000])
def test_what_is_no_notebook(data: bytes) -> None:
    with pytest.raises(ScriptError, match="^a.ipynb: it is no Jupyter notebook$"):
        script(data, "a.ipynb")
