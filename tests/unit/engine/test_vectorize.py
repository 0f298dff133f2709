# SPDX-License-Identifier: GPL-2.0-or-later
"""Polygons of strips, joined, are those of the whole raster."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_segmenter.engine.components import strips_of
from unet_segmenter.engine.polygonize import ClassPolygons, Joining, StripClasses, trace

LABELS = arrays(np.uint8, (11, 9), elements=st.sampled_from([0, 1, 1, 4, 255]))


def polygons_in_strips(
    labels: np.ndarray, rows: int, tolerance: float = 0.0, confidence: np.ndarray | None = None
) -> list[ClassPolygons]:
    strips = strips_of(*labels.shape, rows)
    joining = Joining(len(strips), straighten=tolerance == 0)
    found = []
    for strip in strips:
        above, below = min(strip.start, 1), min(len(labels) - strip.stop, 1)
        part = labels[strip.start - above : strip.stop + below]
        sure = None if confidence is None else confidence[strip.start : strip.stop]
        found.append(joining.add(trace(StripClasses(strip, part, above, below, sure), tolerance)))
    return found


def as_set(found: list[ClassPolygons]) -> set[tuple[int, bytes]]:
    return {
        (int(value), shapely.to_wkb(shapely.normalize(polygon)))
        for some in found
        for polygon, value in zip(some.polygons, some.values, strict=True)
    }


def whole(labels: np.ndarray) -> set[tuple[int, bytes]]:
    """What GDAL makes of the whole raster."""
    shapes = rasterio.features.shapes(labels.astype(np.int32), mask=labels != 255, connectivity=4)
    return {
        (int(value), shapely.to_wkb(shapely.normalize(shapely.geometry.shape(shape))))
        for shape, value in shapes
    }


@settings(max_examples=40)
@given(LABELS, st.integers(1, 12))
def test_strips_give_the_polygons_of_the_whole(labels: np.ndarray, rows: int) -> None:
    found = polygons_in_strips(labels, rows)
    assert as_set(found) == whole(labels)
    assert sum(len(some.polygons) for some in found) == len(whole(labels))


@settings(max_examples=40)
@given(LABELS, st.integers(1, 12), st.sampled_from([0.8, 1.5, 4.0]))
def test_simplified_polygons_share_their_borders_and_lose_no_ground(
    labels: np.ndarray, rows: int, tolerance: float
) -> None:
    labels = np.kron(labels, np.ones((2, 3), np.uint8))
    there = np.where(labels == 255, 3, labels).astype(np.uint8)
    found = polygons_in_strips(there, rows, tolerance)
    polygons = np.concatenate([some.polygons for some in found])
    assert shapely.is_valid(polygons).all()
    assert set(shapely.get_type_id(polygons)) == {shapely.GeometryType.POLYGON}
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == labels.size
    assert len(polygons) == len(whole(there))


def test_simplifying_turns_stairs_into_a_line() -> None:
    labels = 1 + np.tri(40, 40, dtype=np.uint8)
    exact = np.concatenate([p.polygons for p in polygons_in_strips(labels, 16)])
    simple = np.concatenate([p.polygons for p in polygons_in_strips(labels, 16, 1.0)])
    assert shapely.get_num_coordinates(exact).sum() > 150
    assert shapely.get_num_coordinates(simple).sum() < 25
    assert np.abs(np.sort(shapely.area(simple)) - np.sort(shapely.area(exact))).max() < 25


def test_a_polygon_is_told_as_soon_as_it_can_grow_no_more() -> None:
    labels = np.ones((12, 6), np.uint8)
    labels[1, 1] = 2  # within the first strip
    labels[3:6, 3] = 3  # ends in the second one
    told = [set(some.values.tolist()) for some in polygons_in_strips(labels, 4)]
    assert told == [{2}, {3}, {1}]


def test_nodata_is_no_polygon_and_parts_others() -> None:
    labels = np.full((6, 6), 255, np.uint8)
    labels[:2], labels[4:] = 1, 1
    found = polygons_in_strips(labels, 4)
    assert sorted(p.bounds for some in found for p in some.polygons) == [(0, 0, 6, 2), (0, 4, 6, 6)]


@settings(max_examples=40)
@given(LABELS, st.integers(1, 12))
def test_confidence_is_the_mean_of_the_polygon_s_pixels(labels: np.ndarray, rows: int) -> None:
    confidence = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    confidence[::3, ::2] = np.nan
    for some in polygons_in_strips(labels, rows, confidence=confidence):
        for polygon, mean in zip(some.polygons, some.confidence, strict=True):
            inside = rasterio.features.geometry_mask(
                [polygon], labels.shape, rasterio.Affine.identity(), invert=True
            )
            values = confidence[inside]
            known = values[~np.isnan(values)]
            assert mean == pytest.approx(known.mean()) if known.size else np.isnan(mean)
