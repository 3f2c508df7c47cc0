"""A batch split over threads."""

from __future__ import annotations

import threading

import pytest

from charlm.nn.shards import Shards


@pytest.mark.parametrize(
    ("batch", "threads", "sizes"),
    [
        (50, 2, [25, 25]),
        (13, 3, [4, 4, 5]),
        (50, 1, [50]),
        (7, 2, [7]),
        (8, 2, [4, 4]),
        (1, 4, [1]),
        (9, 64, [4, 5]),
    ],
)
def test_parts_cover_the_batch(batch: int, threads: int, sizes: list[int]) -> None:
    """The parts are contiguous, in order, even, cover every stream, and are not too small for a thread."""
    shards = Shards(batch, threads)
    streams = list(range(batch))
    assert [len(streams[part]) for part in shards.parts] == sizes
    assert [stream for part in shards.parts for stream in streams[part]] == streams


def test_parts_are_worked_on_at_the_same_time_and_come_back_in_order() -> None:
    """Every part has a thread of its own, and the results stand in the order of the parts."""
    barrier = threading.Barrier(3, timeout=30)  # passed only if all three wait at once

    def work(number: int, part: slice) -> tuple[int, slice]:
        barrier.wait()
        return number, part

    shards = Shards(12, 3)
    assert shards.map(work) == list(enumerate(shards.parts))


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_any_part_is_raised(failing: int) -> None:
    """An error in one thread reaches the caller."""

    def work(number: int, part: slice) -> None:
        if number == failing:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Shards(8, 2).map(work)
