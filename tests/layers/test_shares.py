"""Batches that are divided among processes, or dealt out in turns: together what one process reads."""

from pathlib import Path

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.layers.contract.group import PIECES, TURNS, Group
from caffelite.net import Net
from caffelite.schema.text import net_from_text

#: One that makes its records itself.
DUMMY = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 7 dim: 2 } shape { dim: 7 } data_filler { type: "gaussian" std: 1 } data_filler { type: "uniform" } } }"""


def one_of(size: int, rank: int) -> Group:
    group = Group()
    group.size, group.rank = size, rank
    return group


def batches(text: str, number: int, group: Group, dealing: str) -> list[tuple[np.ndarray, np.ndarray]]:
    net = Net(net_from_text(text), 0, group=group, dealing=dealing, seed=3)
    taken = []
    for _ in range(number):
        net.forward()
        taken.append(tuple(net.blobs[name].data.copy() for name in ("data", "label")))
    net.close()
    return taken


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    import h5py
    from PIL import Image

    import caffelite

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 3, 6, 5), dtype=np.uint8)
    caffelite.write_lmdb("db", [*zip(images, range(10), strict=True)])
    for i, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(f"{i}.png")
    Path("list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(10)))
    windows = "".join(f"# {i}\n{i}.png\n3\n6\n5\n2\n{i + 1} 0.9 0 0 3 3\n0 0.1 1 1 4 4\n" for i in range(10))
    Path("windows.txt").write_text(windows)
    with h5py.File("rows.h5", "w") as file:
        file["data"], file["label"] = rng.random((10, 2), np.float32), np.arange(10, dtype=np.float32)
    Path("h5.txt").write_text("rows.h5")
    tops, more = 'name: "data" top: "data" top: "label"', "transform_param { crop_size: 4 mirror: true }"
    return {
        "Data": f'layer {{ {tops} type: "Data" data_param {{ source: "db" batch_size: 7 rand_skip: 5 }} {more} }}',
        "ImageData": f'layer {{ {tops} type: "ImageData" image_data_param {{ source: "list.txt" batch_size: 7 shuffle: '
        f"true }} {more} }}",
        "WindowData": f'layer {{ {tops} type: "WindowData" window_data_param {{ source: "windows.txt" batch_size: 7 '
        f"fg_fraction: 0.4 }} {more} }}",
        "HDF5Data": f'layer {{ {tops} type: "HDF5Data" hdf5_data_param {{ source: "h5.txt" batch_size: 7 shuffle: true '
        "} }",
        "DummyData": DUMMY,
    }


@pytest.mark.parametrize("kind", ["Data", "ImageData", "WindowData", "HDF5Data", "DummyData"])
def test_pieces_and_turns_are_the_batches_of_one_process(kind: str, sources: dict[str, str]) -> None:
    text = sources[kind]
    whole = batches(text, 6, one_of(1, 0), PIECES)
    for size in (2, 3):
        pieces = [batches(text, 6, one_of(size, rank), PIECES) for rank in range(size)]
        assert [len(taken[0][0]) for taken in pieces] == {2: [4, 3], 3: [3, 2, 2]}[size]
        for i, batch in enumerate(whole):
            for j, values in enumerate(batch):
                np.testing.assert_array_equal(np.concatenate([taken[i][j] for taken in pieces]), values)
        for rank in range(size):
            for i, batch in enumerate(batches(text, 6 // size, one_of(size, rank), TURNS)):
                for mine, values in zip(batch, whole[i * size + rank], strict=True):
                    np.testing.assert_array_equal(mine, values)


@pytest.mark.parametrize("kind", ["Data", "HDF5Data", "DummyData"])
def test_more_processes_than_records_of_a_batch(kind: str, sources: dict[str, str]) -> None:
    with pytest.raises(NetError, match="a batch of 7 cannot be divided among 8 processes: give at most 7"):
        batches(sources[kind], 1, one_of(8, 7), PIECES)


def test_a_position_does_not_depend_on_the_number_of_processes(sources: dict[str, str]) -> None:
    def positions(size: int) -> list[dict[str, np.ndarray]]:
        nets = [Net(net_from_text(sources["Data"]), 0, group=one_of(size, rank), seed=3) for rank in range(size)]
        for net in nets:
            net.forward()
            net.forward()
            net.close()
        return [net.state() for net in nets]

    assert positions(1) * 3 == positions(3)
