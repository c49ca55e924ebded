"""Each experiment from end to end, on a few drawn images and for a few iterations."""

import dataclasses
import math
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from drawn import drawn_images
from groups import in_threads

from caffelite.datasets import prepare as datasets
from caffelite.datasets import synthetic
from caffelite.datasets.download import Remote
from caffelite.datasets.originals import Splits
from caffelite.experiments import (
    EXPERIMENTS,
    ignored_gradient,
    moving_average,
    one_image,
    process_statistics,
    published,
)
from caffelite.experiments.bench import Bench
from caffelite.experiments.drawing import draw
from caffelite.experiments.nets import HIDDEN, cifar10_bn, mlp
from caffelite.experiments.result import VERDICTS, Curve, Panel, Result
from caffelite.layers.contract.group import PROCESS, Group
from caffelite.net import Net
from caffelite.schema.text import net_from_text, read_net, read_solver

NOWHERE = (Remote("x", 3, "0" * 64, ("http://127.0.0.1:1/x",)),)


IMAGES = drawn_images(1200, 200)


@pytest.fixture
def few_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder, and a CIFAR-10 of a few drawn images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAFFELITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CAFFELITE_DATA", raising=False)
    shapes = Splits(lambda: synthetic.shapes(0, 200), lambda: synthetic.shapes(200, 100))
    few = dataclasses.replace(datasets.DATASETS["cifar10"], builtin=shapes, remotes=NOWHERE)
    monkeypatch.setitem(datasets.DATASETS, "cifar10", few)
    monkeypatch.setattr(published, "_TESTS", 1)
    nets = {name: dataclasses.replace(net, points=1) for name, net in moving_average._NETS.items()}
    monkeypatch.setattr(moving_average, "_NETS", nets)
    # Each net once, and each rate.
    first, *_, last = moving_average._CASES
    monkeypatch.setattr(moving_average, "_CASES", {case: moving_average._CASES[case] for case in (first, last)})
    monkeypatch.setattr(one_image, "_SIZES", (1, 100))


def test_there_are_ten() -> None:
    assert len(EXPERIMENTS) == 10


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment(name: str, few_shapes: None, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    bench = Bench(IMAGES, (1, 2), 0.002, on_progress=lambda *facts: told.append(facts))
    result = import_module(f"caffelite.experiments.{name.replace('-', '_')}").run(bench)
    assert result.name == name and result.verdict in VERDICTS and result.seeds == (1, 2) and result.share == 0.002
    assert result.sentence.endswith(".") and result.claim.endswith(".")
    assert all(len(row) == len(result.columns) for row in result.rows)
    for panel in result.panels:
        for curve in panel.curves:
            assert len(curve.ys) == 2 and all(len(line) == len(curve.x) for line in curve.ys)
    assert told[-1][0] == told[-1][1]
    again = Result.from_json(result.to_json())
    files = [tmp_path / f"{name}{suffix}" for suffix in (".svg", ".png")]
    draw(again, files)
    assert files[0].read_text().startswith("<?xml") and files[1].read_bytes().startswith(b"\x89PNG")


def test_a_bias_grows_if_its_gradient_ignores_the_mean() -> None:
    result = ignored_gradient.run(Bench(IMAGES, (1,), 0.03))
    assert result.verdict == "held"
    grown, still = (curve.ys[0] for curve in result.panels[0].curves)
    steps = np.diff(grown)
    assert np.allclose(steps, steps.mean(), rtol=1e-3) and steps.mean() > 1e-3
    assert max(still) < 1e-5
    # Both normalize by the same statistics: the losses begin alike, and stay so where the bias alone learns.
    ignoring, full = (curve.ys[0] for curve in result.panels[1].curves)
    np.testing.assert_allclose(ignoring, full, rtol=1e-5)


def test_one_net_computes_what_eight_processes_do() -> None:
    def run(text: str, images: slice, **how: object) -> Net:
        net = Net(net_from_text(text), **how)
        net.blobs["data"].data[...], net.blobs["label"].data[...] = IMAGES.train[images], IMAGES.train_labels[images]
        net.forward()
        net.backward()
        return net

    one = run(process_statistics._divided("ReLU"), slice(32))
    # DummyData leaves what is written into its tops, of which a process has its piece.
    text = mlp(HIDDEN, "ReLU", range(1, 5), batch=32)
    text = text.replace('"Input"', '"DummyData"').replace("input_param", "dummy_data_param")

    def work(group: Group) -> Net:
        return run(text, slice(4 * group.rank, 4 * group.rank + 4), group=group, bn_statistics=PROCESS)

    nets = in_threads(8, work)
    for name in ("ip1", "scale2", "ip4", "score"):
        whole = one.params[name][0].diff
        assert whole is not None and whole.any()
        parts = np.sum([net.params[name][0].diff for net in nets], axis=0)
        np.testing.assert_allclose(parts, whole, atol=1e-4 * np.abs(whole).max())
    stored, factor = one.params["bn_ip1_0"][0].data, one.params["bn_ip1_0"][2].data
    mean = np.mean([net.params["bn1"][0].data for net in nets], axis=0)
    np.testing.assert_allclose(stored / factor, mean, atol=0.01 * np.abs(mean).max())


def test_the_published_net_is_that_of_the_models() -> None:
    models = Path(__file__).parents[2] / "models"
    assert net_from_text(cifar10_bn()).message == read_net(models / "cifar10_bn.prototxt").message
    solver = read_solver(models / "cifar10_bn_solver.prototxt").message
    assert {name: getattr(solver, name) for name in published.SOLVER} == pytest.approx(published.SOLVER)
    # What else it says is of tests, displays and snapshots.
    assert not (solver.weight_decay or solver.clip_gradients > 0 or solver.iter_size > 1) and solver.type == "SGD"


def test_lost_losses_are_drawn_up_to_where_they_are_lost(tmp_path: Path) -> None:
    lines = [[1.0, 2.0, math.nan], [1.0, 3.0, math.nan]]
    panel = Panel("t", "x", "y", [Curve("some", [1, 2, 3], lines), Curve("none", [1, 2, 3], [[math.nan] * 3])])
    result = Result("n", "T", "s", "c", "held", "e", ["a"], [["x"]], [panel, panel, panel], "d", [1], 1.0)
    pictures = []
    for name in ("a.svg", "b.svg"):
        draw(result, [tmp_path / name])
        pictures.append((tmp_path / name).read_text())
    assert pictures[0] == pictures[1]
    assert "some: then no number" in pictures[0] and "none: no number" in pictures[0]
