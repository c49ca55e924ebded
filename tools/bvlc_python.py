"""The notebooks and the Python programs in BVLC's Caffe, run with ``caffelite run``, as tables of what ran.

    python tools/bvlc_python.py CHECKOUT --data FOLDER [--only 00-classification classify.py]

Nothing is done to their code but what ``--python2`` does, and nothing in the checkout: a copy of it is run. MNIST is
real. In place of the rest stand random weights for CaffeNet and the siamese net, drawn images for Flickr Style and
PASCAL VOC, and numbers for the names of ImageNet's classes; a program that always fails stands in for wget. Trainings
of CaffeNet are a few iterations in the copy. The notebooks import h5py, matplotlib, pandas, scikit-image, scikit-learn
and SciPy, the programs tables, flask, tornado, six and PyYAML too.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bvlc_examples import copy_tree, link_programs, put_data
from PIL import Image

import caffelite

NOTEBOOKS = [
    "examples/00-classification.ipynb",
    "examples/01-learning-lenet.ipynb",
    "examples/02-fine-tuning.ipynb",
    "examples/brewing-logreg.ipynb",
    "examples/net_surgery.ipynb",
    "examples/siamese/mnist_siamese.ipynb",
    "examples/pascal-multilabel-with-datalayer.ipynb",
]
#: What takes hours in a notebook, and what stands in its place.
SHORTER = {
    "02-fine-tuning": [("niter = 200", "niter = 2")],
    "pascal-multilabel-with-datalayer": [
        ("solver.step(100)", "solver.step(1)"),
        ("solver.test_nets[0], 50)", "solver.test_nets[0], 1)"),
        ("5823/128", "256/128"),
    ],
}
CAFFENET = "models/bvlc_reference_caffenet"
WEIGHTS = f"--pretrained_model={CAFFENET}/bvlc_reference_caffenet.caffemodel"
#: Options of ``caffelite run``, the program, and its own. In the order in which they need what others make.
PROGRAMS = [
    "python/classify.py examples/images/cat.jpg scratch/scores.npy",
    f"python/detect.py --crop_mode=list {WEIGHTS} scratch/windows.csv scratch/windows.h5",
    f"python/draw_net.py {CAFFENET}/train_val.prototxt scratch/net.png --phase TEST --display_lrm",
    "python/train.py --solver scratch/solver.prototxt --timing",
    "--python2 tools/extra/parse_log.py scratch/train.log scratch",
    "tools/extra/extract_seconds.py scratch/train.log scratch/seconds.txt",
    f"--python2 tools/extra/summarize.py {CAFFENET}/train_val.prototxt",
    "--python2 tools/extra/resize_and_crop_images.py",
    "examples/pycaffe/caffenet.py",
    "--python2 examples/finetune_flickr_style/assemble_data.py --images 4",
    "--python2 examples/web_demo/exifutil.py",
    "--python2 examples/web_demo/app.py --debug",
    "scripts/split_caffe_proto.py",
    "--python2 scripts/copy_notebook.py examples/01-learning-lenet.ipynb scratch/notebook.md",
    f"--python2 scripts/download_model_binary.py {CAFFENET}",
    "--python2 scripts/cpp_lint.py include/caffe/net.hpp",
    "--python2 src/caffe/test/test_data/generate_sample_data.py",
]
#: Images a list of files has.
IMAGES = 60
_SOLVER = """net: "examples/mnist/lenet_train_test.prototxt"
test_iter: 1 test_interval: 20 base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" display: 10 max_iter: 40
snapshot_prefix: "scratch/lenet"
"""
_VOC = """<annotation><object><name>{}</name>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>90</xmax><ymax>90</ymax></bndbox></object></annotation>
"""
_ERROR = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception)\b.*)$", re.MULTILINE)


def draw(file: Path) -> None:
    """Write an image that is the same for the same name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(file.name.encode())).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).resize((400, 300)).save(file)


def put_weights(net_file: str, weights_file: str, largest_input: float) -> None:
    """Write random weights that keep blobs about as large as an input divided by its largest value."""
    random = np.random.default_rng(0)
    net = caffelite.Net(net_file, caffelite.TEST)
    for i, blobs in enumerate(net.params.values()):
        shape = blobs[0].data.shape
        blobs[0].data[...] = random.normal(0, np.prod(shape[1:]) ** -0.5, shape) / (1 if i else largest_input)
    net.save(weights_file)


def put_stand_ins(checkout: Path) -> None:
    """Write what the notebooks and programs would have downloaded, and the files that programs are called with."""
    put_weights(f"{CAFFENET}/deploy.prototxt", f"{CAFFENET}/bvlc_reference_caffenet.caffemodel", 128)
    siamese = "examples/siamese/mnist_siamese"
    put_weights(f"{siamese}.prototxt", f"{siamese}_iter_50000.caffemodel", 1)
    imagenet = checkout / "data" / "ilsvrc12"
    (imagenet / "synset_words.txt").write_text("".join(f"n{i:08d} class {i}\n" for i in range(1000)))
    mean = np.load("python/caffe/imagenet/ilsvrc_2012_mean.npy")
    caffe = caffelite.as_caffe()
    blob = caffe.io.array_to_blobproto(mean[np.newaxis])
    (imagenet / "imagenet_mean.binaryproto").write_bytes(blob.SerializeToString())
    (imagenet / "imagenet.bet.pickle").touch()
    for part in ("train", "test"):
        files = [checkout / "data" / "flickr_style" / "images" / f"{part}{i}.jpg" for i in range(IMAGES)]
        for file in files:
            draw(file)
        lines = [f"{file} {i % 5}\n" for i, file in enumerate(files)]
        (checkout / "data" / "flickr_style" / f"{part}.txt").write_text("".join(lines))
    voc = checkout / "data" / "pascal" / "VOC2012"
    for folder in ("ImageSets/Main", "Annotations"):
        (voc / folder).mkdir(parents=True)
    for part in ("train", "val"):
        names = [f"2012_{part}{i}" for i in range(IMAGES)]
        for i, name in enumerate(names):
            draw(voc / "JPEGImages" / f"{name}.jpg")
            (voc / "Annotations" / f"{name}.xml").write_text(_VOC.format(["car", "cat", "cow"][i % 3]))
        (voc / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names))
    draw(checkout / "examples" / "image.jpg")
    scratch = checkout / "scratch"
    scratch.mkdir()
    (scratch / "solver.prototxt").write_text(_SOLVER)
    image = checkout / "examples" / "images" / "cat.jpg"
    (scratch / "windows.csv").write_text(f"filename,ymin,xmin,ymax,xmax\n{image},10,20,200,250\n")


def put_logs(environment: dict[str, str]) -> None:
    """Make the databases of MNIST, and the log that programs read."""
    subprocess.run(["sh", "examples/mnist/create_mnist.sh"], check=True, env=environment, stdout=subprocess.DEVNULL)
    with open("scratch/train.log", "wb") as log:
        command = ["build/tools/caffe", "train", "-solver", "scratch/solver.prototxt"]
        subprocess.run(command, check=True, env=environment, stderr=log)


def failures(lines: str, name: str) -> dict[int, str]:
    """Return the cells of a notebook that failed, with the last error of each."""
    _, *parts = re.split(rf"^caffelite: {re.escape(name)}, cell (\d+):$", lines, flags=re.MULTILINE)
    return {int(cell): _ERROR.findall(part)[-1] for cell, part in zip(parts[::2], parts[1::2], strict=True)}


def run(words: Sequence[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``caffelite run``."""
    command = [sys.executable, "-m", "caffelite", "run", *words]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)


def run_notebook(path: Path, environment: dict[str, str]) -> str:
    """Run a notebook; return its row of the table."""
    text = path.read_text(encoding="utf-8")
    for old, new in SHORTER.get(path.stem, ()):
        assert old in text, (path, old)
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    cells = sum(cell["cell_type"] == "code" for cell in json.loads(text)["cells"])
    options = ["--python2", "--shell", "--allow-errors", "--allow-python"]
    process = run([*options, path.name], path.parent, environment)
    failed = failures(process.stderr, path.name)
    if process.returncode and not failed:
        return f"| `{path.stem}` | {cells} | 0 | {process.stderr.strip().splitlines()[-1]} |"
    reasons = "; ".join(f"{cell}: {error}" for cell, error in failed.items())
    return f"| `{path.stem}` | {cells} | {cells - len(failed)} | {reasons} |"


def run_program(words: str, checkout: Path, environment: dict[str, str]) -> str:
    """Run a program from the root of the checkout; return its row of the table."""
    process = run(words.split(), checkout, environment)
    last = (process.stderr if process.returncode else process.stdout).strip().splitlines() or [""]
    return f"| `{words}` | {process.returncode} | {last[-1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder with BVLC's Caffe, or a bare repository of it")
    parser.add_argument("--data", type=Path, required=True, help="folder with the originals of MNIST and CIFAR-10")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="words that names of notebooks or calls have")
    arguments = parser.parse_args()

    def chosen(names: list[str]) -> list[str]:
        return [name for name in names if not arguments.only or any(word in name for word in arguments.only)]

    with tempfile.TemporaryDirectory() as folder:
        checkout, programs = Path(folder) / "caffe", Path(folder) / "programs"
        copy_tree(arguments.checkout.resolve(), checkout)
        data = arguments.data.resolve()
        programs.mkdir()
        wget = programs / "wget"
        wget.write_text("#!/bin/sh\nexit 1\n")
        wget.chmod(0o755)
        link_programs(checkout)
        put_data(data, checkout)
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        os.chdir(checkout)
        try:
            put_stand_ins(checkout)
            put_logs(environment)
            print("| notebook | code cells | ran | the others |\n|---|---|---|---|")
            for name in chosen(NOTEBOOKS):
                print(run_notebook(checkout / name, environment), flush=True)
            print("\n| `caffelite run` | exit code | the last line |\n|---|---|---|")
            for words in chosen(PROGRAMS):
                print(run_program(words, checkout, environment), flush=True)
        finally:
            os.chdir("/")


if __name__ == "__main__":
    main()
