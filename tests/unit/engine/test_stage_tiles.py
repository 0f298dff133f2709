# SPDX-License-Identifier: GPL-2.0-or-later
"""Invariant 2 at every cut: each part computes what the parts after it read, once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine.geometry import PixelWindow, Shape2D
from unet_segmenter.engine.stage_tiles import PartTiles, plan_tiles
from unet_segmenter.engine.stages import Cuts, Feature, Part

DIVISOR = 16


def cuts_with(halos: tuple[int, int, int, int, int], width: float) -> Cuts:
    """A U-Net in five parts: two on the way down, the deepest, two on the way up."""
    divisors = (4, 8, 16, 16, 8)
    image, fine = Feature("image", 1, 3), Feature("fine", 4, 4)
    middle, deep = Feature("middle", 8, 4), Feature("deep", 16, 4)
    up, logits = Feature("up", 8, 4), Feature("logits", 4, 2)
    inputs = (("image",), ("fine",), ("middle",), ("middle", "deep"), ("fine", "up"))
    outputs = (fine, middle, deep, up, logits)
    parts = tuple(
        Part(read, (given,), halo * divisor, divisor, width)
        for read, given, halo, divisor in zip(inputs, outputs, halos, divisors, strict=True)
    )
    return Cuts(image, parts, 2)


@dataclass(frozen=True)
class Case:
    cuts: Cuts
    shape: Shape2D
    region: PixelWindow

    def tiles(self) -> tuple[PartTiles, ...]:
        return plan_tiles(self.cuts, self.shape, self.region, DIVISOR)

    @property
    def whole(self) -> PixelWindow:
        return PixelWindow.of_shape(self.shape.ceil_to(DIVISOR))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    halos = tuple(draw(st.integers(0, 3)) for _ in range(5))
    # Widths so large that memory makes tiles small.
    width = draw(st.sampled_from([3e3, 1e4, 1e5, 1e6]))
    shape = Shape2D(draw(st.integers(1, 300)), draw(st.integers(1, 300)))
    row, col = (draw(st.integers(0, side - 1)) for side in shape)
    region = PixelWindow(
        row, col, draw(st.integers(1, shape.height - row)), draw(st.integers(1, shape.width - col))
    )
    return Case(cuts_with(halos, width), shape, region)


@given(cases())
def test_tiles_of_a_part_give_each_of_its_pixels_once(case: Case) -> None:
    for part in case.tiles():
        count = np.zeros(case.whole.shape, int)
        for tile in part:
            count[tile.write.slices] += 1
        expected = np.zeros(case.whole.shape, int)
        expected[part.region.slices] = 1
        assert (count == expected).all()


@given(cases())
def test_every_cell_that_a_tile_reads_is_given_by_a_part_before(case: Case) -> None:
    tiles = case.tiles()
    for place, part in enumerate(case.cuts.parts):
        for tile in tiles[place]:
            assert case.whole.contains(tile.read)
            for name in part.inputs:
                producer = case.cuts.producer(name)
                if producer is not None:
                    given_there = sum(
                        common.pixels
                        for t in tiles[producer].meeting(tile.read)
                        if (common := t.write.intersect(tile.read))
                    )
                    assert given_there == tile.read.pixels


@given(cases())
def test_a_tile_has_its_halo_around_it_but_at_the_edge_of_the_raster(case: Case) -> None:
    for part, tiles in zip(case.cuts.parts, case.tiles(), strict=True):
        for tile in tiles:
            around = tile.write.pad(part.halo).intersect(case.whole)
            assert around is not None
            assert tile.read.contains(around)
            assert tile.read.shape == tiles.window
            for side in (tile.read.row, tile.read.col, tile.read.height, tile.read.width):
                assert side % part.divisor == 0


@given(cases())
def test_the_logits_are_known_a_cell_around_the_region(case: Case) -> None:
    stride = case.cuts.logits.stride
    around = case.region.pad(stride).intersect(case.whole)
    assert around is not None
    assert case.tiles()[-1].region.contains(around)


@given(cases(), st.data())
def test_the_tiles_that_meet_a_window_are_those_that_give_some_of_its_pixels(
    case: Case, data: st.DataObject
) -> None:
    part = data.draw(st.sampled_from(case.tiles()))
    row = data.draw(st.integers(part.region.row, part.region.row_stop - 1))
    col = data.draw(st.integers(part.region.col, part.region.col_stop - 1))
    window = PixelWindow(row, col, data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90)))
    found = [tile.index for tile in part.meeting(window)]
    assert found == [tile.index for tile in part if tile.write.intersect(window)]


def test_tiles_of_a_side_are_of_one_size_rather_than_one_of_them_mostly_leftover() -> None:
    """1100 px are two tiles of 550 px and not one of 1024 px and one of 76 px."""
    cuts = cuts_with((1, 1, 1, 1, 1), 1e-3)
    (first, *_) = plan_tiles(cuts, Shape2D(1104, 64), PixelWindow(0, 0, 1104, 64), DIVISOR)
    heights = [tile.write.height for tile in first]
    assert len(heights) == 2
    assert max(heights) - min(heights) <= 16


def test_a_part_with_much_context_has_larger_tiles() -> None:
    cuts = cuts_with((1, 1, 40, 1, 1), 1e-3)
    shape = Shape2D(8192, 64)
    tiles = plan_tiles(cuts, shape, PixelWindow.of_shape(shape), DIVISOR)
    assert [len(tiles[k].grid) for k in (0, 2)] == [8, 6]
