"""ImageData: the images of a list, as Caffe's own tool read them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffelite.data.resizing import resize
from caffelite.errors import DataError, NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

CAFFE = Path(__file__).parent.parent / "caffe"


def net_of(settings: str, more: str = "", phase: int = TRAIN, seed: int = 1) -> Net:
    text = f'layer {{ name: "d" type: "ImageData" top: "x" top: "y"\n image_data_param {{ {settings} }} {more} }}'
    return Net(net_from_text(text, "a.prototxt"), phase, keep=True, seed=seed)


def take(net: Net, passes: int) -> tuple[np.ndarray, list[int]]:
    images, labels = [], []
    for _ in range(passes):
        net.forward()
        images.append(net.blobs["x"].data.copy())
        labels += net.blobs["y"].data.astype(int).tolist()
    return np.concatenate(images), labels


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Five colour images of different sizes, and their list; returned as channels x height x width, BGR."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    found, lines = [], []
    for i, (height, width) in enumerate([(6, 8), (9, 7), (6, 6), (7, 9), (8, 8)]):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(f"an image {i}.png")
        lines.append(f"an image {i}.png {10 + i}\n")
        found.append(pixels[:, :, ::-1].transpose(2, 0, 1).astype(np.float32))
    Path("list.txt").write_text("".join(lines))
    return found


def test_values_are_those_of_the_database_that_caffe_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CAFFE)
    transform = 'transform_param { scale: 0.01 mean_file: "mean.binaryproto" }'
    files = net_of('source: "list.txt" root_folder: "img/" batch_size: 12', transform)
    text = f"""layer {{ name: "d" type: "Data" top: "x" top: "y" {transform}
        data_param {{ source: "train_lmdb" backend: LMDB batch_size: 12 }} }}"""
    records = Net(net_from_text(text, "a.prototxt"), TRAIN, keep=True)
    images, labels = take(files, 3)
    keys, their_labels = take(records, 3)
    np.testing.assert_array_equal(images, keys)
    assert labels == their_labels
    assert files.layers[0].epoch_size == 24
    files.close()
    records.close()


def test_crops_of_images_of_different_sizes(pictures: list[np.ndarray]) -> None:
    net = net_of('source: "list.txt" batch_size: 5', "transform_param { crop_size: 6 mean_value: 9 scale: 2 }", TEST)
    images, labels = take(net, 1)
    assert labels == [10, 11, 12, 13, 14]
    for image, whole in zip(images, pictures, strict=True):
        top, left = (whole.shape[1] - 6) // 2, (whole.shape[2] - 6) // 2
        np.testing.assert_array_equal(image, (whole[:, top : top + 6, left : left + 6] - 9) * 2)
    net.close()


def test_crops_lie_anywhere_in_training_and_are_mirrored(pictures: list[np.ndarray]) -> None:
    net = net_of('source: "list.txt" batch_size: 5', "transform_param { crop_size: 6 mirror: true }")
    seen = set()
    for _ in range(40):
        image = take(net, 1)[0][1]  # 9×7: four places down, two across
        found = [
            (top, left, turned)
            for top in range(4)
            for left in range(2)
            for turned in (False, True)
            if (image == pictures[1][:, top : top + 6, left : left + 6][:, :, :: -1 if turned else 1]).all()
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert {place[0] for place in seen} == {0, 1, 2, 3}
    assert len(seen) > 8
    net.close()


def test_shuffle_gives_another_order_each_time_and_goes_on_bit_for_bit(pictures: list[np.ndarray]) -> None:
    settings = 'source: "list.txt" batch_size: 3 shuffle: true new_height: 5 new_width: 4'
    mirror = "transform_param { mirror: true }"
    net = net_of(settings, mirror)
    images, labels = take(net, 10)
    times = [tuple(labels[i : i + 5]) for i in range(0, 30, 5)]
    assert all(sorted(time) == [10, 11, 12, 13, 14] for time in times)
    assert len(set(times)) > 1
    assert take(net_of(settings, mirror, seed=2), 10)[1] != labels
    other = net_of(settings, mirror)
    other.load_state({"d/position": np.array([12])})
    again, rest = take(other, 6)
    assert rest == labels[12:]
    np.testing.assert_array_equal(again, images[12:])
    net.close()
    other.close()


def test_grey_and_rand_skip(pictures: list[np.ndarray]) -> None:
    net = net_of('source: "list.txt" batch_size: 1 is_color: false rand_skip: 5', "transform_param { crop_size: 6 }")
    _, labels = take(net, 6)
    assert labels == [10 + (labels[0] - 10 + i) % 5 for i in range(6)]
    assert net.blobs["x"].shape == (1, 1, 6, 6)
    net.close()


def test_resizing_is_opencvs() -> None:
    image = (np.arange(35) ** 2 * 37 % 256).astype(np.uint8).reshape(1, 5, 7)
    # cv2.resize of OpenCV 5.0
    smaller = [[21, 150, 94, 109], [102, 25, 210, 147], [138, 67, 46, 75]]
    larger = [
        [0, 25, 86, 132, 77, 79, 123, 122, 52],
        [9, 35, 99, 147, 94, 98, 144, 145, 77],
        [25, 54, 113, 159, 121, 128, 168, 170, 115],
        [64, 96, 87, 82, 172, 182, 135, 123, 177],
        [117, 151, 109, 63, 155, 168, 125, 115, 172],
        [182, 219, 180, 101, 72, 88, 136, 148, 100],
        [128, 166, 131, 83, 157, 64, 92, 108, 52],
        [80, 121, 87, 66, 229, 51, 56, 74, 20],
    ]
    np.testing.assert_array_equal(resize(image, 3, 4)[0], smaller)
    np.testing.assert_array_equal(resize(image, 8, 9)[0], larger)
    assert resize(image, 5, 7) is image


@pytest.mark.parametrize(
    ("settings", "more", "text"),
    [
        ("", "", "image_data_param has no source"),
        ('source: "list.txt" new_height: 3', "", "new_height and new_width are given together or not at all"),
        ('source: "list.txt" batch_size: 0', "", "batch_size is 0, expected 1 or more"),
        ('source: "none.txt"', "", 'the list of images "none.txt" cannot be read: No such file or directory'),
        ('source: "empty.txt"', "", 'the list of images "empty.txt" is empty'),
        ('source: "odd.txt"', "", "odd.txt:2: the line is not the path of an image, a space and its label"),
        ('source: "gone.txt"', "", "gone.txt:2: the image: there is no such file"),
        ('source: "huge.txt"', "", "huge.txt:1: the line is not the path of an image, a space and its label"),
        (
            'source: "list.txt" new_height: 99999 new_width: 99999',
            "",
            "1 images of 3×99999×99999 are more values than a blob can have",
        ),
        ('source: "list.txt" root_folder: "gone/"', "", "list.txt:1: the image: there is no such file"),
        (
            'source: "text.txt"',
            "",
            "text.txt:1: the image is not an image that can be decoded: its format is not known",
        ),
        ('source: "list.txt"', "transform_param { crop_size: 7 }", "crop_size 7 is larger than the images, 3×6×8"),
    ],
)
def test_what_does_not_fit_is_told(pictures: list[np.ndarray], settings: str, more: str, text: str) -> None:
    Path("empty.txt").write_text("\n \n")
    Path("odd.txt").write_text("a.png 1\nb.png\n")
    Path("gone.txt").write_text("\ngone.png 1\n")
    Path("huge.txt").write_text("a.png 2147483648\n")
    Path("text.txt").write_text("list.txt 1\n")
    with pytest.raises((NetError, DataError)) as error:
        net_of(settings, more)
    assert text in str(error.value)
    assert str(error.value).startswith("a.prototxt:") and 'layer "d": ' in str(error.value)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("", "list.txt:2: the image has shape 3×9×7, the first 3×6×8"),
        ("transform_param { crop_size: 6 }", "list.txt:6: the image has shape 3×5×9, too little for 3×6×6"),
    ],
)
def test_an_image_that_does_not_fit_is_told_when_it_comes(pictures: list[np.ndarray], more: str, text: str) -> None:
    Image.new("RGB", (9, 5)).save("small.png")
    with Path("list.txt").open("a") as file:
        file.write("small.png 4\n")
    net = net_of('source: "list.txt" batch_size: 6', more)
    with pytest.raises(DataError) as error:
        net.forward()
    assert str(error.value) == f'a.prototxt:2:21: layer "d": {text}'
    net.close()


@pytest.mark.parametrize("line", ["root:$6$salt:19000::", "root 0", "/etc 1", "list.txt 1", "locked.png 1", "\\0 3"])
def test_no_error_shows_what_another_file_has(line: str, pictures: list[np.ndarray]) -> None:
    """A net from elsewhere may name any file as its list, and its errors may be shown to whom it is from."""
    Path("locked.png").symlink_to("locked.png")
    Path("secret").write_text(f"{line}\n".replace("\\0", "\0"))
    with pytest.raises(DataError) as error:
        net_of('source: "secret"')
    assert not [word for word in line.split() if len(word) > 1 and word in str(error.value)]
    assert "secret:1: " in str(error.value)
