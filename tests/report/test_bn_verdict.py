"""What ``caffelite bn report`` answers, for what was found and measured."""

from dataclasses import replace

import pytest

from caffelite.batchnorm.check import CheckResult
from caffelite.batchnorm.rules import RULES, Finding
from caffelite.report.bn_measuring import Layer, Measured
from caffelite.report.bn_verdict import Commands, as_good, grouped, verdict

COMMANDS = Commands("my net.prototxt", "w.caffemodel")
FINE = Measured(
    "accuracy", images=10000, batch=1000, stored=0.60, own={1000: 0.605}, train_batch=100, anew=[(1, 0.5), (100, 0.606)]
)


def found(*rules: str) -> CheckResult:
    return CheckResult([(RULES[name], Finding(f"a:{i}:1", f"bn{i}", "P", "M")) for i, name in enumerate(rules)], 3)


def test_nothing_is_wrong() -> None:
    answer = verdict(found("no-scale"), FINE, COMMANDS)
    assert answer.wrong is False and "10,000 training images 60.60%" in answer.sentences[1]
    assert answer.command == "caffelite test 'my net.prototxt' --weights w.caffemodel"


@pytest.mark.parametrize(
    ("rules", "measured", "said", "command"),
    [
        ([], replace(FINE, stored=0.5), "10.6 points of accuracy are lost", "bn recalibrate"),
        ([], replace(FINE, stored=float("nan"), share=False), "nan of accuracy are lost", "bn recalibrate"),
        ([], replace(FINE, own={1000: 0.7}), "other statistics than the training images", "bn show"),
        (["far-statistics"], FINE, "no more than chance", "bn recalibrate"),
        (["far-statistics"], Measured(no_test="x"), "a:0:1, layer", "bn recalibrate"),
        (["no-scale", "no-statistics", "no-statistics"], FINE, "in 1 more place", "bn recalibrate"),
        # What the text of the net is to blame for goes before what can be measured.
        (["no-statistics", "unshared-names"], replace(FINE, stored=0.5), "a:1:1", "bn report"),
        (["fork-layout"], Measured(), "a:0:1", "bn report"),
    ],
)
def test_something_is_wrong(rules: list[str], measured: Measured, said: str, command: str) -> None:
    answer = verdict(found(*rules), measured, COMMANDS)
    assert answer.wrong is True and said in answer.sentences[0]
    assert answer.command.startswith(f"caffelite {command} 'my net.prototxt' --weights w.caffemodel")


def test_few_images_tell_little() -> None:
    assert verdict(found(), replace(FINE, stored=0.5, images=50, own={}), COMMANDS).wrong is False


def test_a_loss_is_better_where_it_is_smaller() -> None:
    loss = replace(FINE, output="loss", share=False, stored=2.0, own={}, anew=[(100, 1.0)])
    answer = verdict(found(), loss, COMMANDS)
    assert answer.wrong is True and "1 of loss are lost" in answer.sentences[0] and "loss 2" in answer.sentences[1]
    assert as_good(loss, 1.0, 1.01) and not as_good(loss, 1.1, 1.0)


def test_without_data() -> None:
    nothing = Measured(no_test="no data", no_train="no data")
    assert verdict(found(), nothing, COMMANDS).wrong is None
    near = replace(nothing, no_train="", layers=[Layer("bn", 1, 0.0, 1.0, 0, [0.0])])
    answer = verdict(found(), near, COMMANDS)
    assert answer.wrong is False and answer.sentences[0].endswith("could not be tested: no data.")


def test_findings_of_one_kind_stand_together() -> None:
    groups = grouped(found("no-scale", "tiny-batch", "no-scale"))
    assert [(name, len(findings)) for name, _, findings in groups] == [("no-scale", 2), ("tiny-batch", 1)]
