"""Finding what is wrong with the batch normalization of a net."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from caffelite.batchnorm import training_rules, weight_rules
from caffelite.batchnorm.rules import RULES, CheckRule, Finding
from caffelite.batchnorm.statistics import brings_data, measured_statistics, normalizing
from caffelite.batchnorm.subject import Subject
from caffelite.errors import DataError
from caffelite.layers.shared.normalizing import Statistics
from caffelite.solvers.sources import NetSource
from caffelite.words import TRAIN


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What is wrong with a net.

    Attributes
    ----------
    findings : list of (CheckRule, Finding)
        In the order of the rules; a place once for each rule and problem.
    layers : int
        How many normalizing layers the net has, by name.
    """

    findings: list[tuple[CheckRule, Finding]]
    layers: int


def check(subject: Subject) -> CheckResult:
    """Run every rule over a net.

    Parameters
    ----------
    subject : Subject
        See :func:`caffelite.batchnorm.subject.subject_of`.
    """
    findings = {(rule.name, finding): (rule, finding) for rule in RULES.values() for finding in rule.find(subject)}
    names = {node.name for graph in subject.graphs for node, _ in normalizing(graph)}
    return CheckResult(list(findings.values()), len(names))


def measure(
    source: NetSource,
    weights: Sequence[str],
    iterations: int,
    *,
    allow_python: bool = False,
    counted: Callable[[range], Iterable[int]] = iter,
) -> tuple[dict[str, Statistics], str]:
    """Measure the statistics of a net's own training data under its weights.

    Parameters
    ----------
    source : NetSource
        The net to train.
    weights : sequence of path
        Later files go over earlier ones.
    iterations : int
        Number of batches.
    allow_python : bool, optional
    counted : callable, optional
        Given the numbers of the batches; what it returns is walked over (for a bar of progress).

    Returns
    -------
    measured : dict of str to Statistics
        By layer; empty where there is no data.
    why : str
        Why there is none; empty where there is.

    Raises
    ------
    NetError, ShapeError, WeightsError
        The weights do not fit.
    """
    try:
        net = source._replace(phase=TRAIN).net(
            global_stats=False, learn=False, allow_python=allow_python, output_root=None
        )
    except DataError as error:
        return {}, str(error)
    try:
        if not brings_data(net.graph):
            return {}, f"{source.document.filename} has no layer that reads data in TRAIN"
        for path in weights:
            net.copy_from(path)
        layers = [(node, layer) for node, layer in normalizing(net.graph) if not layer.uses_stored]
        return measured_statistics(net, layers, counted(range(iterations)), "exponential"), ""
    except DataError as error:
        return {}, str(error)
    finally:
        net.close()


__all__ = ["CheckResult", "check", "measure", "training_rules", "weight_rules"]
