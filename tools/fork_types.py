"""Write caffelite/layers/forks.json: which forks of Caffe have a layer type that BVLC's has not.

The folder holds a git clone of each fork, bare or checked out, as OWNER+NAME (or OWNER+NAME/repo, or OWNER/NAME);
forks that are not there are left out with a warning.

    git clone --bare https://github.com/weiliu89/caffe forks/weiliu89+caffe    # and so on
    python tools/fork_types.py forks
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "caffelite" / "layers" / "forks.json"

#: Repository (and branch, where it is not the first) and the name that people know the fork by, in the order in
#: which messages name them.
FORKS = {
    "weiliu89/caffe@ssd": "SSD",
    "rbgirshick/caffe-fast-rcnn@faster-rcnn": "Fast R-CNN",
    "daijifeng001/caffe-rfcn": "R-FCN",
    "xmyqsh/deeplab-v2": "DeepLab v2",
    "hszhao/PSPNet": "PSPNet",
    "alexgkendall/caffe-segnet": "SegNet",
    "TimoSaemann/caffe-segnet-cudnn5": "SegNet (cuDNN 5)",
    "torrvision/caffe": "CRF-RNN",
    "s9xie/hed": "HED",
    "lmb-freiburg/flownet2": "FlowNet 2",
    "CMU-Perceptual-Computing-Lab/caffe_rtpose": "rtpose",
    "facebookarchive/C3D": "C3D",
    "chuckcho/video-caffe": "video-caffe",
    "yjxiong/caffe": "yjxiong",
    "ydwen/caffe-face": "caffe-face",
    "wy1iu/sphereface": "SphereFace",
    "wy1iu/LargeMargin_Softmax_Loss": "L-Softmax",
    "eric612/MobileNet-YOLO": "MobileNet-YOLO",
    "sfzhang15/RefineDet": "RefineDet",
    "zhaoweicai/mscnn": "MS-CNN",
    "tianzhi0549/CTPN": "CTPN",
    "makefile/frcnn": "makefile/frcnn",
    "unsky/FPN": "FPN",
    "sanghoon/caffe@dev_pvanet": "PVANet",
    "NVIDIA/caffe": "NVCaffe",
    "intel/caffe": "Intel Caffe",
    "naibaf7/caffe": "OpenCL Caffe",
    "jolibrain/caffe": "DeepDetect",
    "happynear/caffe-windows@experiment": "happynear",
    "ducha-aiki/caffe": "ducha-aiki",
    "Tongcheng/caffe": "Tongcheng (DenseNet)",
    "junhyukoh/caffe-lstm": "caffe-lstm",
    "zeakey/DeepSkeleton": "DeepSkeleton",
    "pmgysel/caffe": "Ristretto",
    "may0324/DeepCompression-caffe": "DeepCompression",
    "yiwenguo/Dynamic-Network-Surgery": "Dynamic Network Surgery",
    "wenwei202/caffe": "SkimCaffe",
    "luoyetx/mini-caffe": "mini-caffe",
    "farmingyard/ShuffleNet": "ShuffleNet",
    "yonghenglh6/DepthwiseConvolution": "DepthwiseConvolution",
    "hujie-frank/SENet": "SENet",
    "foss-for-synopsys-dwc-arc-processors/synopsys-caffe": "Synopsys Caffe",
}
BVLC = "BVLC/caffe"

# At the start of a line, so that neither comments nor the macros' own definitions count.
REGISTERED = re.compile(r"^[ \t]*REGISTER_LAYER_(?:CLASS|CREATOR)\w*\(\s*([A-Z]\w*)", re.MULTILINE)


def clone(folder: Path, repository: str) -> Path | None:
    joined = folder / repository.replace("/", "+")
    return next((path for path in (joined / "repo", joined, folder / repository) if path.is_dir()), None)


def types(path: Path, branch: str) -> set[str]:
    """Return the types that the sources in a clone register."""
    sources = ("*.cpp", "*.cu", "*.cc", "*.hpp", "*.h")
    command = ["git", "-C", str(path), "grep", "-h", "REGISTER_LAYER_", branch, "--", *sources]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="replace", check=True)
    return set(REGISTERED.findall(found.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if (origin := clone(folder, BVLC)) is None:
        parser.error(f"{folder} has no clone of {BVLC}, whose types are left out")
    common = types(origin, "HEAD")
    table: dict[str, list[str]] = {}
    for fork, name in FORKS.items():
        repository, _, branch = fork.partition("@")
        if (path := clone(folder, repository)) is None:
            print(f"no clone of {repository}", file=sys.stderr)
            continue
        for kind in types(path, branch or "HEAD") - common:
            table.setdefault(kind, []).append(name)
    lines = (f"{json.dumps(kind)}: {json.dumps(table[kind])}" for kind in sorted(table))
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
