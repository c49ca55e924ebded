import pytest

from caffelite.kernels.convolution.blocking import parts_and_runs


@pytest.mark.parametrize(
    ("case", "cut"),
    [
        ((200, 1, 1, 1_200, 10_000, 10**9), (16, 1)),  # small sums
        ((100, 1, 1, 50_000, 10**6, 320 * 10**6), (4, 1)),  # sums of a noticeable size
        ((8, 1, 16, 2_360_000, 700_000, 925 * 10**6), (1, 4)),  # large ones
        ((1, 1, 1, 1_000, 1_000, 10**6), (1, 1)),  # nothing to cut
        ((1, 32, 1, 1_000, 1_000, 10**6), (1, 1)),  # groups enough
        ((3, 1, 1, 1_000, 1_000, 10**8), (2, 1)),  # two threads have the same to do
    ],
    ids=str,
)
def test_parts_and_runs(case: tuple[int, int, int, int, int, int], cut: tuple[int, int]) -> None:
    assert parts_and_runs(*case) == cut


def test_there_are_tasks_for_four_threads_and_an_even_number() -> None:
    for blocks in (4, 5, 30, 1000):
        for groups in (1, 2, 3, 48):
            for panels in (1, 3, 43):
                for sums in (100, 10**5, 10**7):
                    parts, runs = parts_and_runs(blocks, groups, panels, sums, blocks * 1000, 100 * blocks * sums)
                    assert 4 <= parts * runs * groups
                    assert parts * runs * groups % 2 == 0
