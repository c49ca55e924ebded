"""``caffelite look``: a net and an image as a picture and as a page, and what is said where that cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
from browser import opened

NET = ["look", "net.prototxt", "--weights", "snap_iter_12.caffemodel"]
NAMES = ["$a_$", '"</script><b>', "שלום", "n" * 300]


@pytest.fixture
def image(run_folder):
    picture = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    picture.fromarray(pixels).save("a.png")
    Path("names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return ["--image", "a.png"]


def test_filters_alone(caffelite, run_folder):
    assert caffelite(*NET, "b.png") == (0, "", "b.png: filters of conv1\n")
    assert Path("b.png").read_bytes().startswith(b"\x89PNG")


def test_an_image(caffelite, image):
    code, out, err = caffelite(*NET, *image, "--occlude", "--gradient", "--labels", "names.txt", "b.svg")
    assert code == 0 and out.count("%") == 4
    assert err.startswith("b.svg: a.png, 16×16 as the net reads it, filters of conv1, maps of conv1, ")
    assert Path("b.svg").read_bytes().startswith(b"<?xml")
    code, out, _ = caffelite(*NET, *image, "--json", "--top", "2", "--blob", "pool1,ip", "b.html")
    told = json.loads(out)
    assert code == 0 and told["panels"][2:] == ["maps of pool1", "values of ip"] and len(told["classes"]) == 2
    assert told["classes"][0]["value"] >= told["classes"][1]["value"] and told["classes"][0]["probability"]


def test_the_image_is_prepared_as_the_data_was(caffelite, image):
    def best(*options: str) -> list[dict]:
        return json.loads(caffelite(*NET, *image, *options, "--json", "b.html")[1])["classes"]

    # The net's data layer has this mean and this scale.
    assert best() == best("--mean", "mean.binaryproto", "--scale", "0.01") != best("--mean", "0", "--scale", "0.02")
    assert best() != best("--channel-order", "RGB")


def test_a_page(caffelite, image):
    assert caffelite(*NET, *image, "--labels", "names.txt", "--gradient", "--class", "1", "b.html")[0] == 0
    with opened(Path("b.html"), width=400, dark=True) as browser:
        pictures = browser.find_elements("css selector", ".look img")
        assert len(pictures) == 4 and all(int(one.get_attribute("naturalWidth")) > 5 for one in pictures)
        assert {row.text for row in browser.find_elements("css selector", "tbody td:first-child")} == set(NAMES)
        assert 'score of ""</script><b>"' in browser.find_element("tag name", "body").text
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["b.gif"], "b.gif: the name of the output ends with .png, .svg, .pdf or .html"),
        (["no/b.png"], "no/b.png: there is no folder no"),
        (["b.png", "--occlude"], "--occlude is for an image: give it with --image"),
        (["b.png", "--filters", "con1"], 'net.prototxt: no layer "con1" has filters; did you mean "conv1"?'),
        (["b.png", "--image", "missing.png"], "missing.png: there is no such file"),
        (["b.png", "--image", "net.prototxt"], "net.prototxt is not an image that can be decoded"),
        (["a.png", "--image", "a.png"], "a.png is a file that is read; give another name"),
        (["b.png", "--image", "a.png", "--class", "9", "--gradient"], "--class 9 is not one of the 4 classes, 0 to 3"),
        (["b.png", "--image", "a.png", "--class", "1"], "--class is for --occlude and --gradient"),
        (["b.png", "--image", "a.png", "--labels", "solver.prototxt"], "solver.prototxt: it has "),
        (["b.png", "--mean", "no"], 'the mean "no" is neither numbers'),
    ],
)
def test_what_cannot_be_done(options, said, caffelite, image):
    code, out, err = caffelite(*NET, *options)
    assert (code, out) == (1, "") and err.startswith(f"caffelite: {said}") and err.count("\n") == 1


def test_the_shape_is_enough(caffelite, run_folder):
    text = Path("net.prototxt").read_text("utf-8")
    Path("net.prototxt").write_text(text.replace("train_lmdb", "no_lmdb"), "utf-8")
    code, _, err = caffelite(*NET, "b.html")
    assert code == 1 and "give it: --shape data:1,CHANNELS,HEIGHT,WIDTH" in err
    # What the message says is what this command takes.
    assert caffelite(*NET, "--shape", "data:1,3,16,16", "b.html")[0] == 0
