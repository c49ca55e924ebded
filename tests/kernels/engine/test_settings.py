from caffelite.kernels.engine import settings


def test_settings() -> None:
    assert settings.vector_width() in (0, 4, 8, 16)
    assert settings.threads() >= 1
