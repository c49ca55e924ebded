from pathlib import Path

import pytest

from caffelite.cache import cache_folder
from caffelite.kernels.engine import keeping


def test_the_users_own_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAFFELITE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("CAFFELITE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_folder().is_absolute() and cache_folder() != tmp_path


def no_home(application: str) -> str:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("user_cache_dir", [no_home, lambda application: f"~/.cache/{application}"])
def test_a_user_without_a_home(user_cache_dir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAFFELITE_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", user_cache_dir)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="cannot be kept in"):
        assert not keeping.can_keep.__wrapped__(cache_folder() / "kernels")
    assert not list(tmp_path.iterdir())
