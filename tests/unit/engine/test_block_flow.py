# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading ahead, computing on several threads, and stopping."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest

from unet_segmenter.engine.block_flow import read_compute_in_order
from unet_segmenter.engine.errors import Cancelled, InputError


def never() -> bool:
    return False


@pytest.mark.parametrize("concurrency", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_results_come_in_the_order_of_the_items(concurrency: int, count: int) -> None:
    def slow_when_even(value: int) -> int:
        time.sleep(0.002 * (value % 2 == 0))
        return value * value

    steps = read_compute_in_order(
        range(count), lambda i: i + 1, slow_when_even, concurrency=concurrency, cancelled=never
    )
    assert list(steps) == [(i, (i + 1) ** 2) for i in range(count)]


def test_only_a_bounded_number_of_items_is_in_flight() -> None:
    drawn = []

    def items():
        for i in range(100):
            drawn.append(i)
            yield i

    steps = read_compute_in_order(items(), lambda i: i, lambda i: i, concurrency=2, cancelled=never)
    for done, _ in enumerate(steps, 1):
        assert len(drawn) <= done + 5
    assert len(drawn) == 100


def test_one_thread_reads_and_as_many_as_asked_for_compute() -> None:
    readers, computers = set(), set()
    together = threading.Barrier(3, timeout=30)

    def compute(item: int) -> int:
        computers.add(threading.get_ident())
        if item < 3:
            together.wait()  # passes only when three compute at once
        return item

    def read(item: int) -> int:
        readers.add(threading.get_ident())
        return item

    list(read_compute_in_order(range(20), read, compute, concurrency=3, cancelled=never))
    assert len(readers) == 1
    assert len(computers) == 3
    assert threading.get_ident() not in readers | computers


@pytest.mark.parametrize("broken", ["read", "compute"])
def test_an_error_reaches_the_caller_after_the_results_before_it(broken: str) -> None:
    def fail_at_4(item: int) -> int:
        if item == 4:
            raise InputError("row 4 is damaged")
        return item

    def fine(item: int) -> int:
        return item

    read, compute = (fail_at_4, fine) if broken == "read" else (fine, fail_at_4)
    steps = read_compute_in_order(range(9), read, compute, concurrency=2, cancelled=never)
    assert [item for item, _ in islice(steps, 4)] == [0, 1, 2, 3]
    with pytest.raises(InputError, match="row 4"):
        next(steps)


def test_a_wish_to_stop_is_granted_while_a_block_is_computed() -> None:
    release = threading.Event()
    began = time.monotonic()
    steps = read_compute_in_order(
        range(9),
        lambda i: i,
        lambda i: release.wait(60),
        concurrency=2,
        cancelled=lambda: time.monotonic() - began > 0.3,
    )
    with pytest.raises(Cancelled):
        next(steps)
    assert time.monotonic() - began < 2
    release.set()


def test_nothing_is_read_any_more_once_the_wish_to_stop_is_granted() -> None:
    """Else the raster that the caller closes next is closed midway in a read."""
    reading, done = threading.Event(), []

    def read(item: int) -> int:
        reading.set()
        time.sleep(0.3)
        done.append(item)
        return item

    steps = read_compute_in_order(
        range(9), read, lambda i: i, concurrency=2, cancelled=reading.is_set
    )
    with pytest.raises(Cancelled):
        next(steps)
    seen = list(done)
    assert len(seen) == 1
    time.sleep(0.5)
    assert done == seen
