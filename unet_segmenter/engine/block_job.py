# SPDX-License-Identifier: GPL-2.0-or-later
"""What all jobs share that write a raster block by block: checks, resuming, the flow of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from .block_flow import read_compute_in_order, stop_if
from .block_store import BlockStore, Layer
from .errors import OutputError
from .geometry import PixelWindow, Shape2D
from .progress import Progress
from .rasters.writer import driver_of
from .side_files import is_foreign_picture, is_ours, quicklook_path, table_path
from .text_files import check_folders
from .tiling import Block

Data = TypeVar("Data")
Arrays = Mapping[str, NDArray[Any]]

NO_RASTER = ("SUMMARY",)
"""Outputs that are no raster."""


def check_outputs(outputs: Mapping[str, str], no_raster: tuple[str, ...] = NO_RASTER) -> None:
    """Refuse before the work what cannot be written after it.

    Parameters
    ----------
    outputs : dict
        Path by output name.
    no_raster : tuple of str
        Names of outputs that are files of another kind.

    Raises
    ------
    OutputError
        If a folder is missing or read-only, no driver writes a raster's suffix, or there is a
        side file of no raster that would be read as a part of ours.
    """
    check_folders(outputs)
    if "SUMMARY" in outputs:
        summary = Path(outputs["SUMMARY"])
        if is_foreign_picture(summary):
            raise OutputError(
                f"{quicklook_path(summary)} is no quick look that this plugin drew, and would be "
                "replaced by that of SUMMARY. Move it away, or choose another name for SUMMARY."
            )
    for name, path in outputs.items():
        if name in no_raster:
            continue
        raster = Path(path)
        driver_of(raster)
        table = table_path(raster)
        if table.exists() and not raster.exists() and not is_ours(table, raster):
            raise OutputError(
                f"{table} lies there without its raster, and would be read as a part of the new "
                f"{raster.name}. Move it away, or choose another output."
            )


@contextmanager
def unfinished_map(
    output: Path,
    shape: Shape2D,
    layers: Mapping[str, Layer],
    signature: dict[str, Any],
    progress: Progress,
    *,
    resume: bool = True,
    pixels: int | None = None,
) -> Iterator[BlockStore]:
    """Open the blocks of a run, those of an interrupted one among them.

    When the context is left without an error the blocks are removed: by then their files are
    written. After an error they stay, so that the same command goes on from them.

    Parameters
    ----------
    output : Path
        The main output.
    shape : Shape2D
        Shape of the output in px.
    layers : dict
        What is written, by output name.
    signature : dict
        Everything that decides the pixels, as JSON values.
    progress : Progress
        Receives a message on blocks that are reused.
    resume : bool
        Whether to reuse blocks of an interrupted run, and to keep them after an interruption.
    pixels : int, optional
        How many pixels of each band the run will write at most; all of them by default.

    Raises
    ------
    OutputError
        If the folder is not writable, the disk too full, or another run writes there.
    """
    store = BlockStore(output.absolute(), shape, layers, signature, resume=resume, pixels=pixels)
    try:
        with store:
            if store.finished:
                progress.log(
                    "info",
                    f"Resuming an interrupted run, with {len(store.finished)} finished blocks.",
                )
            yield store
    except BaseException:
        if not resume or not store.finished:
            store.remove()
        raise
    store.remove()


def fill(
    store: BlockStore,
    blocks: Iterable[Block],
    total: int,
    read: Callable[[Block], Data],
    compute: Callable[[list[Data]], list[Arrays]],
    progress: Progress,
    *,
    region: PixelWindow,
    concurrency: int,
    batch: int = 1,
    wanted: Callable[[Block], bool] | None = None,
    ended: Callable[[], None] = lambda: None,
) -> None:
    """Compute the blocks that a store lacks: one thread reads ahead, one writes.

    Parameters
    ----------
    store : BlockStore
        Where results go.
    blocks, total
        All blocks of the run, and their number.
    read : callable
        What a block needs; called by one thread only.
    compute : callable
        From what `batch` blocks need (the last time from fewer) to their arrays (bands, H, W) by
        layer, of the written windows; called by `concurrency` threads at once.
    progress : Progress
        Is notified of every block, and asked whether to stop.
    region : PixelWindow
        What the store holds, on the grid of the blocks.
    concurrency : int
        Number of computing threads.
    batch : int
        Blocks a call of `compute`.
    wanted : callable, optional
        Whether any pixel of a block is wanted; one of which none is costs no reading, no
        computing, and no room. By default all are.
    ended : callable
        Called when the run ends, before what is being read is waited for.

    Raises
    ------
    Cancelled
        If the user stopped.
    """
    progress.advance(len(store.finished), total)

    def todo() -> Iterator[Block]:
        for block in blocks:
            if block.index in store.finished:
                continue
            if wanted is None or wanted(block):
                yield block
                continue
            stop_if(progress.cancelled)
            store.skip(block.index, block.write.relative_to(region))
            progress.advance(len(store.finished), total)

    steps = read_compute_in_order(
        _batches(todo(), batch),
        lambda group: [read(block) for block in group],
        compute,
        concurrency=concurrency,
        cancelled=progress.cancelled,
        ended=ended,
    )
    # Closed when a write fails, too: its thread reads from rasters that the caller closes next.
    with closing(steps):
        for group, results in steps:
            for block, arrays in zip(group, results, strict=True):
                store.write(block.index, block.write.relative_to(region), arrays)
            progress.advance(len(store.finished), total)


def _batches(blocks: Iterator[Block], size: int) -> Iterator[list[Block]]:
    while batch := list(islice(blocks, size)):
        yield batch
