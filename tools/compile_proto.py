"""Compile proto/caffe.proto into caffelite/schema/caffe.pb and messages.pyi (needs ``pip install .[proto]``)."""

import hashlib
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc
from message_stubs import STUBS, stubs

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto" / "caffe.proto"
TARGET = ROOT / "caffelite" / "schema" / "caffe.pb"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "caffe.pb"
        status = protoc.main(["protoc", f"-I{SOURCE.parent}", f"--descriptor_set_out={made}", str(SOURCE)])
        if status:
            return int(status)
        TARGET.write_bytes(made.read_bytes())
    STUBS.write_text(stubs(TARGET.read_bytes()))
    # Lets a test see, without a protoc, that the compiled form is that of the source.
    TARGET.with_suffix(".sha256").write_text(hashlib.sha256(SOURCE.read_bytes()).hexdigest() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
