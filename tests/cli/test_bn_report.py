"""``caffelite bn report``: the answer, the figures behind it, and the page."""

import json
from pathlib import Path

import pytest
from browser import opened

from caffelite.net import Net
from caffelite.words import TEST

COMMAND = ["bn", "report", "net.prototxt", "--weights", "snap_iter_12.caffemodel"]
#: A name that would do harm where it was taken as markup or as script.
HOSTILE = '</script><script>boom()</script>\\"שלום' + "x" * 300


def test_figures_are_those_of_the_commands_it_names(caffelite, run_folder):
    code, out, err = caffelite(*COMMAND, "--images", "24", "--json")
    found = json.loads(out)
    measured = found["measured"]
    # Nothing is said, but that kernels are compiled where they were not before.
    assert code == 0 and err in ("", "compiling kernels, which are kept for the next time\n")
    assert found["page"] == "snap_iter_12_bn.html" and Path(found["page"]).is_file()
    assert measured["images"] == 24 and measured["batch"] == 12 and list(measured["own"]) == ["1", "2", "5", "10", "12"]
    test = ["test", *COMMAND[2:], "--iterations", "2", "--json"]
    assert measured["stored"] == pytest.approx(json.loads(caffelite(*test)[1])["outputs"]["accuracy"])
    own = json.loads(caffelite(*test, "--stats", "batch")[1])["outputs"]["accuracy"]
    assert measured["own"]["12"] == pytest.approx(own)
    batches, value = measured["anew"][-1]
    anew = ["bn", "recalibrate", *COMMAND[2:], "--iterations", str(batches), "--test-iterations", "2", "--json"]
    assert value == pytest.approx(json.loads(caffelite(*anew)[1])["after"]["accuracy"])
    (row,) = json.loads(caffelite("bn", "show", *COMMAND[2:], "--iterations", str(batches), "--json")[1])
    (layer,) = measured["layers"]
    assert layer["name"] == "bn1" and len(layer["shifts"]) == layer["channels"] == len(row["mean"])
    # bn show averages as the layer does, the report exactly.
    assert layer["mean"] == pytest.approx(row["mean_difference"], abs=0.05)
    assert measured["folding"]["layers"] == {"bn1": "in conv1"} and measured["folding"]["changed"] == 0
    assert measured["folding"]["difference"] < 1e-5


def test_weights_without_statistics(caffelite, run_folder):
    net = Net("net.prototxt", TEST, weights="snap_iter_12.caffemodel")
    for blob in net.params["bn1"]:
        blob.data[...] = 0
    net.save("zero.caffemodel")
    net.close()
    code, out, _ = caffelite(*COMMAND[:-1], "zero.caffemodel", "page.html", "--images", "12")
    assert code == 0 and "the factor (blob 2) is 0" in out and "The whole report: page.html" in out
    assert "  caffelite bn recalibrate net.prototxt --weights zero.caffemodel\n" in out


def test_a_net_that_is_deployed(caffelite, run_folder):
    text = Path("net.prototxt").read_text().splitlines()
    deployed = [
        text[0],
        'layer { name: "i" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }',
    ]
    Path("deploy.prototxt").write_text("\n".join([*deployed, text[3], *text[5:7]]))
    code, out, _ = caffelite("bn", "report", "deploy.prototxt", *COMMAND[3:], "--json")
    found = json.loads(out)
    assert code == 0 and found["wrong"] is None
    assert found["measured"]["no_test"] == "deploy.prototxt has no layer that reads data in TEST"
    assert "Not tested: deploy.prototxt has no layer" in Path(found["page"]).read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([*COMMAND[:-1], "none.caffemodel"], "none.caffemodel: No such file"),
        ([*COMMAND, "nowhere/page.html"], "there is no folder nowhere"),
        ([*COMMAND, "./snap_iter_12.caffemodel"], "is the file the weights are read from"),
        (["bn", "report", "plain.prototxt", *COMMAND[3:]], "plain.prototxt: there is no layer of batch normalization"),
    ],
)
def test_refused(arguments, expected, caffelite, run_folder):
    lines = Path("net.prototxt").read_text().splitlines()
    Path("plain.prototxt").write_text(
        "\n".join(line.replace('"bn1"', '"conv1"') for line in lines if "BatchNorm" not in line)
    )
    files = sorted(run_folder.iterdir())
    code, out, err = caffelite(*arguments)
    assert (code, out) == (1, "")
    assert expected in err and "Traceback" not in err
    assert sorted(run_folder.iterdir()) == files


def test_missing_data(caffelite, run_folder):
    Path("net.prototxt").write_text(Path("net.prototxt").read_text().replace("train_lmdb", "nothing_lmdb"))
    code, out, _ = caffelite(*COMMAND, "--json")
    measured = json.loads(out)["measured"]
    assert code == 0 and "nothing_lmdb" in measured["no_test"] and "nothing_lmdb" in measured["no_train"]
    assert measured["stored"] is None and measured["layers"] == [] and measured["folding"] is None


def test_the_page_in_a_browser(caffelite, run_folder):
    text = Path("net.prototxt").read_text().replace('name: "bn1"', f'name: "{HOSTILE}"')
    # The layer has no weights of this name: a finding, with its line.
    Path("net.prototxt").write_text(text)
    assert caffelite(*COMMAND, "page.html", "--images", "24")[0] == 0
    with opened(Path("page.html"), 400) as browser:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
        verdict = browser.find_element("id", "verdict")
        assert verdict.text.startswith("Something is wrong.") and "boom()" in verdict.text
        assert len(browser.find_elements("css selector", ".chart svg")) >= 2
        assert browser.find_element("css selector", "mark").text.split()[0] == "5"
        assert len(browser.find_elements("css selector", "#worth tbody tr")) == 3
