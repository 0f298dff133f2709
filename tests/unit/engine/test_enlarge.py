# SPDX-License-Identifier: GPL-2.0-or-later
"""From logits at the network's resolution to probabilities of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from unet_segmenter.engine.enlarge import enlarge, probabilities_of
from unet_segmenter.engine.model_card import Calibration, ModelClass

Array = NDArray[np.floating]


def doubled(planes: Array) -> Array:
    """As the networks do it: repeat, then average 3 x 3 without counting what lies outside."""
    up = planes.repeat(2, 1).repeat(2, 2).astype(np.float64)
    padded, ones = np.pad(up, ((0, 0), (1, 1), (1, 1))), np.pad(np.ones(up.shape[1:]), 1)
    height, width = up.shape[1:]
    places = [(i, j) for i in range(3) for j in range(3)]
    total = sum(padded[:, i : i + height, j : j + width] for i, j in places)
    count = sum(ones[i : i + height, j : j + width] for i, j in places)
    return total / count


def logits(height: int, width: int, channels: int = 3) -> NDArray[np.float32]:
    random = np.random.default_rng(height * 1000 + width)
    return random.normal(0, 4, (channels, height, width)).astype(np.float32)


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (40, 70), (67, 33)])
def test_cells_are_enlarged_as_the_network_does(doublings: int, height: int, width: int) -> None:
    planes = logits(height, width)
    expected: Array = planes
    for _ in range(doublings):
        expected = doubled(expected)
    found = enlarge(np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge"), doublings)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


def test_a_part_is_enlarged_as_the_whole_by_one_cell_around_it() -> None:
    planes = logits(50, 60)
    whole = enlarge(np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge"), 2)
    part = enlarge(planes[:, 9:31, 19:41], 2)
    assert np.abs(part - whole[:, 40:120, 80:160]).max() < 1e-5


CLASSES = (
    ModelClass(5, "tree", "#228b22", 2, 0.5, Calibration(0.6, 0.3)),
    ModelClass(7, "road", "#808080", 0),
)


def test_probabilities_of_a_sigmoid_are_of_the_classes_wanted_and_calibrated() -> None:
    cells = logits(12, 14)
    planes = enlarge(cells, 2)
    found = probabilities_of(cells, 2, "sigmoid", CLASSES)
    expected = [1 / (1 + np.exp(-(0.6 * planes[2] + 0.3))), 1 / (1 + np.exp(-planes[0]))]
    assert np.abs(found - np.stack(expected)).max() < 1e-6


def test_probabilities_of_a_softmax_share_all_channels() -> None:
    cells = logits(12, 14)
    planes = enlarge(cells, 1)
    power = np.exp(planes - planes.max(axis=0))
    raw = (power / power.sum(axis=0))[[2, 0]]
    found = probabilities_of(cells, 1, "softmax", CLASSES)
    calibrated = 1 / (1 + np.exp(-(0.6 * (np.log(raw[0]) - np.log1p(-raw[0])) + 0.3)))
    assert np.abs(found - np.stack([calibrated, raw[1]])).max() < 1e-4


def test_logits_beyond_what_an_exponential_holds_are_0_and_1() -> None:
    cells = np.full((3, 4, 4), -1e6, np.float32)
    cells[0] = 1e6
    found = probabilities_of(cells, 1, "sigmoid", CLASSES)
    assert found[0].max() < 1e-30
    assert (found[1] == 1).all()
