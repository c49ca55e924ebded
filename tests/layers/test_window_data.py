"""WindowData: windows as Caffe cuts and resizes them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffelite.errors import DataError, NetError
from caffelite.net import Net
from caffelite.schema.blobs import write_blob
from caffelite.schema.text import net_from_text

PIXELS = (np.arange(6 * 7 * 3) ** 2 * 37 % 256).astype(np.uint8).reshape(6, 7, 3)  # blue, green, red

#: Window, context_pad, square, mirrored: the green of (pixels - 10, 20, 30) / 2 at crop_size 5, from OpenCV 5.0 by
#: Caffe's steps.
CUT = [
    (
        (1, 2, 5, 3),
        0,
        False,
        False,
        [
            [96, -7.5, 94, 16.5, 16],
            [95.5, -5.5, 86, 24, 13.5],
            [94.5, 4.5, 55.5, 55.5, 4.5],
            [92.5, 13.5, 24, 86, -5.5],
            [92.5, 16, 16.5, 94, -7.5],
        ],
    ),
    (
        (4, 0, 6, 3),
        1,
        False,
        True,
        [[0, 0, 0, 0, 0], [0, 0, 15.5, 25.5, 57.5], [0, 0, 68.5, 24.5, 82.5], [0, 0, 67, 49, 26.5], [0, 0, 27, 35, 38]],
    ),
    (
        (0, 1, 3, 2),
        1,
        True,
        False,
        [
            [0, 0, 0, 0, 0],
            [0, 33.5, 13.5, 55, 21.5],
            [0, 52.5, 21.5, 75.5, 31],
            [0, 17, 46.5, 33.5, 25.5],
            [0, 70.5, 17, 40.5, 21.5],
        ],
    ),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, pixels in (("a", PIXELS), ("b", PIXELS[::-1])):
        Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(f"{name}.png")


def listed(*images: list[str]) -> None:
    parts = [
        f"# {i}\n{'ab'[i]}.png\n3\n6\n7\n{len(windows)}\n" + "\n".join(windows) for i, windows in enumerate(images)
    ]
    Path("windows.txt").write_text("\n".join(parts) + "\n")


def net_of(settings: str = "", transform: str = "crop_size: 5", source: str = 'source: "windows.txt"') -> Net:
    text = f"""layer {{ name: "d" type: "WindowData" top: "x" top: "y"
        window_data_param {{ {source} {settings} }} transform_param {{ {transform} }} }}"""
    return Net(net_from_text(text, "a.prototxt"), keep=True)


@pytest.mark.parametrize(("box", "pad", "square", "mirrored", "expected"), CUT)
def test_values_are_those_of_opencv(
    box: tuple[int, ...], pad: int, square: bool, mirrored: bool, expected: list[list[float]]
) -> None:
    listed([f"3 0.9 {' '.join(map(str, box))}"])
    mode = "square" if square else "warp"
    settings = f'batch_size: 8 fg_fraction: 1 scale: 0.5 context_pad: {pad} crop_mode: "{mode}"'
    net = net_of(settings, f"crop_size: 5 mirror: {str(mirrored).lower()} mean_value: 10 mean_value: 20 mean_value: 30")
    net.forward()
    found = net.blobs["x"].data[:, 1]
    same = (found == np.array(expected)).all((1, 2))
    assert same.any() if mirrored else same.all()
    assert (net.blobs["y"].data == 3).all()
    net.close()


def test_background_comes_first_and_each_is_drawn_by_its_overlap() -> None:
    listed(
        ["1 0.9 0 0 4 4", "2 0.5 1 0 5 4", "3 0.4 2 0 6 4", "4 0.1 0 1 4 5"],
        ["5 0.6 0 0 4 4", "6 0 1 1 5 5"],
    )
    net = net_of("batch_size: 8 fg_threshold: 0.5 bg_threshold: 0.3 fg_fraction: 0.4 cache_images: true")
    windows = {
        1: PIXELS[:5, :5],
        2: PIXELS[:5, 1:6],
        5: PIXELS[::-1][:5, :5],
        -4: PIXELS[1:6, :5],
        -6: PIXELS[::-1][1:6, 1:6],
    }
    seen = set()
    for _ in range(20):
        net.forward()
        labels = net.blobs["y"].data.astype(int).tolist()
        assert labels[:5] == [0] * 5 and set(labels[5:]) <= {1, 2, 5}
        for image, label in zip(net.blobs["x"].data, labels, strict=True):
            known = [n for n in ((label,) if label else (-4, -6)) if (image == windows[n].transpose(2, 0, 1)).all()]
            assert len(known) == 1
            seen.add(known[0])
    assert seen == set(windows)
    net.close()


def test_goes_on_from_its_state_bit_for_bit() -> None:
    listed(["1 0.9 0 0 4 4", "2 0.5 1 0 5 4", "4 0.1 0 1 4 5", "4 0.1 0 1 6 5"])
    nets = [net_of("batch_size: 4", "crop_size: 5 mirror: true") for _ in range(2)]
    for _ in range(5):
        nets[0].forward()
    nets[1].load_state({"d/position": np.array([16])})
    nets[1].forward()
    for name in "xy":
        np.testing.assert_array_equal(nets[0].blobs[name].data, nets[1].blobs[name].data)
    for net in nets:
        net.close()


def test_the_middle_of_a_mean_file_is_taken() -> None:
    listed(["1 0.9 0 0 4 4"])
    mean = np.arange(3 * 8 * 9, dtype=np.float32).reshape(1, 3, 8, 9)
    write_blob("mean.binaryproto", mean)
    net = net_of("batch_size: 1 fg_fraction: 1", 'crop_size: 5 mean_file: "mean.binaryproto"')
    net.forward()
    expected = PIXELS[:5, :5].transpose(2, 0, 1) - mean[0, :, 2:7, 2:7]
    np.testing.assert_array_equal(net.blobs["x"].data[0], expected)
    net.close()


@pytest.mark.parametrize(
    ("settings", "transform", "text"),
    [
        ("batch_size: 1", "mirror: true", "transform_param needs crop_size"),
        ("batch_size: 1", "crop_size: 99999", "1 images of 3×99999×99999 are more values than a blob can have"),
        ("batch_size: 1 context_pad: 3", "crop_size: 6", "context_pad 3 on each side leaves nothing of crop_size 6"),
        ('batch_size: 1 crop_mode: "wrap"', "crop_size: 6", 'crop_mode is "wrap", expected "warp" or "square"'),
        ("batch_size: 1 fg_fraction: 2", "crop_size: 6", "fg_fraction is 2, expected 0 to 1"),
        ("", "crop_size: 6", "batch_size is 0"),
        ("batch_size: 1", 'crop_size: 6 mean_file: "none"', 'mean file "none" does not exist'),
        ("batch_size: 1", 'crop_size: 6 mean_file: "m"', 'mean file "m" has shape 1×3×5×9, of which 3×6×6 cannot be'),
        ("batch_size: 1", "crop_size: 6 mean_value: 1 mean_value: 2", "mean_value is given 2 times for 3 channels"),
        ("batch_size: 1", 'crop_size: 6 mean_value: 1 mean_file: "m"', "give either mean_file or mean_value, not both"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings: str, transform: str, text: str) -> None:
    listed(["1 0.9 0 0 4 4", "1 0.1 0 0 4 4"])
    write_blob("m", np.zeros((1, 3, 5, 9), np.float32))
    with pytest.raises((NetError, DataError)) as error:
        net_of(settings, transform)
    assert text in str(error.value) and 'layer "d": ' in str(error.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, 'the list of windows "windows.txt" cannot be read'),
        ("", 'the list of windows "windows.txt" is empty'),
        ("# 1\na.png\n3\n6\n7\n0\n", 'windows.txt:1: "# 0" is expected, where an image begins'),
        ("# 0\na.png\n3\n6\n7\n2\n1 1 0 0 1 1\n", "windows.txt:1: the path of an image, channels, height, width, the"),
        ("# 0\na.png\n3\n6\n7\n1\n1 1 0 0 1 x\n", "windows.txt:1: the path of an image, channels, height, width, the"),
        (
            "# 0\na.png\n3\n6\n7\n1\n1 1 0 0 1 nan\n",
            "windows.txt:1: the path of an image, channels, height, width, the",
        ),
        (
            "# 0\na.png\n3\n6\n7\n1\n1 1 0 0 1 1e30\n",
            "windows.txt:1: the path of an image, channels, height, width, the",
        ),
        ("# 0\na.png\n1\n6\n7\n1\n1 1 0 0 1 1\n", "windows.txt:1: the image has 1 channels, expected 3"),
        ("# 0\na.png\n3\n6\n7\n1\n0 1 0 0 1 1\n", "windows.txt:7: the class of a foreground window is above 0"),
        ("# 0\na.png\n3\n6\n7\n1\n1 1 0 0 1 1\n", "windows.txt has no background windows, and 2 of a batch are to be"),
    ],
)
def test_lists_that_do_not_fit_are_told(content: str | None, text: str) -> None:
    if content is not None:
        Path("windows.txt").write_text(content)
    with pytest.raises(DataError) as error:
        net_of("batch_size: 2")
    assert text in str(error.value) and 'a.prototxt:2:29: layer "d": ' in str(error.value)


def test_a_source_is_needed() -> None:
    with pytest.raises(NetError, match="window_data_param has no source"):
        net_of("batch_size: 2", source="")


@pytest.mark.parametrize(("box", "pad"), [("0 0 7 3", 0), ("5 0 4 3", 0), ("9 9 12 12", 1)])
def test_a_window_outside_its_image_is_told(box: str, pad: int) -> None:
    listed([f"1 0.9 {box}"])
    net = net_of(f"batch_size: 2 fg_fraction: 1 context_pad: {pad}")
    with pytest.raises(DataError, match='layer "d": image "# 0" of windows.txt has shape 3×6×7, and no window from'):
        net.forward()
    net.close()


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize(
    "content",
    ["root:$6$salt:19000::\n", "# 0\nroot:$6$salt\n3\n6\n7\n1\n1 1 0 0 1 1\n", "# 0\n/etc\n3\n6\n7\n1\n1 1 0 0 1 1\n"],
)
def test_no_error_shows_what_another_file_has(content: str, cache: bool) -> None:
    Path("windows.txt").write_text(content)
    with pytest.raises(DataError) as error:
        net_of(f"batch_size: 1 fg_fraction: 1 cache_images: {str(cache).lower()}").forward()
    assert "salt" not in str(error.value) and "/etc" not in str(error.value)
