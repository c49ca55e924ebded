"""What is wrong with the batch normalization of a net, if anything, in words, and the one command that mends it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

from caffelite.batchnorm.check import CheckResult
from caffelite.batchnorm.rules import Finding
from caffelite.report.bn_measuring import Measured

#: Rules whose findings make a net bad in the test by themselves, the worst first, and whether statistics that are
#: measured anew mend it; all others must change the text of the net.
_HARMFUL = {
    "fork-layout": False,
    "not-a-number": False,
    "unshared-names": False,
    "no-statistics": True,
    "negative-variance": True,
    "stored-statistics-in-train": False,
    "batch-statistics-in-test": False,
    "learned-statistics": False,
}
#: Points of accuracy that are worth a word.
_POINTS = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer.

    Attributes
    ----------
    wrong : bool or None
        Whether something is; None where nothing could be measured and nothing was found.
    sentences : list of str
    command : str
        What mends it; what shows the rest where nothing is wrong.
    """

    wrong: bool | None
    sentences: list[str]
    command: str


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that tell more, with the files of this report.

    Attributes
    ----------
    net, weights : str
        Files.
    """

    net: str
    weights: str

    def of(self, *words: str) -> str:
        """Return a command on the net with its weights; ``words`` begin with its name."""
        command = words[: 2 if words[0] == "bn" else 1]
        return shlex.join(["caffelite", *command, self.net, "--weights", self.weights, *words[len(command) :]])

    @property
    def recalibrate(self) -> str:
        """What measures the statistics anew."""
        return self.of("bn", "recalibrate")


def verdict(checked: CheckResult, measured: Measured, commands: Commands) -> Verdict:
    """Return what is wrong, the cause that explains the most first.

    Parameters
    ----------
    checked : CheckResult
    measured : Measured
    commands : Commands
    """
    found = {rule.name: finding for rule, finding in reversed(checked.findings)}
    for name, anew in _HARMFUL.items():
        if name in found:
            return _harmful(found[name], _count(checked, name), anew, commands)
    best = measured.anew[-1][1] if measured.anew else None
    if measured.stored is not None and best is not None:
        return _by_worth(measured, best, "far-statistics" in found, commands)
    if "far-statistics" in found:
        return _harmful(found["far-statistics"], _count(checked, "far-statistics"), True, commands)
    return _unmeasured(measured, commands)


def _count(checked: CheckResult, name: str) -> int:
    return sum(rule.name == name for rule, _ in checked.findings)


def _harmful(finding: Finding, count: int, anew: bool, commands: Commands) -> Verdict:
    others = f" It is the same in {count - 1} more place{'s' if count > 2 else ''}." if count > 1 else ""
    where = f'{finding.place}, layer "{finding.layer}"' if finding.layer else finding.place
    mend = [] if anew else [f"To mend it: {finding.mend}. Then look again:"]
    command = commands.recalibrate if anew else commands.of("bn", "report")
    return Verdict(True, [f"{where}: {finding.problem}.{others}", *mend], command)


def _by_worth(measured: Measured, best: float, far: bool, commands: Commands) -> Verdict:
    assert measured.stored is not None
    stored, own = measured.stored, measured.own.get(measured.batch)
    images = measured.anew[-1][0] * measured.train_batch
    told = (
        f"With the stored statistics {worth(measured, stored)}, with statistics measured anew over {images:,} training "
        f"images {worth(measured, best)}"
        + ("" if own is None else f", with those of each test batch of {measured.batch:,} {worth(measured, own)}")
        + "."
    )
    if _better(measured, best, stored):
        behind = (
            "The stored statistics of batch normalization are not those of the weights as they are: "
            f"{_gain(measured, best, stored)} are lost, and come back where they are measured anew."
        )
        return Verdict(True, [behind, told], commands.recalibrate)
    if own is not None and _better(measured, own, best):
        shifted = (
            "The test images have other statistics than the training images: only those of the test batches "
            f"themselves make {_gain(measured, own, best)} more. Compare how both are transformed (mean, scale, crop) "
            "and where they come from."
        )
        return Verdict(True, [shifted, told], commands.of("bn", "show"))
    if far:
        harmless = (
            "The stored statistics of batch normalization are far from those of the training data, though what that "
            f"costs on {measured.images:,} test images is no more than chance."
        )
        return Verdict(True, [harmless, told], commands.recalibrate)
    fine = "Nothing is wrong with batch normalization: the stored statistics are as good as any. "
    elsewhere = "If the net is bad in the test, the cause is another: what it learned, or its data."
    return Verdict(False, [fine + elsewhere, told], commands.of("test"))


def _unmeasured(measured: Measured, commands: Commands) -> Verdict:
    why = "; ".join(dict.fromkeys(filter(None, (measured.no_test, measured.no_train))))
    if measured.layers:
        near = "The stored statistics are near those of the training data. What that is worth could not be tested: "
        return Verdict(False, [f"{near}{why}."], commands.of("bn", "check"))
    nothing = "Nothing was found in the files, but the stored statistics were held against no data: "
    return Verdict(None, [f"{nothing}{why}."], commands.of("bn", "show"))


def worth(measured: Measured, value: float | None) -> str:
    """Write a value of the output that was measured."""
    if value is None:
        return "not measured"
    return f"{100 * value:.2f}%" if measured.share else f"{measured.output} {value:.4g}"


def _gain(measured: Measured, better: float, worse: float) -> str:
    if measured.share:
        return f"{100 * (better - worse):.1f} points of accuracy"
    return f"{worse - better:.3g} of {measured.output}"


def _better(measured: Measured, one: float, other: float) -> bool:
    """Whether one value is better than another by more than chance, and by enough to care."""
    if not isfinite(other):
        return isfinite(one)
    if not measured.share:
        return one < 0.95 * other
    # Two standard errors of a share of right answers.
    chance = 200 * sqrt(max(one * (1 - one), 0) / max(measured.images, 1))
    return 100 * (one - other) > max(_POINTS, chance)


def as_good(measured: Measured, one: float, other: float) -> bool:
    """Whether one value is at most half a point, or a fiftieth of a loss, worse than another."""
    return other - one <= 0.005 if measured.share else one <= 1.02 * other


def grouped(checked: CheckResult) -> list[tuple[str, str, Sequence[Finding]]]:
    """Return the findings with the name of their rule and what mends them, those of one kind together."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for rule, finding in checked.findings:
        groups.setdefault((rule.name, finding.mend), []).append(finding)
    return [(name, mend, findings) for (name, mend), findings in groups.items()]
