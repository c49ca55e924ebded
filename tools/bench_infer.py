"""Inference of published nets: caffelite and caffelite.dnn beside OpenCV, ONNX Runtime, OpenVINO and PyTorch.

The others come with ``pip install .[bench]``. Each program is a process of its own that holds one net. In turns, all on
the same number of threads, they take images from a NumPy array to the result in one; the others wait meanwhile, asleep.
What is reported is the median pass of each, with the smallest and largest median of a round, its ratio to caffelite's,
and the most memory that its process ever had. Before that, all results are held against caffelite's.

The nets are read from where their authors published them, a folder ``OWNER+NAME`` for each repository:

    git clone https://github.com/BVLC/caffe FOLDER/BVLC+caffe
    git clone https://github.com/KaimingHe/deep-residual-networks FOLDER/KaimingHe+deep-residual-networks
    git clone https://github.com/shicai/MobileNet-Caffe FOLDER/shicai+MobileNet-Caffe
    git clone https://github.com/forresti/SqueezeNet FOLDER/forresti+SqueezeNet
    git clone https://github.com/shicai/DenseNet-Caffe FOLDER/shicai+DenseNet-Caffe
    git clone https://github.com/soeaver/caffe-model FOLDER/soeaver+caffe-model
    git clone https://github.com/xzgz/caffe-ssd FOLDER/xzgz+caffe-ssd
    git clone https://github.com/CMU-Perceptual-Computing-Lab/openpose FOLDER/CMU-Perceptual-Computing-Lab+openpose

SSD300 is as the scripts of https://github.com/weiliu89/caffe (branch ssd) write it, for VOC; its boxes and scores are
compared, without PriorBox and DetectionOutput. OpenPose, body 25, takes images of 368x368. At the end stands the time
of the better of ONNX Runtime and OpenVINO by caffelite's, for each net, and the geometric mean over nets.

The parameters of all nets are random (``tools/inference_nets.py``).
"""

import argparse
import dataclasses
import json
import math
import statistics
from contextlib import ExitStack
from typing import Any

from inference_nets import Files, prepared
from programs import PROGRAMS, Passes, agree, asked, difference, passes_parser
from turns import in_turns, machine, use_threads

#: Programs whose better one is the measure.
RIVALS = ("ONNX Runtime", "OpenVINO")


def measure(name: str, files: Files, options: argparse.Namespace) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        workers = {}
        for program in options.programs:
            workers[program] = worker = Passes(program, files, options.threads, not options.no_spinning)
            stack.callback(worker.close)
        first, *_ = workers.values()
        agree(name, *workers.values())
        found = in_turns({name: worker.run for name, worker in workers.items()}, options.rounds, options.seconds)
        return [
            {
                "net": name,
                "batch": options.batch,
                "program": program,
                **dataclasses.asdict(result),
                "difference": difference(worker.result, first.result),
                "peak_mb": worker.peak_mb,
                "awake": worker.awake,
            }
            for (program, result), worker in zip(found.items(), workers.values(), strict=True)
        ]


def beside_rivals(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the time of the faster rival by the first program's, for each net, and the geometric mean over nets."""
    ratios: dict[str, float] = {}
    for row in rows:
        if row["program"] in RIVALS:
            ratios[row["net"]] = min(row["ratio"], ratios.get(row["net"], math.inf))
    return {**ratios, "geometric mean": statistics.geometric_mean(ratios.values())} if ratios else {}


def main() -> None:
    parser = passes_parser(__doc__)
    parser.add_argument(
        "--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS), help="the first is compared with"
    )
    parser.add_argument("--no-spinning", action="store_true", help="threads of ONNX Runtime never wait by spinning")
    options = parser.parse_args()
    sources = asked(parser, options, options.programs)
    use_threads(options.threads)
    rows = []
    for name, files in prepared(sources, options.batch):
        found = measure(name, files, options)
        rows += found
        for r in found if not options.json else ():
            print(
                f"{name:12s} batch {options.batch:3d}   {r['program']:13s} {r['ms']:8.2f} ms ({r['low']:.2f} to "
                f"{r['high']:.2f})   ratio {r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f})   "
                f"{r['peak_mb']:6.0f} MiB   difference {r['difference']:.0e}   awake {r['awake']:.1%}",
                flush=True,
            )
    facts, ratios = machine(options.threads), beside_rivals(rows)
    if options.json:
        print(json.dumps({"facts": facts, "rows": rows, "beside rivals": ratios}, indent=1))
        return
    if ratios:
        found = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"the better of {' and '.join(RIVALS)}, ratio: {found}")
    print(facts)


if __name__ == "__main__":
    main()
