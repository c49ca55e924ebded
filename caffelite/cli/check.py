"""Say what of a net the converter of an NPU or of another runtime, which reads Caffe's files itself, would refuse or
read otherwise."""

import argparse
import json
from dataclasses import asdict

from caffelite.cli.arguments import add_state, names, the_file
from caffelite.cli.preparing import nets_of
from caffelite.export.compilers.check import Finding, check, is_left_out
from caffelite.export.compilers.targets import target_named, targets
from caffelite.words import TEST, columns, printable

EXAMPLES = """examples:
  caffelite check deploy.prototxt --for rknn
  caffelite check deploy.prototxt --for ncnn,mnn --json

The exit code is 0 where nothing is known that they would refuse, and 1 where something is. Sizes of blobs, and limits
that a table does not have, are not checked. docs/npu.md says where the tables come from.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add(
        "--for",
        dest="targets",
        type=names,
        action="extend",
        metavar="TARGET",
        help="one of rknn, rknn1, tpu-mlir, acuity, ncnn, mnn, or several with commas (all)",
    )
    add("--json", action="store_true", help="print the result as JSON")
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    """Hold the net against each table; tell what would not be taken."""
    file = the_file([arguments.file], "the prototxt of a net or of a solver")
    source = nets_of(file, TEST, arguments.level, arguments.stage)[0]
    asked = list(dict.fromkeys(arguments.targets or targets()))
    findings = {name: check(source, name) for name in asked}
    every = [finding for of_one in findings.values() for finding in of_one]
    if arguments.json:
        sources = {name: {"program": target_named(name).program, "source": target_named(name).source} for name in asked}
        print(json.dumps({"net": str(file), "targets": sources, "findings": [asdict(finding) for finding in every]}))
        return int(bool(every))
    if every:
        head = ("for", "layer", "type", "why", "source")
        print(columns([head, *(tuple(map(printable, _row(finding))) for finding in every)]))
    for name in asked:
        if not findings[name]:
            print(f"nothing known that {name} would refuse ({target_named(name).program}; {target_named(name).source})")
    if any(is_left_out(finding.type) for finding in every):
        print('"caffelite deploy" writes the net without what trains or measures, with Input in place of its data')
    print("not checked: sizes of blobs, and limits that the sources do not name")
    return int(bool(every))


def _row(finding: Finding) -> tuple[str, str, str, str, str]:
    return finding.target, finding.layer or "(the file)", finding.type or "-", finding.why, finding.source
