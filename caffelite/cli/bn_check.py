"""Find what is wrong with the batch normalization of a net, and how to mend it: in the text of the net and of its
solver (the one given, or the one beside the net, as for training) and, with --weights, in the stored statistics."""

import argparse
import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from caffelite.batchnorm.check import CheckResult, check, measure
from caffelite.batchnorm.rules import CheckRule, Finding
from caffelite.batchnorm.subject import subject_of, take_weights
from caffelite.cli.arguments import add_python, add_state, add_threads, names, the_file, whole
from caffelite.cli.preparing import nets_and_solver
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import counted, say, status

EXAMPLES = """examples:
  caffelite bn check models/cifar10_bn.prototxt
  caffelite bn check models/mnist_mlp_bn_solver.prototxt --json
  caffelite bn check models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel

The exit code is 0 where nothing was found, and 1 where something was. With --weights the stored statistics are held
against those of some batches of the net's own training data, if it is there. docs/bn-check.md has every rule with an
example.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", nargs="?", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add("--weights", type=names, default=[], metavar="A,B", help="weights, later files over earlier ones")
    add("--iterations", type=whole, default=10, metavar="N", help="number of batches to measure statistics over (10)")
    add("--json", action="store_true", help="print the findings as JSON")
    add_state(parser)
    add_threads(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check, and print what was found."""
    file = the_file([arguments.file], "the prototxt of a net or of a solver")
    train, tests, solver = nets_and_solver(file, arguments.level, arguments.stage)
    subject = subject_of(train, tests, solver, arguments.allow_python)
    take_weights(subject, arguments.weights)
    result = check(subject)
    # Weights of another layout do not fit into the net, and are found already.
    if arguments.weights and not any(rule.name == "fork-layout" for rule, _ in result.findings):
        with compiling(), status("building the net"):
            subject.measured, why = measure(
                train,
                arguments.weights,
                arguments.iterations,
                allow_python=arguments.allow_python,
                counted=lambda batches: counted(batches, "measuring"),
            )
        if why:
            say(f"the statistics are not held against the data: {why}")
        result = check(subject)
    if arguments.json:
        print(json.dumps({"layers": result.layers, "findings": finding_rows(result)}))
    else:
        print(_text(result, str(file)))
    return 1 if result.findings else 0


def _text(result: CheckResult, file: str) -> str:
    """Return the findings as lines: each rule's findings, then what to do."""
    lines = []
    for rule, group in groupby(result.findings, key=lambda pair: pair[0]):
        findings = [finding for _, finding in group]
        for finding in findings:
            where = f'layer "{finding.layer}": ' if finding.layer else ""
            lines.append(f"{finding.place}: {where}{finding.problem} [{rule.name}]")
            if finding is _last_with(findings, finding.mend):
                lines.append(f"  to mend it: {finding.mend}")
    count, rules = len(result.findings), len({rule.name for rule, _ in result.findings})
    layers = f"{result.layers} layer{'' if result.layers == 1 else 's'} of batch normalization"
    if not count:
        return f"{file}: {layers}, nothing found"
    lines.append(
        f"{file}: {layers}, {count} finding{'' if count == 1 else 's'} of {rules} rule{'' if rules == 1 else 's'}"
    )
    return "\n".join(lines)


def _last_with(findings: Sequence[Finding], mend: str) -> Finding:
    return next(finding for finding in reversed(findings) if finding.mend == mend)


def finding_rows(result: CheckResult) -> list[dict[str, Any]]:
    """Return the findings as JSON can have them."""
    return [_row(rule, finding) for rule, finding in result.findings]


def _row(rule: CheckRule, finding: Finding) -> dict[str, Any]:
    file, line, column = finding.position()
    return {
        "rule": rule.name,
        "file": file,
        "line": line,
        "column": column,
        "layer": finding.layer or None,
        "problem": finding.problem,
        "mend": finding.mend,
    }
