"""The model of a step over several processes, on steps that can be added up by hand."""

import pytest
from step_model import Event, Link, best, on_images, ring, step_time, tree, two_levels

#: A millisecond a message, a thousand bytes a millisecond.
LINK = Link(1e-3, 1e6)


def test_what_a_sum_takes() -> None:
    # Around a ring of four: six messages of a quarter each. Up and down a tree: four of all.
    assert ring(4, 4000, LINK) == pytest.approx(6 * 2e-3) and tree(4, 4000, LINK) == pytest.approx(4 * 5e-3)
    assert best(4, 4000, LINK) == ring(4, 4000, LINK) and best(4, 0, LINK) == tree(4, 0, LINK)
    assert ring(1, 4000, LINK) == tree(1, 4000, LINK) == 0
    # Eight processes of one machine send nothing over the link; of sixteen, the two machines do.
    assert two_levels(8, 4000, LINK) < 1e-3 < two_levels(16, 4000, LINK)
    assert two_levels(16, 4000, LINK) == pytest.approx(two_levels(8, 4000, LINK) + best(2, 4000, LINK))


def test_sums_go_on_while_a_process_computes() -> None:
    # Each sum of 1000 bytes takes two processes 2 (1 + 0.5) = 3 ms.
    start = [Event(10e-3, "start", 1000), Event(5e-3, "join"), Event(1e-3, "end")]
    assert step_time(start, 2, LINK, ring) == pytest.approx(16e-3)  # hidden
    waited = [Event(10e-3, "sum", 1000), *start[1:]]
    assert step_time(waited, 2, LINK, ring) == pytest.approx(19e-3)  # not hidden
    both = [Event(10e-3, "start", 1000), Event(0, "start", 1000), *start[1:]]
    assert step_time(both, 2, LINK, ring) == pytest.approx(17e-3)  # one after the other: the second ends at 16 ms
    assert step_time(both, 2, LINK, ring, half=True) == pytest.approx(16e-3)
    assert step_time(both, 1, LINK, ring) == pytest.approx(16e-3)


def test_another_number_of_images_lies_on_the_line() -> None:
    few, many = (10, [Event(2e-3, "start", 8)]), (20, [Event(3e-3, "start", 8)])
    (event,) = on_images(few, many, 40)
    assert event == Event(pytest.approx(5e-3), "start", 8)
