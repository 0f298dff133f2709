# SPDX-License-Identifier: GPL-2.0-or-later
"""Collars: exact over any strips and windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine import collar as module
from unet_segmenter.engine.collar import Collar, find_collar
from unet_segmenter.engine.components import label_components
from unet_segmenter.engine.geometry import PixelWindow, Shape2D


def found(labels: np.ndarray, rows: int | None = None) -> Collar:
    shape = Shape2D(*labels.shape)
    return find_collar(shape, lambda w: labels[w.slices], lambda: None, rows)


def expected(labels: np.ndarray) -> np.ndarray:
    """From one labelling of the whole."""
    pieces, _ = label_components(labels, labels > 0)
    edge = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    return np.isin(pieces, edge[edge > 0])


@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(1, 9), st.floats(0.2, 0.9),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_collar_is_that_of_the_whole_raster_for_any_strips(
    height: int, width: int, rows: int, share: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    labels = (random.random((height, width)) < share) * random.integers(1, 3, (height, width))
    labels = labels.astype(np.uint8)
    whole = found(labels, rows).read(PixelWindow(0, 0, height, width))
    assert np.array_equal(whole, expected(labels))


def test_windows_and_shrunk_windows_are_parts_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE_COLUMNS", 16)
    random = np.random.default_rng(5)
    labels = (random.random((70, 90)) < 0.62).astype(np.uint8)
    collar = found(labels, 7)
    whole = expected(labels)
    assert 0 < whole.sum() < labels.sum()
    for window in (PixelWindow(3, 5, 40, 50), PixelWindow(69, 0, 1, 90), PixelWindow(0, 0, 70, 90)):
        assert np.array_equal(collar.read(window), whole[window.slices])
        rows = ((np.arange(9) + 0.5) * window.height / 9).astype(int)
        cols = ((np.arange(8) + 0.5) * window.width / 8).astype(int)
        shrunk = whole[window.slices][rows][:, cols]
        assert np.array_equal(collar.read_shrunk(window, (9, 8)), shrunk)


def test_a_collar_that_winds_through_many_strips_is_whole() -> None:
    labels = np.zeros((41, 41), np.uint8)
    labels[1:40:2, 1:40] = 1  # a snake
    labels[2:39:4, 39] = labels[4:39:4, 1] = 1
    assert found(labels, 4).is_empty
    labels[40, 20] = 1  # it touches the edge at its end
    assert np.array_equal(found(labels, 4).read(PixelWindow(0, 0, 41, 41)), labels > 0)


def test_none_takes_no_room() -> None:
    assert found(np.zeros((50, 60), np.uint8)).is_empty
    inside = np.zeros((50, 60), np.uint8)
    inside[10:20, 10:20] = 1
    assert found(inside).is_empty
