# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads ahead, computes on several threads, and hands results back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import TypeVar

from .errors import Cancelled

Item = TypeVar("Item")
Data = TypeVar("Data")
Result = TypeVar("Result")

_POLL_SECONDS = 0.1


def read_compute_in_order(
    items: Iterable[Item],
    read: Callable[[Item], Data],
    compute: Callable[[Data], Result],
    *,
    concurrency: int,
    cancelled: Callable[[], bool],
    ended: Callable[[], None] = lambda: None,
) -> Generator[tuple[Item, Result], None, None]:
    """Run `compute(read(item))` for each item, and yield the results in the items' order.

    Close the generator (`contextlib.closing`) before what `read` reads from: after an error in
    the loop over it, it would else still be reading.

    Parameters
    ----------
    items : iterable
        What to work on; it is drawn from as room comes free.
    read : callable
        Called by one thread only, item after item.
    compute : callable
        Called by `concurrency` threads at once.
    concurrency : int
        Number of computing threads. At most twice as many items, and one, are in flight.
    cancelled : callable
        Asked about ten times a second, by the thread that draws the results.
    ended : callable
        Called when no result is drawn any more, before what is being read is waited for.

    Yields
    ------
    tuple
        The item and its result.

    Raises
    ------
    Cancelled
        As soon as `cancelled()` is true. What a thread is just computing runs out in the
        background, and is dropped.
    """
    depth = 2 * concurrency + 1
    flight: deque[tuple[Item, Future[Result]]] = deque()
    reader = ThreadPoolExecutor(1, "read")
    workers = ThreadPoolExecutor(concurrency, "compute")

    def step(reading: Future[Data]) -> Result:
        return compute(reading.result())

    try:
        for item in items:
            flight.append((item, workers.submit(step, reader.submit(read, item))))
            if len(flight) == depth:
                yield _first(flight, cancelled)
        while flight:
            yield _first(flight, cancelled)
    finally:
        ended()
        # Waited for: the caller closes its rasters next, and GDAL crashes on one closed midway.
        reader.shutdown(wait=True, cancel_futures=True)
        workers.shutdown(wait=False, cancel_futures=True)


def one_at_a_time(function: Callable[[Item], Result]) -> Callable[[Item], Result]:
    """The function for several threads, of which each waits for the others."""
    lock = Lock()

    def call(item: Item) -> Result:
        with lock:
            return function(item)

    return call


def _first(
    flight: deque[tuple[Item, Future[Result]]], cancelled: Callable[[], bool]
) -> tuple[Item, Result]:
    item, future = flight[0]
    while not wait([future], _POLL_SECONDS).done:
        stop_if(cancelled)
    stop_if(cancelled)
    flight.popleft()
    return item, future.result()


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Raise `Cancelled` if the user wants to stop."""
    if cancelled():
        raise Cancelled("The run was cancelled; the same command goes on from its blocks.")
