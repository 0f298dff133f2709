# SPDX-License-Identifier: GPL-2.0-or-later
"""Windows on a pixel grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine.geometry import PixelWindow, Shape2D, ceil_to, floor_to

windows = st.builds(
    PixelWindow,
    st.integers(-50, 50),
    st.integers(-50, 50),
    st.integers(1, 60),
    st.integers(1, 60),
)


def pixels_of(window: PixelWindow) -> set[tuple[int, int]]:
    return {
        (row, col)
        for row in range(window.row, window.row_stop)
        for col in range(window.col, window.col_stop)
    }


@given(windows, windows)
def test_an_intersection_holds_exactly_the_common_pixels(
    first: PixelWindow, second: PixelWindow
) -> None:
    common = pixels_of(first) & pixels_of(second)
    found = first.intersect(second)
    assert (pixels_of(found) if found else set()) == common
    assert first.contains(second) == (pixels_of(second) <= pixels_of(first))


@given(windows, windows)
def test_moving_the_origin_keeps_the_shape_and_can_be_undone(
    window: PixelWindow, origin: PixelWindow
) -> None:
    moved = window.relative_to(origin)
    assert moved.shape == window.shape
    assert (moved.row + origin.row, moved.col + origin.col) == (window.row, window.col)


def test_slices_pick_the_window_out_of_an_array_that_starts_at_its_first_pixel() -> None:
    values = np.arange(30).reshape(5, 6)
    assert values[PixelWindow(1, 2, 2, 3).slices].tolist() == [[8, 9, 10], [14, 15, 16]]


def test_padding_grows_a_window_on_all_sides() -> None:
    assert PixelWindow(3, 4, 5, 6).pad(2) == PixelWindow(1, 2, 9, 10)


def test_the_window_of_a_shape_covers_it() -> None:
    window = PixelWindow.of_shape(Shape2D(7, 9))
    assert (window, window.pixels, window.shape) == (PixelWindow(0, 0, 7, 9), 63, Shape2D(7, 9))


@pytest.mark.parametrize(("height", "width"), [(0, 1), (1, 0), (-3, 5)])
def test_an_empty_window_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="empty"):
        PixelWindow(0, 0, height, width)


@given(st.integers(-1000, 1000), st.integers(1, 64))
def test_rounding_to_a_divisor_goes_to_the_nearest_multiple_on_its_side(
    value: int, divisor: int
) -> None:
    low, high = floor_to(value, divisor), ceil_to(value, divisor)
    assert low % divisor == high % divisor == 0
    assert value - divisor < low <= value <= high < value + divisor


def test_a_shape_is_rounded_up_on_both_sides() -> None:
    assert Shape2D(17, 32).ceil_to(16) == (32, 32)
