# SPDX-License-Identifier: GPL-2.0-or-later
"""Invariant 1: blocks tile the raster, with context, on the divisor's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_segmenter.engine.geometry import PixelWindow, Shape2D, ceil_to
from unet_segmenter.engine.tiling import BlockGrid


@dataclass(frozen=True)
class Case:
    shape: Shape2D
    core: int
    halo: int
    divisor: int
    region: PixelWindow | None
    fixed_size: int | None

    def grid(self) -> BlockGrid:
        return BlockGrid.cover(
            self.shape, self.core, self.halo, self.divisor, self.region, self.fixed_size
        )

    def region_or_whole(self) -> PixelWindow:
        return self.region or PixelWindow.of_shape(self.shape)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = Shape2D(draw(st.integers(1, 90)), draw(st.integers(1, 90)))
    divisor = draw(st.sampled_from([1, 2, 4, 16, 32, 5]))
    halo = draw(st.integers(0, 40))
    region = None
    if draw(st.booleans()):
        row, col = (draw(st.integers(0, side - 1)) for side in shape)
        region = PixelWindow(
            row,
            col,
            draw(st.integers(1, shape.height - row)),
            draw(st.integers(1, shape.width - col)),
        )
    fixed_size = None
    if draw(st.booleans()):
        fixed_size = 2 * ceil_to(halo, divisor) + divisor * draw(st.integers(1, 5))
    return Case(shape, draw(st.integers(3, 60)), halo, divisor, region, fixed_size)


@settings(max_examples=150)
@given(cases())
def test_every_pixel_of_the_region_is_written_once_and_no_other(case: Case) -> None:
    written = np.zeros(case.shape, np.int64)
    for block in case.grid():
        assert PixelWindow.of_shape(case.shape).contains(block.write)
        written[block.write.slices] += 1
    expected = np.zeros(case.shape, np.int64)
    expected[case.region_or_whole().slices] = 1
    assert np.array_equal(written, expected)


@settings(max_examples=150)
@given(cases())
def test_all_windows_have_one_shape_and_lie_on_the_divisors_grid(case: Case) -> None:
    grid = case.grid()
    for block in grid:
        assert block.read.shape == grid.read_shape
        assert block.read.row >= 0
        assert block.read.col >= 0
        for number in (block.read.row, block.read.col, *block.read.shape):
            assert number % case.divisor == 0
    if case.fixed_size is not None:
        assert grid.read_shape == (case.fixed_size, case.fixed_size)


@settings(max_examples=150)
@given(cases())
def test_written_pixels_have_their_halo_or_the_rasters_true_edge(case: Case) -> None:
    for block in case.grid():
        assert block.read.contains(block.write)
        sides = [
            (block.write.row - block.read.row, block.read.row <= 0),
            (block.write.col - block.read.col, block.read.col <= 0),
            (block.read.row_stop - block.write.row_stop, block.read.row_stop >= case.shape.height),
            (block.read.col_stop - block.write.col_stop, block.read.col_stop >= case.shape.width),
        ]
        for context, at_the_edge in sides:
            assert context >= case.halo or at_the_edge


@settings(max_examples=150)
@given(cases())
def test_windows_end_where_one_pass_over_the_whole_raster_would(case: Case) -> None:
    """Beyond the raster's end a window holds what one pass pads to the divisor, no more."""
    if case.fixed_size is not None:
        return
    padded = case.shape.ceil_to(case.divisor)
    for block in case.grid():
        assert block.read.row_stop <= padded.height
        assert block.read.col_stop <= padded.width


@settings(max_examples=150)
@given(cases())
def test_putting_the_crops_together_gives_the_raster_back(case: Case) -> None:
    raster = np.random.default_rng(0).integers(1, 1 << 30, case.shape)
    grid = case.grid()
    reach = [max(span.read_stop for span in axis) for axis in (grid.rows, grid.cols)]
    padded = np.zeros([max(r, s) for r, s in zip(reach, case.shape, strict=True)], raster.dtype)
    padded[: case.shape.height, : case.shape.width] = raster
    result = np.zeros_like(raster)
    for block in grid:
        result[block.write.slices] = padded[block.read.slices][block.crop.slices]
    region = case.region_or_whole().slices
    assert np.array_equal(result[region], raster[region])


@settings(max_examples=150)
@given(cases())
def test_there_are_no_more_blocks_than_the_cores_that_the_region_needs(case: Case) -> None:
    grid = case.grid()
    halo = ceil_to(case.halo, case.divisor)
    core = case.fixed_size - 2 * halo if case.fixed_size else ceil_to(case.core, case.divisor)
    region = case.region_or_whole()
    for spans, length in ((grid.rows, region.height), (grid.cols, region.width)):
        # A region may start in the middle of a step of the divisor: one block more.
        assert 1 <= len(spans) <= -(-length // core) + 1
    assert len(grid) == len(grid.rows) * len(grid.cols) == len(list(grid))
    assert [block.index for block in grid] == list(range(len(grid)))


def test_inner_blocks_write_just_their_core() -> None:
    grid = BlockGrid.cover(Shape2D(1000, 1000), core=100, halo=20, divisor=4)
    inner = next(b for b in grid if b.write.row > 200 and b.write.col > 200)
    assert (inner.write.shape, inner.read.shape) == ((100, 100), (140, 140))
    assert inner.crop == PixelWindow(20, 20, 100, 100)


def test_a_raster_smaller_than_a_block_is_one_block_without_waste() -> None:
    grid = BlockGrid.cover(Shape2D(30, 9), core=1024, halo=64, divisor=16)
    assert [(b.read, b.write) for b in grid] == [
        (PixelWindow(0, 0, 32, 16), PixelWindow(0, 0, 30, 9))
    ]


def test_a_region_reads_its_context_from_outside_of_it() -> None:
    region = PixelWindow(400, 400, 100, 100)
    grid = BlockGrid.cover(Shape2D(1000, 1000), 1024, 32, 4, region)
    assert [(b.read, b.write) for b in grid] == [(region.pad(32), region)]


def test_a_region_outside_of_the_raster_is_refused() -> None:
    with pytest.raises(ValueError, match="not inside the raster"):
        BlockGrid.cover(Shape2D(10, 10), 4, 0, 1, PixelWindow(5, 5, 6, 6))


@pytest.mark.parametrize(("halo", "divisor", "fixed_size"), [(32, 32, 64), (0, 16, 40)])
def test_a_fixed_size_that_the_halo_uses_up_is_refused(
    halo: int, divisor: int, fixed_size: int
) -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        BlockGrid.cover(Shape2D(100, 100), 16, halo, divisor, None, fixed_size)


@settings(max_examples=150)
@given(cases(), st.integers(1, 4))
def test_windows_of_a_given_shape_tile_a_region_with_their_halo(case: Case, times: int) -> None:
    halo, region = ceil_to(case.halo, case.divisor), case.region_or_whole()
    least = 2 * halo + times * case.divisor
    padded = case.shape.ceil_to(case.divisor)
    window = Shape2D(*(min(least, side) for side in padded))
    blocks = list(BlockGrid.of_windows(case.shape, window, case.halo, case.divisor, region))
    written = np.zeros(case.shape, np.int64)
    for block in blocks:
        written[block.write.slices] += 1
        assert block.read.shape == window
        assert block.read.row % case.divisor == block.read.col % case.divisor == 0
        assert block.read.contains(block.write)
        around = block.write.pad(halo).intersect(PixelWindow(0, 0, *padded))
        assert around is not None
        assert block.read.contains(around)
    expected = np.zeros(case.shape, np.int64)
    expected[region.slices] = 1
    np.testing.assert_array_equal(written, expected)


@given(cases())
def test_one_window_suffices_that_leaves_room_for_the_divisor(case: Case) -> None:
    """So a network is run once for a field wherever the field lies."""
    halo, region = ceil_to(case.halo, case.divisor), case.region_or_whole()
    padded = case.shape.ceil_to(case.divisor)
    sides = (
        min(ceil_to(field + case.divisor - 1, case.divisor) + 2 * halo, side)
        for field, side in zip(region.shape, padded, strict=True)
    )
    blocks = BlockGrid.of_windows(case.shape, Shape2D(*sides), case.halo, case.divisor, region)
    assert len(blocks) == 1
