"""A small net forward and backward on an emulated aarch64, beside the same on this machine.

Needs a Debian or Ubuntu with ``qemu-user-static``. Its Python for arm64 and the wheels for aarch64 are fetched with
apt and pip into a folder of their own, and nothing is installed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
#: What the emulator is called, by Debian and Ubuntu before and since it is always linked statically.
QEMU = ["qemu-aarch64-static", "qemu-aarch64"]
PACKAGES = ["python3", "libstdc++6"]
WHEELS = ["numpy>=1.26", "protobuf>=5.26", "numba>=0.61", "lmdb>=1.4", "tqdm", "platformdirs"]
#: Six digits of the largest value of an array.
TOLERANCE = 1e-6

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 12 dim: 12 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 5 pad: 2 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }
layer { name: "scale1" type: "Scale" bottom: "bn1" top: "scale1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "scale1" top: "scale1" }
layer { name: "pool1" type: "Pooling" bottom: "scale1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "norm2" type: "LRN" bottom: "conv2" top: "norm2" }
layer { name: "sigmoid2" type: "Sigmoid" bottom: "norm2" top: "sigmoid2" }
layer { name: "pool2" type: "Pooling" bottom: "sigmoid2" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool2" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def compute(target: Path) -> None:
    """Write the net's blobs and the gradients of its parameters, on the machine that runs this."""
    import caffelite

    prototxt = target.with_suffix(".prototxt")
    prototxt.write_text(NET)
    net = caffelite.Net(str(prototxt), caffelite.TRAIN)
    random = np.random.default_rng(1)
    for parameters in net.params.values():
        for blob in parameters:
            blob.data[...] = random.normal(0.1, 0.2, blob.data.shape)
    for blob in net.params["bn1"]:
        blob.data[...] = 0
    net.blobs["data"].data[...] = random.normal(size=net.blobs["data"].data.shape)
    net.blobs["label"].data[...] = random.integers(0, 10, net.blobs["label"].data.shape)
    net.forward()
    net.backward()
    arrays = {f"blob {name}": blob.data for name, blob in net.blobs.items()}
    for layer, parameters in net.params.items():
        arrays |= {f"gradient {layer} {i}": blob.diff for i, blob in enumerate(parameters)}
    np.savez(target, **arrays)


def emulated(qemu: str, folder: Path, target: Path) -> None:
    """Run :func:`compute` under QEMU, with what stands in ``folder`` or is fetched into it."""
    system, site = folder / "system", folder / "site"
    if not system.exists():
        fetch_system(folder, system)
    python = next(path for path in sorted((system / "usr/bin").glob("python3.*")) if path.name[8:].isdigit())
    if not site.exists():
        fetch_wheels(site, python.name.removeprefix("python"))
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{site}",
        "CAFFELITE_CACHE": str(folder / "cache"),
        "NUMBA_CACHE_DIR": str(folder / "numba"),
    }
    command = [qemu, "-L", str(system), str(python), "-s", __file__, "--compute", str(target)]
    subprocess.run(command, env=environment, check=True)


def fetch_system(folder: Path, system: Path) -> None:
    """Unpack Debian's Python for arm64, and what it depends on, by an apt with lists and archives of its own."""
    state, archives = folder / "state", folder / "archives"
    for path in (state / "lists/partial", archives / "partial"):
        path.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": archives,
    }
    apt = ["apt-get", "-q", "-y", *(word for item in options.items() for word in ("-o", f"{item[0]}={item[1]}"))]
    subprocess.run([*apt, "update"], check=True, stdout=sys.stderr)
    install = ["install", "--download-only", "--no-install-recommends", *PACKAGES]
    subprocess.run([*apt, *install], check=True, stdout=sys.stderr)
    unpacked = system.with_suffix(".part")
    for package in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
    if not (unpacked / "lib").exists():
        (unpacked / "lib").symlink_to("usr/lib")
    unpacked.rename(system)


def fetch_wheels(site: Path, version: str) -> None:
    """Unpack the wheels for aarch64 and a Python of ``version``, ``3.11``, say."""
    platforms = [f"manylinux{glibc}_aarch64" for glibc in ("2014", "_2_17", "_2_26", "_2_27", "_2_28")]
    unpacked = site.with_suffix(".part")
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(unpacked), "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", version]
    command += [word for platform in platforms for word in ("--platform", platform)]
    subprocess.run([*command, *WHEELS], check=True)
    unpacked.rename(site)


def compare(here: Path, there: Path) -> bool:
    """Print how far the arrays are from one another; whether all agree to six digits."""
    differences = []
    with np.load(here) as expected, np.load(there) as computed:
        for name in expected.files:
            scale = float(np.abs(expected[name]).max()) or 1.0
            differences.append(float(np.abs(expected[name] - computed[name]).max()) / scale)
            print(f"{name:24} {differences[-1]:.1e}")
    # A NaN, which is not below the tolerance either.
    worst = float(np.max(differences))
    print(f"{len(differences)} arrays; the largest difference is {worst:.1e} of the largest value of its array")
    return worst < TOLERANCE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the system, the wheels and the compiled kernels there")
    parser.add_argument("--compute", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compute:
        compute(arguments.compute)
        return 0
    qemu = next(filter(None, map(shutil.which, QEMU)), None)
    if qemu is None or shutil.which("apt-get") is None:
        print("left out: it takes a Debian or Ubuntu with QEMU (apt install qemu-user-static)")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        here, there = folder / "here.npz", folder / "there.npz"
        subprocess.run([sys.executable, __file__, "--compute", str(here)], check=True)
        emulated(qemu, folder, there)
        return 0 if compare(here, there) else 1


if __name__ == "__main__":
    sys.exit(main())
