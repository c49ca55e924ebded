import os
from pathlib import Path

import pytest

from caffelite.net import machine


@pytest.mark.skipif(os.name != "posix", reason="a path below /dev/null")
def test_whether_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path / "made")
    assert machine.code_is_kept() and (tmp_path / "made").is_dir()
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: Path("/dev/null/kernels"))
    with pytest.warns(UserWarning, match="set CAFFELITE_CACHE to a folder that can be written"):
        assert not machine.code_is_kept()
