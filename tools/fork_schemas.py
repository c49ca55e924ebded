"""Write caffelite/schema/fork_schemas.json: the fields of Caffe's forks under the forks' own numbers.

The folder holds a git clone of each fork, as tools/fork_types.py describes; needs ``pip install .[proto]``. Forks that
are not there keep what the table has of them.

    python tools/fork_schemas.py forks
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fork_types import clone
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

from caffelite.schema import fork_schemas
from caffelite.schema.fork_schemas import Declarations, fork_file, is_enum

TARGET = Path(fork_schemas.__file__).with_suffix(".json")
USUAL = "src/caffe/proto/caffe.proto"

#: The name of each schema, the repository (and branch, where it is not the first), the file in it, and the schema that
#: it is most like, which stands before it.
SCHEMAS = {
    "bvlc": ("BVLC/caffe", USUAL, ""),
    "ssd": ("weiliu89/caffe@ssd", USUAL, "bvlc"),
    "faster-rcnn": ("rbgirshick/caffe-fast-rcnn@faster-rcnn", USUAL, "bvlc"),
    "r-fcn": ("daijifeng001/caffe-rfcn", USUAL, "bvlc"),
    "deeplab": ("xmyqsh/deeplab-v2", USUAL, "bvlc"),
    "pspnet": ("hszhao/PSPNet", USUAL, "deeplab"),
    "segnet": ("alexgkendall/caffe-segnet", USUAL, "bvlc"),
    "segnet-cudnn5": ("TimoSaemann/caffe-segnet-cudnn5", USUAL, "bvlc"),
    "crf-rnn": ("torrvision/caffe", USUAL, "bvlc"),
    "hed": ("s9xie/hed", USUAL, "bvlc"),
    "flownet2": ("lmb-freiburg/flownet2", USUAL, "bvlc"),
    "openpose": ("CMU-Perceptual-Computing-Lab/caffe", USUAL, "bvlc"),
    "c3d": ("facebookarchive/C3D", f"C3D-v1.0/{USUAL}", "bvlc"),
    "c3d-1.1": ("facebookarchive/C3D", f"C3D-v1.1/{USUAL}", "bvlc"),
    "video-caffe": ("chuckcho/video-caffe", USUAL, "bvlc"),
    "yjxiong": ("yjxiong/caffe", USUAL, "bvlc"),
    "lrcn": ("LisaAnne/lisa-caffe-public", USUAL, "bvlc"),
    "caffe-face": ("ydwen/caffe-face", USUAL, "bvlc"),
    "sphereface": ("wy1iu/sphereface", f"tools/caffe-sphereface/{USUAL}", "bvlc"),
    "l-softmax": ("wy1iu/LargeMargin_Softmax_Loss", USUAL, "bvlc"),
    "mobilenet-yolo": ("eric612/MobileNet-YOLO", USUAL, "ssd"),
    "mscnn": ("zhaoweicai/mscnn", USUAL, "bvlc"),
    "ctpn": ("tianzhi0549/CTPN", f"caffe/{USUAL}", "bvlc"),
    "makefile-frcnn": ("makefile/frcnn", USUAL, "ssd"),
    "pvanet": ("sanghoon/caffe@dev_pvanet", USUAL, "bvlc"),
    "nvcaffe": ("NVIDIA/caffe", USUAL, "ssd"),
    "intel": ("intel/caffe", USUAL, "ssd"),
    "opencl": ("naibaf7/caffe", USUAL, "bvlc"),
    "deepdetect": ("jolibrain/caffe", USUAL, "ssd"),
    "happynear": ("happynear/caffe-windows@experiment", USUAL, "bvlc"),
    "ducha-aiki": ("ducha-aiki/caffe", USUAL, "bvlc"),
    "caffe-lstm": ("junhyukoh/caffe-lstm", USUAL, "bvlc"),
    "ristretto": ("pmgysel/caffe", USUAL, "bvlc"),
    "ncnn": ("Tencent/ncnn", "tools/caffe/caffe.proto", "ssd"),
}


def compiled(path: Path, branch: str, name: str) -> FileDescriptorProto:
    """Return what protoc makes of a file in a clone."""
    text = subprocess.run(["git", "-C", str(path), "show", f"{branch}:{name}"], stdout=subprocess.PIPE, check=True)
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "caffe.proto", Path(folder) / "caffe.pb"
        source.write_bytes(text.stdout)
        if protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={made}", str(source)]):
            raise SystemExit(f"{path}: protoc does not compile {name} of {branch}")
        (file,) = FileDescriptorSet.FromString(made.read_bytes()).file
    return file


def declarations_of(file: FileDescriptorProto) -> Declarations:
    """Return a compiled ``caffe.proto`` as the table writes it."""
    declarations: Declarations = {}

    def enums(types: list[EnumDescriptorProto], outer: str) -> None:
        for enum in types:
            declarations[outer + enum.name] = {value.name: value.number for value in enum.value}

    def messages(types: list[DescriptorProto], outer: str) -> None:
        for message in types:
            declarations[outer + message.name] = {field.name: _text(field) for field in message.field}
            enums(message.enum_type, f"{outer}{message.name}.")
            messages(message.nested_type, f"{outer}{message.name}.")

    enums(file.enum_type, "")
    messages(file.message_type, "")
    return declarations


def _text(field: FieldDescriptorProto) -> str:
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
    kind = field.type_name.removeprefix(".caffe.")
    words = [str(field.number), label, kind or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()]
    if field.options.packed:
        words.append("packed")
    if field.HasField("default_value"):
        words += ["=", field.default_value]
    return " ".join(words)


def difference(declarations: Declarations, like: Declarations) -> dict[str, Any]:
    """Return what has to be said of a schema where another one is known."""
    differs: dict[str, Any] = {name: None for name in like if name not in declarations}
    for name, members in declarations.items():
        other = like.get(name, {})
        if members == other and name in like:
            continue
        if is_enum(members):
            differs[name] = members
        else:
            gone = {field: None for field in other if field not in members}
            differs[name] = gone | {field: text for field, text in members.items() if other.get(field) != text}
    return differs


def written(table: dict[str, dict[str, Any]]) -> str:
    """Return the table with a message a line."""
    schemas = []
    for name, schema in table.items():
        lines = [f"{json.dumps(key)}: {json.dumps(members)}" for key, members in sorted(schema["differs"].items())]
        head = ", ".join(f"{json.dumps(key)}: {json.dumps(schema[key])}" for key in ("source", "like"))
        schemas.append(f'{json.dumps(name)}: {{{head}, "differs": {{\n' + ",\n".join(lines) + "\n}}")
    return "{\n" + ",\n".join(schemas) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    known = json.loads(TARGET.read_text()) if TARGET.exists() else {}
    table: dict[str, dict[str, Any]] = {}
    declared: dict[str, Declarations] = {"": {}}
    for name, (fork, file, like) in SCHEMAS.items():
        repository, _, branch = fork.partition("@")
        if (path := clone(folder, repository)) is None:
            print(f"no clone of {repository}", file=sys.stderr)
            if name not in known:
                continue
            table[name] = known[name]
            declared[name] = declarations_of(fork_file(name))
            continue
        declared[name] = declarations_of(compiled(path, branch or "HEAD", file))
        table[name] = {"source": f"{fork} {file}", "like": like, "differs": difference(declared[name], declared[like])}
    TARGET.write_text(written(table))
    fork_schemas.table.cache_clear()
    for name in table:
        if declarations_of(fork_file(name)) != declared[name]:
            raise SystemExit(f"{name}: the table does not say what its caffe.proto says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
