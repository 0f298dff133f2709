# SPDX-License-Identifier: GPL-2.0-or-later
"""Small components become part of what surrounds them, however the raster is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_segmenter.engine.components import Seams, label_components, strips_of
from unet_segmenter.engine.sieve import _RowsInMemory, sieve, sieve_rows

LABELS = arrays(np.uint8, (12, 10), elements=st.sampled_from([0, 1, 1, 1, 4, 4, 255]))


def components(labels: np.ndarray) -> list[np.ndarray]:
    """A mask a component, found pixel by pixel."""
    left = {(int(r), int(c)) for r, c in np.argwhere(labels != 255)}
    found = []
    while left:
        todo, mask = [left.pop()], np.zeros(labels.shape, bool)
        while todo:
            row, col = todo.pop()
            mask[row, col] = True
            for near in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                if near in left and labels[near] == labels[row, col]:
                    left.remove(near)
                    todo.append(near)
        found.append(mask)
    return found


def sieved_slowly(labels: np.ndarray, min_pixels: int) -> np.ndarray:
    """The rule itself, component by component, over the whole array."""
    labels, pending = labels.copy(), []
    pending = [mask for mask in components(labels) if mask.sum() < min_pixels]
    while True:
        settled = labels != 255
        for mask in pending:
            settled &= ~mask
        decided = []
        for mask in pending:
            lengths: dict[int, int] = {}
            for row, col in np.argwhere(mask):
                for r, c in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                    if 0 <= r < labels.shape[0] and 0 <= c < labels.shape[1] and settled[r, c]:
                        lengths[labels[r, c]] = lengths.get(labels[r, c], 0) + 1
            if lengths:
                own = labels[mask][0]
                best = min(lengths, key=lambda v: (-lengths[v], v))
                decided.append((mask, own if own in lengths else best))
        if not decided:
            return labels
        for mask, value in decided:
            labels[mask] = value
        pending = [m for m in pending if not any(m is mask for mask, _ in decided)]


@given(LABELS, st.integers(1, 20), st.integers(1, 12))
def test_a_sieve_in_strips_is_the_rule_over_the_whole(
    labels: np.ndarray, min_pixels: int, rows: int
) -> None:
    assert (
        sieve(labels, min_pixels, rows=rows).tolist() == sieved_slowly(labels, min_pixels).tolist()
    )


@given(LABELS, st.integers(1, 20))
def test_small_components_stay_only_where_no_large_one_is_within_reach(
    labels: np.ndarray, min_pixels: int
) -> None:
    result = sieve(labels, min_pixels)
    assert ((result == 255) == (labels == 255)).all()
    patches = components(np.where(labels == 255, 255, 0).astype(np.uint8))
    for mask in components(result):
        if mask.sum() < min_pixels:
            (patch,) = [p for p in patches if (p & mask).any()]
            inside = np.where(patch, labels, 255).astype(np.uint8)
            assert max(m.sum() for m in components(inside)) < min_pixels
            assert (result[patch] == labels[patch]).all()


def test_a_speck_takes_the_class_with_the_longest_border() -> None:
    labels = np.array([[1, 1, 1, 2], [1, 3, 3, 2], [2, 2, 2, 2]], np.uint8)
    assert sieve(labels, 3)[1, 1:3].tolist() == [1, 1]
    labels[0, 2] = 2
    assert sieve(labels, 3)[1, 1:3].tolist() == [2, 2]


def test_a_speck_within_a_speck_waits_for_it() -> None:
    labels = np.ones((7, 7), np.uint8)
    labels[1:6, 1:6], labels[2:5, 2:5], labels[3, 3] = 2, 3, 4
    assert (sieve(labels, 17) == 1).all()
    assert (sieve(labels, 16)[1:6, 1:6] == 2).all()
    assert (sieve(labels, 8)[2:5, 2:5] == 3).all()


def test_a_long_component_that_crosses_all_strips_stays_whole() -> None:
    labels = np.ones((40, 9), np.uint8)
    labels[:, 4] = 2
    labels[20, 7] = 2
    for rows in (1, 3, 7, 40):
        result = sieve(labels, 30, rows=rows)
        assert (result[:, 4] == 2).all()
        assert result[20, 7] == 1


def test_corners_do_not_connect() -> None:
    labels = np.ones((4, 4), np.uint8)
    labels[0, 0] = labels[1, 1] = labels[2, 2] = 2
    assert (sieve(labels, 2) == 1).all()


@given(LABELS, st.integers(1, 12))
def test_pieces_of_strips_are_joined_to_the_components_of_the_whole(
    labels: np.ndarray, rows: int
) -> None:
    seams, numbered = Seams(), []
    for strip in strips_of(*labels.shape, rows):
        part = labels[strip.start : strip.stop]
        pieces, count = label_components(part, part != 255)
        base, _ = seams.add(part, pieces, count)
        numbered.append(np.where(pieces > 0, pieces + base, 0))
    joined = np.concatenate(numbered)
    for piece, component in zip(*seams.solve(), strict=True):
        joined[joined == piece] = -1 - component
    whole, count = label_components(labels, labels != 255)
    pairs = {(int(a), int(b)) for a, b in zip(joined[whole > 0], whole[whole > 0], strict=True)}
    assert len(pairs) == count == len({a for a, _ in pairs})


@pytest.mark.parametrize(("height", "width"), [(5, 10**7), (10_000, 10_000), (3, 3)])
def test_strips_cover_all_rows_once(height: int, width: int) -> None:
    strips = strips_of(height, width)
    assert [s.start for s in strips] == [0, *(s.stop for s in strips[:-1])]
    assert strips[-1].stop == height


def test_the_work_does_not_grow_with_the_depth_of_specks_among_specks() -> None:
    """Noise around one large area is merged from there outwards, ring by ring."""
    noise = np.random.default_rng(0).integers(1, 6, (200, 200)).astype(np.uint8)
    noise[:30, :30] = 1
    result, reads = noise.copy(), []
    layers = _RowsInMemory(IN=noise, OUT=result)
    count = sieve_rows(layers, "IN", "OUT", noise.shape, 50, lambda: reads.append(1), rows=20)
    assert len(reads) == 3 * 10, "each strip is read three times, however many rings there are"
    assert count.kept == 0
    assert min(mask.sum() for mask in components(result)) >= 50
    assert count.changed == np.count_nonzero(result != noise)


def test_sizes_of_pixels_count_where_they_are_given() -> None:
    """The lower specks lie where pixels are a tenth as large."""
    labels = np.ones((8, 8), np.uint8)
    labels[1:3, 1:3] = labels[5:7, 1:3] = 2
    areas = np.array([[1.0]] * 4 + [[0.1]] * 4)
    result = labels.copy()
    layers = _RowsInMemory(IN=labels, OUT=result)
    sieve_rows(
        layers, "IN", "OUT", labels.shape, 2.0, lambda: None,
        sizes=lambda start, stop: areas[start:stop], rows=3,
    )  # fmt: skip
    assert (result[1:3, 1:3] == 2).all()
    assert (result[5:7] == 1).all()
