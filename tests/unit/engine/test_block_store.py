# SPDX-License-Identifier: GPL-2.0-or-later
"""Finished blocks on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine.block_store import BlockStore, Layer
from unet_segmenter.engine.errors import OutputError
from unet_segmenter.engine.geometry import Shape2D
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
