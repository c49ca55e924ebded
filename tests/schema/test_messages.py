"""Message classes, and the types that checkers read of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from caffelite.schema import messages

ROOT = Path(__file__).parent.parent.parent


def test_every_message_is_an_attribute() -> None:
    for name in messages.pool().FindFileByName("caffe.proto").message_types_by_name:
        made = getattr(messages, name)
        assert issubclass(made, messages.Message) and made.DESCRIPTOR.name == name


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no message 'NoParameter'"):
        messages.NoParameter  # noqa: B018


def test_the_stubs_are_those_of_the_compiled_schema() -> None:
    tool = ROOT / "tools" / "message_stubs.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
