"""HDF5Data and HDF5Output."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from caffelite.cli import main
from caffelite.errors import DataError, Error
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

ROWS = [3, 1, 4]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = 0
    for i, rows in enumerate(ROWS):
        with h5py.File(f"{i}.h5", "w") as file:
            file["x"] = np.arange(first * 6, (first + rows) * 6).reshape(rows, 2, 3) / 2
            file.create_dataset("y", data=np.arange(first, first + rows), compression="gzip")
        first += rows
    Path("list.txt").write_text("0.h5 1.h5\n2.h5\n")


def net_of(settings: str = 'source: "list.txt" batch_size: 5', more: str = "", seed: int = 1) -> Net:
    text = f'layer {{ name: "d" type: "HDF5Data" top: "x" top: "y"\n hdf5_data_param {{ {settings} }} {more} }}'
    return Net(net_from_text(text, "a.prototxt"), TEST, keep=True, seed=seed)


def take(net: Net, passes: int) -> list[int]:
    found = []
    for _ in range(passes):
        net.forward()
        rows = net.blobs["y"].data.astype(int).tolist()
        np.testing.assert_array_equal(net.blobs["x"].data[:, 1, 2], [(6 * row + 5) / 2 for row in rows])
        found += rows
    return found


def test_rows_go_on_over_files_and_start_over() -> None:
    net = net_of()
    assert take(net, 4) == [i % 8 for i in range(20)]
    assert net.blobs["x"].shape == (5, 2, 3)
    assert net.layers[0].epoch_size == 8
    net.close()
    assert take(net, 1) == [4, 5, 6, 7, 0]


def test_a_batch_may_be_larger_than_all_files() -> None:
    assert take(net_of('source: "list.txt" batch_size: 20'), 2) == [i % 8 for i in range(40)]


def test_shuffle_gives_another_order_each_time_and_goes_on_bit_for_bit() -> None:
    settings = 'source: "list.txt" batch_size: 5 shuffle: true'
    rows = take(net_of(settings), 24)
    times = [tuple(rows[i : i + 8]) for i in range(0, 120, 8)]
    assert all(sorted(time) == list(range(8)) for time in times)
    assert len(set(times)) > 10
    assert len({time[0] < 3 for time in times}) == 2, "files come in one order"
    # A file comes as a whole.
    assert all(max(np.diff(sorted(time.index(row) for row in range(3)))) == 1 for time in times)
    assert take(net_of(settings, seed=2), 24) != rows
    other = net_of(settings)
    other.load_state({"d/position": np.array([35])})
    assert take(other, 17) == rows[35:]


@pytest.mark.parametrize(
    ("settings", "more", "text"),
    [
        ("batch_size: 1", "", "hdf5_data_param has no source"),
        ('source: "list.txt"', "", "batch_size is 0, expected 1 or more"),
        ('source: "list.txt" batch_size: 1', "transform_param { scale: 2 }", "takes no transform_param"),
        ('source: "away" batch_size: 1', "", 'the list of files "away" cannot be read: No such file or directory'),
        ('source: "empty" batch_size: 1', "", 'the list of files "empty" is empty'),
        ('source: "gone" batch_size: 1', "", "file 2 of gone: there is no such file"),
        ('source: "text" batch_size: 1', "", "file 1 of text: not a whole HDF5 file"),
        ('source: "nox" batch_size: 1', "", 'file 1 of nox: there is no dataset "x"'),
        ('source: "rows" batch_size: 1', "", '"y" has shape (3,), "x" (2, 2, 3); there must be rows, and the same'),
        ('source: "scalar" batch_size: 1', "", '"x" has shape (), "x" (); there must be rows'),
        ('source: "none" batch_size: 1', "", '"x" has shape (0, 3), "x" (0, 3); there must be rows'),
        ('source: "wide" batch_size: 1', "", 'file 2 of wide: rows of "x" are 2×4, those of the first file 2×3'),
        ('source: "words" batch_size: 1', "", 'file 1 of words: "x" does not hold the numbers'),
        ('source: "link" batch_size: 1', "", 'file 1 of link: "x" is a link to another file, which is not followed'),
    ],
)
def test_what_does_not_fit_is_told(settings: str, more: str, text: str) -> None:
    for name, files in [("empty", ""), ("gone", "0.h5 gone.h5"), ("text", "list.txt"), ("wide", "0.h5 wide.h5")]:
        Path(name).write_text(files)
    for name, x, y in [
        ("rows", np.zeros((2, 2, 3)), np.zeros(3)),
        ("nox", None, np.zeros(2)),
        ("wide", np.zeros((1, 2, 4)), np.zeros(1)),
        ("words", [b"a"], np.zeros(1)),
        ("scalar", 3.0, np.zeros(2)),
        ("none", np.zeros((0, 3)), np.zeros(0)),
        ("link", h5py.ExternalLink("0.h5", "x"), np.zeros(3)),
    ]:
        with h5py.File(f"{name}.h5", "w") as file:
            file["y"] = y
            if x is not None:
                file["x"] = x
        if name != "wide":
            Path(name).write_text(f"{name}.h5")
    with pytest.raises(Error) as error:
        net_of(settings, more)
    assert text in str(error.value)
    assert str(error.value).startswith("a.prototxt:") and 'layer "d": ' in str(error.value)


def test_a_file_that_changes_is_told() -> None:
    net = net_of()
    with h5py.File("2.h5", "w") as file:
        file["x"], file["y"] = np.zeros((9, 2, 3)), np.zeros(9)
    with pytest.raises(DataError, match="file 3 of list.txt has changed since the net was built"):
        net.forward()


OUTPUT = """layer { name: "d" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "o" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "made/out.h5" } }"""


def written() -> tuple[np.ndarray, np.ndarray]:
    with h5py.File("made/out.h5") as file:
        return file["data"][()], file["label"][()]


def test_output_is_there_whole_when_the_net_is_closed() -> None:
    net = Net(net_from_text(OUTPUT, "a.prototxt"), TEST, keep=True)
    for i in range(3):
        net.blobs["x"].data[...] = np.arange(6).reshape(2, 3) + 10 * i
        net.blobs["y"].data[...] = [i, -i]
        net.forward()
        assert not Path("made/out.h5").exists()
    net.close()
    data, label = written()
    assert data.shape == (6, 3, 1, 1) and data.dtype == np.float32
    np.testing.assert_array_equal(data.reshape(3, 2, 3)[1], np.arange(6).reshape(2, 3) + 10)
    assert label.reshape(-1).tolist() == [0, 0, 1, -1, 2, -2]
    assert [path.name for path in Path("made").iterdir()] == ["out.h5"]
    net.forward()
    net.close()
    assert written()[0].shape == (2, 3, 1, 1)


def test_output_is_there_when_the_program_ends() -> None:
    Path("a.prototxt").write_text(OUTPUT)
    program = "import caffelite as caffe; net = caffe.Net('a.prototxt', caffe.TEST); net.forward()"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert written()[1].shape == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('file_name: "made/out.h5"', "", "hdf5_output_param has no file_name"),
        ("shape { dim: 2 } }", "shape { dim: 4 } }", "its bottoms must have as many rows, not 2×3 and 4"),
        ("dim: 2 dim: 3 }", "dim: 2 dim: 1 dim: 1 dim: 1 dim: 1 }", "takes blobs of four axes at most"),
        ("made/out.h5", "../out.h5", '"../out.h5" is outside '),
        ("made/out.h5", "made/../../out.h5", '"made/../../out.h5" is outside '),
        ("made/out.h5", "/tmp/out.h5", '"/tmp/out.h5" is outside '),
        ("made/out.h5", "leads_out/out.h5", '"leads_out/out.h5" is outside '),
        ("made/out.h5", "leads_out", '"leads_out" is outside '),
        ("made/out.h5", ".", '"." is outside '),
    ],
)
def test_output_that_does_not_fit_is_told(old: str, new: str, text: str) -> None:
    Path("leads_out").symlink_to("/tmp")
    with pytest.raises(Error) as error:
        Net(net_from_text(OUTPUT.replace(old, new), "a.prototxt"), TEST)
    assert text in str(error.value) and 'layer "o": ' in str(error.value)


def test_output_that_cannot_be_written_is_told() -> None:
    Path("made").write_text("a file where the folder should be")
    net = Net(net_from_text(OUTPUT, "a.prototxt"), TEST)
    with pytest.raises(Error, match='layer "o": .*made/out.h5 cannot be written'):
        net.forward()


def test_a_pass_without_rows_writes_none() -> None:
    text = OUTPUT.replace('"o" type: "HDF5Output" bottom: "x"', '"o" type: "HDF5Output" bottom: "z"')
    text = text.replace('bottom: "y" hdf5', 'bottom: "z" hdf5').replace(
        'layer { name: "o"', 'layer { name: "f" type: "Filter" bottom: "x" bottom: "y" top: "z" }\nlayer { name: "o"'
    )
    net = Net(net_from_text(text, "a.prototxt"), TEST, keep=True)
    for chosen in ([0, 0], [0, 1], [0, 0], [1, 1]):
        net.blobs["y"].data[...] = chosen
        net.forward()
    net.close()
    assert written()[0].shape == (3, 3, 1, 1)


def test_the_folder_that_is_written_to(tmp_path: Path) -> None:
    net = Net(net_from_text(OUTPUT, "a.prototxt"), TEST, output_root=tmp_path / "results")
    net.forward()
    net.close()
    assert (tmp_path / "results" / "made" / "out.h5").is_file() and not Path("made").exists()
    document = net_from_text(OUTPUT.replace("made/out.h5", str(tmp_path / "results" / "two.h5")), "a.prototxt")
    net = Net(document, TEST, output_root="results")
    net.forward()
    net.close()
    assert (tmp_path / "results" / "two.h5").is_file()
    with pytest.raises(Error, match="is outside .*results, the folder that it may write to; another one is named by"):
        Net(net_from_text(OUTPUT.replace("made/", "../"), "a.prototxt"), TEST, output_root="results")


def test_without_a_folder_nothing_is_written() -> None:
    net = Net(net_from_text(OUTPUT.replace("made/", "../../"), "a.prototxt"), TEST, output_root=None)
    net.forward()
    net.close()
    assert not Path("made").exists() and not Path("../../out.h5").exists()


@pytest.mark.parametrize("kind", ["text", "hdf5", "folder", "link"])
def test_what_others_made_is_not_written_over(kind: str) -> None:
    path = Path("made/out.h5")
    path.parent.mkdir()
    if kind == "text":
        path.write_text("a thesis")
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["data"] = [1]
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("target.h5")
        path.with_name("target.h5").write_text("a thesis")
    before = {p: p.read_bytes() for p in path.parent.iterdir() if p.is_file()}
    net = Net(net_from_text(OUTPUT, "a.prototxt"), TEST)
    with pytest.raises(Error, match="cannot be written: it is there already, and was not made by an HDF5Output layer"):
        net.forward()
    net.close()
    assert before == {p: p.read_bytes() for p in path.parent.iterdir() if p.is_file()}


@pytest.mark.parametrize("command", ["time", "draw"])
def test_commands_that_write_nothing(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in").mkdir()
    monkeypatch.chdir("in")
    for name in ("out.h5", str(tmp_path / "out.h5")):
        Path("a.prototxt").write_text(OUTPUT.replace("made/out.h5", name))
        further = ["--phase", "TEST", "--iterations", "1"] if command == "time" else ["a.dot"]
        assert main([command, "a.prototxt", *further]) == 0
    assert {path.name for path in Path().iterdir()} <= {"a.prototxt", "a.dot"}
    assert not (tmp_path / "out.h5").exists()


def test_the_folder_on_the_command_line(tmp_path: Path) -> None:
    Path("a.prototxt").write_text(OUTPUT)
    net = Net("a.prototxt", TEST, output_root=None)
    net.save("a.caffemodel")
    arguments = ["test", "a.prototxt", "--weights", "a.caffemodel", "--iterations", "2"]
    assert main([*arguments, "--output-root", "results"]) == 0
    with h5py.File("results/made/out.h5") as file:
        assert file["data"].shape == (4, 3, 1, 1)
    assert main(arguments) == 0 and written()[0].shape == (4, 3, 1, 1)
