"""Message classes, and the types that checkers read of them."""

import os
import subprocess
import sys
import textwrap
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


def test_protobuf_in_pure_python_will_do() -> None:
    """Scripts need it whose own modules protoc generated before 3.19; it gives nested messages to nobody by itself."""
    program = """
        import pickle
        from google.protobuf.internal import api_implementation
        from caffelite.pycaffe.proto import caffe_pb2
        from caffelite.schema import messages
        assert api_implementation.Type() == "python"
        entry = messages.CaffeliteState.Entry(name="a")
        assert pickle.loads(pickle.dumps(entry)) == entry
        layer = caffe_pb2.LayerParameter(type="Pooling", pooling_param={"pool": caffe_pb2.PoolingParameter.AVE})
        assert caffe_pb2.LayerParameter.FromString(layer.SerializeToString()) == layer
    """
    environment = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, check=True)
