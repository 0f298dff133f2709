# SPDX-License-Identifier: GPL-2.0-or-later
"""Finished blocks on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine import unfinished_folder
from unet_segmenter.engine.block_store import BlockStore, Layer
from unet_segmenter.engine.errors import OutputError
from unet_segmenter.engine.geometry import PixelWindow, Shape2D
from unet_segmenter.engine.tiling import BlockGrid

LAYERS = {"OUTPUT": Layer(1, "uint8"), "PROBABILITY": Layer(3, "float32")}


def opened(folder: Path, shape: Shape2D, signature: object = 1, **options: Any) -> BlockStore:
    return BlockStore(folder / "m.tif", shape, LAYERS, {"is": signature}, **options)


def content(shape: Shape2D) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "OUTPUT": random.integers(0, 255, (1, *shape), np.uint8),
        "PROBABILITY": random.random((3, *shape), np.float32),
    }


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.randoms(use_true_random=False)
)
def test_blocks_written_in_any_order_and_in_two_runs_give_the_raster_back(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, core: int, random: Any
) -> None:
    folder = tmp_path_factory.mktemp("store")
    shape = Shape2D(height, width)
    pixels = content(shape)
    blocks = list(BlockGrid.cover(shape, core, 0, 1))
    random.shuffle(blocks)
    half = len(blocks) // 2
    for part in (blocks[:half], blocks[half:]):
        with opened(folder, shape) as store:
            for block in part:
                window = (slice(None), *block.write.slices)
                store.write(block.index, block.write, {n: a[window] for n, a in pixels.items()})
    with opened(folder, shape) as store:
        assert store.finished == set(range(len(blocks)))
        for name, expected in pixels.items():
            for band, image in enumerate(expected):
                assert np.array_equal(store.read_rows(name, band, 0, height), image)
    store.remove()
    assert list(folder.iterdir()) == []


def test_blocks_of_another_run_are_discarded(tmp_path: Path) -> None:
    shape = Shape2D(4, 4)
    window = next(iter(BlockGrid.cover(shape, 4, 0, 1))).write
    with opened(tmp_path, shape) as store:
        store.write(0, window, content(shape))
    with opened(tmp_path, shape, signature=2) as store:
        assert store.finished == set()
        assert (store.read_rows("OUTPUT", 0, 0, 4) == 0).all()
    with opened(tmp_path, shape, signature=2, resume=False) as store:
        assert store.finished == set()


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    shape = Shape2D(4, 4)
    with opened(tmp_path, shape), pytest.raises(OutputError, match=r"Another run.*m\.tif"):
        opened(tmp_path, shape)
    with opened(tmp_path, shape) as store:
        assert store.finished == set()


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no folder"):
        opened(tmp_path / "absent", Shape2D(4, 4))


def test_shrinking_takes_values_that_are_there(tmp_path: Path) -> None:
    shape = Shape2D(40, 60)
    pixels = content(shape)
    pixels["OUTPUT"] = (pixels["OUTPUT"] > 127).astype(np.uint8) * 7
    window = next(iter(BlockGrid.cover(shape, 60, 0, 1))).write
    with opened(tmp_path, shape) as store:
        store.write(0, window, pixels)
        small = store.read_shrunk("OUTPUT", 10, 15)
        same = store.read_shrunk("OUTPUT", 40, 60)
    assert small.shape == (10, 15)
    assert set(np.unique(small)) == {0, 7}
    assert np.array_equal(same, pixels["OUTPUT"][0])


def test_rows_are_written_past_the_journal(tmp_path: Path) -> None:
    with opened(tmp_path, Shape2D(6, 4)) as store:
        store.write_rows("OUTPUT", 2, np.arange(12, dtype=np.uint8).reshape(3, 4))
        assert store.read_rows("OUTPUT", 0, 1, 6).tolist() == [
            [0, 0, 0, 0],
            *np.arange(12).reshape(3, 4).tolist(),
            [0, 0, 0, 0],
        ]
        assert store.finished == set()


@pytest.mark.parametrize("lost", ["OUTPUT", "PROBABILITY"])
def test_a_block_whose_pixels_did_not_reach_the_disk_is_unfinished(
    tmp_path: Path, lost: str
) -> None:
    """As a power cut may leave it: in the journal, and zeros where its pixels should be."""
    shape = Shape2D(8, 8)
    pixels = content(shape)
    blocks = list(BlockGrid.cover(shape, 4, 0, 1))
    with opened(tmp_path, shape) as store:
        for block in blocks:
            window = (slice(None), *block.write.slices)
            store.write(block.index, block.write, {n: a[window] for n, a in pixels.items()})
        path = store.raw_path(lost)
    with path.open("r+b") as file:  # the first row of the last block
        file.seek((4 * 8 + 4) * LAYERS[lost].size(Shape2D(1, 1)) // LAYERS[lost].bands)
        file.write(bytes(4))
    with opened(tmp_path, shape) as store:
        assert store.finished == {0, 1, 2}
        window = (slice(None), *blocks[3].write.slices)
        store.write(3, blocks[3].write, {n: a[window] for n, a in pixels.items()})
    with opened(tmp_path, shape) as store:
        assert store.finished == {0, 1, 2, 3}
        assert np.array_equal(store.read_rows("OUTPUT", 0, 0, 8), pixels["OUTPUT"][0])


def test_a_journal_beside_empty_raw_files_names_no_finished_block(tmp_path: Path) -> None:
    shape = Shape2D(4, 4)
    window = next(iter(BlockGrid.cover(shape, 4, 0, 1))).write
    with opened(tmp_path, shape) as store:
        store.write(0, window, content(shape))
        for name in LAYERS:
            store.raw_path(name).unlink()
    with opened(tmp_path, shape) as store:
        assert store.finished == set()


def test_pixels_are_on_the_disk_before_the_journal_and_not_for_every_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink().name)
    )
    shape = Shape2D(4, 4)
    window = next(iter(BlockGrid.cover(shape, 4, 0, 1))).write
    with opened(tmp_path, shape) as store:
        for _ in range(5):
            store.write(0, window, content(shape))
        assert synced == []
        store._synced -= 60
        store.write(0, window, content(shape))
        assert synced == ["OUTPUT.raw", "PROBABILITY.raw", "finished_blocks"]
        store.write(0, window, content(shape))
        assert len(synced) == 3


def test_a_block_that_holds_nothing_reads_as_nodata_and_takes_no_room(tmp_path: Path) -> None:
    shape = Shape2D(2048, 8192)  # a row of a block fills pages of 4096 bytes
    empty, full = PixelWindow(0, 0, 2048, 4096), PixelWindow(0, 4096, 2048, 4096)
    pixels = {
        "OUTPUT": np.ones((1, *full.shape), np.uint8),
        "PROBABILITY": np.ones((3, *full.shape), np.float32),
    }
    for _ in range(2):  # and so it does in a run that goes on
        with opened(tmp_path, shape) as store:
            store.skip(0, empty)
            store.write(1, full, pixels)
        with opened(tmp_path, shape) as store:
            assert store.finished == {0, 1}
            classes = store.read_rows("OUTPUT", 0, 1000, 1002)
            shares = store.read_rows("PROBABILITY", 2, 1000, 1002)
            assert [window for window, _ in store.parts("OUTPUT", 0)] == [full]
            used = store.raw_path("OUTPUT").stat().st_blocks * 512
    assert (classes[:, :4096] == 255).all()
    assert (classes[:, 4096:] == 1).all()
    assert np.isnan(shares[:, :4096]).all()
    assert (shares[:, 4096:] == 1).all()
    assert used <= 2048 * 4096 + 65536


@pytest.mark.parametrize("planted", ["link to a folder", "link to nothing", "file"])
def test_what_was_planted_under_the_folders_name_is_refused_and_left_alone(
    planted: str, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    place = tmp_path / ".m.tif.unfinished"
    if planted == "file":
        place.write_text("mine")
    else:
        place.symlink_to(precious if planted == "link to a folder" else tmp_path / "absent")
    with pytest.raises(OutputError, match=r"m\.tif\.unfinished is .*Remove it, or choose"):
        opened(tmp_path, Shape2D(4, 4))
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".m.tif.unfinished", "precious"]


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / ".m.tif.unfinished").mkdir()
    monkeypatch.setattr(unfinished_folder, "_owner_here", lambda folder: os.getuid() + 1)
    with pytest.raises(OutputError, match="belongs to another user"):
        opened(tmp_path, Shape2D(4, 4))


def test_only_what_a_run_wrote_is_deleted(tmp_path: Path) -> None:
    shape = Shape2D(4, 4)
    with opened(tmp_path, shape) as store:
        folder = store.folder
        (folder / "thesis.txt").write_text("years of work")
        (folder / "notes").mkdir()
        (folder / "notes" / "a.txt").write_text("mine")
        (folder / "OUTPUT").mkdir()
        (folder / "OUTPUT" / "m.tif").write_text("half a map")
        (folder / "OUTPUT" / "elsewhere").symlink_to(folder / "notes")
        (folder / "OUTPUT.part2.vrt").write_text("")
    with opened(tmp_path, shape, signature=2):
        assert not (folder / "OUTPUT").exists()
    store.remove()
    assert sorted(p.name for p in folder.rglob("*")) == ["a.txt", "notes", "thesis.txt"]
