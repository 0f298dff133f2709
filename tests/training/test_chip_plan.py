# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_geo import LEFT, PIXEL, TOP, box, grid_of, write_polygons
from tests.training.tiny_fit import Listener
from training.chip_plan import GAP, SIDES, plan_chips, tile
from training.dataset import IGNORE, SPLITS
from training.errors import DatasetError
from training.prepare import prepare
from training.prepare_spec import PrepareSpec
from unet_segmenter.engine.geometry import Shape2D
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.rasters.writer import write_geotiff
from unet_segmenter.engine.vector import read_labelled_polygons

SHAPE = Shape2D(600, 800)
FRACTIONS = (0.6, 0.2, 0.2)


def scattered(count: int = 24, side: int = 40, seed: int = 0) -> np.ndarray:
    """Labels (600, 800) of three classes in squares here and there, -1 elsewhere."""
    rng = np.random.default_rng(seed)
    labels = np.full(SHAPE, -1, np.int32)
    for number in range(count):
        row, col = rng.integers(0, 600 - side), rng.integers(0, 800 - side)
        labels[row : row + side, col : col + side] = number % 3
    return labels


def _plan(labels: np.ndarray, classes: int = 3, **how):
    def read(window):
        return labels[window.slices].copy()

    return plan_chips(Shape2D(*labels.shape), read, classes, FRACTIONS, 0, **how), read


@settings(deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from(SIDES))
def test_tiles_cover_each_pixel_once_and_are_about_as_large_as_asked(height, width, side):
    seen = np.zeros((height, width), int)
    for window in tile(Shape2D(height, width), side):
        seen[window.slices] += 1
        assert window.height <= 1.5 * side + 1
        assert window.width <= 1.5 * side + 1
    assert (seen == 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_each_side_has_some_of_every_class_beyond_the_gap(seed):
    labels = scattered(seed=seed)
    plan, read = _plan(labels)
    total = np.array([(labels == value).sum() for value in range(3)])
    for side in SPLITS:
        found = np.zeros(3)
        for window, own in zip(plan.windows, plan.sides, strict=True):
            if own == side:
                known = read(window)
                plan.hide(known, window, side)
                found += [(known == value).sum() for value in range(3)]
        assert (found >= 0.05 * total).all(), side
    assert plan.gap == plan.side // GAP


def test_labels_of_two_sides_are_apart_by_the_gap():
    labels = np.zeros((300, 300), np.int32)
    labels[:, ::7] = 1
    plan, read = _plan(labels, classes=2, gap=9)
    side_at = np.full(labels.shape, -1)
    for window, side in zip(plan.windows, plan.sides, strict=True):
        known = read(window)
        plan.hide(known, window, side)
        side_at[window.slices] = np.where(known >= 0, SPLITS.index(side), -1)
    assert set(np.unique(side_at)) == {-1, 0, 1, 2}
    for distance in range(1, 10):
        for one, other in (
            (side_at[distance:], side_at[:-distance]),
            (side_at[:, distance:], side_at[:, :-distance]),
        ):
            both = (one >= 0) & (other >= 0)
            assert (one[both] == other[both]).all(), distance


def test_chips_are_as_large_as_the_labels_allow():
    dense = np.arange(3)[np.random.default_rng(0).integers(0, 3, (1600, 1600))].astype(np.int32)
    assert _plan(dense)[0].side == 512
    assert _plan(dense[:400, :400])[0].side == 128, "nine blocks, three a side"


def test_a_class_in_one_place_is_learned_and_not_measured():
    labels = scattered()
    labels[labels == 2] = -1
    labels[0:20, 0:20] = 2
    plan, _read = _plan(labels)
    (side,) = {
        side
        for window, side in zip(plan.windows, plan.sides, strict=True)
        if (labels[window.slices] == 2).any()
    }
    assert side == "train"


def test_two_labelled_pixels_cannot_be_split():
    labels = np.full(SHAPE, -1, np.int32)
    labels[0, :2] = (0, 1)
    with pytest.raises(DatasetError, match="label more, in places that are further apart"):
        _plan(labels)


@pytest.fixture
def prepared(tmp_path):
    pytest.importorskip("rasterio")
    labels = scattered()
    pixels = np.where(labels[..., None] >= 0, 60 * labels[..., None] + 60, 20).astype(np.uint8)
    write_geotiff(tmp_path / "field.tif", np.repeat(pixels, 3, axis=-1), grid_of(SHAPE))
    rng = np.random.default_rng(0)
    rows = [
        (box(int(rng.integers(0, 560)), int(rng.integers(0, 760)), 40, 40), {"kind": "abc"[n % 3]})
        for n in range(24)
    ]
    layer = write_polygons(tmp_path / "polygons.geojson", rows)
    spec = PrepareSpec(
        str(tmp_path / "field.tif"), str(tmp_path / "out"), "geo", labels=layer, field="kind",
        chip=0, fractions=FRACTIONS,
    )  # fmt: skip
    return prepare(spec, Listener())


def test_a_small_raster_is_prepared_with_a_test_side_and_tells_how(prepared):
    for side in SPLITS:
        for cls in prepared.details["balance"][side]["classes"].values():
            assert cls["px"] >= 30
    assert (
        "as large as leaves each side some of every class"
        in (prepared.details["split"]["notes"][0])
    )
    for sample in prepared.samples:
        image, mask = prepared.read(sample)
        assert ((mask == IGNORE) | (image[..., 0] == 60 * mask)).all()


def test_the_blocks_are_polygons_with_their_side_and_those_of_test_are_a_file_of_their_own(
    prepared,
):
    for name, sides in (("blocks.gpkg", set(SPLITS)), ("test_blocks.gpkg", {"test"})):
        polygons, found, crs = read_labelled_polygons(str(prepared.folder / name), "side")
        assert "32617" in str(crs)
        wanted = [sample.split for sample in prepared.samples if sample.split in sides]
        assert sorted(found) == sorted(wanted)
        boxes = [_box_in_px(polygon) for polygon in polygons]
        seen = np.zeros(SHAPE, int)
        for top, left, bottom, right in boxes:
            seen[top:bottom, left:right] += 1
        assert seen.max() == 1, "blocks do not overlap"


def test_a_chip_shows_what_is_around_its_block_and_is_labelled_in_it_alone(prepared):
    polygons, names, _crs = read_labelled_polygons(str(prepared.folder / "blocks.gpkg"), "block")
    blocks = {name: _box_in_px(p) for name, p in zip(names, polygons, strict=True)}
    wider = 0
    for sample in prepared.samples:
        with RasterSource(str(sample.image)) as source:
            left, _bottom, _right, top = source.grid.bounds()
        row, col = round((TOP - top) / PIXEL), round((left - LEFT) / PIXEL)
        _image, mask = prepared.read(sample)
        rows, cols = np.nonzero(mask != IGNORE)
        first_row, first_col, last_row, last_col = blocks[sample.group]
        assert first_row <= rows.min() + row <= rows.max() + row < last_row
        assert first_col <= cols.min() + col <= cols.max() + col < last_col
        wider += mask.size > (last_row - first_row) * (last_col - first_col)
    assert wider == len(prepared.samples)


def _box_in_px(polygon) -> tuple[int, int, int, int]:
    xs, ys = zip(*polygon["coordinates"][0], strict=True)
    return (
        round((TOP - max(ys)) / PIXEL), round((min(xs) - LEFT) / PIXEL),
        round((TOP - min(ys)) / PIXEL), round((max(xs) - LEFT) / PIXEL),
    )  # fmt: skip
